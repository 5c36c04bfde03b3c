"""The processes of a run, and the parts of JAX about them that have no public name.

The only module that imports from `jax._src`; `setup.py` bounds the versions of JAX that it fits.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from jax._src import clusters, distributed, xla_bridge


@dataclasses.dataclass(frozen=True)
class Cluster:
    """This process among those of its run.

    Attributes:
      address: HOST:PORT at which process 0 coordinates.
      num_processes: how many processes make up the run.
      process_id: which of them this one is, from 0.
      local_device_ids: the host's devices that this process sees; None for all.
    """

    address: str
    num_processes: int
    process_id: int
    local_device_ids: tuple[int, ...] | None = None

    @property
    def bind_address(self) -> str:
        """HOST:PORT at which process 0 listens; where JAX would, so that it can follow."""
        everywhere = f"[::]:{self.address.rpartition(':')[2]}"
        return os.environ.get("JAX_COORDINATOR_BIND_ADDRESS") or everywhere


def detect(seconds: int) -> Cluster:
    """What JAX finds out from a Cloud TPU pod, Slurm and others.

    Args:
      seconds: how long the coordinator's name may take to be known.

    Raises:
      ValueError: JAX knows of no cluster here.
    """
    ids = os.environ.get("JAX_LOCAL_DEVICE_IDS")
    address, num_processes, process_id, local = (
        clusters.ClusterEnv.auto_detect_unset_distributed_params(
            coordinator_address=os.environ.get("JAX_COORDINATOR_ADDRESS"),
            num_processes=None,
            process_id=None,
            local_device_ids=[int(part) for part in ids.split(",")] if ids else None,
            cluster_detection_method=None,
            initialization_timeout=seconds,
        )
    )
    if address is None or num_processes is None or process_id is None:
        raise ValueError(
            "TEACHERLM_DISTRIBUTED is 'auto', but JAX finds neither a Cloud TPU pod nor Slurm nor"
            " another cluster that it knows. Set TEACHERLM_COORDINATOR, TEACHERLM_NUM_PROCESSES and"
            " TEACHERLM_PROCESS_ID instead."
        )
    return Cluster(address, num_processes, process_id, None if local is None else tuple(local))


def devices_in_use() -> bool:
    """Whether it is too late to join other processes."""
    return bool(xla_bridge.backends_are_initialized())


def joined() -> Cluster | None:
    """The run that `jax.distributed.initialize` has joined; None where it was not called."""
    state = distributed.global_state
    if state.client is None:
        return None
    return Cluster(str(state.coordinator_address), state.num_processes, state.process_id)


def key_value_store() -> Any:
    """The text that processes leave for each other at process 0; no device has a part in it.

    Its methods are `key_value_set(key, text)` and `blocking_key_value_get(key, milliseconds)`.

    Raises:
      ValueError: `jax.distributed.initialize` was not called.
    """
    client = distributed.global_state.client
    if client is None:
        raise ValueError("this process has joined no others: call jax.distributed.initialize.")
    return client
