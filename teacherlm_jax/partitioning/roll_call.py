"""Calls the roll of a run's processes before JAX connects them.

Where a process is absent or has another's id, JAX' own client ends all in C++, with a stack trace
and without names; where processes disagree on how many they are, some start without the others. So
process 0 first listens at the coordinator's address itself. Every process, itself among them, says
there who it is, and hears what is wrong, if anything. Then the address is JAX'.

On the wire: process 0 greets with a line; the other side answers with a line of JSON, and gets one
as soon as all are there, something is wrong, or the time is up.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from teacherlm_jax.partitioning.cluster import Cluster

_GREETING = b"teacherlm roll call 1\n"
_ANSWER_SECONDS = 5.0  # Programs of ours answer at once; others may never.
_LATECOMERS_SECONDS = 3.0  # Who comes so soon after a mistake was found hears of it too.
_NAMED = 8


class HostsError(ValueError):
    """The hosts of a run are not all there, or not alike; every host says the same."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a process says of itself.

    Attributes:
      process_id: which process it is, from 0.
      num_processes: how many processes it believes to be in the run.
      host: its machine's name.
      pid: its number there.
    """

    process_id: int
    num_processes: int
    host: str
    pid: int


def answer(cluster: Cluster, seconds: float) -> None:
    """Returns when all processes of the run are there; on process 0 it calls them too.

    Args:
      cluster: this process among the others.
      seconds: how long process 0 waits for the others, and these for process 0.

    Raises:
      HostsError: processes are absent, have the same id or disagree on their number; process 0
        cannot be reached, or cannot listen.
    """
    entry = Entry(cluster.process_id, cluster.num_processes, socket.gethostname(), os.getpid())
    if cluster.process_id > 0:
        problem = _hear(cluster.address, entry, seconds)
    else:
        calling = _call(_listen(cluster.bind_address), cluster.num_processes, seconds)
        caller = threading.Thread(target=asyncio.run, args=(calling,), daemon=True)
        caller.start()
        problem = _hear(cluster.address, entry, seconds)
        caller.join(_ANSWER_SECONDS)
    if problem:
        raise HostsError(problem)


def name_hosts(names: Mapping[int, str], ids: Collection[int]) -> str:
    """`hosts 0 (worker-0), 2 (worker-2)`: the first eight, and how many more.

    Args:
      names: id of a process -> name of its host, where it is known.
      ids: who is meant.
    """
    shown = [f"{id} ({names[id]})" if id in names else f"{id}" for id in sorted(ids)[:_NAMED]]
    more = [f"{len(ids) - _NAMED} more"] if len(ids) > _NAMED else []
    listed = ", ".join(shown) + (f" and {more[0]}" if more else "")
    return f"host{'s' if len(ids) > 1 else ''} {listed}"


def problem_of(entries: Iterable[Entry], num_processes: int) -> str:
    """What is wrong with those who have come, absences aside; "" for nothing.

    Args:
      entries: of all who have come.
      num_processes: how many process 0 waits for.
    """
    entries = sorted(entries, key=lambda entry: (entry.process_id, entry.host, entry.pid))
    counted = Counter(entry.process_id for entry in entries)
    for process_id, count in counted.items():
        if count > 1:
            places = [f"{e.host} (pid {e.pid})" for e in entries if e.process_id == process_id]
            return (
                f"{count} processes have the id {process_id}: {', '.join(places)}. Each needs its"
                f" own, from 0 to {num_processes - 1}, in TEACHERLM_PROCESS_ID."
            )
    names = {entry.process_id: entry.host for entry in entries}
    believed: dict[int, list[int]] = {}
    for entry in entries:
        believed.setdefault(entry.num_processes, []).append(entry.process_id)
    if len(believed) > 1:
        said = [f"{name_hosts(names, ids)}: {count}" for count, ids in believed.items()]
        return (
            f"the hosts disagree on how many processes there are: {'; '.join(said)}. Give all the"
            " same TEACHERLM_NUM_PROCESSES."
        )
    return ""


def _absences(entries: Iterable[Entry], num_processes: int, seconds: float) -> str:
    names = {entry.process_id: entry.host for entry in entries}
    absent = set(range(num_processes)) - names.keys()
    if not absent:
        return ""
    return (
        f"{name_hosts({}, absent)} of {num_processes} did not come within {seconds:g} s; there are"
        f" {name_hosts(names, names.keys())}. See what the absent ones print, start them, or give"
        " them more time in TEACHERLM_CONNECT_SECONDS."
    )


# ------------------------------------------------------------------------------------------------
# Process 0


def _listen(bind_address: str) -> socket.socket:
    host, _, port = bind_address.rpartition(":")
    host = host.strip("[]")
    try:
        if host in ("", "::") and socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
            )
        if host in ("", "::"):
            return socket.create_server(("", int(port)), backlog=1024)
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, int(port)), family=family, backlog=1024)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise HostsError(
                f"process 0 cannot listen: port {port} of {socket.gethostname()} is taken, by an"
                " earlier run, by another process with TEACHERLM_PROCESS_ID=0, or by another"
                " program. End that, or choose another port in TEACHERLM_COORDINATOR."
            ) from error
        raise HostsError(
            f"process 0 cannot listen at {bind_address} on {socket.gethostname()} ({error})."
            " TEACHERLM_COORDINATOR must be an address of process 0's own machine, with a port that"
            " it may use."
        ) from error


async def _call(listener: socket.socket, num_processes: int, seconds: float) -> None:
    """Greets whoever comes, and tells all of them what is wrong, or that nothing is."""
    present: dict[asyncio.StreamWriter, Entry] = {}
    changed = asyncio.Event()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(_GREETING)
            line = await asyncio.wait_for(reader.readline(), _ANSWER_SECONDS)
            present[writer] = Entry(**json.loads(line))
            changed.set()
            while await reader.read(1024):
                pass  # until it leaves
        except (OSError, ValueError, TypeError):
            pass  # another program, or one that left
        finally:
            present.pop(writer, None)
            changed.set()
            writer.close()

    server = await asyncio.start_server(meet, sock=listener)
    deadline = time.monotonic() + seconds
    problem = ""
    while True:
        if not problem and (problem := problem_of(present.values(), num_processes)):
            deadline = min(deadline, time.monotonic() + _LATECOMERS_SECONDS)
        if not problem and len(present) == num_processes:
            break
        try:
            await asyncio.wait_for(changed.wait(), deadline - time.monotonic())
        except TimeoutError:
            break
        changed.clear()
    problem = problem_of(present.values(), num_processes) or problem
    problem = problem or _absences(present.values(), num_processes, seconds)
    # Nobody shall find this listener who already looks for JAX'.
    server.close()
    for writer in present:
        writer.write(json.dumps({"problem": problem}).encode() + b"\n")
    # They leave first, so that the port does not stay in TIME_WAIT here.
    deadline = time.monotonic() + _ANSWER_SECONDS / 2
    with contextlib.suppress(TimeoutError):
        while present:
            changed.clear()
            await asyncio.wait_for(changed.wait(), deadline - time.monotonic())


# ------------------------------------------------------------------------------------------------
# Every process


def _hear(address: str, entry: Entry, seconds: float) -> str:
    """Says who this is, and returns what is wrong; "" for nothing."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            problem = _converse(address, entry, seconds)
            if problem is not None:
                return problem
            found = (
                "what answers there does not call the roll: an earlier run that has not ended, a"
                " run that began without this process (is its id taken?), or another program"
            )
        except OSError as error:
            found = f"nobody answers ({error})"
        if time.monotonic() > deadline:
            return (
                f"process {entry.process_id} ({entry.host}) did not reach process 0 at {address}"
                f" within {seconds:g} s: {found}. Check that process 0 runs and that its machine"
                " has the address in TEACHERLM_COORDINATOR, or give more time in"
                " TEACHERLM_CONNECT_SECONDS."
            )
        time.sleep(0.1)


def _converse(address: str, entry: Entry, seconds: float) -> str | None:
    """One try; None where who answers is not process 0 of such a run, or left."""
    host, _, port = address.rpartition(":")
    patience = max(min(seconds, _ANSWER_SECONDS), 0.1)
    with (
        socket.create_connection((host.strip("[]"), int(port)), timeout=patience) as connection,
        connection.makefile("rb") as lines,
    ):
        try:
            greeting = lines.read(len(_GREETING))
        except OSError:  # silent, or gone
            return None
        if greeting != _GREETING:
            return None
        connection.sendall(json.dumps(dataclasses.asdict(entry)).encode() + b"\n")
        connection.settimeout(seconds + 2 * _ANSWER_SECONDS)
        line = lines.readline()
        return str(json.loads(line)["problem"]) if line.endswith(b"\n") else None
