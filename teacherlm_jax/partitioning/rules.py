"""The one table from logical axis names to mesh axes."""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
from flax import linen as nn
from jax.sharding import AxisType, Mesh

MESH_AXES = ("slice", "data", "fsdp", "tensor")

# Rows of a batch are cut over these.
BATCH_AXES = ("slice", "data", "fsdp")

MeshAxes = str | tuple[str, ...] | None

# (logical axis, mesh axes) pairs.
Rules = Sequence[tuple[str, MeshAxes]]

# Parameters use the plain names, activations those that begin with "activation_". An array's
# dimensions may not share a mesh axis, which is why the two need names of their own, and so does
# the length of the residual stream, which sequence sharding cuts over the axis that cuts heads and
# feed-forward width inside the blocks. "outer" is what cuts rows and no parameter: while rows are
# looked up in a table, its width is cut by the rest.
LOGICAL_AXIS_RULES: tuple[tuple[str, MeshAxes], ...] = (
    ("layers", None),
    ("vocab", "tensor"),
    ("embed", "fsdp"),
    ("heads", "tensor"),
    ("kv_heads", "tensor"),
    ("kv", None),
    ("mlp", "tensor"),
    ("norm", None),
    ("positions", None),
    ("token_embed", None),
    ("activation_batch", BATCH_AXES),
    ("activation_length", None),
    ("activation_residual_length", None),
    ("activation_embed", None),
    ("activation_outer_batch", ("slice", "data")),
    ("activation_lookup_embed", "fsdp"),
    ("activation_heads", "tensor"),
    ("activation_kv_heads", "tensor"),
    ("activation_kv", None),
    ("activation_mlp", "tensor"),
    ("activation_vocab", "tensor"),
)

# Dimensions of one array, which may not share a mesh axis: linen would leave the second whole.
_TOGETHER = (
    ("layers", "embed", "heads", "kv"),
    ("layers", "embed", "kv_heads", "kv"),
    ("layers", "embed", "mlp"),
    ("layers", "norm"),
    ("vocab", "embed"),
    ("positions", "embed"),
    ("token_embed", "embed"),
    ("activation_batch", "activation_length", "activation_embed"),
    ("activation_batch", "activation_residual_length", "activation_embed"),
    ("activation_batch", "activation_length", "activation_heads", "activation_kv"),
    ("activation_batch", "activation_length", "activation_kv_heads", "activation_kv"),
    ("activation_batch", "activation_length", "activation_mlp"),
    ("activation_batch", "activation_length", "activation_vocab"),
    ("activation_batch", "activation_embed", "activation_vocab"),
    ("activation_outer_batch", "activation_length", "activation_lookup_embed"),
)


def logical_axis_rules(
    sequence_sharding: bool = False, overrides: Mapping[str, Any] | None = None
) -> Rules:
    """The table, changed as a run wants it; gin binds this function.

    Fewer key-value heads than `tensor` has devices are an error, and not silently whole on each:
    `overrides = {"kv_heads": None, "activation_kv_heads": None}` makes them so.

    Args:
      sequence_sharding: between attention and feed-forward, cut the residual stream's positions
        over `tensor` (Korthikanti et al. 2022, arXiv 2205.05198, section 4.2.2): a device keeps
        1 / tensor of what is saved for the backward pass, for no more communication. A row's
        length must divide over `tensor`; see `mesh.check_row_length`.
      overrides: logical axis -> mesh axis, several of them, or None to replicate.

    Returns:
      The validated table.

    Raises:
      ValueError: a logical or mesh axis is unknown.
    """
    table = dict(LOGICAL_AXIS_RULES)
    if sequence_sharding:
        table["activation_residual_length"] = "tensor"
    for name, axes in (overrides or {}).items():
        if name not in table:
            raise ValueError(
                f"overrides has the logical axis {name!r}, which is not in LOGICAL_AXIS_RULES"
                f"{_nearest(name, table)}. Known: {sorted(table)}."
            )
        # gin has lists where one may well have written a tuple.
        table[name] = tuple(axes) if isinstance(axes, list) else axes
    rules = tuple(table.items())
    validate(rules)
    return rules


