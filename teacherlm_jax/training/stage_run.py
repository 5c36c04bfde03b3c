"""Runs one stage: from its newest checkpoint, or from parameters, to its last update."""

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from etils import epath

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.data import batches as batches_lib
from teacherlm_jax.data import ledger
from teacherlm_jax.data.whole_numbers import check_whole
from teacherlm_jax.metrics import flops
from teacherlm_jax.metrics.writers import MetricWriter
from teacherlm_jax.partitioning import hosts
from teacherlm_jax.training import agreement, guard, metric_log, profile
from teacherlm_jax.training import loop as loop_lib
from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training.goodput import Goodput
from teacherlm_jax.training.placement import Placement
from teacherlm_jax.training.stage import Stage
from teacherlm_jax.training.state import TrainState
from teacherlm_jax.training.validation import Validation

Tree = Any

METRICS, VALIDATION = "metrics.jsonl", "validation.jsonl"


@dataclasses.dataclass(frozen=True)
class Watch:
    """How a run is watched; nothing of it changes the parameters but `max_skipped_in_row`.

    Attributes:
      log_period: steps that a row of metrics covers.
      max_skipped_in_row: updates left out in a row, since they are not finite, that end the run.
      tensorboard: whether rows go to TensorBoard's event files too.
      profile_steps: (START, STOP), updates of which a trace is made: see `profile.step_range`;
        None: none.
      peak_flops: operations a second that a device can do, for the model FLOPs utilization; None:
        what `flops.peak_flops` knows of it.
    """

    log_period: int = 100
    max_skipped_in_row: int = 10
    tensorboard: bool = True
    profile_steps: Sequence[int] | None = None
    peak_flops: float | None = None

    def __post_init__(self) -> None:
        check_whole("Watch", log_period=self.log_period, max_skipped_in_row=self.max_skipped_in_row)
        profile.step_range(self.profile_steps)
        if self.peak_flops is not None and not self.peak_flops > 0:
            raise ValueError(
                f"Watch.peak_flops = {self.peak_flops!r}, but it must be above 0, or None."
            )


@dataclasses.dataclass(frozen=True)
class StageRun:
    """How and where a stage is run.

    Attributes:
      stage: what to train; its train_steps are a number here.
      placement: on what.
      directory: the stage's folder: `checkpoints/`, `metrics.jsonl`.
      policy: when to save.
      metadata: kept with every checkpoint.
      watch: how it is watched.
      replica_seeds: where replicas are trained, what tells the dropout noise of each apart.
      validation: what is measured while training; None: nothing.
      began: when this stage's wall-clock time began, by `time.monotonic`; None: when it is run.
    """

    stage: Stage
    placement: Placement
    directory: epath.Path
    policy: manager.SavePolicy
    metadata: Mapping[str, Any]
    watch: Watch = Watch()
    replica_seeds: Sequence[int] | None = None
    validation: Validation | None = None
    began: float | None = None


