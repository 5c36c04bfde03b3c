"""Reading a trained model back, onto any mesh, and never another model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from teacherlm_jax.checkpoints import manager, restore
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from tests.training import tiny

CONFIG = tiny.config(num_layers=2, scan_layers=True)
ONE = MeshConfig(device_count=1)


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(jnp.asarray, tiny.params(CONFIG))


def save(folder, params, steps=(3, 5), **metadata):
    policy = manager.SavePolicy(asynchronous=False)
    with manager.Checkpoints(folder, policy) as checkpoints:
        for step in steps:
            scaled = jax.tree.map(lambda leaf, step=step: step * leaf, params)
            checkpoints.save(
                step, scaled, {"step": step}, {"model": dataclasses.asdict(CONFIG), **metadata}
            )


@pytest.fixture(scope="module")
def folder(params, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "checkpoints"
    save(path, params)
    return path


@pytest.mark.parametrize(
    "mesh", [ONE, MeshConfig(data=1, fsdp=4, tensor=2, device_count=8), MeshConfig(device_count=8)]
)
def test_the_newest_checkpoint_is_read_onto_any_mesh(folder, params, mesh):
    loaded = restore.load(folder, CONFIG, make_mesh(mesh))
    assert (loaded.step, loaded.replicas, str(loaded.path)) == (5, None, str(folder / "5"))
    jax.tree.map(
        lambda leaf, own: np.testing.assert_array_equal(leaf, 5 * own), loaded.params, params
    )
    kernel = loaded.params["layers"]["self_attention"]["query"]["kernel"]
    assert kernel.sharding.spec == PartitionSpec(None, "fsdp", "tensor", None)
    assert len(kernel.sharding.device_set) == (mesh.device_count or 8)
    with pytest.raises(ValueError, match="holds one model, no replicas"):
        loaded.replica(0)


def test_memory_and_computation_types_may_change(folder, params):
    other = dataclasses.replace(CONFIG, dtype="bfloat16", remat_policy="full", dropout_rate=0.1)
    loaded = restore.load(folder, other, make_mesh(ONE))
    jax.tree.map(
        lambda leaf, own: np.testing.assert_array_equal(leaf, 5 * own), loaded.params, params
    )


def test_parameters_are_read_in_the_type_that_is_asked_for(folder, params):
    other = dataclasses.replace(CONFIG, param_dtype="bfloat16")
    mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2, device_count=8))
    loaded = restore.load(folder, other, mesh)
    expected = jax.tree.map(lambda leaf: (5 * leaf).astype(jnp.bfloat16), params)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, expected)
    kernel = loaded.params["layers"]["mlp"]["wi"]["kernel"]
    assert kernel.dtype == jnp.bfloat16
    assert kernel.addressable_shards[0].data.shape == (2, 4, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 3}, r"num_layers 2 \(asked: 3\)"),
        ({"mlp_activation": "relu", "emb_dim": 8}, r"emb_dim 16 .*mlp_activation 'gelu'"),
        ({"scan_layers": False}, r"scan_layers True \(asked: False\)"),
    ],
)
def test_another_model_is_refused_with_what_differs(folder, changes, message):
    other = dataclasses.replace(CONFIG, **changes)
    with pytest.raises(manager.CheckpointError, match=f"5 is of another model: {message}"):
        restore.load(folder, other, make_mesh(ONE))


def test_replicas_come_with_a_leading_axis_and_one_by_one(params, tmp_path):
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    save(tmp_path / "checkpoints", stacked, steps=(1,), replicas=2)
    loaded = restore.load(tmp_path / "checkpoints", CONFIG, make_mesh(ONE))
    assert loaded.replicas == 2
    jax.tree.map(np.testing.assert_array_equal, loaded.params, stacked)
    jax.tree.map(
        lambda leaf, own: np.testing.assert_array_equal(leaf, 2 * own), loaded.replica(1), params
    )
    for index in (-1, 2):
        with pytest.raises(ValueError, match=f"holds replicas 0 to 1, no {index}"):
            loaded.replica(index)


def test_replicas_are_read_onto_a_mesh_that_they_do_not_divide_over(params, tmp_path):
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf, 3 * leaf]), params)
    save(tmp_path, stacked, steps=(1,), replicas=3)
    loaded = restore.load(tmp_path, CONFIG, make_mesh(MeshConfig(data=8)))
    jax.tree.map(np.testing.assert_array_equal, loaded.params, stacked)
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(loaded.replica(2))} == {8}


def test_no_folder_and_no_checkpoint_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint directory .*nowhere"):
        restore.load(tmp_path / "nowhere", CONFIG, make_mesh(ONE))
    (tmp_path / "notes").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no finished checkpoint; found \['notes'\]"):
        restore.load(tmp_path, CONFIG, make_mesh(ONE))


@pytest.mark.parametrize("item", ["params", "metadata"])
def test_a_damaged_checkpoint_is_named_with_a_remedy(params, tmp_path, item):
    save(tmp_path, params)
    for path in (tmp_path / "5" / item).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(manager.CheckpointError, match=r"5 cannot be read .*go on from step 3"):
        restore.load(tmp_path, CONFIG, make_mesh(ONE))


def test_a_checkpoint_is_checked_without_reading_its_parameters(folder, tmp_path):
    restore.check(folder, CONFIG)
    with pytest.raises(manager.CheckpointError, match="another model: num_heads 2"):
        restore.check(folder, dataclasses.replace(CONFIG, num_heads=4))
    with pytest.raises(FileNotFoundError, match="no checkpoint directory"):
        restore.check(tmp_path / "nowhere", CONFIG)
