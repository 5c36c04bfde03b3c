"""The key-value cache: fixed length, an index of its own for every row.

Shape legend: B batch, S cache positions, T new tokens, H heads, K head width.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

Cache = Any


def batch_axis(leaf: Any) -> int:
    """The axis of rows in a leaf of a cache.

    Keys and values are [B, S, heads, head width], and the index, one for all layers, is [B]; where
    layers are scanned each has one more axis in front, since T5X repeats rows on axis 1 there.
    """
    return leaf.ndim - 4 if leaf.ndim >= 4 else leaf.ndim - 1


def append(cached_BSHK: jax.Array, new_BTHK: jax.Array, start_B: jax.Array) -> jax.Array:
    """Writes each row's new entries at that row's own start.

    Args:
      cached_BSHK: the buffer.
      new_BTHK: entries to write.
      start_B: position of the first new entry of each row; entries past the end are dropped.

    Returns:
      The updated buffer.
    """
    batch, length = new_BTHK.shape[:2]
    rows_B1 = jnp.arange(batch)[:, None]
    positions_BT = start_B[:, None] + jnp.arange(length)[None, :]
    return cached_BSHK.at[rows_B1, positions_BT].set(
        new_BTHK.astype(cached_BSHK.dtype), mode="drop"
    )


def init_cache(model: nn.Module, batch: int, length: int) -> Cache:
    """An empty cache for `batch` rows of at most `length` tokens, prompt included.

    Args:
      model: a decoder; only its configuration is read, nothing is computed.
      batch: rows.
      length: positions a row can hold.

    Returns:
      The `cache` collection: zeros, every index 0.
    """
    tokens_BT = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    variables = jax.eval_shape(
        lambda tokens: model.init(
            jax.random.key(0), tokens, tokens, enable_dropout=False, decode=True
        ),
        tokens_BT,
    )
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), variables["cache"])
