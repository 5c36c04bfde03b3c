"""Causal self-attention, with the key-value cache for decoding.

Shape legend: B batch, T queries, S keys, D residual width, H query heads, G key-value heads, Q
query heads of a key-value head (H = G x Q), K head width, R rotated pairs.
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

ACTIVATION_AXES = ("activation_batch", "activation_length", "activation_heads", "activation_kv")


class Segments(NamedTuple):
    """Where tokens stand, and who may see whom.

    Attributes:
      positions_BT: position of every token within its segment.
      segment_ids_BT: 0 is padding; tokens of other ids never see each other. None: one segment.
      bidirectional_BT: nonzero where tokens see each other both ways (a prefix LM's inputs).
      cache_start_B: where the tokens go in each row of the cache; None: there is no cache.
      rotary_BTR: cosines and sines of the positions; None: they are not rotary.
    """

    positions_BT: jax.Array
    segment_ids_BT: jax.Array | None = None
    bidirectional_BT: jax.Array | None = None
    cache_start_B: jax.Array | None = None
    rotary_BTR: tuple[jax.Array, jax.Array] | None = None


def attention_mask(segments: Segments, sliding_window: int | None = None) -> jax.Array:
    """Boolean mask_B1TS, True where a query may attend to a key.

    Known by place and segment, never by token id: id 0 is a real token in many vocabularies.
    """
    length = segments.positions_BT.shape[1]
    order_T = jnp.arange(length)
    mask_BTS = _is_before(order_T[None, :], order_T[None, :], sliding_window)
    if segments.bidirectional_BT is not None:
        prefix_BT = segments.bidirectional_BT.astype(bool)
        mask_BTS = mask_BTS | (prefix_BT[:, :, None] & prefix_BT[:, None, :])
    if segments.segment_ids_BT is not None:
        ids_BT = segments.segment_ids_BT
        # Padding (id 0) sees padding alone, so its rows stay finite and touch nothing real.
        mask_BTS = mask_BTS & (ids_BT[:, :, None] == ids_BT[:, None, :])
    return mask_BTS[:, None]


def _is_before(
    query_places_BT: jax.Array, key_places_BS: jax.Array, sliding_window: int | None
) -> jax.Array:
    """Boolean mask_BTS: the key is the query itself, or comes before it within the window."""
    distance_BTS = query_places_BT[:, :, None] - key_places_BS[:, None, :]
    mask_BTS = distance_BTS >= 0
    return mask_BTS if sliding_window is None else mask_BTS & (distance_BTS < sliding_window)


def dot_product_attention(
    query_BTHK: jax.Array,
    key_BSGK: jax.Array,
    value_BSGK: jax.Array,
    mask_B1TS: jax.Array,
    bias_BHTS: jax.Array | None,
) -> jax.Array:
    """Softmax attention with float32 logits; returns outputs_BTHK in the values' type.

    Query head h reads key-value head h // Q.
    """
    batch, length, heads, width = query_BTHK.shape
    groups = key_BSGK.shape[2]
    query_BTGQK = query_BTHK.reshape(batch, length, groups, heads // groups, width)
    logits_BGQTS = jnp.einsum(
        "BTGQK,BSGK->BGQTS", query_BTGQK, key_BSGK, preferred_element_type=jnp.float32
    )
    logits_BGQTS = logits_BGQTS * width**-0.5
    if bias_BHTS is not None:
        grouped = (bias_BHTS.shape[0], groups, heads // groups, *bias_BHTS.shape[2:])
        logits_BGQTS = logits_BGQTS + bias_BHTS.reshape(grouped)
    logits_BGQTS = jnp.where(mask_B1TS[:, :, None], logits_BGQTS, MASKED)
    weights_BGQTS = jax.nn.softmax(logits_BGQTS, axis=-1).astype(value_BSGK.dtype)
    outputs_BTGQK = jnp.einsum("BGQTS,BSGK->BTGQK", weights_BGQTS, value_BSGK)
    return outputs_BTGQK.reshape(batch, length, heads, -1)


class SelfAttention(nn.Module):
    """Multi-head self-attention of one block, its heads grouped or not."""

    config: config_lib.DecoderConfig

    @nn.compact
    def __call__(
        self,
        inputs_BTD: jax.Array,
        segments: Segments,
        *,
        decode: bool = False,
        prefill: bool = False,
    ) -> jax.Array:
        """Attends; see `decoder.Decoder.__call__` for what decode and prefill do.

        Returns:
          outputs_BTD.
        """
        cfg = self.config
        query_BTHK, key_BSGK, value_BSGK = self._project(inputs_BTD, segments)
        if decode or prefill:
            cached_key_BSGK, cached_value_BSGK = self._update_cache(key_BSGK, value_BSGK, segments)
        if decode and segments.cache_start_B is not None:
            key_BSGK, value_BSGK = cached_key_BSGK, cached_value_BSGK
            key_positions_BS = jnp.arange(key_BSGK.shape[1])[None, :]
            mask_BTS = _is_before(segments.positions_BT, key_positions_BS, cfg.sliding_window)
            mask_B1TS = mask_BTS[:, None]
        else:
            key_positions_BS = segments.positions_BT
            mask_B1TS = attention_mask(segments, cfg.sliding_window)
        bias_BHTS = None
        if cfg.position == "alibi":
            slopes_H = jnp.asarray(positions.alibi_slopes(cfg.num_heads))
            bias_BHTS = positions.alibi_bias(slopes_H, segments.positions_BT, key_positions_BS)
        outputs_BTHK = dot_product_attention(query_BTHK, key_BSGK, value_BSGK, mask_B1TS, bias_BHTS)
        outputs_BTHK = nn.with_logical_constraint(
            checkpoint_name(outputs_BTHK, "attention"), ACTIVATION_AXES
        )
        return layers.Dense(
            (cfg.emb_dim,),
            ("heads", "kv", "embed"),
            cfg,
            use_bias=cfg.attention_out_bias,
            name="out",
        )(outputs_BTHK)

    def _project(
        self, inputs_BTD: jax.Array, segments: Segments
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries, keys and values; normalised and rotated where the configuration says so."""
        cfg = self.config

        def project(name: str, heads: int) -> jax.Array:
            return layers.Dense(
                (heads, cfg.head_dim),
                ("embed", "heads", "kv"),
                cfg,
                use_bias=cfg.qkv_bias,
                name=name,
            )(inputs_BTD)

        query, key = project("query", cfg.num_heads), project("key", cfg.kv_heads)
        value = project("value", cfg.kv_heads)
        if cfg.qk_norm:
            query = layers.Norm(cfg, kind="rmsnorm", name="query_norm")(query)
            key = layers.Norm(cfg, kind="rmsnorm", name="key_norm")(key)
        if segments.rotary_BTR is not None:
            query, key = (positions.rotate(x, *segments.rotary_BTR) for x in (query, key))
        query, key, value = (
            nn.with_logical_constraint(checkpoint_name(x, "qkv"), ACTIVATION_AXES)
            for x in (query, key, value)
        )
        return query, key, value

    def _update_cache(
        self, key_BTGK: jax.Array, value_BTGK: jax.Array, segments: Segments
    ) -> tuple[jax.Array, jax.Array]:
        """Stores new keys and values; returns the whole cache."""
        is_initialized = self.has_variable("cache", "cached_key")
        cached_key = self.variable("cache", "cached_key", jnp.zeros_like, key_BTGK)
        cached_value = self.variable("cache", "cached_value", jnp.zeros_like, value_BTGK)
        start_B = segments.cache_start_B
        if is_initialized and start_B is not None:
            cached_key.value = cache_lib.append(cached_key.value, key_BTGK, start_B)
            cached_value.value = cache_lib.append(cached_value.value, value_BTGK, start_B)
        return cached_key.value, cached_value.value
