"""Putting host batches on devices, on one device or over a mesh, in one or many processes."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.partitioning import shardings

Tree = Any
HashableRules = tuple[tuple[str, rules_lib.MeshAxes], ...]


class Placement:
    """Where batches live: the default device, or the shards of a mesh.

    Over a mesh every process passes the same rows and receives the same whole results, so callers
    need not know how many processes there are.

    Attributes:
      mesh: the device mesh, or None.
      rules: logical axis rules in force while functions are traced.
    """

    def __init__(
        self,
        mesh: Mesh | None = None,
        rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES,
    ) -> None:
        self.mesh = mesh
        self.rules: HashableRules = tuple((name, axes) for name, axes in rules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Placement) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Mesh | None, HashableRules]:
        return self.mesh, self.rules

    def check_batch_size(self, batch_size: int) -> None:
        """Raises ValueError where the rows do not divide over the mesh, or are fewer than 1."""
        if batch_size < 1:
            raise ValueError(f"batch_size = {batch_size}, but it must be at least 1.")
        if self.mesh is not None:
            mesh_lib.check_batch_size(batch_size, self.mesh, self.rules)

    @property
    def shards(self) -> int:
        """Shards of the batch axis: a batch holds a multiple of so many rows."""
        return 1 if self.mesh is None else mesh_lib.batch_shards(self.mesh, self.rules)

    @contextlib.contextmanager
    def activate(self) -> Iterator[None]:
        """Makes the model's sharding constraints take effect inside."""
        if self.mesh is None:
            yield
        else:
            with rules_lib.activate(self.mesh, self.rules):
                yield

    @property
    def replicated(self) -> NamedSharding | None:
        """The sharding of whole results; None on a single device, where jit needs none."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())

    def put_batch(self, tree: Tree) -> Tree:
        """Numpy arrays whose first axis is the batch, split over the mesh."""
        if self.mesh is None:
            return tree
        return self._put(tree, shardings.batch_sharding(self.mesh, self.rules))

    def put_whole(self, tree: Tree) -> Tree:
        """Numpy arrays that every device holds whole."""
        return tree if self.replicated is None else self._put(tree, self.replicated)

    def _put(self, tree: Tree, sharding: NamedSharding) -> Tree:
        def one(array: np.ndarray) -> jax.Array:
            return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

        return jax.tree.map(one, tree)
