import gc
import io
import os
import textwrap

import jax
import numpy as np
import pytest

from launch import local_launch
from teacherlm_jax.checkpoints import reading
from teacherlm_jax.checkpoints.manager import CheckpointError, Checkpoints, StorageError
from tests.checkpoints.states import (
    DAMAGES,
    ONE,
    SYNC,
    abstract,
    assert_is,
    content,
    data_file,
    flip,
    on_mesh,
    restore_newest,
    save,
)

# Orbax leaves coroutines behind where a read fails; they are to be collected here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def collected():
    yield
    gc.collect()


# Damage


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path, caplog, damage):
    save(tmp_path, 10, 20)
    damage(tmp_path / "20")
    with Checkpoints(tmp_path, SYNC) as checkpoints:
        assert_is(restore_newest(checkpoints), 10)
    (text,) = [text for text in caplog.messages if "Passing over" in text]
    assert f"checkpoint {tmp_path / '20'} cannot be read" in text
    assert "delete that folder to go on from step 10" in text


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_only_checkpoint_damaged_is_an_error_with_a_remedy(tmp_path, damage):
    save(tmp_path, 10)
    damage(tmp_path / "10")
    message = rf"{tmp_path / '10'} cannot be read \(.+\); delete that folder, and done.json"
    with (
        Checkpoints(tmp_path, SYNC) as checkpoints,
        pytest.raises(CheckpointError, match=message) as raised,
    ):
        restore_newest(checkpoints)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "10").is_dir()  # Nothing is deleted unasked.


def test_no_flipped_bit_is_read_as_another_number(tmp_path):
    save(tmp_path, 10)
    files = [path for path in (tmp_path / "10").rglob("*") if path.is_file()]
    assert len(files) > 10
    refused = set()
    for path in files:
        whole = path.read_bytes()
        for place in np.linspace(0, len(whole) - 1, 5, dtype=int):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << (place % 8)
            path.write_bytes(bytes(damaged))
            with Checkpoints(tmp_path) as checkpoints:
                try:
                    assert_is(restore_newest(checkpoints), 10)
                except CheckpointError:
                    refused.add(path)
        path.write_bytes(whole)
    assert {data_file(tmp_path / "10", item) for item in ("params", "rest")} < refused


GARBLED = {
    "empty": b"",
    "cut": b'{"item_handlers": {"par',
    "no text": b"\xff\xfe\x00",
    "a list": b"[1]",
    "no time": b'{"commit_timestamp_nsecs": "soon"}',
    "the year 31710": b'{"commit_timestamp_nsecs": 938542463000000000000}',
    "no handlers": b'{"item_handlers": 7}',
}


@pytest.mark.parametrize("damage", list(GARBLED))
def test_damaged_step_metadata_is_no_foreign_error(tmp_path, damage):
    """Orbax reads this file as soon as a folder is opened."""
    save(tmp_path, 10, 20)
    (tmp_path / "20" / "_CHECKPOINT_METADATA").write_bytes(GARBLED[damage])
    for policy in (SYNC, None):
        with Checkpoints(tmp_path, policy) as checkpoints:
            assert checkpoints.steps() == [10, 20]
            restored = restore_newest(checkpoints)
            # The arrays and what says how to read them are whole: either will do.
            assert_is(restored, restored[0])
    (tmp_path / "10").rename(tmp_path / "gone")
    with Checkpoints(tmp_path) as checkpoints:
        try:
            assert_is(restore_newest(checkpoints), 20)
        except CheckpointError as error:
            assert f"{tmp_path / '20'} cannot be read" in str(error)


