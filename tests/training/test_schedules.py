"""Learning rates against their formulas in float64, and against T5X's and optax's ways to them."""

import jax
import numpy as np
import optax
import pytest

from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training import schedules

STEPS = (0, 1, 5, 10, 11, 20, 29, 30, 31, 1000, 250_000)


def check(schedule, formula):
    traced = jax.jit(schedule)
    for step in STEPS:
        expected = formula(np.float64(step))
        np.testing.assert_allclose(
            schedule(step), expected, rtol=1e-5, atol=1e-9, err_msg=str(step)
        )
        np.testing.assert_allclose(traced(step), expected, rtol=1e-5, atol=1e-9, err_msg=str(step))


def test_warmup_constant_rises_in_a_line_and_stays():
    check(schedules.warmup_constant(6e-6, 10), lambda step: 6e-6 * min(step / 10, 1.0))


def test_warmup_inverse_square_root_is_that_of_t5x():
    def t5x(step, base=0.5, warmup=10):
        """The factors constant * linear_warmup * rsqrt_decay."""
        return base * min(1.0, step / warmup) / np.sqrt(max(step, warmup))

    check(schedules.warmup_inverse_square_root(0.5 / np.sqrt(10), 10), t5x)
    found = schedules.warmup_inverse_square_root(0.4, 100)
    assert [float(found(step)) for step in (50, 100, 400, 10_000)] == pytest.approx(
        [0.2, 0.4, 0.2, 0.04]
    )


def test_warmup_linear_rises_in_a_line_and_falls_in_one():
    def formula(step):
        along = min((step - 10) / 20, 1.0)
        return 0.04 * step if step < 10 else 0.4 - (0.4 - 0.04) * along

    check(schedules.warmup_linear(0.4, train_steps=30, warmup_steps=10, end_fraction=0.1), formula)
    assert float(schedules.warmup_linear(0.4, 30, 10)(30)) == 0.0


def test_warmup_cosine_rises_in_a_line_and_falls_along_a_cosine():
    def formula(step):
        along = min((step - 10) / 20, 1.0)
        cosine = 0.04 + (0.4 - 0.04) * 0.5 * (1 + np.cos(np.pi * along))
        return 0.04 * step if step < 10 else cosine

    found = schedules.warmup_cosine(0.4, train_steps=30, warmup_steps=10, end_fraction=0.1)
    check(found, formula)
    of_optax = optax.warmup_cosine_decay_schedule(0.0, 0.4, 10, 30, 0.04)
    for step in range(40):
        np.testing.assert_allclose(found(step), of_optax(step), rtol=1e-6)


def test_configurations_may_call_it_a_function_of_the_optimizer():
    assert optimizer_lib.warmup_cosine is schedules.warmup_cosine


def test_without_a_warmup_the_first_step_has_the_peak():
    for schedule in (
        schedules.warmup_constant(0.4, 0),
        schedules.warmup_linear(0.4, 30, 0),
        schedules.warmup_cosine(0.4, 30, 0),
    ):
        assert float(schedule(0)) == pytest.approx(0.4)


@pytest.mark.parametrize("name", ["warmup_linear", "warmup_cosine"])
@pytest.mark.parametrize("warmup", [30, 31])
def test_a_warmup_that_leaves_no_steps_is_an_error(name, warmup):
    message = rf"{name}: warmup_steps = {warmup} must .* train_steps = 30"
    with pytest.raises(ValueError, match=message):
        getattr(schedules, name)(0.4, train_steps=30, warmup_steps=warmup)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("warmup_constant", (-0.1, 5), r"warmup_constant: peak_value = -0.1, .* at least 0"),
        ("warmup_constant", (float("nan"), 5), r"peak_value = nan"),
        ("warmup_constant", ("6e-6", 5), r"peak_value = '6e-6'"),
        ("warmup_constant", (0.1, -1), r"warmup_steps = -1, .* at least 0"),
        ("warmup_constant", (0.1, 1e3), r"warmup_steps = 1000.0, .* whole number"),
        ("warmup_inverse_square_root", (0.1, 0), r"warmup_steps = 0, .* at least 1"),
        ("warmup_inverse_square_root", (float("inf"), 1), r"root: peak_value = inf"),
        ("warmup_linear", (0.1, 0, 0), r"warmup_linear: train_steps = 0, .* at least 1"),
        ("warmup_linear", (0.1, 30, -1), r"warmup_steps = -1"),
        ("warmup_linear", (0.1, 30, 3, 1.5), r"end_fraction = 1.5, .* from 0 to 1"),
        ("warmup_cosine", (0.1, 30, 3, True), r"warmup_cosine: end_fraction = True"),
        ("warmup_cosine", (True, 30, 3), r"warmup_cosine: peak_value = True"),
    ],
)
def test_a_value_out_of_range_is_an_error(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(schedules, name)(*arguments)
