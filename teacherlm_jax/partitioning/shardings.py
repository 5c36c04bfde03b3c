"""Shardings of abstract trees."""

import math
from typing import Any

import jax
from flax.core import meta
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from teacherlm_jax.partitioning import rules as rules_lib

Tree = Any

# Replicas are cut over all devices.
REPLICA_AXES = rules_lib.MESH_AXES


def _is_boxed(leaf: Any) -> bool:
    return isinstance(leaf, meta.AxisMetadata)


def logical_axes(boxed: Tree) -> Tree:
    """Logical axis names of every parameter of a boxed (`nn.with_logical_partitioning`) tree."""
    return jax.tree.map(
        lambda leaf: leaf.names if _is_boxed(leaf) else (None,) * leaf.ndim,
        boxed,
        is_leaf=_is_boxed,
    )


def _shard_count(axes: rules_lib.MeshAxes, mesh: Mesh) -> int:
    names = axes if isinstance(axes, tuple) else (axes,)
    return math.prod(mesh.shape[name] for name in names if name is not None)


def tree_shardings(
    boxed: Tree, mesh: Mesh, rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES
) -> Tree:
    """A NamedSharding for every leaf of a boxed abstract tree.

    Args:
      boxed: tree of arrays or shapes; boxes carry logical axes, bare leaves are replicated.
      mesh: the device mesh.
      rules: the table of logical axes.

    Returns:
      The tree without boxes, leaves NamedSharding.

    Raises:
      ValueError: an axis name has no rule, or a dimension does not divide over its mesh axes.
    """
    rules_lib.validate(rules)

    def one(path: Any, leaf: Any) -> Any:
        if not _is_boxed(leaf):
            return NamedSharding(mesh, PartitionSpec())
        if not jax.tree.leaves(leaf.unbox()):
            return leaf.unbox()  # optax masks a parameter out with an empty node in the box.
        names, shape = leaf.names, leaf.unbox().shape
        spec = rules_lib.mesh_axes(names, rules)
        for name, size, axes in zip(names, shape, spec, strict=True):
            shards = _shard_count(axes, mesh)
            if size % shards:
                raise ValueError(
                    f"{jax.tree_util.keystr(path)}: dimension {name} of {size} does not divide "
                    f"over mesh axes {axes} of {shards} devices; choose a mesh size that divides "
                    f"{size}: {[n for n in range(1, size + 1) if size % n == 0][:12]}."
                )
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree_util.tree_map_with_path(one, boxed, is_leaf=_is_boxed)


def placed(
    boxed: Tree, mesh: Mesh, replicas: int | None = None, *, cut_replicas: bool = True
) -> Tree:
    """ShapeDtypeStructs that say where each array goes: what a restore wants.

    Args:
      boxed: as for `tree_shardings`.
      mesh: the device mesh.
      replicas: independent runs that are stacked on a leading axis; None: there is no such axis.
      cut_replicas: whether that axis is cut over all devices, or whole on each.

    Raises:
      ValueError: as `tree_shardings`.
    """
    bare = meta.unbox(boxed)
    if replicas is None:
        shardings = tree_shardings(boxed, mesh)
    else:
        sharding = NamedSharding(mesh, PartitionSpec(REPLICA_AXES if cut_replicas else None))
        shardings = jax.tree.map(lambda _: sharding, bare)
    stacked = () if replicas is None else (replicas,)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(
            (*stacked, *leaf.shape), leaf.dtype, sharding=sharding
        ),
        bare,
        shardings,
    )


def batch_sharding(
    mesh: Mesh, rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES
) -> NamedSharding:
    """Sharding of arrays whose first axis is the batch."""
    return NamedSharding(mesh, PartitionSpec(dict(rules)["activation_batch"]))
