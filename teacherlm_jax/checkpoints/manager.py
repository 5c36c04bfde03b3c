"""Checkpoints through Orbax: parameters, the rest of the state, and what they are, as three items.

Parameters stand apart so that an evaluation or a next stage reads them alone. Restores go straight
to the shardings asked for, on any mesh.
"""

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from teacherlm_jax.checkpoints import history as history_lib
from teacherlm_jax.checkpoints import policy as policy_lib
from teacherlm_jax.checkpoints import reading, writing
from teacherlm_jax.checkpoints.errors import CheckpointError, StorageError, reason
from teacherlm_jax.checkpoints.fingerprint import fingerprint
from teacherlm_jax.checkpoints.history import METADATA
from teacherlm_jax.checkpoints.policy import SavePolicy
from teacherlm_jax.partitioning import hosts

__all__ = [
    "FINGERPRINTS",
    "METADATA",
    "PARAMS",
    "REST",
    "CheckpointError",
    "Checkpoints",
    "SavePolicy",
    "StorageError",
    "absolute",
    "latest",
    "reason",
]

Tree = Any
Result = TypeVar("Result")

PARAMS, REST = "params", "rest"
FINGERPRINTS = "fingerprints"


def absolute(directory: epath.PathLike) -> epath.Path:
    """Orbax takes absolute paths alone; a URL (gs://) is one."""
    text = os.fspath(directory)
    return epath.Path(text if "://" in text else os.path.abspath(text))


