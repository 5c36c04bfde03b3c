r"""Runs a command as several hosts on this machine, each with CPU devices of its own.

For tests, and for trying on a laptop what a pod will do:

    python launch/local_launch.py --processes 2 --devices_per_process 4 -- \
        teacherlm train --gin_file=runs/train.gin

Each process gets the variables that `teacherlm_jax.partitioning.hosts` reads. Its output appears
line by line behind "[host 0]". When one process fails, the others are stopped; Ctrl-C is passed on
to all. The exit status is that of the process that failed first, else 0.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
POLL_SECONDS = 0.05
INTERRUPT_GRACE_SECONDS = 60.0

# What the collectives' library prints for each connection that it makes.
_CHATTER = re.compile(r"\[Gloo\] Rank .*connected")


@dataclasses.dataclass(frozen=True)
class LaunchResult:
    """How a launch ended.

    Attributes:
        exit_codes: one for each host; -N where signal N ended it (as `subprocess` has it).
        outputs: what each host wrote, without prefix and chatter.
        problem: what went wrong, naming the host; "" where all hosts ended with 0.
        exit_code: 0, or what a shell should be told.
    """

    exit_codes: list[int]
    outputs: list[str]
    problem: str
    exit_code: int


def launch(
    command: Sequence[str],
    *,
    processes: int = 2,
    devices_per_process: int = 1,
    env: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
    grace_seconds: float = 5.0,
    output: TextIO | None = None,
) -> LaunchResult:
    """Runs a command as several hosts and waits for them.

    Args:
        command: program and arguments; `python` and `teacherlm` are those of this interpreter's
            environment.
        processes: number of hosts.
        devices_per_process: CPU devices of each host.
        env: environment variables to add to this process' own.
        timeout_seconds: after it all hosts are stopped, which counts as failure.
        grace_seconds: how long a host that is told to stop may take before it is killed.
        output: where the hosts' lines go; by default standard output.

    Returns:
        Exit codes, outputs and the problem, if there was one.

    Raises:
        ValueError: a number is out of range.
        FileNotFoundError: there is no such program.
    """
    if processes < 1 or devices_per_process < 1:
        raise ValueError(
            f"processes is {processes} and devices_per_process {devices_per_process}; both must be"
            " at least 1."
        )
    environment = _shared_environment(devices_per_process, processes, env or {})
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        raise FileNotFoundError(
            f"no program {command[0]!r}; give what to run after '--', such as"
            " `-- teacherlm train ...` or `-- python script.py`."
        )
    hosts = [
        _Host(index, [program, *command[1:]], environment, output or sys.stdout)
        for index in range(processes)
    ]
    problem, exit_code = "", 0
    try:
        problem, exit_code = _wait(hosts, timeout_seconds)
    except KeyboardInterrupt:
        problem, exit_code = "interrupted", 128 + signal.SIGINT
        # Long enough to save a checkpoint; another Ctrl-C ends the waiting.
        _stop(hosts, signal.SIGINT, INTERRUPT_GRACE_SECONDS)
    finally:
        _stop(hosts, signal.SIGTERM, grace_seconds)
    exit_codes = [host.process.wait() for host in hosts]
    return LaunchResult(exit_codes, [host.text() for host in hosts], problem, exit_code)


class _Host:
    """One process, with the thread that reads its output."""

    lock = threading.Lock()

    def __init__(
        self, index: int, command: Sequence[str], environment: Mapping[str, str], output: TextIO
    ):
        self.index = index
        self.output = output
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            env={**environment, "TEACHERLM_PROCESS_ID": str(index)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # A group of its own, so that its children can be stopped with it.
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if _CHATTER.search(line):
                continue
            self.lines.append(line)
            with _Host.lock:
                self.output.write(f"[host {self.index}] {line.rstrip()}\n")
                self.output.flush()

    def text(self) -> str:
        """Returns the output so far; all of it, once the process has ended."""
        self.reader.join(timeout=5)
        return "".join(self.lines)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def _wait(hosts: Sequence[_Host], timeout_seconds: float | None) -> tuple[str, int]:
    """Waits until all hosts end with 0, one fails, or the time is up; returns the problem."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    while True:
        # One look at all before any judgement: whoever failed first is to be named.
        codes = [host.process.poll() for host in hosts]
        running = ", ".join(str(host.index) for host, code in zip(hosts, codes) if code is None)
        for host, code in zip(hosts, codes):
            if code:
                stopped = f"; stopping the others ({running})" if running else ""
                return f"host {host.index} {_describe_exit(code)}{stopped}", _shell_status(code)
        if not running:
            return "", 0
        if deadline is not None and time.monotonic() > deadline:
            return f"still running after {timeout_seconds} s: hosts {running}; stopping them", 124
        time.sleep(POLL_SECONDS)


def _stop(hosts: Sequence[_Host], number: signal.Signals, grace_seconds: float) -> None:
    """Tells hosts that still run to stop, and kills those that do not."""
    running = [host for host in hosts if host.process.poll() is None]
    for host in running:
        host.signal(number)
    deadline = time.monotonic() + grace_seconds
    while time.monotonic() < deadline and any(host.process.poll() is None for host in running):
        time.sleep(POLL_SECONDS)
    for host in running:
        host.signal(signal.SIGKILL)  # The children of those that did stop, too.


def _shared_environment(
    devices_per_process: int, processes: int, extra: Mapping[str, str]
) -> dict[str, str]:
    environment = {**os.environ, **extra}
    address = f"127.0.0.1:{_free_port()}"
    flags = re.sub(
        r"--xla_force_host_platform_device_count=\d+", "", environment.get("XLA_FLAGS", "")
    )
    flags = f"{flags} --xla_force_host_platform_device_count={devices_per_process}"
    has_proxy = any(name.lower().endswith("_proxy") for name in environment)
    search_path = [str(REPOSITORY), *filter(None, [environment.get("PYTHONPATH")])]
    return {
        **environment,
        "JAX_PLATFORMS": "cpu",
        # Nobody outside this machine has a part in the run.
        "JAX_COORDINATOR_BIND_ADDRESS": address,
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), environment.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(search_path),
        "PYTHONUNBUFFERED": "1",
        "TEACHERLM_COORDINATOR": address,
        "TEACHERLM_NUM_PROCESSES": str(processes),
        "XLA_FLAGS": flags.strip(),
        # JAX warns of any proxy variable, so this is set only beside others.
        **({"no_proxy": "127.0.0.1"} if has_proxy else {}),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _describe_exit(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"failed with exit status {code}"


def _shell_status(code: int) -> int:
    return 128 - code if code < 0 else code


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2, help="number of hosts (default 2)")
    parser.add_argument(
        "--devices_per_process", type=int, default=1, help="CPU devices a host (default 1)"
    )
    parser.add_argument(
        "--timeout_seconds", type=float, default=None, help="stop all hosts after this time"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- PROGRAM ARGUMENTS...")
    arguments = parser.parse_args(argv)
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        parser.error("give what to run after '--', such as `-- teacherlm train ...`")
    # A launcher that is told to stop stops its hosts first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = launch(
            command,
            processes=arguments.processes,
            devices_per_process=arguments.devices_per_process,
            timeout_seconds=arguments.timeout_seconds,
        )
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    if result.problem:
        print(f"local_launch: {result.problem}", file=sys.stderr)
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
