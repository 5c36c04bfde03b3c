"""Learning rates over the steps of a stage.

Each function makes an optax schedule (step -> learning rate) for gin to bind as an optimizer's
`learning_rate`: `@schedules.warmup_linear()`. Steps count from 0 within a stage. All begin with a
line from 0 up to `peak_value`, which step `warmup_steps` is the first to have. A plain number is a
constant rate, as the authors of TeacherLM (arXiv 2310.19019) use: 6e-6.
"""

import math

import jax
import jax.numpy as jnp
import optax

from teacherlm_jax.data.whole_numbers import check_whole


def warmup_constant(peak_value: float, warmup_steps: int) -> optax.Schedule:
    """Linear warm-up from 0, then the peak for good.

    Args:
      peak_value: learning rate after the warm-up.
      warmup_steps: steps of the warm-up; 0: none.

    Raises:
      ValueError: a value is out of range.
    """
    _check_rate("warmup_constant", peak_value)
    check_whole("warmup_constant", least=0, warmup_steps=warmup_steps)
    return _after_warmup(peak_value, warmup_steps, optax.constant_schedule(peak_value))


def warmup_inverse_square_root(peak_value: float, warmup_steps: int) -> optax.Schedule:
    """Linear warm-up from 0, then down with the inverse square root of the step.

    At step s: peak_value * min(s / warmup_steps, sqrt(warmup_steps / s)), as in Vaswani et al. 2017
    (arXiv 1706.03762, section 5.3). T5X's factors "constant * linear_warmup * rsqrt_decay" are
    b * min(1, s / w) / sqrt(max(s, w)): the same for peak_value = b / sqrt(w). It has no end, so it
    needs no number of steps.

    Args:
      peak_value: learning rate after the warm-up.
      warmup_steps: steps of the warm-up, at least 1; more make the decay slower too.

    Raises:
      ValueError: a value is out of range.
    """
    name = "warmup_inverse_square_root"
    _check_rate(name, peak_value)
    check_whole(name, least=1, warmup_steps=warmup_steps)

    def decay(steps_after: jax.typing.ArrayLike) -> jax.Array:
        return peak_value * jnp.sqrt(warmup_steps / (warmup_steps + jnp.asarray(steps_after)))

    return _after_warmup(peak_value, warmup_steps, decay)


def warmup_linear(
    peak_value: float, train_steps: int, warmup_steps: int, end_fraction: float = 0.0
) -> optax.Schedule:
    """Linear warm-up from 0, then a line down to a fraction of the peak.

    Args:
      peak_value: learning rate after the warm-up.
      train_steps: steps in all; the end is reached there.
      warmup_steps: steps of the warm-up; 0: none.
      end_fraction: of the peak, at the end.

    Raises:
      ValueError: a value is out of range, or the warm-up leaves no steps to decay over.
    """
    _check_decay("warmup_linear", peak_value, train_steps, warmup_steps, end_fraction)
    down = optax.linear_schedule(peak_value, peak_value * end_fraction, train_steps - warmup_steps)
    return _after_warmup(peak_value, warmup_steps, down)


def warmup_cosine(
    peak_value: float, train_steps: int, warmup_steps: int = 50, end_fraction: float = 0.05
) -> optax.Schedule:
    """Linear warm-up from 0, then a cosine down to a fraction of the peak.

    Args:
      peak_value: learning rate after the warm-up.
      train_steps: steps in all; the end is reached there.
      warmup_steps: steps of the warm-up; 0: none.
      end_fraction: of the peak, at the end.

    Raises:
      ValueError: a value is out of range, or the warm-up leaves no steps to decay over.
    """
    _check_decay("warmup_cosine", peak_value, train_steps, warmup_steps, end_fraction)
    down = optax.cosine_decay_schedule(peak_value, train_steps - warmup_steps, end_fraction)
    return _after_warmup(peak_value, warmup_steps, down)


def _after_warmup(peak_value: float, warmup_steps: int, schedule: optax.Schedule) -> optax.Schedule:
    up = optax.linear_schedule(0.0, peak_value, warmup_steps)
    return optax.join_schedules([up, schedule], [warmup_steps])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_rate(owner: str, peak_value: float) -> None:
    if not _is_number(peak_value) or not 0 <= peak_value < math.inf:
        raise ValueError(
            f"{owner}: peak_value = {peak_value!r}, but it must be a number of at least 0."
        )


def _check_decay(
    owner: str, peak_value: float, train_steps: int, warmup_steps: int, end_fraction: float
) -> None:
    _check_rate(owner, peak_value)
    check_whole(owner, train_steps=train_steps)
    check_whole(owner, least=0, warmup_steps=warmup_steps)
    if warmup_steps >= train_steps:
        raise ValueError(
            f"{owner}: warmup_steps = {warmup_steps} must be at least 0 and below train_steps = "
            f"{train_steps}, to leave steps to decay over."
        )
    if not _is_number(end_fraction) or not 0 <= end_fraction <= 1:
        raise ValueError(
            f"{owner}: end_fraction = {end_fraction!r}, but it must be a number from 0 to 1, of "
            "the peak."
        )
