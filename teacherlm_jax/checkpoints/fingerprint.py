"""Checksums of parameter trees, computed where the arrays live.

Orbax stores arrays compressed but without a checksum of their content, so a flipped bit may be
read back as another number. Sums over integers do not depend on order: the same tree has the same
fingerprint on every mesh and host count, and nothing travels to the host but one number an array.
"""

import functools
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Tree = Any

_UNSIGNED: dict[int, np.dtype] = {width: np.dtype(f"u{width}") for width in (1, 2, 4)}
# So many entries of a device's part are summed at once. XLA does not fuse what it sums into the sum
# on every platform: a whole tree's scrambled bits would take twice its memory.
_CHUNK = 2**20


@functools.partial(jax.jit, static_argnames=("mesh", "spec"))
def _checksum(array: jax.Array, mesh: Mesh | None, spec: PartitionSpec) -> jax.Array:
    """The checksum of one array; with a mesh every device sums its own part."""
    if mesh is None:
        return _part_checksum(array, array.shape, [jnp.uint32(0)] * array.ndim)
    names = [axes if isinstance(axes, tuple) else (axes,) for axes in spec if axes is not None]
    used = tuple(name for axes in names for name in axes)

    def of_part(part: jax.Array) -> jax.Array:
        starts = [jnp.uint32(0)] * part.ndim
        for axis, axes in enumerate(spec):
            if axes:
                place = jax.lax.axis_index(axes).astype(jnp.uint32)
                starts[axis] = place * jnp.uint32(part.shape[axis] % 2**32)
        total = _part_checksum(part, array.shape, starts)
        return jax.lax.psum(total, used) if used else total

    return jax.shard_map(
        of_part, mesh=mesh, in_specs=spec, out_specs=PartitionSpec(), check_vma=False
    )(array)


def _part_checksum(part: jax.Array, whole: Sequence[int], starts: Sequence[jax.Array]) -> jax.Array:
    """The sum over a part of an array; `starts` is where it begins, and `whole` the shape of all.

    An entry counts with its place in the whole array, row-major and modulo 2^32.
    """
    if not part.size:
        return jnp.uint32(0)
    columns = part.shape[-1] if part.ndim > 1 else 1
    rows = part.size // columns
    place = jnp.zeros(part.shape[:-1] if part.ndim > 1 else part.shape, jnp.uint32)
    for axis in range(place.ndim):
        inside = jax.lax.broadcasted_iota(jnp.uint32, place.shape, axis) + starts[axis]
        place = place * jnp.uint32(whole[axis] % 2**32) + inside
    row_place = place.reshape(rows)
    column_place = jnp.zeros(columns, jnp.uint32)
    if part.ndim > 1:
        row_place = row_place * jnp.uint32(whole[-1] % 2**32)
        column_place = jax.lax.iota(jnp.uint32, columns) + starts[-1]
    bits = part.reshape(rows, columns)
    step = min(rows, max(1, _CHUNK // columns))

    def add(index: jax.Array, total: jax.Array) -> jax.Array:
        first = jnp.minimum(index * step, rows - step)
        chunk = jax.lax.dynamic_slice_in_dim(bits, first, step)
        places = jax.lax.dynamic_slice_in_dim(row_place, first, step)[:, None] + column_place
        # The last chunk reaches back, so that all are of one size; what it repeats is left out.
        is_new = (first + jax.lax.iota(jnp.int32, step)) >= index * step
        return total + jnp.sum(
            jnp.where(is_new[:, None], _scramble(_bits(chunk), places), 0), dtype=jnp.uint32
        )

    return jax.lax.fori_loop(0, math.ceil(rows / step), add, jnp.uint32(0))


def _bits(array: jax.Array) -> jax.Array:
    unsigned = _UNSIGNED[array.dtype.itemsize]
    return jax.lax.bitcast_convert_type(array, unsigned).astype(jnp.uint32)


def _seen_as_bits(array: jax.Array) -> jax.Array:
    """On CPU devices the array as unsigned numbers, in the same memory; elsewhere as it is.

    XLA has no bfloat16 on CPU: it would hold all of the array as float32, whatever is done with it.
    """
    unsigned = _UNSIGNED[array.dtype.itemsize]
    if any(device.platform != "cpu" for device in array.devices()):
        return array
    shards = [
        jax.device_put(np.asarray(shard.data).view(unsigned), shard.device)
        for shard in array.addressable_shards
    ]
    return jax.make_array_from_single_device_arrays(array.shape, array.sharding, shards)


def _scramble(bits: jax.Array, place: jax.Array) -> jax.Array:
    """MurmurHash3's last step: one-to-one, so any one bit changes a sum of these.

    Weights by place alone would not do: entries whose bits differ in high places only, such as
    1.0 and 2.0, could be swapped over some distances and leave a sum of products as it was.
    """
    bits = bits ^ (place * jnp.uint32(0x9E3779B1))
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)


def fingerprint(tree: Tree) -> dict[str, int]:
    """A 32-bit checksum of every array, by its path.

    One array after the other, so that memory holds a few megabytes a device beside the tree.

    Args:
      tree: arrays of 1, 2 or 4 bytes an element, sharded as they may be.

    Returns:
      Path -> checksum; equal for equal content, whatever the mesh.
    """
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = _seen_as_bits(jnp.asarray(leaf))
        if isinstance(array.sharding, NamedSharding):
            total = _checksum(array, array.sharding.mesh, array.sharding.spec)
        else:
            total = _checksum(array, None, PartitionSpec())
        found[jax.tree_util.keystr(path)] = int(total)
    return found


def digest(tree: Tree) -> str:
    """SHA-256 (hex) over the fingerprint, types and shapes: names a model by its content."""
    description = [
        [jax.tree_util.keystr(path), str(leaf.dtype), list(leaf.shape)]
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
    text = json.dumps([description, fingerprint(tree)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
