"""States to save, places to restore them to, and ways to damage what was saved."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from teacherlm_jax.checkpoints.manager import Checkpoints, SavePolicy
from teacherlm_jax.partitioning import mesh as mesh_lib

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


def assert_is(restored, step, **kwargs):
    found_step, params, rest = restored
    assert found_step == step
    found, expected = jax.tree.flatten((params, rest)), jax.tree.flatten(content(step, **kwargs))
    assert found[1] == expected[1]
    for one, two in zip(found[0], expected[0]):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


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
