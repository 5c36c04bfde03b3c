import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.metrics.finite import NonFiniteError
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.scores import OptionRow, Question, ScoringPolicy
from tests.generation import tiny

POLICY = ScoringPolicy(max_length=40)


def questions(single, count=11):
    rng = np.random.default_rng(3)
    return [
        Question(
            f"question {number}",
            prompt,
            [
                rng.integers(0, tiny.VALID_VOCAB_SIZE, size=1 if single else rng.integers(1, 5))
                for _ in range(3 + number % 2)
            ],
        )
        for number, prompt in enumerate(tiny.prompts(count, seed=4))
    ]


def scorer(policy=POLICY, **overrides):
    return Scorer(tiny.make()[0], policy, **{"batch_size": 8, "buckets": (40,), **overrides})


def score(asked, policy=POLICY, **overrides):
    return scorer(policy, **overrides).score(tiny.make()[1], asked)


def told(scores):
    return [(s.question_id, s.ranking, s.token_counts, s.is_near_tie) for s in scores]


@pytest.mark.parametrize("single", [True, False], ids=["letters", "texts"])
def test_the_ranking_does_not_depend_on_batch_order_or_bucket(single):
    asked = questions(single)
    usual = score(asked)
    assert len({s.prediction for s in usual}) > 1
    for overrides in ({"batch_size": 1}, {"batch_size": 3, "buckets": (16, 39)}):
        other = score(asked, **overrides)
        assert told(other) == told(usual)
        for one, two in zip(usual, other):
            np.testing.assert_allclose(one.log_likelihoods, two.log_likelihoods, atol=2e-5)
    turned = score(asked[::-1])
    assert told(turned[::-1]) == told(usual)


def test_scores_match_whole_forward_passes():
    model, params = tiny.make()
    asked = [*questions(True, 5), *questions(False, 5)]
    for question, result in zip(asked, score(asked, ScoringPolicy(max_length=40, bos_id=0))):
        for option, found in zip(question.options, result.log_likelihoods):
            tokens = [0, *question.prompt_tokens, *option]
            table = tiny.log_softmax(tiny.uncached_logits(model, params, tokens))
            begin = len(tokens) - len(option)
            expected = sum(table[at - 1, tokens[at]] for at in range(begin, len(tokens)))
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("single", [True, False], ids=["letters", "texts"])
def test_renaming_tokens_so_that_a_real_one_gets_id_0_changes_no_score(single):
    params = tiny.make()[1]
    names = (np.arange(tiny.VOCAB_SIZE) + 5) % tiny.VOCAB_SIZE
    renamed = jax.tree.map(np.array, params)
    renamed["token_embedder"]["embedding"][names] = params["token_embedder"]["embedding"]
    renamed["logits_dense"]["kernel"][:, names] = params["logits_dense"]["kernel"]
    # What is called 0 then stands in prompts and options, at their ends too.
    zero = int(np.argwhere(names == 0)[0, 0])
    longer = [] if single else [zero]
    asked = [
        *questions(single),
        Question("ends", (zero, 5, zero), [[zero, *longer], [3, *longer], [*longer, 4]]),
    ]
    again = [
        Question(
            one.question_id,
            names[np.array(one.prompt_tokens)].tolist(),
            [names[np.array(option)].tolist() for option in one.options],
        )
        for one in asked
    ]
    assert any(0 in option for one in again for option in one.options)
    usual = score(asked, ScoringPolicy(max_length=40, bos_id=0))
    policy = ScoringPolicy(max_length=40, bos_id=int(names[0]))
    found = scorer(policy).score(renamed, again)
    assert told(found) == told(usual)
    for one, two in zip(usual, found):
        np.testing.assert_allclose(one.log_likelihoods, two.log_likelihoods, atol=2e-5)