class Checkpoints:
    """The checkpoints of one run in one directory. Every host of the run calls the same methods."""

    def __init__(
        self,
        directory: epath.PathLike,
        policy: SavePolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens a directory; with a policy it may be written to and is made if it is not there.

        Args:
          directory: holds a folder for each step.
          policy: when to save and what to keep; None to read alone.
          clock: seconds that go on evenly, for the policy's minutes.

        Raises:
          PermissionError: the directory cannot be made.
        """
        self.directory = absolute(directory)
        self._policy = policy
        self._clock = clock
        self._saved_at = clock()
        self._damaged: list[int] = []
        self._history: history_lib.History | None = None
        self._writer: writing.Writer | None = None
        self._is_reported = False
        if policy is not None:
            self.directory.mkdir(parents=True, exist_ok=True)

    def steps(self) -> list[int]:
        """Steps of finished checkpoints, ascending."""
        found = ocp.path.step.standard_name_format().find_all(self.directory)
        return sorted(checkpoint.step for checkpoint in found)

    # When

    def is_due(self, step: int, last_step: int | None) -> bool:
        """Whether the policy saves after `step` updates, going by steps alone."""
        assert self._policy is not None
        return step == last_step or step % self._policy.period == 0

    def minutes_passed(self) -> bool:
        """Whether the policy's minutes have passed since the last save, or since this was opened.

        By this host's own clock: hosts that save must agree on it first.
        """
        assert self._policy is not None
        minutes = self._policy.minutes
        return minutes is not None and self._clock() - self._saved_at >= 60 * minutes

    # Saving

    def save(
        self,
        step: int,
        params: Tree,
        rest: Tree,
        metadata: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Saves; returns before it is written where the policy is asynchronous.

        A background save that failed raises in `check_background`, here at the next save, or in
        `close`. What `restore_newest` passed over is deleted now: Orbax saves no step twice, and
        none before its newest, so that damaged checkpoints would stand for good ones of the same
        steps.

        A host holds a copy of its part of the state until that is written, and beside it a few
        gigabytes at most: arrays are written as they are, for compressed they would be held a
        second time.

        Args:
          step: updates done.
          params: arrays on the mesh.
          rest: what a run needs beside them to go on.
          metadata: JSON values.
          metrics: what was measured there; the policy's `best_metric` is one of them.

        Raises:
          CheckpointError: it, or the one before it, could not be written.
        """
        assert self._policy is not None
        self.check_background()
        self._saved_at = self._clock()
        measured = policy_lib.finite_metrics(metrics or {})
        arrays = {PARAMS: params, REST: rest}
        with self._writing():
            self._delete_damaged()
            history = self._read_history() if self._policy.keep_best else self._history
            self._writer = self._writer or self._open_writer(self._policy, arrays)
            if step in self._writer.steps():
                return
            if history is not None:
                history.metrics[step] = measured
            values = {
                **metadata,
                **history_lib.to_save(self._policy, measured),
                FINGERPRINTS: {name: fingerprint(tree) for name, tree in arrays.items()},
            }
            self._writer.save(step, arrays, values)

    def check_background(self) -> None:
        """Raises if a background save has failed. Cheap: meant for every step.

        Raises:
          CheckpointError: it has; what was saved before is kept.
        """
        if self._writer is not None and self._writer.failure is not None:
            self._is_reported = True
            with self._writing():
                raise self._writer.failure

    def close(self) -> None:
        """Waits for saves under way.

        Raises:
          CheckpointError: one of them failed, and `check_background` has not said so.
        """
        if self._writer is None:
            return
        try:
            with self._writing():
                self._writer.wait()
        except CheckpointError:
            if not self._is_reported:
                raise
        finally:
            self._writer.close()
            self._writer = None

    def _open_writer(self, policy: SavePolicy, arrays: dict[str, Tree]) -> writing.Writer:
        """Late, for it is made for a state of this size, and reading needs none."""
        keeping = policy_lib.preservation(
            policy, lambda step: self._read_history().metrics.get(step, {})
        )
        return writing.Writer(self.directory, keeping, policy.asynchronous, arrays, METADATA)

    def _delete_damaged(self) -> None:
        """On one host; Orbax then looks at the directory anew, on all."""
        if not self._damaged:
            return
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for step in self._damaged:
            folder = self.directory / str(step)
            hosts.on_first_host(f"deleting {folder}", folder.rmtree)
        self._damaged, self._history = [], None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except Exception as error:
            steps = self.steps()
            raise CheckpointError(
                f"a checkpoint could not be written to {self.directory} ({reason(error)}); make "
                "room or mend the access there, and run the same command again: it goes on from "
                f"{f'step {steps[-1]}' if steps else 'the start'}."
            ) from error

    def best_step(self) -> int | None:
        """The finished checkpoint whose metric is best; None where none has it.

        By the policy's metric or, where this is opened without one, by that of the run that wrote
        the newest.

        Raises:
          StorageError: the storage fails.
        """
        history, there = self._read_history(), self.steps()
        metric, mode = history.metric, history.mode
        if self._policy is not None:
            metric, mode = self._policy.best_metric, self._policy.best_mode
        whole = [step for step in there if step in history.metrics and step not in self._damaged]
        return policy_lib.best({step: history.metrics[step] for step in whole}, metric, mode)

    def _read_history(self) -> history_lib.History:
        if self._history is None:
            self._history = history_lib.read(self.directory, self.steps())
        return self._history

    # Reading

    def metadata(self, step: int) -> dict[str, Any]:
        """What was saved with a checkpoint.

        Raises:
          CheckpointError: it cannot be read.
        """
        return self._together(step, lambda: reading.values(self.directory / str(step) / METADATA))

    def restore_params(self, step: int, abstract_params: Tree) -> Tree:
        """Reads the parameters alone.

        Args:
          step: which checkpoint.
          abstract_params: ShapeDtypeStructs with the shardings to restore to.

        Raises:
          CheckpointError: the checkpoint is damaged or of another shape.
        """
        return self._restore(step, {PARAMS: abstract_params})[PARAMS]

    def restore_newest(
        self, abstract_params: Tree, abstract_rest: Tree
    ) -> tuple[int, Tree, Tree] | None:
        """Reads the newest checkpoint that every host can read whole.

        A damaged one is passed over with a warning that names it; the next save replaces it.

        Returns:
          (step, params, rest), or None where there is no checkpoint at all.

        Raises:
          CheckpointError: there are checkpoints, and none can be read.
          StorageError: the storage fails. What stands there may be whole, so nothing is passed
            over.
        """
        failure: CheckpointError | None = None
        damaged: list[int] = []
        steps = self.steps()
        reading.check_same_steps(self.directory, steps)
        for step in reversed(steps):
            if damaged:
                gc.collect()  # Rings that Orbax leaves behind hold what was read of it.
            try:
                restored = self._restore(step, {PARAMS: abstract_params, REST: abstract_rest})
                self._damaged = damaged
                return step, restored[PARAMS], restored[REST]
            except StorageError:
                raise
            except CheckpointError as error:
                # Its text alone: the error's traceback holds what was read, and the next one needs
                # the memory.
                text = str(error)
                logging.warning("Passing over a damaged checkpoint: %s", text)
                failure = failure or CheckpointError(text)
                damaged.append(step)
        if failure is not None:
            raise failure
        return None

    def _restore(self, step: int, abstract: Mapping[str, Tree]) -> dict[str, Tree]:
        folder = self.directory / str(step)

        def read() -> tuple[dict[str, Any], dict[str, Tree]]:
            saved = reading.values(folder / METADATA)[FINGERPRINTS]
            return saved, {name: reading.tree(folder / name, abstract[name]) for name in abstract}

        saved, restored = self._together(step, read)

        def check() -> None:
            for name, item in restored.items():
                found = fingerprint(item)
                changed = [path for path, value in found.items() if value != saved[name].get(path)]
                if changed:
                    raise ValueError(f"{name}{changed[0]} differs from what was saved")

        self._together(step, check)
        return restored

    def _together(self, step: int, work: Callable[[], Result]) -> Result:
        path = self.directory / str(step)
        return reading.together(path, work, lambda error: self._unreadable(path, error))

    def _unreadable(self, path: epath.Path, error: Exception) -> CheckpointError:
        others = [step for step in self.steps() if str(step) != path.name]
        remedy = (
            f"delete that folder to go on from step {others[-1]}"
            if others
            else "delete that folder, and done.json beside `checkpoints` where there is one, and "
            "run the command that made it again"
        )
        return reading.unreadable(path, error, remedy)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def latest(directory: epath.PathLike) -> tuple[Checkpoints, int]:
    """Opens a directory for reading, at its newest checkpoint; every host must call this.

    Args:
      directory: the folder of the step folders; or one of these, to read another than the newest.

    Raises:
      FileNotFoundError: there is no directory, or no finished checkpoint in it.
      StorageError: hosts find different checkpoints.
    """
    if not os.fspath(directory) or not epath.Path(directory).is_dir():
        raise FileNotFoundError(
            f"no checkpoint directory {os.fspath(directory) or '(empty text)'}: give the folder "
            "that holds the step folders, or train first."
        )
    directory = epath.Path(directory)
    asked = int(directory.name) if directory.name.isdigit() else None
    if asked is not None and asked in Checkpoints(directory.parent).steps():
        return Checkpoints(directory.parent), asked
    checkpoints = Checkpoints(directory)
    steps = checkpoints.steps()
    reading.check_same_steps(directory, steps)
    if not steps:
        checkpoints.close()
        raise FileNotFoundError(
            f"{directory} holds no finished checkpoint; found "
            f"{sorted(path.name for path in directory.iterdir())[:5]}. Give the folder that holds "
            "the step folders; to train a stage again whose checkpoints are gone, delete done.json "
            "beside them first."
        )
    return checkpoints, steps[-1]
