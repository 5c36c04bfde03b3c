"""Position encodings.

Shape legend: B batch, T query positions, S key positions, H heads.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np


def alibi_slopes(num_heads: int) -> np.ndarray:
    """Slopes of ALiBi, one a head (Press et al. 2022, arXiv 2108.12409).

    Where the number of heads is no power of two, the slopes of the next lower power come
    first and every second slope of the next higher power fills up, as BLOOM has it.

    Args:
      num_heads: attention heads, at least 1.

    Returns:
      float32 [num_heads], positive.
    """
    lower = 2 ** math.floor(math.log2(num_heads))
    slopes = [2.0 ** (-8.0 * (i + 1) / lower) for i in range(lower)]
    extra = [2.0 ** (-4.0 * (2 * i + 1) / lower) for i in range(num_heads - lower)]
    return np.asarray(slopes + extra, np.float32)


def alibi_bias(
    slopes_H: jax.Array, query_positions_BT: jax.Array, key_positions_BS: jax.Array
) -> jax.Array:
    """Distance penalty added to attention logits.

    It depends on differences of positions alone, so neither padding on the left nor the place
    of a segment within a packed row changes it. Where a prefix is seen both ways, what comes
    after a query is as far as what comes before.

    Args:
      slopes_H: one slope a head.
      query_positions_BT: position of each query within its segment.
      key_positions_BS: position of each key within its segment.

    Returns:
      float32 bias_BHTS.
    """
    distance_BTS = jnp.abs(query_positions_BT[:, :, None] - key_positions_BS[:, None, :])
    return -slopes_H[None, :, None, None] * distance_BTS[:, None].astype(jnp.float32)
