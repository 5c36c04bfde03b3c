import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from teacherlm_jax.generation.engine import GenerationRequest, Generator
from teacherlm_jax.generation.sampling import Greedy, Temperature
from teacherlm_jax.metrics.finite import NonFiniteError
from tests.generation import tiny
from tests.models import families

NEW = 10
EOS = 11
POLICIES = [Greedy(), Temperature(1.0, top_k=8)]


def generator(policy=POLICIES[0], params=None, model=None, **overrides):
    usual_model, usual_params = tiny.make()
    model = usual_model if model is None else model
    params = usual_params if params is None else params
    arguments = {
        "max_new_tokens": NEW,
        "max_length": 40,
        "eos_id": EOS,
        "policy": policy,
        "batch_size": 8,
        "buckets": (24,),
        "seed": 5,
        "valid_vocab_size": tiny.VALID_VOCAB_SIZE,
        **overrides,
    }
    return Generator(model, params, **arguments)


def requests(count=13):
    return [
        GenerationRequest(f"example {number // 2}", number % 2, prompt)
        for number, prompt in enumerate(tiny.prompts(count))
    ]


def told(results):
    """What must agree: everything but rounding in the log-probability."""
    return [(r.example_id, r.sample_index, r.tokens, r.finished, r.prompt_length) for r in results]


OTHER_SHAPES = [{"batch_size": 3, "buckets": (11, 21)}, {"batch_size": 1}]


@pytest.mark.parametrize(
    ("policy", "shapes"),
    [(POLICIES[0], OTHER_SHAPES[:1]), (POLICIES[1], OTHER_SHAPES)],
    ids=["greedy", "top_k"],
)
def test_results_do_not_depend_on_batch_order_neighbours_or_bucket(policy, shapes):
    usual = generator(policy).generate(requests())
    assert sum(r.finished for r in usual) >= 1
    assert len({r.tokens for r in usual}) > 8
    for shape in shapes:
        other = generator(policy, **shape).generate(requests())
        assert told(other) == told(usual)
        for one, two in zip(usual, other):
            assert one.log_probability == pytest.approx(two.log_probability, abs=2e-4)
    turned = generator(policy).generate(requests()[::-1])
    assert told(turned[::-1]) == told(usual)
    alone = generator(policy).generate(requests()[6:7])
    assert told(alone) == told(usual[6:7])


def test_seed_and_sample_index_change_samples_and_repeats_do_not():
    prompt = tiny.prompts(1)[0]
    asked = [GenerationRequest("one", sample, prompt) for sample in (0, 1, 0)]
    first = generator(POLICIES[1]).generate(asked)
    assert first[0].tokens == first[2].tokens != first[1].tokens
    other = generator(POLICIES[1], seed=6).generate(asked)
    assert other[0].tokens != first[0].tokens


def test_eos_is_told_and_cut_off():
    free = generator(eos_id=None).generate(requests())
    assert all(len(r.tokens) == NEW and not r.finished for r in free)
    for eos_id in (0, EOS):
        for whole, cut in zip(free, generator(eos_id=eos_id).generate(requests())):
            assert cut.finished == (eos_id in whole.tokens)
            end = whole.tokens.index(eos_id) if cut.finished else NEW
            assert cut.tokens == whole.tokens[:end]
    assert any(0 in r.tokens for r in free)


def test_bos_is_put_before_the_prompt():
    with_bos = generator(bos_id=0).generate(requests())
    by_hand = [
        GenerationRequest(r.example_id, r.sample_index, (0, *r.prompt_tokens)) for r in requests()
    ]
    assert told(with_bos) == told(generator().generate(by_hand))
    empty = generator(bos_id=0).generate([GenerationRequest("empty", 0, ())])
    assert empty[0].prompt_length == 1


BATCH_SIZES = dict(zip(families.NAMES, itertools.cycle([(8,), (3,), (1,)])))
BATCH_SIZES |= {"opt": (8, 3, 1)}


@pytest.mark.parametrize("family", families.NAMES)
def test_every_family_writes_the_uncached_argmax(family):
    """With BOS and without, in batches of 1, 3 and 8."""
    model, params = tiny.of_family(family)
    asked = requests(5)
    settings = {"max_new_tokens": 6, "max_length": 31, "eos_id": None}
    for bos_id in (None, 7):
        expected = []
        for request in asked:
            tokens = [*([] if bos_id is None else [bos_id]), *request.prompt_tokens]
            for _ in range(6):
                logits = tiny.uncached_logits(model, params, tokens)[-1]
                tokens.append(int(np.argmax(logits[: tiny.VALID_VOCAB_SIZE])))
            expected.append(tuple(tokens[-6:]))
        assert len(set(expected)) > 2
        for batch_size in BATCH_SIZES[family]:
            writer = generator(
                model=model, params=params, batch_size=batch_size, bos_id=bos_id, **settings
            )
            assert [result.tokens for result in writer.generate(asked)] == expected


