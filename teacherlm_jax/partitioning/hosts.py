"""Joins this process to the other hosts of a run, as the environment says.

A launcher sets, for each process:

    TEACHERLM_COORDINATOR    address at which process 0 coordinates, such as 127.0.0.1:3456
    TEACHERLM_NUM_PROCESSES  how many processes make up the run
    TEACHERLM_PROCESS_ID     which of them this one is, from 0

or, where JAX can find these out by itself (Cloud TPU pods, Slurm), TEACHERLM_DISTRIBUTED=auto. With
none of them set the process is the whole run.

    TEACHERLM_CONNECT_SECONDS    how long hosts wait for each other at the start (120)
    TEACHERLM_HEARTBEAT_SECONDS  after how long a silence a host counts as dead, which ends all (60)
"""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import ArrayLike

from teacherlm_jax.partitioning import cluster, roll_call

COORDINATOR = "TEACHERLM_COORDINATOR"
NUM_PROCESSES = "TEACHERLM_NUM_PROCESSES"
PROCESS_ID = "TEACHERLM_PROCESS_ID"
DISTRIBUTED = "TEACHERLM_DISTRIBUTED"
CONNECT_SECONDS = "TEACHERLM_CONNECT_SECONDS"
HEARTBEAT_SECONDS = "TEACHERLM_HEARTBEAT_SECONDS"

_EXPLICIT = (COORDINATOR, NUM_PROCESSES, PROCESS_ID)
_DEFAULT_SECONDS = {CONNECT_SECONDS: "120", HEARTBEAT_SECONDS: "60"}
_FINISHING_SECONDS = 60

Result = TypeVar("Result")


def initialize_from_environment() -> bool:
    """Calls `jax.distributed.initialize` if the environment asks for it.

    To be called once, before anything that needs devices; further calls do nothing. JAX connects
    the processes when all have come: `roll_call` waits for them and names those that are absent.

    Returns:
        Whether this process is one of a distributed run.

    Raises:
        ValueError: the variables are incomplete, contradict each other, or hold impossible values.
        roll_call.HostsError: processes are absent, or do not fit together; a ValueError too.
        RuntimeError: JAX' devices are in use already, or JAX does not connect the processes.
    """
    if jax.distributed.is_initialized():
        return True
    mode = os.environ.get(DISTRIBUTED, "")
    given = [name for name in _EXPLICIT if os.environ.get(name)]
    if mode not in ("", "auto"):
        raise ValueError(f"{DISTRIBUTED} is {mode!r}; it must be 'auto' or absent.")
    if mode and given:
        raise ValueError(
            f"{DISTRIBUTED} is 'auto', but {', '.join(given)} are set too. Unset one or the other."
        )
    if not mode and not given:
        return False
    environment = {**_DEFAULT_SECONDS, **{k: v for k, v in os.environ.items() if v}}
    connect_seconds = _read_integer(environment, CONNECT_SECONDS, minimum=1)
    heartbeat_seconds = _read_integer(environment, HEARTBEAT_SECONDS, minimum=1)
    run = cluster.detect(connect_seconds) if mode else _read_cluster(os.environ)
    if cluster.devices_in_use():
        raise RuntimeError(
            "JAX' devices are in use already: call initialize_from_environment() before anything"
            " that needs one."
        )
    roll_call.answer(run, connect_seconds)
    _connect(run, connect_seconds, heartbeat_seconds)
    return True


def _connect(run: cluster.Cluster, connect_seconds: int, heartbeat_seconds: int) -> None:
    logging.info(
        "Process %d of %d joins the run at %s.", run.process_id, run.num_processes, run.address
    )
    try:
        jax.distributed.initialize(
            coordinator_address=run.address,
            num_processes=run.num_processes,
            process_id=run.process_id,
            local_device_ids=run.local_device_ids,
            cluster_detection_method="deactivate",
            initialization_timeout=connect_seconds,
            heartbeat_timeout_seconds=heartbeat_seconds,
            shutdown_timeout_seconds=_FINISHING_SECONDS,
        )
    except RuntimeError as error:
        raise RuntimeError(
            f"process {run.process_id} of {run.num_processes} could not join the others at"
            f" {run.address}: {str(error).rstrip('.')}. Check that the address can be reached from"
            " every host, and that nothing else uses its port."
        ) from error


