"""Background saves: whole or not at all, and a failure is known at once."""

import gc
import io
import resource
import signal
import subprocess
import sys
import textwrap
import time

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from launch import local_launch
from teacherlm_jax.checkpoints import writing
from teacherlm_jax.checkpoints.manager import CheckpointError, Checkpoints, SavePolicy
from teacherlm_jax.partitioning import mesh as mesh_lib
from tests.checkpoints import states
from tests.checkpoints.states import ONE, assert_is, content, on_mesh, restore_newest, save

# Orbax leaves coroutines behind where a write fails; they are to be collected here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def collected():
    yield
    gc.collect()


@pytest.fixture
def no_large_files():
    """No file may grow past 64 KiB: as good as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


NOT_WRITTEN = r"not be written to .* \(.*File too large.*goes on from step 10\.$"


def save_too_much(checkpoints):
    checkpoints.save(20, *on_mesh(content(20, width=2**15), **ONE), {})


def test_a_background_save_that_fails_is_raised_at_once(tmp_path, no_large_files):
    policy = SavePolicy(keep=1)
    save(tmp_path, 10, policy=policy)
    with Checkpoints(tmp_path, policy) as checkpoints:
        checkpoints.check_background()
        save_too_much(checkpoints)
        deadline = time.monotonic() + 30
        with pytest.raises(CheckpointError, match=NOT_WRITTEN):
            while time.monotonic() < deadline:
                checkpoints.check_background()
                time.sleep(0.01)
        with pytest.raises(CheckpointError, match=NOT_WRITTEN):  # Nor does it go on to save.
            checkpoints.save(30, *on_mesh(content(30), **ONE), {})
    with Checkpoints(tmp_path) as reader:  # Kept, though the policy would have it replaced.
        assert reader.steps() == [10]
        assert_is(restore_newest(reader), 10)


def test_a_background_save_that_fails_is_raised_at_the_end(tmp_path, no_large_files):
    save(tmp_path, 10)
    checkpoints = Checkpoints(tmp_path, SavePolicy())
    save_too_much(checkpoints)
    with pytest.raises(CheckpointError, match=NOT_WRITTEN):
        checkpoints.close()
    with Checkpoints(tmp_path) as reader:
        assert_is(restore_newest(reader), 10)


def test_saving_while_another_error_is_handled_is_no_failure(tmp_path):
    """A run saves before it ends by Ctrl-C."""
    with Checkpoints(tmp_path, SavePolicy()) as checkpoints:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            for step in (1, 2):
                checkpoints.save(step, *on_mesh(content(step), **ONE), {})
                checkpoints.check_background()
    with Checkpoints(tmp_path) as reader:
        assert_is(restore_newest(reader), 2)


def test_a_step_before_the_newest_is_not_left_out_in_silence(tmp_path):
    save(tmp_path, 10)
    with pytest.raises(CheckpointError, match="step 5 is not after step 10"):
        save(tmp_path, 5)


_KILLED = """
    import os, signal, sys

    from teacherlm_jax.checkpoints.manager import Checkpoints, SavePolicy
    from tests.checkpoints import states

    with Checkpoints(sys.argv[1], SavePolicy(keep=1)) as checkpoints:
        for step in (10, 20):
            state = states.on_mesh(states.content(step, width=2**19), **states.ONE)
            checkpoints.save(step, *state, {})
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_while_a_save_is_written_leaves_the_one_before(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(_KILLED), str(tmp_path)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    with Checkpoints(tmp_path, SavePolicy(keep=1)) as checkpoints:
        step, *trees = checkpoints.restore_newest(*states.abstract(content(0, width=2**19), **ONE))
        assert step in (10, 20)
        assert_is((step, *trees), step, width=2**19)
        checkpoints.save(30, *on_mesh(content(30), **ONE), {})
    assert [path.name for path in tmp_path.iterdir()] == ["30"]


def test_a_part_may_be_larger_than_the_least_limit():
    """Orbax refuses what is above its limit."""
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(fsdp=4, tensor=2))
    sharding = NamedSharding(mesh, PartitionSpec("fsdp"))
    small = jax.device_put(np.zeros((8, 4), np.float32), sharding)
    assert writing._buffer_gigabytes({"a": small, "step": 3}) == 2
    assert writing._buffer_gigabytes({"a": small, "b": np.zeros(3 * 10**9, np.int8)}) == 4


_HOST_1_HAS_NO_ROOM = """
    import os, resource, sys, time

    from teacherlm_jax.partitioning import hosts

    hosts.initialize_from_environment()

    import jax

    from teacherlm_jax.checkpoints.manager import CheckpointError, Checkpoints, SavePolicy
    from tests.checkpoints import states

    checkpoints = Checkpoints(sys.argv[1], SavePolicy(keep=1))
    for step, width in ((10, 256), (20, 2**16)):
        if step == 20 and jax.process_index() == 1:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
        checkpoints.save(step, *states.on_mesh(states.content(step, width), fsdp=4), {})
    try:
        while True:
            checkpoints.check_background()
            time.sleep(0.01)
    except CheckpointError as error:
        print("raised:", error, flush=True)
        os._exit(3)
"""


def test_a_host_that_cannot_write_knows_it_at_once(tmp_path):
    """Though Orbax's thread waits for the others, which wait for this one."""
    began, output = time.monotonic(), io.StringIO()
    command = ["python", "-c", textwrap.dedent(_HOST_1_HAS_NO_ROOM), str(tmp_path)]
    result = local_launch.launch(command, devices_per_process=2, output=output, timeout_seconds=120)
    assert result.problem.startswith("host 1 failed with exit status 3"), output.getvalue()
    assert "File too large" in result.outputs[1].partition("raised: ")[2]
    assert "raised: " not in result.outputs[0]
    assert time.monotonic() - began < 60
    with Checkpoints(tmp_path) as checkpoints:
        assert_is(restore_newest(checkpoints), 10)
