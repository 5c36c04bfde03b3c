"""Items of a checkpoint, read by each host alone; then all hosts agree on how it went.

Orbax's own manager waits for the other hosts inside a restore, so that one host's damaged file
leaves them waiting for it. Its handlers do not wait.

H: hosts.
"""

import math
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from teacherlm_jax.checkpoints.errors import CheckpointError, StorageError, is_of_storage, reason
from teacherlm_jax.partitioning import hosts

Tree = Any
Result = TypeVar("Result")

_WHOLE, _DAMAGED, _STORAGE = 0, 1, 2


def tree(folder: epath.Path, abstract: Tree) -> Tree:
    """An item of arrays.

    Args:
      folder: the item's.
      abstract: ShapeDtypeStructs with the shardings to restore to.
    """
    handler = ocp.StandardCheckpointHandler(restore_concurrent_gb=_buffer_gigabytes(abstract))
    return handler.restore(folder, args=ocp.args.StandardRestore(abstract))


def values(folder: epath.Path) -> dict[str, Any]:
    """An item of JSON values."""
    return dict(ocp.JsonCheckpointHandler().restore(folder))


def _buffer_gigabytes(abstract: Tree) -> int:
    """How much may be on its way from the storage at once: not all that a host will hold.

    A part is read with all stored chunks that it touches, which may be the whole array and, where
    chunks reach over its end, nearly twice that; Orbax refuses what is above its limit.
    """
    largest = max(
        (math.prod(leaf.shape) * max(leaf.dtype.itemsize, 4) for leaf in jax.tree.leaves(abstract)),
        default=0,
    )
    return gigabytes_above(2 * largest)


def gigabytes_above(number: int) -> int:
    """Whole gigabytes (10^9 bytes) above so many bytes, two at least; Orbax takes its limits so."""
    return max(2, number // 10**9 + 1)


def unreadable(path: epath.Path, error: Exception, remedy: str) -> CheckpointError:
    """What an error of reading means.

    Args:
      path: what was read.
      error: of Orbax, TensorStore or the file system.
      remedy: what to do where the storage is not at fault.
    """
    if is_of_storage(error):
        return StorageError(
            f"checkpoint {path} cannot be read now ({reason(error)}); mend the access, or wait, "
            "and run the same command again."
        )
    return CheckpointError(f"checkpoint {path} cannot be read ({reason(error)}); {remedy}.")


def together(
    path: epath.Path, work: Callable[[], Result], explain: Callable[[Exception], CheckpointError]
) -> Result:
    """Does the work on every host; where it fails on one, it has failed on all.

    Args:
      path: the checkpoint, for the other hosts' error.
      work: to be done, without waiting for other hosts.
      explain: what an error of the work means.

    Returns:
      What this host's work returned.

    Raises:
      StorageError: the storage failed on a host.
      CheckpointError: otherwise, the work failed on a host.
    """
    failure: CheckpointError | None = None
    cause: Exception | None = None
    try:
        result = work()
    except Exception as error:
        failure, cause = explain(error), error
    mine = _WHOLE if failure is None else _DAMAGED
    mine = _STORAGE if isinstance(failure, StorageError) else mine
    found_H = gathered(mine)
    worst = int(found_H.max())
    if failure is not None and mine == worst:
        raise failure from cause
    hosts = ", ".join(str(host) for host in np.flatnonzero(found_H == worst))
    if worst == _STORAGE:
        raise StorageError(
            f"checkpoint {path} cannot be read now by host {hosts}, whose own output says why; "
            "mend the access, or wait, and run the same command again."
        ) from cause
    if worst == _DAMAGED:
        raise CheckpointError(
            f"checkpoint {path} cannot be read by host {hosts}, whose own output says why."
        )
    return result


def check_same_steps(directory: epath.Path, steps: list[int]) -> None:
    """Checks that every host finds the same checkpoints.

    Raises:
      StorageError: they do not; raised on all.
    """
    digest = zlib.crc32(str(steps).encode()) >> 1  # 31 bits
    found_H3 = gathered([len(steps), max(steps, default=-1), digest])
    if (found_H3 == found_H3[0]).all():
        return
    seen = "; ".join(
        f"host {host} {number}{f' up to step {newest}' if number else ''}"
        for host, (number, newest, _) in enumerate(found_H3.tolist())
    )
    raise StorageError(
        f"the hosts find different checkpoints in {directory} ({seen}); give a folder that they "
        "share, such as one on gs://, or wait until all see the same, and run the command again."
    )


def gathered(mine: Any) -> np.ndarray:
    """Whole numbers (32 bits) of every host; the axis of hosts comes first."""
    return hosts.gathered(np.asarray(mine, np.int32))
