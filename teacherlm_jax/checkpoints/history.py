"""What was measured at each checkpoint of a directory, kept with their metadata."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from absl import logging
from etils import epath

from teacherlm_jax.checkpoints import policy as policy_lib
from teacherlm_jax.checkpoints import reading
from teacherlm_jax.checkpoints.errors import CheckpointError, is_of_storage, reason

METADATA = "metadata"

# Of the metadata: what was measured; by which of these, and how, the best are chosen.
_METRICS, _BEST_BY = "metrics", "best_by"


@dataclasses.dataclass
class History:
    """Metrics of checkpoints.

    Attributes:
      metrics: step -> what was measured there.
      metric: by which of these the run that wrote the newest checkpoint chose the best.
      mode: and how: "min" or "max".
    """

    metrics: dict[int, policy_lib.Metrics] = dataclasses.field(default_factory=dict)
    metric: str = policy_lib.SavePolicy.best_metric
    mode: str = policy_lib.SavePolicy.best_mode


def to_save(policy: policy_lib.SavePolicy, metrics: policy_lib.Metrics) -> dict[str, Any]:
    """The part of a checkpoint's metadata that `read` reads."""
    return {_METRICS: metrics, _BEST_BY: [policy.best_metric, policy.best_mode]}


def read(directory: epath.Path, steps: list[int]) -> History:
    """Reads it on every host; nothing was measured at checkpoints whose metadata is damaged.

    Args:
      directory: holds the step folders.
      steps: ascending.

    Raises:
      CheckpointError: the storage fails, on this host or another.
    """

    def work() -> History:
        found = History()
        for step in steps:
            try:
                metadata = reading.values(directory / str(step) / METADATA)
            except Exception as error:
                if is_of_storage(error):
                    raise
                logging.warning("No metrics of %s: %s", directory / str(step), reason(error))
                continue
            found.metrics[step] = _numbers(metadata.get(_METRICS))
            match metadata.get(_BEST_BY):
                case [str(metric), "min" | "max" as mode]:
                    found.metric, found.mode = metric, mode
        return found

    def explain(error: Exception) -> CheckpointError:
        return reading.unreadable(directory, error, "mend it")

    return reading.together(directory, work, explain)


def _numbers(found: Any) -> dict[str, float | None]:
    """Other people's metadata may hold anything there."""
    if not isinstance(found, Mapping):
        return {}
    return {
        str(name): float(value) if isinstance(value, int | float) else None
        for name, value in found.items()
    }
