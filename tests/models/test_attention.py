import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.models import attention
from teacherlm_jax.models.decoder import Decoder
from tests.models import families, reference
from tests.models.families import forward, params_of, places, unrolled_params

LENGTH = 8
PLACES = np.broadcast_to(np.arange(LENGTH), (3, LENGTH))
SEGMENTS = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 2, 2, 2, 0, 0],
        [0, 0, 7, 7, 7, 3, 3, 3],
    ]
)
BOTH_WAYS = np.array(
    [
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 0, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 1, 1, 0, 0],
    ]
)


@pytest.mark.parametrize("segment_ids", [None, SEGMENTS], ids=["one text", "packed"])
@pytest.mark.parametrize("both_ways", [None, BOTH_WAYS], ids=["causal", "prefix"])
@pytest.mark.parametrize("window", [None, 1, 3, 20])
def test_mask_says_who_may_see_whom(segment_ids, both_ways, window):
    given = [None if array is None else jnp.asarray(array) for array in (segment_ids, both_ways)]
    mask = attention.attention_mask(attention.Segments(jnp.asarray(PLACES), *given), window)
    mask = np.broadcast_to(mask, (3, 1, LENGTH, LENGTH))
    for row in range(3):
        ids = None if segment_ids is None else segment_ids[row]
        prefix = None if both_ways is None else both_ways[row]
        expected = [
            [reference.may_see(query, key, ids, prefix, window) for key in range(LENGTH)]
            for query in range(LENGTH)
        ]
        np.testing.assert_array_equal(mask[row, 0], expected)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kv_heads", [6, 3, 2, 1])
