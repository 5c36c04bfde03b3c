"""Checkpoints of parameters alone, written in little memory beside them: what an import makes."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.checkpoints.fingerprint import fingerprint

Tree = Any

# Beside what is on its way to the disk, TensorStore copies runs that are short.
_LEAST_BUFFER_BYTES = 256 * 1024**2


def save(directory: epath.PathLike, params: Tree, metadata: Mapping[str, Any]) -> None:
    """Saves parameters alone, as step 0, from which a stage may start but none go on.

    Beside them it holds `buffer_bytes`: they are written as they stand in memory. Compressed
    they would be held a second time, all that is on its way to the disk, and written half as fast,
    for a quarter less of bfloat16.

    Args:
      directory: as of `Checkpoints`; without a checkpoint.
      params: sharded over any mesh; every host of a run calls this.
      metadata: JSON values.

    Raises:
      CheckpointError: they could not be written.
    """
    directory = manager.absolute(directory)
    # Where several devices hold the same, one writes it: Orbax would copy a slice of each.
    arrays = ocp.type_handlers.ArrayHandler(use_replica_parallel=False)
    handler = ocp.BasePyTreeCheckpointHandler(
        save_concurrent_bytes=buffer_bytes(params),
        use_compression=False,
        type_handler_registry=ocp.type_handlers.create_type_handler_registry((jax.Array, arrays)),
    )
    args = {
        manager.PARAMS: ocp.args.PyTreeSave(params),
        manager.METADATA: ocp.args.JsonSave(
            {**metadata, manager.FINGERPRINTS: {manager.PARAMS: fingerprint(params)}}
        ),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with ocp.CheckpointManager(
            directory,
            options=ocp.CheckpointManagerOptions(enable_async_checkpointing=False, create=False),
            item_handlers={
                manager.PARAMS: ocp.PyTreeCheckpointHandler(handler_impl=handler),
                manager.METADATA: ocp.JsonCheckpointHandler(),
            },
        ) as opened:
            opened.save(0, args=ocp.args.Composite(**args))
    except Exception as error:
        raise manager.CheckpointError(
            f"parameters could not be written to {directory} ({manager.reason(error)}); make "
            "room or mend the access there, and run the same command again."
        ) from error


def buffer_bytes(params: Tree) -> int:
    """The most that `save` holds beside parameters: the largest part of a device, or a bit.

    Args:
      params: arrays or ShapeDtypeStructs, with shardings.
    """
    largest = max(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(params)
    )
    return max(_LEAST_BUFFER_BYTES, largest + 1)  # Orbax takes what is less than its limit.
