"""Shardings of abstract trees."""

from typing import Any

import jax
from flax.core import meta
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from teacherlm_jax.partitioning import mesh as mesh_lib
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


# What sets a dimension, for errors.
_FIELDS = {
    "vocab": "vocab_size",
    "embed": "emb_dim",
    "heads": "num_heads",
    "kv_heads": "num_kv_heads",
    "kv": "head_dim",
    "mlp": "mlp_dim",
    "layers": "num_layers",
    "positions": "max_positions",
    "token_embed": "token_dim",
}


def _misfit(name: str, size: int, axes: rules_lib.MeshAxes, mesh: Mesh) -> str | None:
    """What to say of a dimension that does not divide over its mesh axes."""
    shards = rules_lib.shard_count(axes, mesh)
    if size % shards == 0:
        return None
    text = (
        f"dimension {name} of {size} does not divide over mesh axes {axes} of {shards} devices; "
        f"nearest for {axes}: {mesh_lib.nearest_divisors(size, shards, mesh.size)}"
    )
    if name in _FIELDS:
        text += (
            f"; nearest for DecoderConfig.{_FIELDS[name]}: "
            f"{mesh_lib.nearest_multiples(size, shards)}"
        )
    if name == "kv_heads":
        text += '; or replicate by rules.overrides {"kv_heads": None, "activation_kv_heads": None}'
    return text


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
      ValueError: an axis name has no rule, or dimensions do not divide over their mesh axes; each
        is named once, with the first parameter that has it.
    """
    rules_lib.validate(rules)
    misfits: dict[str, str] = {}

    def one(path: Any, leaf: Any) -> Any:
        if not _is_boxed(leaf):
            return NamedSharding(mesh, PartitionSpec())
        if not jax.tree.leaves(leaf.unbox()):
            return leaf.unbox()  # optax masks a parameter out with an empty node in the box.
        names, shape = leaf.names, leaf.unbox().shape
        spec = rules_lib.mesh_axes(names, rules)
        for name, size, axes in zip(names, shape, spec, strict=True):
            text = None if name is None else _misfit(name, size, axes, mesh)
            if text is not None:
                misfits.setdefault(text, jax.tree_util.keystr(path))
        return NamedSharding(mesh, PartitionSpec(*spec))

    shardings = jax.tree_util.tree_map_with_path(one, boxed, is_leaf=_is_boxed)
    if misfits:
        raise ValueError("\n".join(f"{path}: {text}." for text, path in misfits.items()))
    return shardings


def placed(
    boxed: Tree,
    mesh: Mesh,
    replicas: int | None = None,
    *,
    cut_replicas: bool = True,
    rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES,
) -> Tree:
    """ShapeDtypeStructs that say where each array goes: what a restore wants.

    Args:
      boxed: as for `tree_shardings`.
      mesh: the device mesh.
      replicas: independent runs that are stacked on a leading axis; None: there is no such axis.
      cut_replicas: whether that axis is cut over all devices, or whole on each.
      rules: the table of logical axes; where there are replicas, none is used.

    Raises:
      ValueError: as `tree_shardings`.
    """
    bare = meta.unbox(boxed)
    if replicas is None:
        shardings = tree_shardings(boxed, mesh, rules)
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
