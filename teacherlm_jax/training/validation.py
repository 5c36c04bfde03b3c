"""Loss on data that is not trained on, while training.

Shape legend: P components of a mixture.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from teacherlm_jax.data.batches import Arrays, Batches

Tree = Any

# Of the names of metrics; what keeps the best checkpoint is named with it.
PREFIX = "validation_"


@dataclasses.dataclass(frozen=True)
class Validation:
    """One pass over a validation split.

    Attributes:
      batches: one epoch, the last batch filled up with empty rows.
      steps: how many of them are seen.
      period: updates between two passes.
      sums_fn: jitted (params, batch) -> sums, as `step.loss_sums`.
      place: puts a batch's arrays onto the mesh.
      rows: of the batch, those that this host holds; None: all.
    """

    batches: Batches
    steps: int
    period: int
    sums_fn: Callable[[Tree, Any], Any]
    place: Callable[[Arrays], Any]
    rows: Sequence[int] | None = None

    def run(self, params: Tree, is_stopped: Callable[[], bool]) -> dict[str, Any] | None:
        """Mean loss and accuracy per weighted token; every example counts once.

        Args:
          params: of the model.
          is_stopped: asked after each batch, on all hosts; True: give up.

        Returns:
          "validation_loss", "validation_accuracy", and where there are several components
          "validation_component_loss": name -> loss. None where it was given up.
        """
        total: Any = None
        waiting: Any = None
        for step in range(self.steps):
            placed = self.place(self.batches(step, self.rows)[1])
            sums = self.sums_fn(params, placed)
            total = _added(total, waiting)  # Of the batch before, while this one runs.
            waiting = sums
            if is_stopped():
                return None
        total = _added(total, waiting)
        found: dict[str, Any] = {
            f"{PREFIX}{name}": float(total[name].total / max(total[name].weight, 1e-9))
            for name in ("loss", "accuracy")
        }
        if "component_loss" in total:
            parts = total["component_loss"]
            found[f"{PREFIX}component_loss"] = {
                name: float(loss / weight)
                for name, loss, weight in zip(
                    self.batches.components, parts.total, parts.weight, strict=True
                )
                if weight > 0
            }
        return found


def _added(total: Any, sums: Any) -> Any:
    """Sums on the host in float64, where many batches lose nothing."""
    if sums is None:
        return total
    fetched = jax.tree.map(lambda x: np.asarray(x, np.float64), jax.device_get(sums))
    return fetched if total is None else jax.tree.map(np.add, total, fetched)