def test_single_tokens_cost_one_row_a_question():
    seen = []
    asked = questions(True, 16)
    scorer().score(tiny.make()[1], asked, lambda done, total: seen.append((done, total)))
    assert seen == [(8, 16), (16, 16)]


def few_shot(single, count=12):
    """Questions after one of two beginnings, in turn; one without."""
    rng = np.random.default_rng(5)
    examples = [rng.integers(0, tiny.VALID_VOCAB_SIZE, 33).tolist() for _ in range(2)]
    return [
        Question(one.question_id, [*examples[n % 2], *one.prompt_tokens][: 45 - n], one.options)
        if n
        else one
        for n, one in enumerate(questions(single, count))
    ]


@pytest.mark.parametrize("single", [True, False], ids=["letters", "texts"])
def test_questions_that_share_examples_run_together_and_score_as_alone(single):
    asked, policy, params = few_shot(single), ScoringPolicy(max_length=50), tiny.make()[1]
    alone = score(asked, policy, batch_size=1, buckets=None)
    for batch_size, order in ((3, 1), (16, -1)):
        found = score(asked[::order], policy, batch_size=batch_size, buckets=None)[::order]
        assert told(found) == told(alone)
        for one, two in zip(found, alone):
            np.testing.assert_allclose(one.log_likelihoods, two.log_likelihoods, atol=2e-5)
            assert one.is_greedy == two.is_greedy
    own = scorer(policy, batch_size=16, buckets=None)
    splits = [own.cut(question) for question in asked]
    batches = {numbers: values_SNO for numbers, values_SNO, _ in own.run(params, splits)}
    assert sorted(map(len, batches)) == [1, 11]
    # Of a run that is gone on with, the rest comes out the same to the last bit.
    (rest,) = own.run(params, splits, known=(0, 3, 5))
    (whole,) = [numbers for numbers in batches if len(numbers) > 1]
    assert set(rest[0]) == set(whole) - {3, 5}
    places = [whole.index(number) for number in rest[0]]
    count = rest[1].shape[2]
    np.testing.assert_array_equal(batches[whole][:, places, :count], rest[1])


def test_flat_rows_score_as_their_questions_in_any_order():
    asked = [*questions(True, 4), *questions(False, 0)]
    rows = [
        (number, OptionRow(question.question_id, question.prompt_tokens, option))
        for number, question in enumerate(asked)
        for option in question.options
    ]
    expected = [value for result in score(asked) for value in result.scores]
    order = np.random.default_rng(0).permutation(len(rows))
    found = scorer().score_rows(tiny.make()[1], [rows[at][1] for at in order])
    np.testing.assert_allclose(found, [expected[at] for at in order], atol=1e-5)


def test_stacked_parameters_score_as_each_alone():
    params, other = tiny.make()[1], tiny.make(seed=1)[1]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), params, other)
    asked = questions(True)
    together = scorer().score_stacked(stacked, asked)
    assert told(together[0]) == told(score(asked))
    assert told(together[1]) == told(scorer().score(other, asked))
    assert told(together[0]) != told(together[1])


def test_compilations_are_bounded_by_the_shapes():
    # Functions are shared by scorers configured alike: no other test has this maximum.
    policy = ScoringPolicy(max_length=39)
    letters = scorer(policy, buckets=(8, 24))
    for count in (40, 25):
        letters.score(tiny.make()[1], questions(True, count))
    assert letters.compilations == 2
    again = scorer(policy, buckets=(8, 24))
    again.score(tiny.make(seed=1)[1], questions(True, 40))
    assert again.compilations == 0


def test_the_same_option_twice_is_a_near_tie():
    (found,) = score([Question(0, (5, 6), [(3, 4), (3, 4)])])
    assert found.is_near_tie
    assert found.log_likelihoods[0] == pytest.approx(found.log_likelihoods[1], abs=1e-5)


