"""Checksums of parameter trees, computed where the arrays live.

Orbax stores arrays compressed but without a checksum of their content, so a flipped bit may be
read back as another number. Sums over integers do not depend on order: the same tree has the same
fingerprint on every mesh and host count, and nothing travels to the host but one number an array.
"""

import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp

Tree = Any

_UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def _checksum(array: jax.Array) -> jax.Array:
    width = array.dtype.itemsize
    bits = jax.lax.bitcast_convert_type(array, _UNSIGNED[width]).astype(jnp.uint32)
    place = jnp.zeros(array.shape, jnp.uint32)
    for axis, size in enumerate(array.shape):
        place = place * size + jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis)
    return jnp.sum(_scramble(bits ^ (place * jnp.uint32(0x9E3779B1))), dtype=jnp.uint32)


def _scramble(bits: jax.Array) -> jax.Array:
    """MurmurHash3's last step: one-to-one, so any one bit changes a sum of these.

    Weights by place alone would not do: entries whose bits differ in high places only, such as
    1.0 and 2.0, could be swapped over some distances and leave a sum of products as it was.
    """
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)


_checksums = jax.jit(lambda tree: jax.tree.map(_checksum, tree))


def fingerprint(tree: Tree) -> dict[str, int]:
    """A 32-bit checksum of every array, by its path.

    Args:
      tree: arrays of 1, 2 or 4 bytes an element, sharded as they may be.

    Returns:
      Path -> checksum; equal for equal content, whatever the mesh.
    """
    sums = jax.device_get(_checksums(tree))
    return {
        jax.tree_util.keystr(path): int(value)
        for path, value in jax.tree_util.tree_leaves_with_path(sums)
    }


def digest(tree: Tree) -> str:
    """SHA-256 (hex) over the fingerprint, types and shapes: names a model by its content."""
    description = [
        [jax.tree_util.keystr(path), str(leaf.dtype), list(leaf.shape)]
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
    text = json.dumps([description, fingerprint(tree)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
