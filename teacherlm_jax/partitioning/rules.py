"""The one table from logical axis names to mesh axes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
from flax import linen as nn
from jax.sharding import Mesh

MESH_AXES = ("data", "fsdp", "tensor")

MeshAxes = str | tuple[str, ...] | None

# Parameters use the plain names, activations those that begin with "activation_". An array's
# dimensions may not share a mesh axis, which is why the two need names of their own.
LOGICAL_AXIS_RULES: tuple[tuple[str, MeshAxes], ...] = (
    ("layers", None),
    ("vocab", "tensor"),
    ("embed", "fsdp"),
    ("heads", "tensor"),
    ("kv", None),
    ("mlp", "tensor"),
    ("norm", None),
    ("positions", None),
    ("token_embed", None),
    ("activation_batch", ("data", "fsdp")),
    ("activation_length", None),
    ("activation_embed", None),
    ("activation_heads", "tensor"),
    ("activation_kv", None),
    ("activation_mlp", "tensor"),
    ("activation_vocab", "tensor"),
)

Rules = Sequence[tuple[str, MeshAxes]]


def validate(rules: Rules) -> None:
    """Checks a table.

    Raises:
      ValueError: a name stands twice, or a mesh axis is unknown; linen would take the first rule
        or replicate, and say nothing.
    """
    seen = set()
    for name, axes in rules:
        if name in seen:
            raise ValueError(f"logical axis {name!r} has two rules; keep one of them.")
        seen.add(name)
        for axis in axes if isinstance(axes, tuple) else (axes,):
            if axis is not None and axis not in MESH_AXES:
                raise ValueError(
                    f"logical axis {name!r} maps to mesh axis {axis!r}, but the mesh axes are "
                    f"{MESH_AXES}: use one of these, a tuple of them, or None to replicate."
                )


def mesh_axes(logical_axes: Sequence[str | None], rules: Rules) -> tuple[MeshAxes, ...]:
    """Mesh axes of an array's dimensions.

    Raises:
      ValueError: a name is not in the table.
    """
    table = dict(rules)
    for name in logical_axes:
        if name is not None and name not in table:
            raise ValueError(
                f"logical axis {name!r} of {tuple(logical_axes)} has no rule; add it to "
                f"LOGICAL_AXIS_RULES. Known: {sorted(table)}."
            )
    return tuple(None if name is None else table[name] for name in logical_axes)


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