def validate(rules: Rules) -> None:
    """Checks a table.

    Raises:
      ValueError: a name stands twice, a mesh axis is unknown, or would cut two dimensions of an
        array; linen would take the first rule or replicate, and say nothing.
    """
    table: dict[str, MeshAxes] = {}
    for name, axes in rules:
        if name in table:
            raise ValueError(f"logical axis {name!r} has two rules; keep one of them.")
        table[name] = axes
        for axis in axes_of(axes):
            if axis not in MESH_AXES:
                raise ValueError(
                    f"logical axis {name!r} maps to mesh axis {axis!r}{_nearest(axis, MESH_AXES)}, "
                    f"but the mesh axes are {MESH_AXES}: use one of these, a tuple of them, or "
                    "None to replicate."
                )
    for names in [*((name,) for name in table), *_TOGETHER]:
        used = [(axis, name) for name in names for axis in axes_of(table.get(name))]
        for axis in MESH_AXES:
            cut = [name for found, name in used if found == axis]
            if len(cut) > 1:
                raise ValueError(
                    f"mesh axis {axis!r} would cut {' and '.join(cut)} of one array {names}; let "
                    "one of them be cut by another axis, or by None."
                )


def axes_of(axes: MeshAxes) -> tuple[str, ...]:
    """The mesh axes of a rule, however many."""
    if axes is None:
        return ()
    return axes if isinstance(axes, tuple) else (axes,)


def mesh_axes(logical_axes: Sequence[str | None], rules: Rules) -> tuple[MeshAxes, ...]:
    """Mesh axes of an array's dimensions.

    Raises:
      ValueError: a name is not in the table.
    """
    table = dict(rules)
    for name in logical_axes:
        if name is not None and name not in table:
            raise ValueError(
                f"logical axis {name!r} of {tuple(logical_axes)} has no rule"
                f"{_nearest(name, table)}; add it to LOGICAL_AXIS_RULES. Known: {sorted(table)}."
            )
    return tuple(None if name is None else table[name] for name in logical_axes)


def shard_count(axes: MeshAxes, mesh: Mesh) -> int:
    """Into how many parts a dimension is cut by these axes of a mesh."""
    return math.prod(mesh.shape[axis] for axis in axes_of(axes))


@contextmanager
def activate(mesh: Mesh, rules: Rules = LOGICAL_AXIS_RULES) -> Iterator[Any]:
    """Makes `nn.with_logical_constraint` take effect on `mesh` for what is traced inside.

    `jax.set_mesh`, since linen's constraints vanish silently under `with mesh:`.
    """
    validate(rules)
    with jax.set_mesh(mesh), nn.logical_axis_rules(list(rules)):
        yield mesh


@contextmanager
def activate_in_trace(mesh: Mesh, rules: Rules = LOGICAL_AXIS_RULES) -> Iterator[Any]:
    """As `activate`, for the inside of a function that jit traces, where no mesh can be set."""
    validate(rules)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh), nn.logical_axis_rules(list(rules)):
        yield mesh


def active_axes(name: str) -> tuple[str, ...]:
    """The mesh axes that cut a logical axis where this is traced.

    There are none outside of `activate`, and those of a `shard_map` around do not count.
    """
    mesh = jax.sharding.get_abstract_mesh()
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    axes = axes_of(dict(nn.get_logical_axis_rules()).get(name))
    return tuple(axis for axis in axes if kinds.get(axis) == AxisType.Auto)


def active_shards(name: str, size: int) -> int:
    """Into how many parts a dimension of this logical axis is cut where this is traced.

    Args:
      name: the logical axis.
      size: of the dimension; where it does not divide it is not cut.
    """
    mesh = jax.sharding.get_abstract_mesh()
    shards = math.prod(mesh.shape[axis] for axis in active_axes(name))
    return shards if size % shards == 0 else 1


def _nearest(name: Any, known: Iterable[str]) -> str:
    """An ending of a sentence that names what a misspelt name may have meant."""
    found = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
