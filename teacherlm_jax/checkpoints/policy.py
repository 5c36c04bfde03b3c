"""When checkpoints are saved, and which of them are kept."""

import dataclasses
import datetime
import difflib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from orbax.checkpoint import checkpoint_managers as orbax_policies

MODES = ("min", "max")

# What was measured at a checkpoint: name -> value, None where it was no finite number.
Metrics = Mapping[str, float | None]


@dataclasses.dataclass(frozen=True)
class SavePolicy:
    """When to save and what to keep.

    Attributes:
      period: steps between two saves; the last step is always saved.
      keep: newest checkpoints to keep; None keeps all.
      asynchronous: write in the background while training goes on.
      minutes: wall-clock minutes since the last save after which one is due as well; None: steps
        alone count.
      keep_best: best checkpoints to keep beside the newest, so that going on after a stop never
        loses steps.
      best_metric: what they are the best by: a name among the metrics given to
        `Checkpoints.save`. A value that is not finite never counts.
      best_mode: "min" or "max": which values of it are good.
    """

    period: int = 1000
    keep: int | None = 2
    asynchronous: bool = True
    minutes: float | None = None
    keep_best: int = 0
    best_metric: str = "loss"
    best_mode: str = "min"

    def __post_init__(self) -> None:
        if self.period < 1 or (self.keep is not None and self.keep < 1):
            raise ValueError(
                f"SavePolicy(period={self.period}, keep={self.keep}): both must be at least 1 "
                "(keep=None keeps all)."
            )
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise ValueError(
                f"SavePolicy(minutes={self.minutes}): must be above 0, or None to save by steps "
                "alone."
            )
        if self.keep_best < 0 or self.best_mode not in MODES or not self.best_metric:
            raise ValueError(
                f"SavePolicy(keep_best={self.keep_best}, best_metric={self.best_metric!r}, "
                f"best_mode={self.best_mode!r}): keep_best must be at least 0 (0 keeps the newest "
                "alone), best_metric the name of a metric, and best_mode 'min' or 'max'."
            )


def check_best_metric(policy: SavePolicy, known: Collection[str]) -> None:
    """Checks, before anything is run, that the best are kept by what will be measured.

    Args:
      policy: the policy.
      known: names of what a run will measure.

    Raises:
      ValueError: it is none of these.
    """
    if policy.keep_best and policy.best_metric not in known:
        near = difflib.get_close_matches(policy.best_metric, known, n=3) or sorted(known)[:8]
        raise ValueError(
            f"SavePolicy.best_metric is {policy.best_metric!r}, but what is measured is called "
            f"otherwise; the nearest are {near}. Name one of them (validation_* needs "
            "Stage.eval_period), or set keep_best = 0."
        )


def finite_metrics(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as a checkpoint keeps them: strict JSON has neither NaN nor infinity."""
    values = {name: float(value) for name, value in metrics.items()}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def best(history: Mapping[int, Metrics], metric: str, mode: str) -> int | None:
    """The step whose metric is best, the latest among equals; None where no step has it.

    Args:
      history: step -> what was measured there.
      metric: a name.
      mode: one of `MODES`.
    """
    sign = -1.0 if mode == "min" else 1.0
    values = {step: found.get(metric) for step, found in history.items()}
    ranked = [(sign * value, step) for step, value in values.items() if value is not None]
    return max(ranked)[1] if ranked else None


def preservation(
    policy: SavePolicy, metrics_of: Callable[[int], Metrics]
) -> orbax_policies.PreservationPolicy:
    """Orbax's policies for what is kept: the newest, and the best.

    Args:
      policy: says how many.
      metrics_of: step -> what was measured there.
    """
    newest = orbax_policies.LatestN(policy.keep)
    if not policy.keep_best:
        return newest
    best_ones = orbax_policies.BestN(
        get_metric_fn=lambda metrics: float(metrics[policy.best_metric]),
        reverse=policy.best_mode == "min",
        n=policy.keep_best,
        keep_checkpoints_without_metrics=False,
    )
    either = orbax_policies.AnyPreservationPolicy([newest, best_ones])
    return _WithMetrics(either, policy.best_metric, metrics_of)


@dataclasses.dataclass(frozen=True)
class _Checkpoint:
    """Fits `orbax_policies.PolicyCheckpointInfo`."""

    step: int
    metrics: dict[str, Any] | None
    time: datetime.datetime


@dataclasses.dataclass(frozen=True)
class _WithMetrics:
    """Gives a policy our metrics: Orbax knows none of what an earlier process saved."""

    policy: orbax_policies.PreservationPolicy
    metric: str
    metrics_of: Callable[[int], Metrics]

    def should_preserve(
        self,
        checkpoints: Sequence[orbax_policies.PolicyCheckpointInfo],
        *,
        context: orbax_policies.PreservationContext,
    ) -> Sequence[bool]:
        known = []
        for checkpoint in checkpoints:
            value = self.metrics_of(checkpoint.step).get(self.metric)
            metrics = None if value is None else {self.metric: value}
            known.append(_Checkpoint(checkpoint.step, metrics, checkpoint.time))
        return self.policy.should_preserve(known, context=context)
