"""Processes that are absent, double or of two minds are named to all of them.

Most processes are threads here, and the connections real; the last test has real processes.
"""

import concurrent.futures
import contextlib
import io
import os
import re
import socket
import textwrap
import time

import pytest

from launch import local_launch
from teacherlm_jax.partitioning import roll_call
from teacherlm_jax.partitioning.cluster import Cluster

HOST = socket.gethostname()


@pytest.fixture
def address(monkeypatch):
    monkeypatch.delenv("JAX_COORDINATOR_BIND_ADDRESS", raising=False)
    monkeypatch.setattr(roll_call, "_LATECOMERS_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return f"127.0.0.1:{port}"


def answers(address, processes, seconds=1.0, delays=()):
    """What each (id, count of processes) hears, "" for nothing wrong."""

    def answer(process, delay):
        time.sleep(delay)
        try:
            roll_call.answer(Cluster(address, process[1], process[0]), seconds)
        except roll_call.HostsError as error:
            return str(error)
        return ""

    delays = [*delays, *[0] * (len(processes) - len(delays))]
    with concurrent.futures.ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(answer, processes, delays))


def test_when_all_have_come_all_go_on_and_the_port_is_free(address):
    # In any order, and twice: a restart finds the port free.
    for delays in ([0.3, 0, 0.1, 0.2], [0, 0.3, 0.2, 0.1]):
        everyone = [(process_id, 4) for process_id in range(4)]
        assert answers(address, everyone, 10, delays) == [""] * 4
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        pass


def test_one_process_is_all():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert answers(f"localhost:{port}", [(0, 1)]) == [""]


def test_the_absent_are_named_to_all_in_time(address):
    start = time.monotonic()
    heard = answers(address, [(0, 5), (2, 5), (3, 5)])
    assert time.monotonic() - start < 3
    assert set(heard) == {
        f"hosts 1, 4 of 5 did not come within 1 s; there are hosts 0 ({HOST}), 2 ({HOST}), 3"
        f" ({HOST}). See what the absent ones print, start them, or give them more time in"
        " TEACHERLM_CONNECT_SECONDS."
    }


def test_without_process_0_the_others_say_so(address):
    start = time.monotonic()
    first, second = answers(address, [(1, 3), (2, 3)])
    assert time.monotonic() - start < 3
    assert f"process 1 ({HOST}) did not reach process 0 at {address} within 1 s" in first
    assert "nobody answers ([Errno 111] Connection refused)" in second


def test_two_processes_of_one_id_are_named_to_all(address):
    heard = answers(address, [(0, 4), (1, 4), (1, 4), (2, 4)], 20)
    place = f"{HOST} (pid {os.getpid()})"
    assert set(heard) == {
        f"2 processes have the id 1: {place}, {place}. Each needs its own, from 0 to 3, in"
        " TEACHERLM_PROCESS_ID."
    }


def test_hosts_that_count_differently_are_named_to_all(address):
    # Process 0 believes that all are there when it has one other.
    heard = answers(address, [(0, 2), (1, 3), (2, 3)], 20)
    assert set(heard) == {
        f"the hosts disagree on how many processes there are: host 0 ({HOST}): 2; hosts 1 ({HOST}),"
        f" 2 ({HOST}): 3. Give all the same TEACHERLM_NUM_PROCESSES."
    }


def test_a_taken_port_is_an_error_at_once_and_its_holder_is_not_mistaken(address):
    with socket.create_server(("0.0.0.0", int(address.rpartition(":")[2]))):
        start = time.monotonic()
        with pytest.raises(roll_call.HostsError, match="is taken, by an earlier run, by another"):
            roll_call.answer(Cluster(address, 2, 0), 60)
        assert time.monotonic() - start < 1
        (heard,) = answers(address, [(1, 2)], 0.5)
        assert "what answers there does not call the roll" in heard


def test_an_address_of_another_machine_is_an_error_at_once(address, monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_BIND_ADDRESS", "192.0.2.1:1234")  # RFC 5737: nobody's
    with pytest.raises(roll_call.HostsError, match=r"cannot listen at 192\.0\.2\.1:1234"):
        roll_call.answer(Cluster(address, 2, 0), 60)


def test_strangers_and_those_who_left_do_not_count(address):
    """Process 1 is killed while it waits, and started again; scanners look in."""
    host, port = address.split(":")

    def knock(*lines):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                connection = socket.create_connection((host, int(port)), timeout=10)
                for line in lines:
                    connection.sendall(line)
                return connection
            time.sleep(0.01)
        raise TimeoutError

    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(answers, address, [(0, 2)], 20)
        scanners = [knock(), knock(b"GET / HTTP/1.0\r\n\r\n"), knock(b"[1]\n"), knock(b"x" * 99999)]
        knock(b'{"process_id": 1, "num_processes": 2, "host": "gone", "pid": 7}\n').close()
        time.sleep(0.3)
        assert not waiting.done()
        assert answers(address, [(1, 2)], 20) == [""]
        assert waiting.result() == [""]
        for scanner in scanners:
            scanner.close()


def test_many_hosts_are_named_in_short():
    assert roll_call.name_hosts({3: "c"}, [3]) == "host 3 (c)"
    assert roll_call.name_hosts({3: "c"}, [12, 3]) == "hosts 3 (c), 12"
    assert roll_call.name_hosts({}, range(1000)) == "hosts 0, 1, 2, 3, 4, 5, 6, 7 and 992 more"


_SOME_COME = """
    import os

    host = os.environ["TEACHERLM_PROCESS_ID"]
    if host in ("1", "2"):
        raise SystemExit

    from teacherlm_jax.partitioning import hosts

    try:
        hosts.initialize_from_environment()
    except ValueError as error:
        print(error)
"""


def test_absent_hosts_are_named_by_all_others_in_time():
    output = io.StringIO()
    result = local_launch.launch(
        ["python", "-c", textwrap.dedent(_SOME_COME)],
        processes=4,
        env={"TEACHERLM_CONNECT_SECONDS": "5"},
        output=output,
        timeout_seconds=120,
    )
    assert result.exit_codes == [0] * 4, output.getvalue()
    first, *silent, last = result.outputs
    assert re.fullmatch(
        r"hosts 1, 2 of 4 did not come within 5 s; there are hosts 0 \(.+\), 3 \(.+\)\. .+\n", first
    )
    assert silent == ["", ""] and last == first
