"""Causal self-attention, with the key-value cache for decoding.

Shape legend: B batch, T queries, S keys, D residual width, H heads, K head width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from teacherlm_jax.models import cache as cache_lib
from teacherlm_jax.models import config as config_lib
from teacherlm_jax.models import layers, positions

# Finite, so that a row with nothing to attend to (padding) gives numbers and no NaN.
MASKED = -1e30


class Segments(NamedTuple):
    """Who may see whom.

    Attributes:
      positions_BT: position of every token within its segment.
      segment_ids_BT: 0 is padding; tokens of other ids never see each other. None: one segment.
      bidirectional_BT: nonzero where tokens see each other both ways (a prefix LM's inputs).
    """

    positions_BT: jax.Array
    segment_ids_BT: jax.Array | None = None
    bidirectional_BT: jax.Array | None = None


def attention_mask(segments: Segments) -> jax.Array:
    """Boolean mask_B1TS, True where a query may attend to a key.

    Known by place and segment, never by token id: id 0 is a real token in many vocabularies.
    """
    length = segments.positions_BT.shape[1]
    order_T = jnp.arange(length)
    mask_BTS = jnp.broadcast_to(order_T[:, None] >= order_T[None, :], (1, length, length))
    if segments.bidirectional_BT is not None:
        prefix_BT = segments.bidirectional_BT.astype(bool)
        mask_BTS = mask_BTS | (prefix_BT[:, :, None] & prefix_BT[:, None, :])
    if segments.segment_ids_BT is not None:
        ids_BT = segments.segment_ids_BT
        # Padding (id 0) sees padding alone, so its rows stay finite and touch nothing real.
        mask_BTS = mask_BTS & (ids_BT[:, :, None] == ids_BT[:, None, :])
    return mask_BTS[:, None]


def dot_product_attention(
    query_BTHK: jax.Array,
    key_BSHK: jax.Array,
    value_BSHK: jax.Array,
    mask_B1TS: jax.Array,
    bias_BHTS: jax.Array | None,
) -> jax.Array:
    """Softmax attention with float32 logits; returns outputs_BTHK in the values' type."""
    scale = query_BTHK.shape[-1] ** -0.5
    logits_BHTS = jnp.einsum(
        "BTHK,BSHK->BHTS", query_BTHK, key_BSHK, preferred_element_type=jnp.float32
    )
    logits_BHTS = logits_BHTS * scale
    if bias_BHTS is not None:
        logits_BHTS = logits_BHTS + bias_BHTS
    logits_BHTS = jnp.where(mask_B1TS, logits_BHTS, MASKED)
    weights_BHTS = jax.nn.softmax(logits_BHTS, axis=-1).astype(value_BSHK.dtype)
    return jnp.einsum("BHTS,BSHK->BTHK", weights_BHTS, value_BSHK)


class SelfAttention(nn.Module):
    """Multi-head self-attention of one block."""

    config: config_lib.DecoderConfig

    @nn.compact
    def __call__(
        self,
        inputs_BTD: jax.Array,
        segments: Segments,
        *,
        decode: bool = False,
        prefill: bool = False,
        prefill_lengths: jax.Array | None = None,
    ) -> jax.Array:
        """Attends; see `decoder.Decoder.__call__` for what decode and prefill do.

        Returns:
          outputs_BTD.
        """
        cfg = self.config
        heads = (cfg.num_heads, cfg.head_dim)
        axes = ("embed", "heads", "kv")
        query_BTHK = layers.Dense(heads, axes, cfg, name="query")(inputs_BTD)
        key_BTHK = layers.Dense(heads, axes, cfg, name="key")(inputs_BTD)
        value_BTHK = layers.Dense(heads, axes, cfg, name="value")(inputs_BTD)
        names = ("activation_batch", "activation_length", "activation_heads", "activation_kv")
        query_BTHK, key_BTHK, value_BTHK = (
            nn.with_logical_constraint(checkpoint_name(x, "qkv"), names)
            for x in (query_BTHK, key_BTHK, value_BTHK)
        )
        if decode or prefill:
            key_BSHK, value_BSHK, query_positions_BT = self._update_cache(
                key_BTHK, value_BTHK, segments, prefill=prefill, prefill_lengths=prefill_lengths
            )
        else:
            key_BSHK, value_BSHK = key_BTHK, value_BTHK
            query_positions_BT = segments.positions_BT
        if decode:
            key_positions_BS = jnp.arange(key_BSHK.shape[1])[None, :]
            mask_B1TS = (query_positions_BT[:, :, None] >= key_positions_BS[:, None, :])[:, None]
        else:
            key_positions_BS = segments.positions_BT
            mask_B1TS = attention_mask(segments)
        bias_BHTS = None
        if cfg.position == "alibi":
            slopes_H = jnp.asarray(positions.alibi_slopes(cfg.num_heads))
            bias_BHTS = positions.alibi_bias(slopes_H, query_positions_BT, key_positions_BS)
        outputs_BTHK = dot_product_attention(query_BTHK, key_BSHK, value_BSHK, mask_B1TS, bias_BHTS)
        outputs_BTHK = nn.with_logical_constraint(checkpoint_name(outputs_BTHK, "attention"), names)
        return layers.Dense((cfg.emb_dim,), ("heads", "kv", "embed"), cfg, name="out")(outputs_BTHK)

    def _update_cache(
        self,
        key_BTHK: jax.Array,
        value_BTHK: jax.Array,
        segments: Segments,
        *,
        prefill: bool,
        prefill_lengths: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Stores new keys and values.

        Returns:
          keys and values to attend to and the positions of the queries: in prefill those of the
          prompt itself, in decode the whole cache and positions from each row's index.
        """
        is_initialized = self.has_variable("cache", "cached_key")
        batch, length = key_BTHK.shape[:2]
        cached_key = self.variable("cache", "cached_key", jnp.zeros_like, key_BTHK)
        cached_value = self.variable("cache", "cached_value", jnp.zeros_like, value_BTHK)
        index_B = self.variable("cache", "cache_index", jnp.zeros, (batch,), jnp.int32)
        positions_BT = segments.positions_BT
        if not is_initialized:
            return key_BTHK, value_BTHK, positions_BT
        if prefill:
            start_B = jnp.zeros((batch,), jnp.int32)
            cached_key.value = cache_lib.append(cached_key.value, key_BTHK, start_B)
            cached_value.value = cache_lib.append(cached_value.value, value_BTHK, start_B)
            full_B = jnp.full((batch,), length, jnp.int32)
            index_B.value = full_B if prefill_lengths is None else prefill_lengths.astype(jnp.int32)
            return key_BTHK, value_BTHK, positions_BT
        start_B = index_B.value
        cached_key.value = cache_lib.append(cached_key.value, key_BTHK, start_B)
        cached_value.value = cache_lib.append(cached_value.value, value_BTHK, start_B)
        index_B.value = start_B + length
        positions_BT = start_B[:, None] + jnp.arange(length)[None, :]
        return cached_key.value, cached_value.value, positions_BT