def test_rows_may_be_as_long_as_the_learned_positions():
    model, params = tiny.of_family("opt")
    settings = {"model": model, "params": params, "eos_id": None, "buckets": None}
    request = GenerationRequest("long", 0, tuple(range(40)))
    (result,) = generator(**settings, max_length=64, max_new_tokens=24).generate([request])
    tokens = [*request.prompt_tokens, *result.tokens]
    assert len(tokens) == 64
    real = tiny.uncached_logits(model, params, tokens)[39:63, : tiny.VALID_VOCAB_SIZE]
    assert np.argmax(real, axis=-1).tolist() == tokens[40:]
    with pytest.raises(ValueError, match=r"max_length = 65.*64 learned positions"):
        generator(**settings, max_length=65)


def test_a_request_may_ask_for_fewer_tokens():
    prompt = tiny.prompts(1)[0]
    asked = [GenerationRequest("a", 0, prompt, 3), GenerationRequest("a", 0, prompt)]
    short, long = generator(eos_id=None).generate(asked)
    assert short.tokens == long.tokens[:3]
    assert len(long.tokens) == NEW


def test_compilations_are_bounded_by_the_buckets():
    # Functions are shared by generators configured alike: no other test has this maximum.
    settings = {"buckets": (8, 24), "max_length": 39}
    many = generator(**settings)
    many.generate(requests(40))
    assert many.compilations == 4
    many.generate(requests(25))
    assert many.compilations == 4
    again = generator(**settings, seed=9)
    again.generate(requests(40))
    assert again.compilations == 0


@pytest.mark.parametrize(
    ("request_", "overrides", "message"),
    [
        (
            GenerationRequest("long one", 0, (1,) * 31),
            {},
            r"'long one'.* 31 prompt tokens .* \+ 10 new tokens = 41.* 40: shorten .* 30 tokens",
        ),
        (GenerationRequest("bos", 0, (1,) * 30), {"bos_id": 0}, "'bos'.* 31 prompt tokens"),
        (GenerationRequest("empty", 0, ()), {}, "'empty'.*prompt is empty.*bos_id"),
        (GenerationRequest("wide", 0, (1,) * 9), {"buckets": (8,)}, "'wide'.*9 .*bucket, 8"),
        (GenerationRequest("greedy", 0, (1,), 11), {}, r"'greedy'.*= 11, .* \[1, 10\]"),
        (GenerationRequest("none", 0, (1,), 0), {}, r"'none'.*max_new_tokens = 0"),
        (GenerationRequest("alien", 0, (1, 45)), {}, r"'alien'.*id 45.*\[0, 45\)"),
        (GenerationRequest("minus", 0, (1, -2)), {}, "'minus'.*id -2"),
    ],
)
def test_bad_requests_are_refused_before_anything_compiles(request_, overrides, message):
    broken = generator(**overrides)
    with pytest.raises(ValueError, match=message):
        broken.generate(
            [GenerationRequest("good", 0, (1, 2)), request_],
            lambda done, total: pytest.fail("something ran"),
        )
    assert broken.compilations == 0


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="max_new_tokens = 40 and max_length = 40"):
        generator(max_new_tokens=40)
    with pytest.raises(ValueError, match="batch_size = 0"):
        generator(batch_size=0)


def test_diverged_parameters_are_no_text():
    params = tiny.make()[1]
    params["decoder_norm"]["scale"] = params["decoder_norm"]["scale"] * float("nan")
    with pytest.raises(NonFiniteError, match=r"'example 0'.*nan"):
        generator(params=params).generate(requests(1))


def test_progress_counts_requests():
    seen = []
    generator().generate(requests(10), lambda done, total: seen.append((done, total)))
    assert seen == [(8, 10), (10, 10)]
    assert generator().generate([]) == []


ON_EIGHT_DEVICES = """
import warnings
warnings.simplefilter("error")
import jax
from teacherlm_jax.partitioning import mesh, rules, shardings
from tests.generation import test_engine, tiny
assert jax.device_count() == 8
devices = mesh.make_mesh(mesh.MeshConfig(data=2, fsdp=2, tensor=2))
generator = test_engine.generator(test_engine.POLICIES[1], mesh=devices)
caches, prefill = [], generator._prefill
generator._prefill = lambda *arguments: caches.append(prefill(*arguments)) or caches[-1]
print(test_engine.told(generator.generate(test_engine.requests())))
specs = {leaf.ndim: tuple(leaf.sharding.spec) for leaf in jax.tree.leaves(caches[0])}
rows = ("data", "fsdp")
assert specs == {5: (None, rows, None, "tensor"), 2: (None, rows)}, specs
"""


def test_eight_devices_write_the_same_with_a_sharded_cache():
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    }
    done = subprocess.run(
        [sys.executable, "-c", ON_EIGHT_DEVICES],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(told(generator(POLICIES[1]).generate(requests())))
