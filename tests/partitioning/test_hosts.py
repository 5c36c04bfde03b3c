"""Several hosts on this machine: they compute together, save together, and fail together."""

import io
import re
import signal
import subprocess
import sys
import textwrap
import time

import jax
import numpy as np
import pytest

from launch import local_launch
from teacherlm_jax.partitioning import hosts

VARIABLES = {
    hosts.COORDINATOR: "127.0.0.1:3456",
    hosts.NUM_PROCESSES: "2",
    hosts.PROCESS_ID: "1",
}


def _launch(code, *arguments, **kwargs):
    output = io.StringIO()
    command = ["python", "-c", textwrap.dedent(code), *map(str, arguments)]
    result = local_launch.launch(
        command, **{"output": output, "timeout_seconds": 120, "grace_seconds": 2, **kwargs}
    )
    return result, output.getvalue()


_TOGETHER = """
    import sys

    from teacherlm_jax.partitioning import hosts

    assert hosts.initialize_from_environment()
    assert hosts.initialize_from_environment()

    import jax
    import jax.numpy as jnp
    import numpy as np
    import orbax.checkpoint as ocp
    from jax.sharding import NamedSharding, PartitionSpec

    def shard(values, shape):
        mesh = jax.make_mesh(
            shape, ("data", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2
        )
        sharding = NamedSharding(mesh, PartitionSpec("data", "tensor"))
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    # Sums over all devices, by jit and by hand.
    values = np.arange(64, dtype=np.float32).reshape(8, 8)
    array = shard(values, (4, 1))
    assert len(array.addressable_shards) == 2
    assert float(jax.jit(jnp.sum)(array)) == values.sum()
    add = jax.shard_map(
        lambda part: jax.lax.psum(part.sum(), "data"),
        mesh=array.sharding.mesh,
        in_specs=PartitionSpec("data", "tensor"),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    assert float(jax.jit(add)(array)) == values.sum()

    # Saved from a 4 x 1 mesh, restored onto a 2 x 2 one.
    with ocp.CheckpointManager(sys.argv[1]) as checkpoints:
        checkpoints.save(7, args=ocp.args.StandardSave({"w": array}))
        checkpoints.wait_until_finished()
        wanted = {"w": shard(np.zeros_like(values), (2, 2))}
        restored = checkpoints.restore(7, args=ocp.args.StandardRestore(wanted))["w"]
    assert restored.sharding == wanted["w"].sharding
    for part in restored.addressable_shards:
        np.testing.assert_array_equal(part.data, values[part.index])
    print(jax.process_index(), jax.process_count(), jax.device_count(), "done")
"""


def test_two_hosts_compute_save_and_restore_together(tmp_path):
    result, output = _launch(_TOGETHER, tmp_path / "checkpoints", devices_per_process=2)
    assert (result.problem, result.exit_codes, result.exit_code) == ("", [0, 0], 0), output
    assert [text.splitlines()[-1] for text in result.outputs] == ["0 2 4 done", "1 2 4 done"]
    assert all(re.match(r"\[host [01]\] ", line) for line in output.splitlines())
    assert "Gloo" not in output


_ONE_DIES = """
    import os, signal, sys, time

    from teacherlm_jax.partitioning import hosts

    hosts.initialize_from_environment()

    import jax
    import jax.numpy as jnp
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices("both are here")
    print("ready")
    if jax.process_index() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    multihost_utils.sync_global_devices("the other never comes")
    print("came")
"""


def test_a_host_that_is_killed_stops_the_one_that_waits_for_it():
    start = time.monotonic()
    result, output = _launch(_ONE_DIES)
    assert result.problem == "host 1 was ended by SIGKILL; stopping the others (0)", output
    assert result.exit_codes[1] == -signal.SIGKILL
    assert result.exit_codes[0] != 0
    assert result.exit_code == 128 + signal.SIGKILL
    assert [text.split() for text in result.outputs][1] == ["ready"]
    assert "came" not in output
    assert time.monotonic() - start < 60


_ONE_IS_SILENT = """
    import os, signal, time

    from teacherlm_jax.partitioning import hosts

    hosts.initialize_from_environment()
    if os.environ["TEACHERLM_PROCESS_ID"] == "1":
        os.kill(os.getpid(), signal.SIGSTOP)  # as where its machine is gone
    time.sleep(1000)
"""


