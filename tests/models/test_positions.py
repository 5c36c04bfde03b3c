import math

import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.models import positions
from tests.models import reference


def bloom_slopes(num_heads):
    """As published with BLOOM: bases that are raised to powers, in float32."""
    below = 2 ** math.floor(math.log2(num_heads))
    base = np.float32(2 ** (-(2 ** -(math.log2(below) - 3))))
    slopes = base ** np.arange(1, 1 + below, dtype=np.float32)
    if below == num_heads:
        return slopes
    base = np.float32(2 ** (-(2 ** -(math.log2(2 * below) - 3))))
    powers = np.arange(1, 1 + 2 * min(below, num_heads - below), 2, dtype=np.float32)
    return np.concatenate([slopes, base**powers])


@pytest.mark.parametrize("num_heads", [1, 2, 3, 8, 12, 16, 32, 112])
def test_slopes_are_those_of_bloom_and_of_the_paper(num_heads):
    slopes = positions.alibi_slopes(num_heads)
    assert slopes.shape == (num_heads,) and slopes.dtype == np.float32
    np.testing.assert_allclose(slopes, bloom_slopes(num_heads), rtol=2e-6)
    np.testing.assert_allclose(slopes, reference.alibi_slopes(num_heads), rtol=1e-6)


def test_slopes_by_hand():
    eight = [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]
    np.testing.assert_array_equal(positions.alibi_slopes(8), np.float32(eight))
    between = [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    np.testing.assert_array_equal(positions.alibi_slopes(12), np.float32(eight + between))
    large = positions.alibi_slopes(112)
    np.testing.assert_allclose(large[[0, 63, 64, 111]], [2**-0.125, 2**-8, 2**-0.0625, 2**-5.9375])


def test_bias_is_minus_slope_times_distance():
    slopes = np.float32([0.5, 0.25])
    queries, keys = np.array([[7, 2]]), np.array([[2, 5, 7]])
    bias = positions.alibi_bias(jnp.asarray(slopes), jnp.asarray(queries), jnp.asarray(keys))
    distance = np.array([[5, 2, 0], [0, 3, 5]])
    assert bias.dtype == jnp.float32
    np.testing.assert_array_equal(bias[0], -slopes[:, None, None] * distance)


def test_bias_depends_on_differences_alone():
    slopes = jnp.asarray(positions.alibi_slopes(4))
    places = jnp.arange(6)[None]
    usual = positions.alibi_bias(slopes, places, places)
    far = positions.alibi_bias(slopes, places + 100_000, places + 100_000)
    np.testing.assert_array_equal(usual, far)
