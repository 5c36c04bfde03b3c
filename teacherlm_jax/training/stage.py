"""A stage of training: what it trains on, for how long, with which optimizer, from where."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.data import batches as batches_lib
from teacherlm_jax.data import ledger
from teacherlm_jax.data.whole_numbers import check_whole
from teacherlm_jax.partitioning import hosts
from teacherlm_jax.training import loop as loop_lib
from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training.placement import Placement
from teacherlm_jax.training.state import TrainState

Tree = Any

PREVIOUS = "previous"


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a curriculum.

    Attributes:
      name: names the stage's folder in MODEL_DIR.
      mixture_or_task_name: a name in seqio's registries.
      task_feature_lengths: tokens of `inputs` and `targets`; a row holds their sum.
      train_steps: updates.
      batch_size: rows an update, over all hosts.
      optimizer: `Muon` or `AdamW` of `training.optimizer`.
      initialize_from: "previous", the name of an earlier stage, or a checkpoint folder. The first
        stage's "previous" is the curriculum's initial_checkpoint_path, or random parameters.
      split: of every task.
      loss_on: "targets", or "all" for inputs and targets.
      seed: order of the data, and random parameters.
      z_loss: see `loss.cross_entropy`.
    """

    name: str
    mixture_or_task_name: str
    task_feature_lengths: Mapping[str, int]
    train_steps: int
    batch_size: int
    optimizer: optimizer_lib.Optimizer
    initialize_from: str = PREVIOUS
    split: str = "train"
    loss_on: str = "targets"
    seed: int = 0
    z_loss: float = 0.0

    def __post_init__(self) -> None:
        owner = f"stage {self.name!r}"
        check_whole(owner, train_steps=self.train_steps, batch_size=self.batch_size)
        check_whole(owner, least=0, seed=self.seed)
        if not isinstance(self.name, str) or not self.name or "/" in self.name:
            raise ValueError(f"stage name {self.name!r} must be text without '/'.")
        if not hasattr(self.optimizer, "build"):
            raise ValueError(
                f"stage {self.name!r}: optimizer = {self.optimizer!r}; bind one of "
                "training.optimizer, as in @optimizer.Muon()."
            )

    @property
    def row_length(self) -> int:
        """Positions of a row."""
        return sum(self.task_feature_lengths.values())


def describe(value: Any, steps: int) -> Any:
    """JSON values that tell one configuration from another.

    A learning-rate schedule is a function: it is described by what it gives along the way.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: describe(getattr(value, f.name), steps) for f in dataclasses.fields(value)
        }
        return {"type": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): describe(item, steps) for key, item in value.items()}
    if callable(value):
        along = (0, 1, steps // 4, steps // 2, steps)
        # Six digits: the last ones depend on the device and on the version of JAX.
        return {str(step): float(f"{float(value(step)):.6g}") for step in along}
    return value


@dataclasses.dataclass(frozen=True)
class StageRun:
    """How and where a stage is run.

    Attributes:
      stage: what to train.
      placement: on what.
      directory: the stage's folder: `checkpoints/`, `metrics.jsonl`.
      policy: when to save.
      log_period: steps a metric row covers.
      metadata: kept with every checkpoint.
      replica_seeds: where replicas are trained, what tells the dropout noise of each apart.
    """

    stage: Stage
    placement: Placement
    directory: epath.Path
    policy: manager.SavePolicy
    log_period: int
    metadata: Mapping[str, Any]
    replica_seeds: Sequence[int] | None = None


@dataclasses.dataclass(frozen=True)
class StageResult:
    """What a stage leaves.

    Attributes:
      params: parameters after the last step, on the mesh.
      rows: metric rows.
      seconds: wall-clock time, summed over restarts; what ran after the last save is not in it.
    """

    params: Tree
    rows: list[dict[str, Any]]
    seconds: float


def run(
    run: StageRun, batches: batches_lib.Batches, start_params: Callable[[], Tree]
) -> StageResult:
    """Trains a stage, from its newest whole checkpoint where there is one.

    Args:
      run: what, on what and where.
      batches: step -> (ids, arrays).
      start_params: makes or reads the parameters to start from; called only without a checkpoint.

    Returns:
      The result; the last checkpoint is on disk by then.
    """
    began = time.monotonic()
    stage, placement = run.stage, run.placement
    abstract = placement.abstract_state
    abstract_rest = {"step": abstract.step, "opt_state": abstract.opt_state}
    log = loop_lib.MetricLog(
        run.log_period, lambda step: optimizer_lib.learning_rate_at(stage.optimizer, step)
    )
    with manager.Checkpoints(run.directory / "checkpoints", run.policy) as checkpoints:
        restored = checkpoints.restore_newest(abstract.params, abstract_rest)
        spent = 0.0
        if restored is None:
            first, state = 0, placement.start(start_params())
        else:
            first, params, rest = restored
            metadata = checkpoints.metadata(first)
            log.rows, log.sums = metadata["rows"], metadata["row_under_way"]
            spent = metadata.get("seconds", 0.0)
            state = TrainState(rest["step"], params, rest["opt_state"])

        def save(step: int, state: TrainState) -> None:
            rest = {"step": state.step, "opt_state": state.opt_state}
            # A copy: written in the background, the checkpoint would show rows of later steps.
            metadata = {
                **run.metadata,
                "rows": list(log.rows),
                "row_under_way": log.sums,
                "seconds": spent + time.monotonic() - began,
            }
            checkpoints.save(step, state.params, rest, metadata)
            _write_metrics(run.directory, log.rows)

        loop = loop_lib.Loop(
            step_fn=placement.step_fn,
            place=placement.place,
            save=save,
            is_due=lambda step: checkpoints.is_due(step, stage.train_steps),
            log=log,
            description=stage.name,
        )
        rng = placement.rng(stage.seed, run.replica_seeds)
        state = loop.run(state, batches, first, stage.train_steps, rng)
    # Again: a kill between the last save and here may have left no file, or a shorter one.
    _write_metrics(run.directory, log.rows)
    return StageResult(state.params, log.rows, spent + time.monotonic() - began)


def _write_metrics(directory: epath.Path, rows: list[dict[str, Any]]) -> None:
    path = directory / "metrics.jsonl"

    def write() -> None:
        ledger.remove(path)
        ledger.write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))

    hosts.on_first_host(f"writing {path}", write)