def test_training_goes_on_past_damaged_checkpoints(tmp_path):
    """From the newest that is whole; the steps of the damaged ones are saved anew."""
    save(tmp_path, 10, 20, 30)
    flip(tmp_path / "20")
    flip(tmp_path / "30")
    with Checkpoints(tmp_path, SYNC) as checkpoints:
        assert_is(restore_newest(checkpoints), 10)
        for step in (20, 30):
            params, rest = on_mesh(content(step), **ONE)
            checkpoints.save(step, params, rest, {"rows": []})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [10, 20, 30]
        assert_is(restore_newest(checkpoints), 30)
        params = checkpoints.restore_params(20, abstract(content(0)[0], **ONE))
        np.testing.assert_array_equal(params["w"], content(20)[0]["w"])


@pytest.mark.parametrize("failure", [OSError("no access"), ValueError("UNAVAILABLE: gs://b/0")])
def test_storage_that_fails_is_no_damage(tmp_path, monkeypatch, failure):
    save(tmp_path, 1, 2)
    with Checkpoints(tmp_path, SYNC) as checkpoints:
        read = reading.tree

        def tree(folder, wanted):
            if folder.parent.name == "2":
                raise RuntimeError("wrapped") from failure
            return read(folder, wanted)

        monkeypatch.setattr(reading, "tree", tree)
        with pytest.raises(StorageError, match=r"2 cannot be read now .*run the same"):
            restore_newest(checkpoints)
        assert checkpoints.steps() == [1, 2]


def test_a_torn_save_is_no_checkpoint(tmp_path):
    save(tmp_path, 10, 20)
    torn = tmp_path / "20.orbax-checkpoint-tmp-7"
    (tmp_path / "20").rename(torn)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [10]
        assert_is(restore_newest(checkpoints), 10)
    assert torn.is_dir()
    save(tmp_path, 20)  # Opened for writing, it is cleared away.
    assert not torn.exists()
    with Checkpoints(tmp_path) as checkpoints:
        assert_is(restore_newest(checkpoints), 20)


def test_an_empty_step_folder_is_passed_over_and_replaced(tmp_path, caplog):
    save(tmp_path, 10)
    os.mkdir(tmp_path / "20")
    with Checkpoints(tmp_path, SYNC) as checkpoints:
        assert_is(restore_newest(checkpoints), 10)
        assert f"checkpoint {tmp_path / '20'} cannot be read" in caplog.text
        checkpoints.save(20, *on_mesh(content(20), **ONE), {})
        # What was passed over by the same process that saved before.
        flip(tmp_path / "20")
        assert_is(restore_newest(checkpoints), 10)
        checkpoints.save(20, *on_mesh(content(20), **ONE), {})
        assert_is(restore_newest(checkpoints), 20)


# Agreement in one process


def test_work_is_done_and_its_errors_are_explained(tmp_path):
    def explain(error):
        return CheckpointError(f"explained: {error}")

    assert reading.together(tmp_path, lambda: 7, explain) == 7
    with pytest.raises(CheckpointError, match="explained: 'missing'") as raised:
        reading.together(tmp_path, lambda: {}["missing"], explain)
    assert isinstance(raised.value.__cause__, KeyError)
    reading.check_same_steps(tmp_path, [])
    reading.check_same_steps(tmp_path, [1, 2])
    np.testing.assert_array_equal(reading.gathered([3, 2**31 - 1]), [[3, 2**31 - 1]])


def test_what_was_read_of_a_damaged_checkpoint_leaves_memory_at_once(tmp_path):
    """Else a state that fills the device could not be passed over."""
    arrays = []
    gc.disable()
    try:
        for folder in (tmp_path / "whole", tmp_path / "damaged"):
            save(folder, 10, 20)
            if folder.name == "damaged":
                flip(folder / "20")  # Read whole, then found to be of another content.
            gc.collect()
            with Checkpoints(folder, SYNC) as checkpoints:
                wanted = abstract(content(0), **ONE)
                before = len(jax.live_arrays())
                restored = checkpoints.restore_newest(*wanted)
                arrays.append(len(jax.live_arrays()) - before)
                del restored
    finally:
        gc.enable()
    assert arrays[0] == arrays[1] > 0