def on_first_host(what: str, work: Callable[[], object]) -> None:
    """Does the work on one host, while the others wait for its end.

    Files are written so: hosts that write the same file at once may find each other's half.

    Args:
        what: names the work in the other hosts' error.
        work: to be done.

    Raises:
        RuntimeError: on the other hosts, if the work failed; there its own error is raised.
    """
    failure: Exception | None = None
    if jax.process_index() == 0:
        try:
            work()
        except Exception as error:
            failure = error
    if gathered(failure is not None)[0] and failure is None:
        raise RuntimeError(f"{what} failed on the first host, whose own output says why.")
    if failure is not None:
        raise failure


def check_alone(what: str) -> None:
    """Checks that there are no other processes.

    Args:
        what: cannot be done by several, as in "an export".

    Raises:
        ValueError: there are.
    """
    if jax.process_count() > 1:
        raise ValueError(
            f"{what} runs in one process, but there are {jax.process_count()}: run this command in"
            " one."
        )


def on_every_host(what: str, work: Callable[[], Result]) -> Result:
    """Does the work on every host; where it fails on one, all give up, and none waits for it.

    Args:
        what: names the work in the other hosts' error.
        work: to be done, without waiting for other hosts.

    Returns:
        What this host's work returned.

    Raises:
        RuntimeError: the work failed on other hosts alone; where it failed, its own error is
            raised.
    """
    try:
        result = work()
    except Exception:
        _failed_hosts(True)
        raise
    failed = _failed_hosts(False)
    if failed:
        raise RuntimeError(
            f"{what} failed on host {', '.join(map(str, failed))}, whose own output says why."
        )
    return result


def _failed_hosts(failed: bool) -> list[int]:
    """Tells the other hosts how this one fared; returns those that failed."""
    return [int(host) for host in np.flatnonzero(gathered(failed))]


def wait_for_all(what: str) -> None:
    """Returns when every host has come here.

    Raises:
        RuntimeError: hosts wait for different things.
    """
    names_H = gathered(zlib.crc32(what.encode()) >> 1)  # 31 bits
    if (names_H != names_H[0]).any():
        raise RuntimeError(f"this host waits for {what!r}, and another for something else.")


def gathered(mine: ArrayLike) -> np.ndarray:
    """What every host has, the axis of hosts first; every host must call this.

    JAX' own gathers return when one device of a host is done. A process that ended then would leave
    its other devices, and those of other hosts, waiting for each other for ever: here all are done.

    Args:
        mine: numbers of this host, of one shape and type on all; JAX makes 64 bits 32.
    """
    values = np.asarray(mine)
    values = values.astype(jax.dtypes.canonicalize_dtype(values.dtype))
    if jax.process_count() == 1:
        return values[None]
    mesh, gather = _gather()
    spec = PartitionSpec("hosts")
    everywhere = gather(multihost_utils.host_local_array_to_global_array(values[None], mesh, spec))
    return np.asarray(jax.block_until_ready(everywhere).addressable_data(0))


@functools.cache
def _gather() -> tuple[Mesh, Callable[[jax.Array], jax.Array]]:
    """The hosts and their devices, and a function that gives all hosts' parts to each device."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    mesh = Mesh(np.array(devices).reshape(jax.process_count(), -1), ("hosts", "devices"))
    everywhere = NamedSharding(mesh, PartitionSpec())
    return mesh, jax.jit(lambda parts: parts, out_shardings=everywhere)


def _read_cluster(environment: Mapping[str, str]) -> cluster.Cluster:
    missing = [name for name in _EXPLICIT if not environment.get(name)]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} must be set, as {_describe(environment)} is. Set all of"
            f" {', '.join(_EXPLICIT)}, or none."
        )
    address, port = environment[COORDINATOR], environment[COORDINATOR].rpartition(":")[2]
    if ":" not in address or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{COORDINATOR} is {address!r}; it must be HOST:PORT.")
    num_processes = _read_integer(environment, NUM_PROCESSES, minimum=1)
    process_id = _read_integer(environment, PROCESS_ID, minimum=0)
    if process_id >= num_processes:
        raise ValueError(
            f"{PROCESS_ID} is {process_id}; it must be 0 to {num_processes - 1}, for"
            f" {NUM_PROCESSES} is {num_processes}."
        )
    return cluster.Cluster(address, num_processes, process_id)


def _read_integer(environment: Mapping[str, str], name: str, minimum: int) -> int:
    value = environment[name]
    if not value.isdigit() or int(value) < minimum:
        raise ValueError(f"{name} is {value!r}; it must be a whole number from {minimum}.")
    return int(value)


def _describe(environment: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={environment[name]}" for name in _EXPLICIT if environment.get(name))
