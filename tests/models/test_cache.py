import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.models import cache as cache_lib
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from tests.models import families, reference
from tests.models.reference import SMALL


def test_every_row_is_written_at_its_own_place():
    rng = np.random.default_rng(0)
    cached, new = rng.random((4, 7, 2, 3)), rng.random((4, 3, 2, 3))
    starts = np.array([0, 4, 2, 3])
    expected = cached.copy()
    for row, start in enumerate(starts):
        expected[row, start : start + 3] = new[row]
    found = cache_lib.append(jnp.float32(cached), jnp.float32(new), jnp.asarray(starts))
    np.testing.assert_array_equal(found, np.float32(expected))


def test_what_would_pass_the_end_is_dropped():
    cached = jnp.zeros((3, 4, 1, 1))
    new = jnp.arange(1.0, 4.0)[None, :, None, None] * jnp.ones((3, 1, 1, 1))
    found = cache_lib.append(cached, new, jnp.asarray([2, 3, 9]))[..., 0, 0]
    # Neither clamped to the last place nor begun again at the first.
    assert found.tolist() == [[0, 0, 1, 2], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_the_buffer_keeps_its_type():
    cached = jnp.zeros((1, 2, 1, 1), jnp.bfloat16)
    found = cache_lib.append(cached, jnp.full((1, 1, 1, 1), 1.001), jnp.asarray([1]))
    assert found.dtype == jnp.bfloat16 and found[0, 1, 0, 0] == 1


@pytest.mark.parametrize("scan_layers", [True, False])
@pytest.mark.parametrize(("dtype", "num_kv_heads"), [("float32", None), ("bfloat16", 1)])
def test_an_empty_cache_holds_zeros_and_an_index_a_row(scan_layers, dtype, num_kv_heads):
    model = Decoder(
        DecoderConfig(**SMALL, scan_layers=scan_layers, dtype=dtype, num_kv_heads=num_kv_heads)
    )
    cache = cache_lib.init_cache(model, batch=5, length=9)
    names = ["layers"] if scan_layers else ["layers_0", "layers_1"]
    layers = (2,) if scan_layers else ()
    assert sorted(cache) == sorted(["cache_index", *names])
    index = cache["cache_index"]
    assert (index.shape, index.dtype) == ((1, 5) if scan_layers else (5,), jnp.int32)
    for name in names:
        block = cache[name]["self_attention"]
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), block) == {
            "cached_key": ((*layers, 5, 9, num_kv_heads or 3, 8), jnp.dtype(dtype)),
            "cached_value": ((*layers, 5, 9, num_kv_heads or 3, 8), jnp.dtype(dtype)),
        }
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(cache))


def test_a_cache_costs_no_parameters():
    """176 billion of them would not fit here."""
    config = DecoderConfig(
        vocab_size=250_880, num_layers=70, emb_dim=14336, num_heads=112, head_dim=128, mlp_dim=57344
    )
    cache = cache_lib.init_cache(Decoder(config), batch=1, length=2)
    key = cache["layers"]["self_attention"]["cached_key"]
    assert key.shape == (70, 1, 2, 112, 128) and not jnp.any(key)


# The cache in use

PROMPT, TOTAL = 7, families.MAX_POSITIONS
LENGTHS = np.array([1, 4, 6])


def model_and_params(scan_layers, family="bloom"):
    config = families.config(family, scan_layers=scan_layers)
    return Decoder(config), families.params_of(config)


def texts():
    """Three rows of [TOTAL] tokens, id 0 among them."""
    tokens = np.random.default_rng(5).integers(1, 40, (3, TOTAL))
    tokens[0, 0] = tokens[1, 3] = tokens[2, 1] = tokens[2, 9] = 0
    return tokens


def uncached(tokens, both_ways=None, family="bloom"):
    """Float64 logits of whole rows."""
    model, params = model_and_params(False, family)
    return reference.decoder(model.config, params, tokens, both_ways=both_ways)


@functools.cache
def fill(scan_layers, family="bloom"):
    """(tokens, lengths, both ways) -> (logits, cache of TOTAL places)."""
    model, params = model_and_params(scan_layers, family)

    def run(tokens, lengths, both_ways):
        logits, variables = model.apply(
            {"params": params, "cache": cache_lib.init_cache(model, len(tokens), TOTAL)},
            tokens,
            tokens,
            decoder_causal_attention=both_ways,
            enable_dropout=False,
            prefill=True,
            prefill_lengths=lengths,
            mutable=["cache"],
        )
        return logits, variables["cache"]

    # Unrolled layers share the operations that are compiled for all families.
    return jax.jit(run) if scan_layers else run


@functools.cache
def add(scan_layers, family="bloom"):
    """(cache, tokens) -> (logits, cache)."""
    model, params = model_and_params(scan_layers, family)

    def run(cache, tokens):
        logits, variables = model.apply(
            {"params": params, "cache": cache},
            tokens,
            tokens,
            enable_dropout=False,
            decode=True,
            max_decode_length=TOTAL,
            mutable=["cache"],
        )
        return logits, variables["cache"]

    return jax.jit(run) if scan_layers else run


def prompts():
    """The texts' beginnings, of unequal lengths, with arbitrary tokens where they end."""
    tokens = texts()[:, :PROMPT]
    return np.where(np.arange(PROMPT) < LENGTHS[:, None], tokens, 31)


# Layers scanned where positions are told apart: by distance, by place, by a window.
WAYS = [(name, False) for name in families.NAMES]
WAYS += [(name, True) for name in ("bloom", "opt_350m", "mistral")]


