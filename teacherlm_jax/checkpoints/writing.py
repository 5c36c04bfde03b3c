"""Orbax's manager as checkpoints are written with it."""

import math
import sys
import threading
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import PreservationPolicy

from teacherlm_jax.checkpoints.reading import gigabytes_above

Tree = Any


class Writer:
    """Writes checkpoints, in the background if wanted, in bounded memory.

    Attributes:
      failure: of a background save; known as soon as it has failed.
    """

    def __init__(
        self,
        directory: epath.Path,
        keeping: PreservationPolicy,
        asynchronous: bool,
        arrays: dict[str, Tree],
        values: str,
    ) -> None:
        """Opens a directory, on every host; unfinished saves of earlier processes are cleared away.

        Args:
          directory: for the step folders.
          keeping: what is not deleted after a save.
          asynchronous: whether `save` returns before all is written.
          arrays: name -> a tree as it will be saved; sizes count, content does not.
          values: name of the item of JSON values.
        """
        self.failure: BaseException | None = None
        self._saving_thread = 0
        self._values = values
        self._barrier = ocp.multihost.get_barrier_sync_fn()
        # Arrays are written as they are. Compressed they would be held a second time, until all are
        # on the disk, and written several times slower, for a tenth less of float32.
        handlers = {
            name: ocp.PyTreeCheckpointHandler(
                save_concurrent_gb=_buffer_gigabytes(tree), use_compression=False
            )
            for name, tree in arrays.items()
        }
        self._manager = ocp.CheckpointManager(
            directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=keeping,
                enable_async_checkpointing=asynchronous,
                async_options=ocp.AsyncOptions(barrier_sync_fn=self._wait_for_hosts),
                create=False,
                cleanup_tmp_directories=True,
                # A damaged checkpoint is found when it is restored, and named; read here, it would
                # keep the others from being opened.
                lightweight_initialize=True,
            ),
            item_handlers={**handlers, values: ocp.JsonCheckpointHandler()},
        )

    def steps(self) -> list[int]:
        """Steps that are saved or being saved, ascending."""
        return list(self._manager.all_steps())

    def save(self, step: int, arrays: dict[str, Tree], values: dict[str, Any]) -> None:
        """Saves, once the save before is written.

        Raises:
          ValueError: the step is not after all others: Orbax would pass over it in silence.
          Exception: whatever Orbax, TensorStore and the file system raise.
        """
        self._saving_thread = threading.get_ident()
        args: dict[str, Any] = {name: ocp.args.PyTreeSave(tree) for name, tree in arrays.items()}
        args[self._values] = ocp.args.JsonSave(values)
        if not self._manager.save(step, args=ocp.args.Composite(**args)):
            raise ValueError(f"step {step} is not after step {self._manager.latest_step()}")

    def wait(self) -> None:
        """Returns when all is written.

        Raises:
          Exception: of the background save, as `save` has it.
        """
        self._manager.wait_until_finished()
        self._manager.check_for_errors()

    def close(self) -> None:
        """Ends Orbax's threads."""
        self._manager.close()

    def _wait_for_hosts(self, *, key: str, timeout_ms: int) -> None:
        """Orbax's barrier, but for a background save that failed.

        Its thread comes here with the error in hand, and would wait twenty minutes for hosts that
        do not know of it.
        """
        failure = sys.exception()
        if failure is not None and threading.get_ident() != self._saving_thread:
            self.failure = self.failure or failure
            raise failure
        self._barrier(key=key, timeout_ms=timeout_ms)


def _buffer_gigabytes(tree: Tree) -> int:
    """How much may be on its way to the storage at once; Orbax refuses parts above its limit."""

    def part(leaf: Any) -> int:
        if isinstance(leaf, jax.Array):
            return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        return np.asarray(leaf).nbytes

    return gigabytes_above(max((part(leaf) for leaf in jax.tree.leaves(tree)), default=0))
