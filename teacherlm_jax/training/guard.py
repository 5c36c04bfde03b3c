"""Updates that are not finite: left out and counted, and the end of a run after many in a row."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging

from teacherlm_jax.metrics.finite import NonFiniteError

_SHOWN_IDS = 4


@dataclasses.dataclass
class NonFiniteGuard:
    """Watches what the step left out.

    The step leaves an update out where its loss or gradient is not finite. A few such batches are
    no reason to lose a night; many in a row mean that the parameters are spoilt.

    Attributes:
      most_in_row: so many updates left out in a row end the run; 1: the first one does.
      keep_ids: writes down all examples of the step that ends the run; returns where.
      in_row: updates left out in a row up to now; saved and put back, so that a restart counts on.
    """

    most_in_row: int
    keep_ids: Callable[[int, Sequence[str]], str] | None = None
    in_row: int = 0

    def check(self, step: int, metrics: dict[str, Any], ids: Sequence[str], saved: int) -> None:
        """Takes the metrics of a step (numpy).

        Args:
          step: updates done.
          metrics: of the jitted step.
          ids: the examples of the step.
          saved: updates of the last checkpoint; 0: there is none.

        Raises:
          NonFiniteError: too many were left out in a row, or parameters are not finite: a finite
            gradient times a large rate may overflow, and then nothing is left to go on from.
        """
        broken = _not_finite({"parameter norm": metrics["parameter_norm"]})
        skipped = bool(np.any(metrics["skipped"]))
        self.in_row = self.in_row + 1 if skipped else 0
        if not skipped and not broken:
            return
        found = broken or _not_finite(
            {"loss": metrics["loss"].total, "gradient norm": metrics["gradient_norm"]}
        )
        what = f"{found} at step {step} (examples {_shown(ids)})"
        if not broken and self.in_row < self.most_in_row:
            logging.warning(
                "%s: this update is left out, %d in a row; %d end the run.",
                what,
                self.in_row,
                self.most_in_row,
            )
            return
        where = ""
        if self.keep_ids is not None and len(ids) > _SHOWN_IDS:
            where = f" All examples of the step are in {self.keep_ids(step, ids)}."
        count = f", the {_ordinal(self.in_row)} update in a row" if self.in_row > 1 else ""
        raise NonFiniteError(
            f"{what}{count}; it must be finite. "
            + (f"The last good checkpoint is step {saved}. " if saved else "Nothing is saved. ")
            + "Lower the learning rate or the gradient clip, in a new folder that starts from "
            f"there (INITIAL_CHECKPOINT_PATH), or look at these examples.{where}"
        )


def _not_finite(values: dict[str, Any]) -> str:
    """What is not finite first, as in "loss is nan"; empty where all are finite."""
    for name, value in values.items():
        if not np.all(np.isfinite(value)):
            return f"{name} is {value}"
    return ""


def _shown(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN_IDS]) + (", ..." if len(ids) > _SHOWN_IDS else "")


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"
