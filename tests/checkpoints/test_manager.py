import gc
import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from jax.sharding import NamedSharding, PartitionSpec

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.checkpoints.manager import (
    CheckpointError,
    Checkpoints,
    SavePolicy,
    StorageError,
)
from teacherlm_jax.partitioning import mesh as mesh_lib

# Orbax leaves coroutines behind where a read fails; they are to be collected here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def collected():
    yield
    gc.collect()


SYNC = SavePolicy(period=10, keep=None, asynchronous=False)
P = PartitionSpec


def content(step, width=256):
    """Parameters and the rest, other numbers for every step; wide ones have files of their own."""
    rng = np.random.default_rng(step)
    params = {
        "w": rng.standard_normal((8, width)).astype(np.float32),
        "block": {"h": rng.standard_normal((16,)).astype(jnp.bfloat16)},
    }
    rest = {"step": np.int32(step), "moments": rng.standard_normal((8, width)).astype(np.float32)}
    return params, rest


def on_mesh(tree, **sizes):
    """A tree with its shardings on a mesh: arrays become placed, shapes say where they go."""
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(**sizes))
    by_rank = {0: P(), 1: P("tensor"), 2: P("fsdp", "tensor")}

    def place(leaf):
        return jax.device_put(leaf, NamedSharding(mesh, by_rank[np.ndim(leaf)]))

    return jax.tree.map(place, tree)


def abstract(tree, **sizes):
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
        on_mesh(tree, **sizes),
    )


ONE = {"data": 1, "device_count": 1}


def save(directory, *steps, policy=SYNC, sizes=ONE):
    with Checkpoints(directory, policy) as checkpoints:
        for step in steps:
            params, rest = on_mesh(content(step), **sizes)
            checkpoints.save(step, params, rest, {"rows": [{"step": step, "loss": 0.5}]})


def restore_newest(checkpoints, sizes=ONE):
    return checkpoints.restore_newest(*abstract(content(0), **sizes))


def assert_is(restored, step):
    found_step, params, rest = restored
    assert found_step == step
    found, expected = jax.tree.flatten((params, rest)), jax.tree.flatten(content(step))
    assert found[1] == expected[1]
    for one, two in zip(found[0], expected[0]):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


# Saving and restoring


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_checkpoint_restores_onto_any_mesh(tmp_path, asynchronous):
    policy = SavePolicy(period=10, keep=None, asynchronous=asynchronous)
    save(tmp_path, 10, policy=policy, sizes={"fsdp": 2, "tensor": 2})
    for sizes in (ONE, {"data": 8}, {"fsdp": 4, "tensor": 2}, {"tensor": 4, "device_count": 4}):
        with Checkpoints(tmp_path) as checkpoints:
            restored = restore_newest(checkpoints, sizes)
            assert_is(restored, 10)
            for leaf, wanted in zip(
                jax.tree.leaves(restored[1:]), jax.tree.leaves(abstract(content(0), **sizes))
            ):
                assert leaf.sharding == wanted.sharding


def test_parameters_and_metadata_are_read_alone(tmp_path):
    save(tmp_path, 10, 20)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [10, 20]
        params = checkpoints.restore_params(10, abstract(content(0)[0], **ONE))
        assert_is((10, params, content(10)[1]), 10)
        assert checkpoints.metadata(10)["rows"] == [{"step": 10, "loss": 0.5}]
    # The rest is no part of them: it may even be gone.
    (tmp_path / "20" / "rest").rename(tmp_path / "gone")
    with Checkpoints(tmp_path) as checkpoints:
        params = checkpoints.restore_params(20, abstract(content(0)[0], **ONE))
        np.testing.assert_array_equal(params["w"], content(20)[0]["w"])


def test_a_background_save_holds_what_the_state_was(tmp_path):
    """The loop gives its buffers to the next step as soon as `save` returns."""
    policy = SavePolicy(period=10, keep=None, asynchronous=True)
    overwrite = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf * 0, tree), donate_argnums=0)
    with Checkpoints(tmp_path, policy) as checkpoints:
        for step in (10, 20):
            state = on_mesh(content(step), **ONE)
            checkpoints.save(step, *state, {})
            overwrite(state)
            jax.tree.map(lambda leaf: leaf.delete(), state)
    with Checkpoints(tmp_path) as checkpoints:
        assert_is(restore_newest(checkpoints), 20)


def test_the_policy_says_when_and_how_many(tmp_path):
    with Checkpoints(tmp_path, SavePolicy(period=10, keep=2, asynchronous=False)) as checkpoints:
        due = [step for step in range(1, 38) if checkpoints.is_due(step, last_step=37)]
        assert due == [10, 20, 30, 37]
    save(tmp_path, *due, policy=SavePolicy(period=10, keep=2))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [30, 37]