def test_a_host_that_is_silent_ends_one_that_does_not_wait_for_it():
    start = time.monotonic()
    result, output = _launch(_ONE_IS_SILENT, env={hosts.HEARTBEAT_SECONDS: "2"})
    assert result.problem == "host 0 was ended by SIGABRT; stopping the others (1)", output
    assert re.search(r"unhealthy \(stopped sending heartbeats\):\n1\n", result.outputs[0])
    assert time.monotonic() - start < 60


def test_a_host_that_fails_stops_the_others_and_their_children(tmp_path):
    result, output = _launch(
        """
        import os, pathlib, signal, subprocess, sys, time

        folder = pathlib.Path(sys.argv[1])
        if os.environ["TEACHERLM_PROCESS_ID"] == "2":
            while len(list(folder.iterdir())) < 2:
                time.sleep(0.01)
            sys.exit("no more memory")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "1000"])
        (folder / str(child.pid)).touch()
        time.sleep(1000)
        """,
        tmp_path,
        processes=3,
        grace_seconds=0.2,
    )
    assert result.problem == "host 2 failed with exit status 1; stopping the others (0, 1)"
    assert result.exit_codes == [-signal.SIGKILL, -signal.SIGKILL, 1]
    assert result.exit_code == 1
    assert output == "[host 2] no more memory\n"
    deadline = time.monotonic() + 10
    children = [int(path.name) for path in tmp_path.iterdir()]
    while any(_runs(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


_AGREE = """
    import os, pathlib, sys

    from teacherlm_jax.partitioning import hosts

    hosts.initialize_from_environment()

    import jax

    host, path = jax.process_index(), pathlib.Path(sys.argv[1]) / "file"
    hosts.on_first_host("writing", lambda: path.write_text(str(host)))
    assert path.read_text() == "0"

    def fail():
        raise OSError("disk full")

    try:
        hosts.on_first_host("writing the ledger", fail)
    except Exception as error:
        print(type(error).__name__, error)

    assert hosts.on_every_host("counting", lambda: host + 1) == host + 1
    try:
        hosts.on_every_host("reading", lambda: fail() if host else None)
    except Exception as error:
        print(type(error).__name__, error)

    assert hosts.gathered([host, 2**31 - 1]).tolist() == [[h, 2**31 - 1] for h in range(3)]
    hosts.wait_for_all("the end")
    try:
        hosts.wait_for_all("itself" if host else "another")
    except RuntimeError as error:
        print(error)
"""


def test_one_host_writes_for_all_and_all_hear_of_a_failure(tmp_path):
    result, _ = _launch(_AGREE, tmp_path, processes=3)
    assert result.exit_codes == [0, 0, 0], result.outputs
    lines = [output.splitlines() for output in result.outputs]
    assert [error for _, error, _ in lines] == [
        "RuntimeError reading failed on host 1, 2, whose own output says why.",
        *2 * ["OSError disk full"],
    ]
    assert [error for *_, error in lines] == [
        "this host waits for 'another', and another for something else.",
        *2 * ["this host waits for 'itself', and another for something else."],
    ]
    assert [error for error, *_ in lines] == [
        "OSError disk full",
        *2
        * ["RuntimeError writing the ledger failed on the first host, whose own output says why."],
    ]


def test_one_process_gathers_from_itself_alone():
    np.testing.assert_array_equal(hosts.gathered([1, 2]), [[1, 2]])


def test_hosts_that_do_not_end_in_time_are_stopped():
    result, _ = _launch("import time; time.sleep(1000)", timeout_seconds=0.5)
    assert result.problem == "still running after 0.5 s: hosts 0, 1; stopping them"
    assert result.exit_codes == [-signal.SIGTERM] * 2
    assert result.exit_code == 124


def test_each_host_has_its_variables_and_the_shell_gets_status_and_prefix(capfd, monkeypatch):
    code = (
        "import os; print(*(os.environ[name] for name in ('TEACHERLM_NUM_PROCESSES',"
        " 'TEACHERLM_PROCESS_ID', 'XLA_FLAGS', 'EXTRA')), end='')"
    )
    monkeypatch.setenv("EXTRA", "yes")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # The handlers stay pytest's own.
    assert local_launch.main(["--devices_per_process", "3", "--", "python", "-c", code]) == 0
    lines = sorted(capfd.readouterr().out.splitlines())
    flag = "--xla_force_host_platform_device_count"
    assert [line for line in lines if line.count(flag) == 1] == lines
    assert [re.sub(r" --xla\S*=(\d+)", r" \1", line) for line in lines] == [
        "[host 0] 2 0 3 yes",
        "[host 1] 2 1 3 yes",
    ]
    assert local_launch.main(["--processes=1", "--", "python", "-c", "exit(5)"]) == 5
    assert "local_launch: host 0 failed with exit status 5" in capfd.readouterr().err


def test_ctrl_c_is_passed_on_so_that_hosts_can_save_their_state(tmp_path):
    code = """
        import pathlib, sys, time, os

        path = pathlib.Path(sys.argv[1]) / os.environ["TEACHERLM_PROCESS_ID"]
        try:
            path.touch()
            time.sleep(1000)
        except KeyboardInterrupt:
            print("saved")
    """
    command = [sys.executable, local_launch.__file__, "--", "python", "-c", textwrap.dedent(code)]
    launcher = subprocess.Popen(
        [*command, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    launcher.send_signal(signal.SIGINT)
    output, errors = launcher.communicate(timeout=30)
    assert sorted(output.splitlines()) == ["[host 0] saved", "[host 1] saved"]
    assert errors == "local_launch: interrupted\n"
    assert launcher.returncode == 128 + signal.SIGINT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give what to run after '--'"),
        (["--", "no-such-program"], "no program 'no-such-program'"),
        (["--processes", "0", "--", "python"], "processes is 0"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments, message, capfd):
    with pytest.raises(SystemExit, match="2"):
        local_launch.main(arguments)
    assert message in capfd.readouterr().err


def _set(monkeypatch, values):
    for name in (
        *VARIABLES,
        hosts.DISTRIBUTED,
        hosts.CONNECT_SECONDS,
        hosts.HEARTBEAT_SECONDS,
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_without_variables_a_process_is_the_whole_run(monkeypatch):
    _set(monkeypatch, {})
    assert not hosts.initialize_from_environment()
    assert not jax.distributed.is_initialized()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({hosts.PROCESS_ID: "1"}, "TEACHERLM_COORDINATOR, TEACHERLM_NUM_PROCESSES must be set"),
        ({**VARIABLES, hosts.PROCESS_ID: "2"}, "PROCESS_ID is 2; it must be 0 to 1"),
        ({**VARIABLES, hosts.PROCESS_ID: "-1"}, "PROCESS_ID is '-1'; it must be a whole number"),
        ({**VARIABLES, hosts.NUM_PROCESSES: "0"}, "NUM_PROCESSES is '0'; .* from 1"),
        ({**VARIABLES, hosts.NUM_PROCESSES: "two"}, "NUM_PROCESSES is 'two'"),
        ({**VARIABLES, hosts.COORDINATOR: "localhost"}, "'localhost'; it must be HOST:PORT"),
        ({**VARIABLES, hosts.COORDINATOR: "host:99999"}, "it must be HOST:PORT"),
        ({**VARIABLES, hosts.CONNECT_SECONDS: "soon"}, "CONNECT_SECONDS is 'soon'; .* from 1"),
        ({**VARIABLES, hosts.HEARTBEAT_SECONDS: "0"}, "HEARTBEAT_SECONDS is '0'; .* from 1"),
        ({hosts.DISTRIBUTED: "yes"}, "DISTRIBUTED is 'yes'; it must be 'auto' or absent"),
        ({**VARIABLES, hosts.DISTRIBUTED: "auto"}, "TEACHERLM_COORDINATOR, .* are set too"),
    ],
)
def test_impossible_variables_are_errors(monkeypatch, values, message):
    _set(monkeypatch, values)
    with pytest.raises(ValueError, match=message):
        hosts.initialize_from_environment()


def test_who_has_used_devices_cannot_join(monkeypatch):
    _set(monkeypatch, VARIABLES)
    jax.devices()
    with pytest.raises(RuntimeError, match="devices are in use already"):
        hosts.initialize_from_environment()
