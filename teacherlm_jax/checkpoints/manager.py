"""Checkpoints through Orbax: parameters, the rest of the state, and what they are, as three items.

Parameters stand apart so that an evaluation or a next stage reads them alone. Restores go straight
to the shardings asked for, on any mesh.
"""

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from teacherlm_jax.checkpoints.fingerprint import fingerprint

Tree = Any

PARAMS, REST, METADATA = "params", "rest", "metadata"

# What TensorStore and gRPC say where the storage, not the checkpoint, is at fault.
_TRANSIENT = re.compile(
    r"\b(UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|PERMISSION_DENIED|UNAUTHENTICATED)\b"
)
FINGERPRINTS = "fingerprints"


class CheckpointError(ValueError):
    """A checkpoint cannot be read or written, or is not of this model."""


class StorageError(CheckpointError):
    """The storage did not answer, or not to us: the checkpoint itself may be whole."""


@dataclasses.dataclass(frozen=True)
class SavePolicy:
    """When to save and what to keep.

    Attributes:
      period: steps between two saves; the last step is always saved.
      keep: newest checkpoints to keep; None keeps all.
      asynchronous: write in the background while training goes on.
    """

    period: int = 1000
    keep: int | None = 2
    asynchronous: bool = True

    def __post_init__(self) -> None:
        if self.period < 1 or (self.keep is not None and self.keep < 1):
            raise ValueError(
                f"SavePolicy(period={self.period}, keep={self.keep}): both must be at least 1 "
                "(keep=None keeps all)."
            )


def reason(error: BaseException) -> str:
    """The innermost cause on one line of fair length; Orbax wraps what TensorStore found."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = " ".join(str(error).partition("[tensorstore_spec")[0].split()) or type(error).__name__
    return line if len(line) <= 300 else f"{line[:140]} ... {line[-155:]}"


def _is_of_storage(error: BaseException) -> bool:
    """Whether a read failed for the storage's sake: no access, no memory, no answer."""
    chain: BaseException | None = error
    while chain is not None:
        missing = isinstance(chain, FileNotFoundError | NotADirectoryError | IsADirectoryError)
        if isinstance(chain, OSError | MemoryError) and not missing:
            return True
        if _TRANSIENT.search(str(chain)):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def absolute(directory: epath.PathLike) -> epath.Path:
    """Orbax takes absolute paths alone; a URL (gs://) is one."""
    text = os.fspath(directory)
    return epath.Path(text if "://" in text else os.path.abspath(text))


