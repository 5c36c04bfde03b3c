import gc

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.checkpoints.manager import (
    CheckpointError,
    Checkpoints,
    SavePolicy,
)
from tests.checkpoints.states import (
    ONE,
    SYNC,
    abstract,
    assert_is,
    content,
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


def test_optimizer_state_moves_from_mesh_to_mesh_bit_by_bit(tmp_path):
    """Eight devices, then 4 x 2, then one, saved anew from each."""
    optimizer = optax.adamw(1e-3)
    params = on_mesh(content(1)[0], data=8)
    state = jax.jit(optimizer.init)(params)
    gradients = on_mesh(content(2)[0], data=8)
    updates, state = jax.jit(optimizer.update)(gradients, state, params)
    expected = jax.device_get((optax.apply_updates(params, updates), {"opt_state": state}))
    moved = on_mesh(expected, data=8)
    for step, sizes in enumerate([{"fsdp": 4, "tensor": 2}, ONE], start=1):
        with Checkpoints(tmp_path, SYNC) as checkpoints:
            checkpoints.save(step, *moved, {})
            found, *moved = checkpoints.restore_newest(*abstract(expected, **sizes))
        assert found == step
        assert jax.tree.structure(tuple(moved)) == jax.tree.structure(expected)
        for one, two in zip(jax.tree.leaves(moved), jax.tree.leaves(expected)):
            assert len(one.sharding.device_set) == (1 if sizes == ONE else 8)
            assert one.dtype == two.dtype
            assert np.asarray(one).tobytes() == np.asarray(two).tobytes()


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


def test_minutes_go_from_the_last_save(tmp_path):
    now = [1000.0]
    policy = SavePolicy(period=10**6, minutes=2.5, asynchronous=False)
    with Checkpoints(tmp_path, policy, clock=lambda: now[0]) as checkpoints:
        for step in (1, 2):
            assert not checkpoints.minutes_passed()
            now[0] += 149.9
            assert not checkpoints.minutes_passed()
            now[0] += 0.1
            assert checkpoints.minutes_passed()
            assert checkpoints.minutes_passed()
            checkpoints.save(step, *on_mesh(content(step), **ONE), {})
    with Checkpoints(tmp_path, SYNC, clock=lambda: now[0] * 2) as checkpoints:
        now[0] *= 10
        assert not checkpoints.minutes_passed()  # A policy of steps alone.


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


# Errors


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
