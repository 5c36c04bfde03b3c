import math

import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.models import positions
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.positions import RopeScaling
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


# Rotary positions

# Llama 3.1's own numbers, and a short row for whose sake few wavelengths are kept.
SCALINGS = [
    None,
    RopeScaling("linear", 4.0),
    RopeScaling("llama3", 8.0),
    RopeScaling("llama3", 32.0, 2.0, 3.0, original_max_positions=64),
]


def rotary_config(rotary_dim, theta=10_000.0, scaling=None):
    return DecoderConfig(
        **{**reference.SMALL, "head_dim": 16, "position": "rotary"},
        rotary_dim=rotary_dim,
        rope_theta=theta,
        rope_scaling=scaling,
    )


@pytest.mark.parametrize("scaling", SCALINGS, ids=repr)
@pytest.mark.parametrize(("rotary_dim", "theta"), [(128, 500_000.0), (16, 10_000.0), (2, 10.0)])
def test_frequencies_are_those_of_the_reference(rotary_dim, theta, scaling):
    found = positions.rotary_frequencies(rotary_dim, theta, scaling)
    cfg = DecoderConfig(
        **{**reference.SMALL, "head_dim": 128},
        position="rotary",
        rotary_dim=rotary_dim,
        rope_theta=theta,
        rope_scaling=scaling,
    )
    expected = [reference.rotary_frequency(cfg, pair) for pair in range(rotary_dim // 2)]
    assert found.shape == (rotary_dim // 2,) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_frequencies_by_hand():
    np.testing.assert_allclose(positions.rotary_frequencies(4, 10_000.0), [1, 0.01], rtol=1e-6)
    linear = positions.rotary_frequencies(4, 10_000.0, RopeScaling("linear", 5.0))
    np.testing.assert_allclose(linear, [0.2, 0.002], rtol=1e-6)
    # Wavelengths 6.28, 62.8, 628, 6283; below 40 kept, above 160 stretched; 62.8 is read as
    # (160 / 62.83 - 1) / 3 = 0.5155 of itself and 0.4845 of an eighth.
    llama = positions.rotary_frequencies(
        8, 10_000.0, RopeScaling("llama3", 8.0, original_max_positions=160)
    )
    np.testing.assert_allclose(llama, [1, 0.057606, 0.00125, 0.000125], rtol=1e-4)


@pytest.mark.parametrize("rotary_dim", [2, 6, 16])
def test_rotation_turns_pairs_as_complex_numbers(rotary_dim):
    cfg = rotary_config(rotary_dim)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 3, 16)).astype(np.float32)
    places = rng.integers(0, 100, (2, 5))
    angles = positions.rotary_angles(
        positions.rotary_frequencies(rotary_dim, cfg.rope_theta), jnp.asarray(places)
    )
    found = np.asarray(positions.rotate(jnp.asarray(x), *angles))
    for b, t, h in np.ndindex(2, 5, 3):
        expected = reference.rotate(cfg, x[b, t, h], places[b, t])
        np.testing.assert_allclose(found[b, t, h], expected, atol=3e-5)
    np.testing.assert_array_equal(found[..., rotary_dim:], x[..., rotary_dim:])
    assert (np.abs(found - x)[..., :rotary_dim].max(axis=(0, 1, 2)) > 0.01).all()


def test_products_of_rotated_heads_depend_on_distance_alone():
    rng = np.random.default_rng(1)
    query, key = (rng.standard_normal((1, 1, 1, 16)).astype(np.float32) for _ in range(2))
    frequencies = positions.rotary_frequencies(16, 10_000.0)

    def product(query_place, key_place):
        one, two = (
            positions.rotate(
                jnp.asarray(x), *positions.rotary_angles(frequencies, jnp.full((1, 1), place))
            )
            for x, place in ((query, query_place), (key, key_place))
        )
        return float(jnp.vdot(one, two))

    assert product(7, 3) == pytest.approx(product(1007, 1003), abs=1e-3)
    assert product(0, 0) == pytest.approx(float(np.vdot(query, key)), abs=1e-5)
    assert abs(product(7, 3) - product(3, 7)) > 0.1


def test_rotation_is_in_float32_whatever_the_type():
    """At position 4095 the angles of bfloat16 would be off by whole turns."""
    x = jnp.ones((1, 1, 1, 16), jnp.bfloat16)
    angles = positions.rotary_angles(
        positions.rotary_frequencies(16, 10_000.0), jnp.full((1, 1), 4095)
    )
    found = positions.rotate(x, *angles)
    assert found.dtype == jnp.bfloat16 and angles[0].dtype == jnp.float32
    expected = reference.rotate(rotary_config(16), np.ones(16), 4095)
    np.testing.assert_allclose(np.float64(found)[0, 0, 0], expected, atol=0.01)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "yarn", "factor": 2.0}, "kind = 'yarn'.*linear or llama3"),
        ({"kind": "linear", "factor": 0.5}, "factor = 0.5.*at least 1"),
        ({"kind": "linear", "factor": math.nan}, "factor = nan.*at least 1"),
        ({"kind": "linear", "factor": math.inf}, "factor = inf.*at least 1"),
        ({"kind": "linear", "factor": "8"}, "factor = '8'.*number"),
        ({"kind": "linear", "factor": True}, "factor = True.*number"),
        ({"kind": "llama3", "factor": 8.0, "low_freq_factor": None}, "low_freq.*None.*number"),
        ({"kind": "llama3", "factor": 8.0, "low_freq_factor": 4.0}, "low_freq_factor = 4.0.*below"),
        ({"kind": "llama3", "factor": 8.0, "low_freq_factor": 0.0}, "low_freq_factor = 0.0.*above"),
        (
            {"kind": "llama3", "factor": 8.0, "original_max_positions": 0},
            "original_max_positions = 0.*whole number of at least 1",
        ),
        (
            {"kind": "llama3", "factor": 8.0, "original_max_positions": 8192.0},
            r"original_max_positions = 8192\.0.*whole number of at least 1",
        ),
    ],
)
def test_scalings_are_checked(fields, message):
    with pytest.raises(ValueError, match=f"RopeScaling.{message}"):
        RopeScaling(**fields)