class Checkpoints:
    """The checkpoints of one run in one directory."""

    def __init__(self, directory: epath.PathLike, policy: SavePolicy | None = None) -> None:
        """Opens a directory; with a policy it may be written to and is made if it is not there.

        Raises:
          PermissionError: the directory cannot be made.
        """
        self.directory = absolute(directory)
        self._policy = policy
        self._damaged: list[int] = []
        if policy is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=policy.keep if policy else None,
                enable_async_checkpointing=policy is not None and policy.asynchronous,
                read_only=policy is None,
                create=False,
                cleanup_tmp_directories=policy is not None,
                # A damaged checkpoint is found when it is restored, and named; read here, it would
                # keep the others from being opened.
                lightweight_initialize=True,
            ),
            item_handlers={
                PARAMS: ocp.StandardCheckpointHandler(),
                REST: ocp.StandardCheckpointHandler(),
                METADATA: ocp.JsonCheckpointHandler(),
            },
        )

    def steps(self) -> list[int]:
        """Steps of finished checkpoints, ascending."""
        found = ocp.path.step.standard_name_format().find_all(self.directory)
        return sorted(checkpoint.step for checkpoint in found)

    def is_due(self, step: int, last_step: int) -> bool:
        """Whether the policy saves after `step` updates."""
        assert self._policy is not None
        return step == last_step or step % self._policy.period == 0

    def save(self, step: int, params: Tree, rest: Tree, metadata: Mapping[str, Any]) -> None:
        """Saves; returns before it is written where the policy is asynchronous.

        A background save that failed raises here at the next save, or in `close`. What
        `restore_newest` passed over is deleted now: Orbax saves no step twice, and none before its
        newest, so that damaged checkpoints would stand for good ones of the same steps.

        Raises:
          CheckpointError: it, or the one before it, could not be written.
        """
        while self._damaged:
            self._manager.delete(self._damaged.pop())
        if step in self._manager.all_steps():
            return
        prints = {PARAMS: fingerprint(params), REST: fingerprint(rest)}
        args = {
            PARAMS: ocp.args.StandardSave(params),
            REST: ocp.args.StandardSave(rest),
            METADATA: ocp.args.JsonSave({**metadata, FINGERPRINTS: prints}),
        }
        with self._writing():
            self._manager.save(step, args=ocp.args.Composite(**args))

    def metadata(self, step: int) -> dict[str, Any]:
        """What was saved with a checkpoint.

        Raises:
          CheckpointError: it cannot be read.
        """
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(**{METADATA: ocp.args.JsonRestore()})
            )
            return dict(restored[METADATA])
        except Exception as error:
            raise self._unreadable(step, error) from error

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
        """Reads the newest checkpoint that can be read whole.

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
        for step in reversed(self.steps()):
            try:
                restored = self._restore(step, {PARAMS: abstract_params, REST: abstract_rest})
                self._damaged = damaged
                return step, restored[PARAMS], restored[REST]
            except StorageError:
                raise
            except CheckpointError as error:
                logging.warning("Passing over a damaged checkpoint: %s", error)
                failure = failure or error
                damaged.append(step)
        if failure is not None:
            raise failure
        return None

    def close(self) -> None:
        """Waits for saves under way.

        Raises:
          CheckpointError: one of them failed.
        """
        try:
            with self._writing():
                self._manager.wait_until_finished()
                self._manager.check_for_errors()
        finally:
            self._manager.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            steps = self.steps()
            raise CheckpointError(
                f"a checkpoint could not be written to {self.directory} ({reason(error)}); make "
                "room or mend the access there, and run the same command again: it goes on from "
                f"{f'step {steps[-1]}' if steps else 'the start'}."
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _restore(self, step: int, abstract: Mapping[str, Tree]) -> Any:
        args: dict[str, Any] = {
            name: ocp.args.StandardRestore(tree) for name, tree in abstract.items()
        }
        args[METADATA] = ocp.args.JsonRestore()
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(**args))
            saved = restored[METADATA][FINGERPRINTS]
            for name in abstract:
                found = fingerprint(restored[name])
                changed = [path for path, value in found.items() if value != saved[name].get(path)]
                if changed:
                    raise ValueError(f"{name}{changed[0]} differs from what was saved")
            return restored
        except Exception as error:
            raise self._unreadable(step, error) from error

    def _unreadable(self, step: int, error: Exception) -> CheckpointError:
        if _is_of_storage(error):
            return StorageError(
                f"checkpoint {self.directory / str(step)} cannot be read now ({reason(error)}); "
                "mend the access, or wait, and run the same command again."
            )
        others = [other for other in self.steps() if other != step]
        remedy = (
            f"delete that folder to go on from step {others[-1]}"
            if others
            else "delete that folder, and done.json beside `checkpoints` where there is one, and "
            "run the command that made it again"
        )
        return CheckpointError(
            f"checkpoint {self.directory / str(step)} cannot be read ({reason(error)}); {remedy}."
        )


def latest(directory: epath.PathLike) -> tuple[Checkpoints, int]:
    """Opens a directory for reading, at its newest checkpoint.

    Raises:
      FileNotFoundError: there is no directory, or no finished checkpoint in it.
    """
    if not os.fspath(directory) or not epath.Path(directory).is_dir():
        raise FileNotFoundError(
            f"no checkpoint directory {os.fspath(directory) or '(empty text)'}: give the folder "
            "that holds the step folders, or train first."
        )
    directory = epath.Path(directory)
    checkpoints = Checkpoints(directory)
    steps = checkpoints.steps()
    if not steps:
        checkpoints.close()
        raise FileNotFoundError(
            f"{directory} holds no finished checkpoint; found "
            f"{sorted(path.name for path in directory.iterdir())[:5]}. Give the folder that holds "
            "the step folders; to train a stage again whose checkpoints are gone, delete done.json "
            "beside them first."
        )
    return checkpoints, steps[-1]
