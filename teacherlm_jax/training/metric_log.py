"""Means of metrics over periods of steps, exact over restarts.

Shape legend: R replicas (absent where one run is trained), P components of a mixture.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

MetricRow = dict[str, Any]


@dataclasses.dataclass
class MetricLog:
    """Rows of metrics, each over a period of steps.

    Attributes:
      period: steps that a row covers.
      learning_rate: learning rate of an update, logged with the row.
      components: names of the mixture's components, whose losses are counted apart.
      utilization: model FLOPs utilization of so many tokens a second; None where it is not known.
      rows: {"step", "loss", "accuracy", "gradient_norm", "parameter_norm", "learning_rate",
        "target_tokens", "tokens", "skipped", "tokens_per_second"}, with "component_loss" (name ->
        loss) and "model_flops_utilization" where they are known; a list a value where replicas
        train together, but tokens and skipped updates are those of all of them. Norms are of the
        row's last update, None where it was left out; means are None where nothing counted, and
        the rate where the row holds a process' first step alone, which compiles.
      evaluations: rows of validation metrics, {"step", ...}.
      sums: of the row under way, JSON values. Saved and put back with `rows`, they make the row
        what it would be without a restart.
    """

    period: int
    learning_rate: Callable[[int], float]
    components: Sequence[str] = ()
    utilization: Callable[[float], float | None] = lambda tokens_per_second: None
    rows: list[MetricRow] = dataclasses.field(default_factory=list)
    evaluations: list[MetricRow] = dataclasses.field(default_factory=list)
    sums: dict[str, Any] = dataclasses.field(default_factory=dict)
    _tokens: float = 0.0  # since `_since`, in this process
    _since: float = dataclasses.field(default_factory=time.monotonic)
    _is_started: bool = False

    def add(self, step: int, metrics: dict[str, Any], is_last: bool) -> MetricRow | None:
        """Takes a step's metrics (numpy); returns a row where a period ends.

        What an update that was left out would have counted does not count, but for its tokens.
        """
        skipped = np.asarray(metrics.get("skipped", 0.0), np.float64)
        values = {
            "loss": metrics["loss"].total,
            "accuracy": metrics["accuracy"].total,
            "weight": metrics["loss"].weight,
        }
        if self.components:
            values["component_loss"] = metrics["component_loss"].total
            values["component_weight"] = metrics["component_loss"].weight
        values = {name: np.asarray(value, np.float64) for name, value in values.items()}
        counted = {name: np.where(skipped, 0.0, value) for name, value in values.items()}
        counted |= {"tokens": np.asarray(metrics["tokens"], np.float64), "skipped": skipped}
        sums = {
            name: value + np.asarray(self.sums.get(name, 0.0)) for name, value in counted.items()
        }
        self._tokens += float(np.sum(metrics["tokens"]))
        if step % self.period and not is_last:
            self.sums = {name: value.tolist() for name, value in sums.items()}
            if not self._is_started:  # The first step of a process compiles: no rate of steps.
                self._tokens, self._since, self._is_started = 0.0, time.monotonic(), True
            return None
        row = self._row(step, metrics, sums)
        self.sums, self._tokens, self._since = {}, 0.0, time.monotonic()
        self._is_started = True
        self.rows.append(row)
        return row

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Around what is no step, such as a save: it does not count in the rate of tokens."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._since += time.monotonic() - began

    def _row(self, step: int, metrics: dict[str, Any], sums: dict[str, np.ndarray]) -> MetricRow:
        skipped = float(np.sum(sums["skipped"]))
        rate = None
        if self._is_started:
            rate = self._tokens / max(time.monotonic() - self._since, 1e-9)
        row = {
            "step": step,
            "loss": _finite(_mean(sums["loss"], sums["weight"])),
            "accuracy": _finite(_mean(sums["accuracy"], sums["weight"])),
            "gradient_norm": _finite(metrics["gradient_norm"]),
            "parameter_norm": _finite(metrics["parameter_norm"]),
            # The optimizer's schedule waits while updates are left out.
            "learning_rate": self.learning_rate(max(step - 1 - int(self.skipped + skipped), 0)),
            "target_tokens": float(np.sum(sums["weight"])),
            "tokens": float(np.sum(sums["tokens"])),
            "skipped": skipped,
            "tokens_per_second": rate,
        }
        if self.components:
            row["component_loss"] = self._component_losses(sums)
        utilization = None if rate is None else self.utilization(rate)
        if utilization is not None:
            row["model_flops_utilization"] = utilization
        return row

    @property
    def skipped(self) -> float:
        """Updates that were left out, in finished rows."""
        return sum(row["skipped"] for row in self.rows)

    def _component_losses(self, sums: dict[str, np.ndarray]) -> dict[str, float]:
        """Mean loss of each component that the row's steps saw."""
        return {
            name: float(total / weight)
            for name, total, weight in zip(
                self.components, sums["component_loss"], sums["component_weight"], strict=True
            )
            if weight > 0
        }


def _mean(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """NaN where nothing counted."""
    return np.where(weight > 0, total, np.nan) / np.maximum(weight, 1e-9)


def _finite(value: Any) -> Any:
    """JSON values, None for what is not finite."""
    array = np.asarray(value, np.float64).astype(object)
    return np.where(np.isfinite(array.astype(np.float64)), array, np.array(None)).tolist()


def scalars(row: MetricRow) -> dict[str, float]:
    """A row as the flat scalars that TensorBoard shows: "loss", "loss/TASK", ...

    Of replicas the mean is shown.
    """
    flat: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            stem = name.replace("component_", "")
            flat |= {f"{stem}/{key}": float(item) for key, item in value.items()}
        elif name != "step" and value is not None:
            flat[name] = float(np.mean(np.asarray(value, np.float64)))  # None counts as NaN.
    return flat


def at_checkpoint(log: MetricLog, step: int) -> dict[str, float] | None:
    """The scalars that stand for a checkpoint: its evaluation's, and those of the last whole row.

    None where there is neither yet.
    """
    found: dict[str, float] = {}
    if log.rows:
        found |= scalars(log.rows[-1])
    if log.evaluations and log.evaluations[-1]["step"] == step:
        found |= scalars(log.evaluations[-1])
    return found or None