@pytest.mark.parametrize("prefix", [False, True], ids=["causal", "prefix"])
@pytest.mark.parametrize(("family", "scan_layers"), WAYS)
def test_cached_logits_are_the_uncached_ones(family, scan_layers, prefix):
    """A prompt of 1, 4 and 6 tokens at once, then 1, 7 and 1 tokens a row.

    The longest row is full before the last of them, which leaves the other two as they are.
    """
    whole = texts()
    both_ways = (np.arange(TOTAL) < LENGTHS[:, None]).astype(int) * prefix
    expected = uncached(whole, both_ways, family)
    logits, cache = fill(scan_layers, family)(prompts(), LENGTHS, both_ways[:, :PROMPT])
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(logits[row, :length], expected[row, :length], atol=1e-5)
    written = LENGTHS.copy()
    for count in (1, 7, 1):
        places = np.minimum(written[:, None] + np.arange(count), TOTAL - 1)
        tokens = np.take_along_axis(whole, places, axis=1)
        logits, cache = add(scan_layers, family)(cache, tokens)
        has_room = written + count <= TOTAL
        found = np.take_along_axis(expected, places[..., None], axis=1)
        np.testing.assert_allclose(logits[has_room], found[has_room], atol=1e-5)
        assert np.isfinite(logits).all()
        written += count
        assert np.ravel(cache["cache_index"]).tolist() == written.tolist()
    assert has_room.tolist() == [True, True, False]


def test_a_cache_is_no_longer_than_the_learned_positions():
    model, _ = model_and_params(True, "opt")
    assert cache_lib.init_cache(model, 3, TOTAL)["cache_index"].shape == (1, 3)
    with pytest.raises(ValueError, match=r"tokens of a row = 15.*14 learned positions"):
        cache_lib.init_cache(model, 3, TOTAL + 1)


def test_the_call_that_makes_a_cache_gives_the_usual_logits():
    model, params = model_and_params(True, "mistral")

    @jax.jit
    def make(tokens):
        return model.apply(
            {"params": params}, tokens, enable_dropout=False, decode=True, mutable=["cache"]
        )

    logits, variables = make(texts())
    np.testing.assert_allclose(logits, uncached(texts(), family="mistral"), atol=1e-5)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(variables["cache"]))


def test_a_row_is_alone_in_its_cache():
    """Other rows' tokens, lengths and places change nothing in a row."""
    whole = texts()
    lengths = np.array([3, 4, 5])
    logits, cache = fill(True)(prompts(), LENGTHS, np.zeros_like(prompts()))
    turned = prompts()[[2, 1, 0]]
    others, other_cache = fill(True)(turned, lengths, np.zeros_like(turned))
    np.testing.assert_array_equal(logits[1], others[1])
    for _ in range(2):
        logits, cache = add(True)(cache, whole[:, 4:5])
        others, other_cache = add(True)(other_cache, whole[[2, 1, 0], 4:5])
        np.testing.assert_array_equal(logits[1], others[1])


def test_without_lengths_the_whole_prompt_counts():
    model, params = model_and_params(False)
    variables = {"params": params, "cache": cache_lib.init_cache(model, 3, TOTAL)}

    @jax.jit
    def indices_of(tokens):
        cache = model.apply(variables, tokens, prefill=True, mutable=["cache"])[1]["cache"]
        return cache["cache_index"]

    assert indices_of(texts()[:, :PROMPT]).tolist() == [PROMPT] * 3


@pytest.mark.parametrize("scan_layers", [True, False])
def test_t5x_finds_its_names_and_gets_the_cache_it_asks_for(scan_layers):
    """It makes a cache by decoding ones without one."""
    model, params = model_and_params(scan_layers)
    ones = jnp.ones((3, TOTAL), jnp.int32)
    made = jax.eval_shape(
        lambda: model.apply(
            {"params": params}, ones, ones, enable_dropout=False, decode=True, mutable=["cache"]
        )[1]["cache"]
    )
    assert made == jax.eval_shape(lambda: cache_lib.init_cache(model, 3, TOTAL))
    assert {path[-1].key for path, _ in jax.tree.leaves_with_path(made)} == {
        "cached_key",
        "cached_value",
        "cache_index",
    }


def test_t5x_can_decode_with_it():
    """What `t5x.models.DecoderOnlyModel.predict_batch_with_aux` does, to the first new token.

    It fills a cache as long as the rows with all but each row's last token (the mask of the inputs
    stands where targets would), repeats the rows for two samples (axis 1 where `scan_layers`, the
    index too), and decodes one token a row.
    """
    model, params = model_and_params(True)
    inputs_mask = (np.arange(TOTAL) < LENGTHS[:, None]).astype(np.int32)
    inputs = texts() * inputs_mask
    _, variables = jax.jit(
        lambda cache: model.apply(
            {"params": params, "cache": cache},
            decoder_input_tokens=inputs,
            decoder_target_tokens=inputs_mask,
            decoder_causal_attention=None,
            mutable=["cache"],
            enable_dropout=False,
            prefill=True,
            prefill_lengths=jnp.asarray(LENGTHS - 1),
        )
    )(cache_lib.init_cache(model, 3, TOTAL))
    cache_offset = 1 if model.scan_layers else 0
    cache = jax.tree.map(lambda leaf: jnp.repeat(leaf, 2, cache_offset), variables["cache"])
    last = np.repeat(texts()[np.arange(3), LENGTHS - 1], 2)[:, None]
    logits, _ = add(True)(cache, last)
    expected = uncached(texts())[np.arange(3), LENGTHS - 1]
    np.testing.assert_allclose(logits[:, 0], np.repeat(expected, 2, axis=0), atol=1e-5)