@pytest.mark.parametrize("numbers", [{"period": 0}, {"keep": 0}, {"period": -5}])
def test_policies_that_save_or_keep_nothing_are_refused(numbers):
    with pytest.raises(ValueError, match=r"SavePolicy\(period=.*at least 1"):
        SavePolicy(**numbers)


def test_a_step_that_is_saved_is_not_saved_again(tmp_path):
    save(tmp_path, 10)
    params, rest = on_mesh(content(99), **ONE)
    with Checkpoints(tmp_path, SYNC) as checkpoints:
        checkpoints.save(10, params, rest, {})
    with Checkpoints(tmp_path) as checkpoints:
        assert_is(restore_newest(checkpoints), 10)


def test_where_there_is_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint directory .*/none: .*train first"):
        manager.latest(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "empty" / "notes").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"empty holds no finished.*found \['notes'\]"):
        manager.latest(tmp_path / "empty")
    with Checkpoints(tmp_path / "new", SYNC) as checkpoints:
        assert restore_newest(checkpoints) is None
        assert checkpoints.steps() == []


def test_latest_opens_the_newest_and_writes_nothing(tmp_path):
    save(tmp_path, 10, 20)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    checkpoints, step = manager.latest(epath.Path(tmp_path))
    with checkpoints:
        assert step == 20
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


# Damage


def data_file(step_directory, item="params"):
    """The largest file of an item: where its arrays are."""
    files = [path for path in (step_directory / item).rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def truncate(step_directory):
    path = data_file(step_directory)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(step_directory, item="params"):
    path = data_file(step_directory, item)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))


def flip_in_rest(step_directory):
    flip(step_directory, "rest")


def lose_an_item(step_directory):
    for path in sorted((step_directory / "rest").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (step_directory / "rest").rmdir()


def empty_metadata(step_directory):
    data_file(step_directory, "metadata").write_bytes(b"")


def garble_tree_metadata(step_directory):
    (step_directory / "params" / "_METADATA").write_text("{")


DAMAGES = [truncate, flip, flip_in_rest, lose_an_item, empty_metadata, garble_tree_metadata]


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
        read = checkpoints._manager.restore

        def restore(step, *args, **kwargs):
            if step == 2:
                raise RuntimeError("wrapped") from failure
            return read(step, *args, **kwargs)

        monkeypatch.setattr(checkpoints._manager, "restore", restore)
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


@pytest.mark.parametrize(
    "change",
    [
        lambda params: {**params, "w": params["w"][:, :8]},
        lambda params: {**params, "w": np.concatenate([params["w"]] * 2)},
        lambda params: {"w": params["w"]},
        lambda params: {**params, "new": params["w"]},
        lambda params: {**params, "w": params["w"].astype(np.int32)},
    ],
    ids=["narrower", "longer", "one less", "one more", "of another type"],
)
def test_a_checkpoint_of_another_model_is_an_error(tmp_path, change):
    save(tmp_path, 10)
    wanted = abstract(change(content(0)[0]), **ONE)
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(CheckpointError, match=rf"{tmp_path / '10'} cannot be read"),
    ):
        checkpoints.restore_params(10, wanted)


def test_a_background_save_that_fails_raises(tmp_path):
    """No file may grow past 64 KiB for a while: as good as a full disk."""
    save(tmp_path, 10)
    checkpoints = Checkpoints(tmp_path, SavePolicy(asynchronous=True))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = on_mesh(content(20, width=2**15), **ONE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        checkpoints.save(20, *large, {})
        message = rf"not be written to {tmp_path} \(.*File too large.*goes on from step 10\.$"
        with pytest.raises(CheckpointError, match=message):
            checkpoints.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with Checkpoints(tmp_path) as reader:
        assert reader.steps() == [10]
        assert_is(restore_newest(reader), 10)


def test_a_folder_that_cannot_be_made_is_found_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Checkpoints(tmp_path / "file" / "checkpoints", SYNC)


def test_a_relative_directory_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = {"kernel": jnp.arange(4.0)}
    with manager.Checkpoints("relative/folder", manager.SavePolicy()) as checkpoints:
        checkpoints.save(1, params, {"step": jnp.ones((), jnp.int32)}, {})
    opened, step = manager.latest("relative/folder")
    with opened:
        assert step == 1
        abstract = {"kernel": jax.ShapeDtypeStruct((4,), jnp.float32)}
        assert opened.restore_params(step, abstract)["kernel"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert (tmp_path / "relative/folder/1").is_dir()