def test_truncation_is_recorded_and_changes_no_other_question():
    policy = ScoringPolicy(max_length=21, bos_id=0, truncation="left")
    prompt = tiny.prompts(1, seed=9)[0] * 30
    short, cut = score(
        [Question("s", (5, 6), [[1], [2]]), Question("c", prompt, [[1], [2, 3]])],
        policy,
        buckets=None,
    )
    assert (short.truncated, cut.truncated) == (0, len(prompt) - 18)
    assert cut.policy == policy
    (by_hand,) = score([Question("c", prompt[-18:], [[1], [2, 3]])], policy, buckets=None)
    np.testing.assert_allclose(cut.log_likelihoods, by_hand.log_likelihoods, atol=1e-5)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Question("far", (1,) * 40, [[1]]), r"'far'.*40 prompt .*max_length = 40.*\"left\""),
        (Question("wide", (1,) * 30, [[1]]), r"'wide'.*30 positions.*bucket, 24.*at least 30"),
        (Question("alien", (1, 48), [[1]]), r"'alien'.*1 to 48.*\[0, 48\)"),
        (Question("empty", (1,), [[1], []]), "'empty': option 1 has no tokens"),
    ],
)
def test_bad_questions_are_refused_before_anything_compiles(question, message):
    broken = scorer(buckets=(24,))
    with pytest.raises(ValueError, match=message):
        broken.score(
            tiny.make()[1],
            [Question("good", (1, 2), [[1], [2]]), question],
            lambda done, total: pytest.fail("something ran"),
        )
    assert broken.compilations == 0


def test_an_option_that_does_not_fit_after_the_unconditional_prompt_is_told_by_the_check():
    policy = ScoringPolicy(max_length=12, unconditional_prompt=tuple(range(10)))
    asked = [Question("fits", (1,), [[1], [2, 3]]), Question("no", (1,), [[1], [2, 3, 4]])]
    scorer(policy, buckets=None).check(asked[:1])
    with pytest.raises(ValueError, match=r"unconditional prompt': .* max_length = 12"):
        scorer(policy, buckets=None).check(asked)


def test_diverged_parameters_are_no_ranking():
    params = tiny.make()[1]
    params["decoder_norm"]["scale"] = params["decoder_norm"]["scale"] * float("nan")
    with pytest.raises(NonFiniteError, match=r"'question \d+'.*nan"):
        scorer().score(params, questions(True))


ON_EIGHT_DEVICES = """
import warnings
warnings.simplefilter("error")
import jax
from teacherlm_jax.partitioning import mesh
from tests.scoring import test_rank
assert jax.device_count() == 8
devices = mesh.make_mesh(mesh.MeshConfig(data=2, fsdp=2, tensor=2))
for single in (True, False):
    print(test_rank.told(test_rank.score(test_rank.questions(single), mesh=devices)))
"""


def test_eight_devices_rank_the_same():
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
    expected = [str(told(score(questions(single)))) for single in (True, False)]
    assert done.stdout.splitlines() == expected


def test_options_are_scored_without_their_question_each_different_one_once():
    policy = ScoringPolicy(max_length=40, bos_id=0, unconditional_prompt=(7, 8))
    asked = [*questions(True, 4), *questions(False, 5)]
    found = score(asked, policy, buckets=None)
    alone = score([Question(n, (7, 8), q.options) for n, q in enumerate(asked)], buckets=None)
    with_bos = score([Question(n, (0, 7, 8), q.options) for n, q in enumerate(asked)], buckets=None)
    for one, expected, without_bos in zip(found, with_bos, alone):
        np.testing.assert_allclose(one.unconditional, expected.log_likelihoods, atol=1e-5)
        assert np.abs(np.subtract(one.unconditional, without_bos.log_likelihoods)).max() > 1e-3
        np.testing.assert_allclose(
            one.normalised("unconditional"),
            np.subtract(one.log_likelihoods, expected.log_likelihoods),
            atol=1e-5,
        )
    assert all(result.unconditional is None for result in score(asked, buckets=None))