@dataclasses.dataclass(frozen=True)
class StageResult:
    """What a stage leaves.

    Attributes:
      params: parameters after the last step, on the mesh.
      rows: metric rows.
      evaluations: rows of validation metrics.
      seconds: wall-clock time, summed over restarts; what ran after the last save is not in it.
      best_checkpoint: the folder of the best, where the policy keeps it.
    """

    params: Tree
    rows: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    seconds: float
    best_checkpoint: str | None = None


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

    Raises:
      NonFiniteError: too many updates in a row were not finite.
      CheckpointError: a checkpoint cannot be read or written.
      KeyboardInterrupt: Ctrl-C or SIGTERM came; the state up to there is saved.
    """
    began = time.monotonic() if run.began is None else run.began
    stage = run.stage
    with manager.Checkpoints(run.directory / "checkpoints", run.policy) as checkpoints:
        session = _Session(run, checkpoints, began)
        first, state = session.restore(start_params)
        with session.watched(first) as loop:
            rng = run.placement.rng(stage.seed, run.replica_seeds)
            state = loop.run(state, batches, first, _steps_of(stage), rng)
            with loop.measure("save"):
                checkpoints.close()
        best = checkpoints.best_step() if run.policy.keep_best else None
    # Again: a kill between the last save and here may have left no file, or a shorter one.
    session.write_metrics()
    log = session.log
    folder = None if best is None else str(run.directory / "checkpoints" / str(best))
    return StageResult(state.params, log.rows, log.evaluations, session.seconds, folder)


class _Session:
    """What one process does for a stage: what it was left, and what it leaves."""

    def __init__(self, run: StageRun, checkpoints: manager.Checkpoints, began: float) -> None:
        self._run, self._checkpoints, self._began = run, checkpoints, began
        self._spent = 0.0
        self._guard = guard.NonFiniteGuard(run.watch.max_skipped_in_row, self._keep_ids)
        self.log = metric_log.MetricLog(
            run.watch.log_period,
            lambda step: optimizer_lib.learning_rate_at(run.stage.optimizer, step),
            run.placement.counted_components,
            _utilization(run),
        )
        self._writer: MetricWriter | None = None

    @property
    def seconds(self) -> float:
        """Of this process and of those before it, up to what each saved."""
        return self._spent + time.monotonic() - self._began

    def restore(self, start_params: Callable[[], Tree]) -> tuple[int, TrainState]:
        """(updates done, state) of the newest checkpoint, or of the start."""
        abstract = self._run.placement.abstract_state
        rest = {"step": abstract.step, "opt_state": abstract.opt_state}
        restored = self._checkpoints.restore_newest(abstract.params, rest)
        if restored is None:
            return 0, self._run.placement.start(start_params())
        first, params, rest = restored
        metadata = self._checkpoints.metadata(first)
        self.log.rows, self.log.sums = metadata["rows"], metadata["row_under_way"]
        self.log.evaluations = metadata["evaluations"]
        self._guard.in_row = metadata["skipped_in_row"]
        self._spent = metadata["seconds"]
        return first, TrainState(rest["step"], params, rest["opt_state"])

    @contextlib.contextmanager
    def watched(self, first: int) -> Iterator[loop_lib.Loop]:
        """The loop, wired to what watches it, from `first` updates on."""
        run, checkpoints = self._run, self._checkpoints
        stage, placement, watch = run.stage, run.placement, run.watch
        train_steps = _steps_of(stage)
        with contextlib.ExitStack() as stack:
            goodput = stack.enter_context(Goodput.open(run.directory, first))
            goodput.add("start", time.monotonic() - self._began)
            if watch.tensorboard:
                self._writer = stack.enter_context(MetricWriter(run.directory, first))
            profiler = stack.enter_context(
                profile.Profiler(profile.step_range(watch.profile_steps), run.directory / "profile")
            )
            stack.enter_context(goodput.measure("step"))
            yield loop_lib.Loop(
                step_fn=placement.step_fn,
                place=functools.partial(placement.place, batch_size=stage.batch_size),
                rows=placement.rows(stage.batch_size),
                save=self.save,
                is_due=lambda step: checkpoints.is_due(step, train_steps),
                log=self.log,
                guard=self._guard,
                agreement=agreement.Agreement(
                    checkpoints.minutes_passed, checkpoints.check_background
                ),
                validation=run.validation,
                on_row=self._write_row,
                measure=goodput.measure,
                heartbeat=goodput.heartbeat,
                profile=profiler.step,
                description=stage.name,
            )

    def _write_row(self, row: metric_log.MetricRow) -> None:
        if self._writer is not None:
            self._writer.write(row["step"], metric_log.scalars(row))

    def save(self, step: int, state: TrainState) -> None:
        """Saves a checkpoint, and the metric files up to there."""
        rest = {"step": state.step, "opt_state": state.opt_state}
        # Copies: written in the background, the checkpoint would show rows of later steps.
        metadata = {
            **self._run.metadata,
            "rows": list(self.log.rows),
            "row_under_way": self.log.sums,
            "evaluations": list(self.log.evaluations),
            "skipped_in_row": self._guard.in_row,
            "seconds": self.seconds,
        }
        if self._writer is not None:
            self._writer.flush()  # A restart takes what was written before this checkpoint.
        metrics = metric_log.at_checkpoint(self.log, step)
        self._checkpoints.save(step, state.params, rest, metadata, metrics)
        self.write_metrics()

    def _keep_ids(self, step: int, ids: Sequence[str]) -> str:
        """Writes all examples of a step that ends the run; hosts that end cannot wait for it."""
        path = self._run.directory / f"non_finite_{step}.json"
        if jax.process_index() == 0:
            ledger.remove(path)
            ledger.write_whole(path, json.dumps({"step": step, "examples": list(ids)}) + "\n")
        return str(path)

    def write_metrics(self) -> None:
        """Writes the metric files whole, as far as the log goes."""
        _write_lines(self._run.directory / METRICS, self.log.rows)
        if self._run.validation is not None:
            _write_lines(self._run.directory / VALIDATION, self.log.evaluations)


def _write_lines(path: epath.Path, rows: list[dict[str, Any]]) -> None:
    def write() -> None:
        ledger.remove(path)
        ledger.write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))

    hosts.on_first_host(f"writing {path}", write)


def _utilization(run: StageRun) -> Callable[[float], float | None]:
    """Model FLOPs utilization of a rate of tokens, over all devices of the mesh."""
    mesh = run.placement.mesh
    peak = run.watch.peak_flops or flops.peak_flops(mesh.devices.flat[0])
    per_token = flops.train_flops_per_token(run.placement.model.config, run.stage.row_length)
    return lambda rate: flops.utilization(rate, per_token, mesh.devices.size, peak)


def _steps_of(stage: Stage) -> int:
    assert stage.train_steps is not None, "StageRun takes stages whose length is known"
    return stage.train_steps