def test_limits_are_above_what_is_read_at_once():
    assert reading.gigabytes_above(0) == reading.gigabytes_above(10**9) == 2
    assert reading.gigabytes_above(2 * 10**9) == 3
    assert reading.gigabytes_above(14_385_152_000) == 15


# Several hosts


_TWO_HOSTS = """
    import logging, pathlib, sys

    from teacherlm_jax.partitioning import hosts

    hosts.initialize_from_environment()

    import jax
    import numpy as np

    from teacherlm_jax.checkpoints.manager import CheckpointError, Checkpoints, SavePolicy
    from tests.checkpoints import states

    SHARDED = {"fsdp": 4}
    directory, host = pathlib.Path(sys.argv[1]), jax.process_index()

    class Warnings(logging.Handler):
        def emit(self, record):
            print("logged:", record.getMessage())

    logging.getLogger("absl").addHandler(Warnings(logging.WARNING))

    def put(checkpoints, step):
        checkpoints.save(step, *states.on_mesh(states.content(step), **SHARDED), {})

    def assert_is(restored, step):
        found, *trees = restored
        assert found == step, found
        for leaf, whole in zip(jax.tree.leaves(trees), jax.tree.leaves(states.content(step))):
            for part in leaf.addressable_shards:
                np.testing.assert_array_equal(part.data, whole[part.index])

    def damage(folder):
        # Of these files host 1 alone needs anything.
        for path in (folder / "params" / "ocdbt.process_1" / "d").iterdir():
            path.write_bytes(path.read_bytes()[:100])

    policy = SavePolicy(period=10, keep=None)
    with Checkpoints(directory, policy) as checkpoints:
        for step in (10, 20, 30):
            put(checkpoints, step)
    hosts.on_first_host("damage", lambda: [damage(directory / step) for step in ("20", "30")])
    with Checkpoints(directory, policy) as checkpoints:
        assert_is(states.restore_newest(checkpoints, SHARDED), 10)
        for step in (20, 30, 40):
            put(checkpoints, step)
    with Checkpoints(directory) as checkpoints:
        assert checkpoints.steps() == [10, 20, 30, 40]
        assert_is(states.restore_newest(checkpoints, SHARDED), 40)
        for step in (20, 30):
            checkpoints.restore_params(step, states.abstract(states.content(0)[0], **SHARDED))
        hosts.on_first_host("damage", lambda: damage(directory / "20"))
        try:
            checkpoints.restore_params(20, states.abstract(states.content(0)[0], **SHARDED))
        except CheckpointError as error:
            print("raised:", error)
    try:
        with Checkpoints(directory / str(host), policy) as checkpoints:
            (directory / str(host) / str(host)).mkdir()
            states.restore_newest(checkpoints, SHARDED)
    except CheckpointError as error:
        print("raised:", error)
    print("done")
"""


def test_two_hosts_pass_over_what_one_of_them_cannot_read(tmp_path):
    output = io.StringIO()
    command = ["python", "-c", textwrap.dedent(_TWO_HOSTS), str(tmp_path)]
    result = local_launch.launch(command, devices_per_process=2, output=output, timeout_seconds=120)
    assert result.exit_codes == [0, 0], output.getvalue()
    printed = [
        [line for line in text.splitlines() if line.startswith(("logged:", "raised:", "done"))]
        for text in result.outputs
    ]
    by_one = "cannot be read by host 1, whose own output says why."
    passed = "logged: Passing over a damaged checkpoint: checkpoint"
    first, second = printed
    assert first[:3] == [
        f"{passed} {tmp_path}/30 {by_one}",
        f"{passed} {tmp_path}/20 {by_one}",
        f"raised: checkpoint {tmp_path}/20 {by_one}",
    ]
    for line, step in zip(second, (30, 20, 20)):
        assert f"checkpoint {tmp_path}/{step} cannot be read (" in line
    found = "(host 0 1 up to step 0; host 1 1 up to step 1); give a folder that they share"
    for line in (first[3], second[3]):
        assert found in line
    assert first[4:] == second[4:] == ["done"]
