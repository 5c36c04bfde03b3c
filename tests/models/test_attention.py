import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.models import attention
from tests.models import reference

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
def test_mask_says_who_may_see_whom(segment_ids, both_ways):
    given = [None if array is None else jnp.asarray(array) for array in (segment_ids, both_ways)]
    mask = attention.attention_mask(attention.Segments(jnp.asarray(PLACES), *given))
    mask = np.broadcast_to(mask, (3, 1, LENGTH, LENGTH))
    for row in range(3):
        ids = None if segment_ids is None else segment_ids[row]
        prefix = None if both_ways is None else both_ways[row]
        expected = [
            [reference.may_see(query, key, ids, prefix) for key in range(LENGTH)]
            for query in range(LENGTH)
        ]
        np.testing.assert_array_equal(mask[row, 0], expected)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def test_attention_is_the_loop_in_float64():
    rng = np.random.default_rng(0)
    query, key, value = normal(rng, 2, 4, 3, 8), normal(rng, 2, 6, 3, 8), normal(rng, 2, 6, 3, 8)
    bias = normal(rng, 2, 3, 4, 6)
    mask = rng.random((2, 1, 4, 6)) < 0.6
    mask[..., 0] = True
    found = attention.dot_product_attention(*map(jnp.asarray, (query, key, value, mask, bias)))
    for b, t, h in np.ndindex(2, 4, 3):
        seen = np.flatnonzero(mask[b, 0, t])
        scores = key[b, seen, h].astype(np.float64) @ query[b, t, h] / np.sqrt(8)
        weights = np.exp(scores + bias[b, h, t, seen])
        expected = weights @ value[b, seen, h] / weights.sum()
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
