import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.metrics.sums import WeightedSum


def summed(values, weights):
    return WeightedSum(jnp.sum(values * weights), jnp.sum(weights))


def test_parts_of_any_size_add_up_to_the_weighted_mean():
    rng = np.random.default_rng(0)
    values, weights = rng.random(100), rng.integers(0, 4, 100)
    whole = summed(values[:3], weights[:3])
    for begin, end in ((3, 50), (50, 51), (51, 100)):
        whole = whole + summed(values[begin:end], weights[begin:end])
    assert float(whole.mean()) == pytest.approx(np.average(values, weights=weights), rel=1e-6)
    # A mean of means would have been another number.
    means = [summed(values[part], weights[part]).mean() for part in (slice(3), slice(3, 100))]
    assert abs(np.mean(means) - np.average(values, weights=weights)) > 0.01


def test_nothing_has_mean_0_and_no_nan():
    nothing = summed(jnp.ones(3), jnp.zeros(3))
    assert float(nothing.mean()) == 0
    part = summed(jnp.ones(3), jnp.asarray([0.0, 1.0, 1.0]))
    assert float((nothing + part).mean()) == 1


def test_sums_pass_through_jit_and_grad():
    values = jnp.asarray([1.0, 2.0, 4.0])
    weights = jnp.asarray([1.0, 0.0, 3.0])
    assert float(jax.jit(summed)(values, weights).mean()) == pytest.approx(13 / 4)
    slope = jax.grad(lambda x: summed(x, weights).mean())(values)
    np.testing.assert_allclose(slope, weights / 4)