def test_attention_is_the_loop_in_float64(kv_heads):
    """Query heads 0..Q-1 read the first key-value head, the next Q the second, and so on."""
    rng = np.random.default_rng(0)
    query = normal(rng, 2, 4, 6, 8)
    key, value = normal(rng, 2, 6, kv_heads, 8), normal(rng, 2, 6, kv_heads, 8)
    bias = normal(rng, 2, 6, 4, 6)
    mask = rng.random((2, 1, 4, 6)) < 0.6
    mask[..., 0] = True
    found = attention.dot_product_attention(*map(jnp.asarray, (query, key, value, mask, bias)))
    owners = [group for group in range(kv_heads) for _ in range(6 // kv_heads)]
    for b, t, h in np.ndindex(2, 4, 6):
        seen = np.flatnonzero(mask[b, 0, t])
        scores = key[b, seen, owners[h]].astype(np.float64) @ query[b, t, h] / np.sqrt(8)
        weights = np.exp(scores + bias[b, h, t, seen])
        expected = weights @ value[b, seen, owners[h]] / weights.sum()
        np.testing.assert_allclose(found[b, t, h], expected, atol=1e-5)


def test_what_is_masked_weighs_exactly_nothing():
    rng = np.random.default_rng(1)
    query, key, value = (normal(rng, 1, 5, 2, 4) for _ in range(3))
    mask = jnp.tril(jnp.ones((5, 5), bool))[None, None]
    usual = attention.dot_product_attention(query, key, value, mask, None)
    key[:, 3:], value[:, 3:] = 1e4, -1e6
    changed = attention.dot_product_attention(query, key, value, mask, None)
    np.testing.assert_array_equal(usual[:, :3], changed[:, :3])
    assert np.abs(usual[:, 3:] - changed[:, 3:]).max() > 1e5


def test_a_row_that_sees_nothing_is_finite():
    rng = np.random.default_rng(2)
    query, key, value = (normal(rng, 1, 3, 2, 4) for _ in range(3))
    mask = jnp.zeros((1, 1, 3, 3), bool)
    assert np.isfinite(attention.dot_product_attention(query, key, value, mask, None)).all()


def test_bfloat16_inputs_have_float32_logits():
    """Logits of a few hundred, less than a unit apart: bfloat16 could not tell them apart."""
    query = jnp.full((1, 1, 1, 4), 16.0, jnp.bfloat16)
    key = jnp.asarray([[16, 16, 16, 16], [16, 16, 16, 16.125]], jnp.bfloat16)[None, :, None]
    value = jnp.asarray([[0.0], [1.0]], jnp.bfloat16)[None, :, None]
    mask = jnp.ones((1, 1, 1, 2), bool)
    found = attention.dot_product_attention(query, key, value, mask, None)
    assert found.dtype == jnp.bfloat16
    assert float(found[0, 0, 0, 0]) == pytest.approx(1 / (1 + np.exp(-1)), abs=0.01)


# In a model

ROW = 12


def packed_rows(seed):
    """Two texts of random lengths: each padded on the right and on the left, and both in a row."""
    rng = np.random.default_rng(seed)
    one, two = (rng.integers(0, 40, length) for length in rng.integers(3, 7, 2))
    one[rng.integers(len(one))] = two[-1] = 0
    left = [rng.integers(1, ROW - len(text) + 1) for text in (one, two)]
    spans = [
        [(0, one)],
        [(0, two)],
        [(0, one), (len(one), two)],
        [(0, two), (ROW - len(one), one)],
        [(left[0], one)],
        [(left[1], two)],
    ]
    tokens = rng.integers(0, 40, (len(spans), ROW))
    segment_ids = np.zeros_like(tokens)
    for row, texts in enumerate(spans):
        for number, (begin, text) in enumerate(texts, 1):
            tokens[row, begin : begin + len(text)] = text
            segment_ids[row, begin : begin + len(text)] = number
    return (one, two), spans, tokens, segment_ids


def run(cfg, tokens, segment_ids):
    rest = (segment_ids, places(segment_ids), np.zeros_like(tokens))
    return np.asarray(forward(cfg)(params_of(cfg), tokens, *rest))


@pytest.mark.parametrize("family", families.NAMES)
def test_padding_packing_and_batch_change_no_logits(family):
    cfg = families.config(family)
    unrolled = families.config(family, scan_layers=False)
    for seed in (3, 4, 5):
        texts, spans, tokens, segment_ids = packed_rows(seed)
        logits = run(cfg, tokens, segment_ids)
        alone = [
            reference.decoder(unrolled, unrolled_params(unrolled), text[None])[0] for text in texts
        ]
        for row, texts_of_row in enumerate(spans):
            for begin, text in texts_of_row:
                expected = alone[0 if text is texts[0] else 1]
                found = logits[row, begin : begin + len(text)]
                np.testing.assert_allclose(found, expected, atol=1e-5)
    # A batch of one row, not jitted: the operations are compiled once for all families.
    single = Decoder(unrolled).apply(
        {"params": unrolled_params(unrolled)}, tokens[:1], enable_dropout=False
    )
    np.testing.assert_allclose(single[0, : len(texts[0])], alone[0], atol=1e-5)


@pytest.mark.parametrize("family", families.NAMES)
def test_editing_a_segment_leaves_the_others_unchanged(family):
    cfg = families.config(family)
    for seed in (6, 7):
        (one, two), _, tokens, segment_ids = packed_rows(seed)
        usual = run(cfg, tokens, segment_ids)
        is_edited = segment_ids == 0  # Padding, wherever it is.
        is_edited[2, len(one) :] = True
        is_edited[3, : len(two)] = True
        changed = run(cfg, np.where(is_edited, (tokens + 7) % 40, tokens), segment_ids)
        np.testing.assert_array_equal(changed[~is_edited], usual[~is_edited])
        for row, begin, length in ((2, len(one), len(two)), (3, 0, len(two))):
            edited = slice(begin, begin + length)
            assert np.abs(changed[row, edited] - usual[row, edited]).max() > 0.1


def test_id_0_is_a_token_like_any_other():
    cfg = families.config("bloom")
    (one, _), _, tokens, segment_ids = packed_rows(3)
    tokens[0, 1] = 0
    usual = run(cfg, tokens, segment_ids)
    edited = tokens.copy()
    edited[0, 1] = 5
    changed = run(cfg, edited, segment_ids)
    np.testing.assert_array_equal(changed[0, :1], usual[0, :1])
    # The token itself and all after it feel the change: a 0 was neither masked nor skipped.
    difference = np.abs(changed[0, 1 : len(one)] - usual[0, 1 : len(one)])
    assert (difference.max(axis=-1) > 1e-3).all()
