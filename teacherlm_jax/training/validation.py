"""What a model is measured by while it trains: loss on held-out data, and what it does.

Shape legend: P components of a mixture.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from teacherlm_jax.data.batches import Arrays, Batches
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.partitioning import rules as rules_lib

Tree = Any

# Of the names of metrics; what keeps the best checkpoint is named with it.
PREFIX = "validation_"

# Asked after each batch, on all hosts; True: give up.
IsStopped = Callable[[], bool]


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """The model that a stage trains, as an evaluation has to know it before anything is compiled.

    Attributes:
      config: of the decoder.
      mesh: devices that hold its parameters.
      rules: by which they are placed.
      bos_id: token before every text; None: none.
      name_values: fills braces in names of mixtures, as in `Curriculum.name_values`.
    """

    config: DecoderConfig
    mesh: Mesh
    rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES
    bos_id: int | None = None
    name_values: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class PreparedEvaluation(Protocol):
    """An evaluation whose data is read and known to fit the model."""

    @property
    def metric_names(self) -> Collection[str]:
        """What it measures, as TensorBoard shows it and the best checkpoint is chosen by."""

    @property
    def digest(self) -> str:
        """Names its data by content: hosts must have the same."""

    def __call__(self, params: Tree, is_stopped: IsStopped) -> dict[str, Any] | None:
        """Measures.

        Args:
          params: of the model, on its mesh.
          is_stopped: see `IsStopped`.

        Returns:
          What a row of metrics holds, names beginning with `PREFIX`; "component_" in the name of a
          dictionary is left out in those of its scalars. None where it was given up.
        """


class ModelEvaluation(Protocol):
    """What a stage may be given to measure its model by, beside the loss."""

    def prepare(self, model: TrainedModel) -> PreparedEvaluation:
        """Reads its data; compiles nothing.

        Raises:
          ValueError: it cannot be done with this model.
        """


@dataclasses.dataclass(frozen=True)
class Validation:
    """What is measured on a period.

    Attributes:
      period: updates between two times.
      parts: what is measured, one after another; each as `PreparedEvaluation.__call__`.
    """

    period: int
    parts: Sequence[Callable[[Tree, IsStopped], dict[str, Any] | None]]

    def run(self, params: Tree, is_stopped: IsStopped) -> dict[str, Any] | None:
        """Measures all; None where one was given up, so that a row is whole or is not there."""
        found: dict[str, Any] = {}
        for part in self.parts:
            measured = part(params, is_stopped)
            if measured is None:
                return None
            found |= measured
        return found


@dataclasses.dataclass(frozen=True)
class HeldOutLoss:
    """One pass over a validation split.

    Attributes:
      batches: one epoch, the last batch filled up with empty rows.
      steps: how many of them are seen.
      sums_fn: jitted (params, batch) -> sums, as `step.loss_sums`.
      place: puts a batch's arrays onto the mesh.
      rows: of the batch, those that this host holds; None: all.
    """

    batches: Batches
    steps: int
    sums_fn: Callable[[Tree, Any], Any]
    place: Callable[[Arrays], Any]
    rows: Sequence[int] | None = None

    def __call__(self, params: Tree, is_stopped: IsStopped) -> dict[str, Any] | None:
        """Mean loss and accuracy per weighted token; every example counts once.

        Args:
          params: of the model.
          is_stopped: see `IsStopped`.

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
