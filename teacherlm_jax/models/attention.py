"""Causal self-attention, with the key-value cache for decoding.

Shape legend: B batch, T queries, S keys, D residual width, H query heads, G key-value heads, Q
query heads of a key-value head (H = G x Q), K head width, R rotated pairs.
"""

import functools
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

# Queries that attend at a time where no cache is read, and how many such pieces a text has at most:
# each piece is compiled on its own.
QUERY_CHUNK = 128
MOST_CHUNKS = 8

ACTIVATION_AXES = ("activation_batch", "activation_length", "activation_heads", "activation_kv")
KEY_VALUE_AXES = ("activation_batch", "activation_length", "activation_kv_heads", "activation_kv")


class Segments(NamedTuple):
    """Where tokens stand, and who may see whom.

    Attributes:
      positions_BT: position of every token within its segment.
      segment_ids_BT: 0 is padding; tokens of other ids never see each other. None: one segment.
      bidirectional_BT: nonzero where tokens see each other both ways (a prefix LM's inputs).
      cache_start_B: where the tokens go in each row of the cache; None: there is no cache.
      rotary_BTR: cosines and sines of the positions; None: they are not rotary.
      row_ids_B: from which the dropout noise of each row comes; None: its place in the batch.
      seen_until_BT: the last segment that sees a token, where those after its own do: texts that
        continue one prompt are numbered after it, one that continues them after these. None: no
        segment sees another.
    """

    positions_BT: jax.Array
    segment_ids_BT: jax.Array | None = None
    bidirectional_BT: jax.Array | None = None
    cache_start_B: jax.Array | None = None
    rotary_BTR: tuple[jax.Array, jax.Array] | None = None
    row_ids_B: jax.Array | None = None
    seen_until_BT: jax.Array | None = None


def attention_mask(
    segments: Segments,
    sliding_window: int | None = None,
    queries: slice = slice(None),
    keys: slice = slice(None),
) -> jax.Array:
    """Boolean mask_B1TS, True where a query may attend to a key.

    Known by place and segment, never by token id: id 0 is a real token in many vocabularies.

    Args:
      segments: of the whole text.
      sliding_window: see `DecoderConfig`.
      queries: places of the queries; all by default.
      keys: places of the keys; all by default.
    """
    order_1T = jnp.arange(segments.positions_BT.shape[1])[None, :]
    if segments.seen_until_BT is None:
        mask_BTS = _is_before(order_1T[:, queries], order_1T[:, keys], sliding_window)
    else:
        mask_BTS = _is_before(order_1T[:, queries], order_1T[:, keys], None)
        # From a token to a later segment, distance is one of positions, not of places.
        places_BT = segments.positions_BT
        mask_BTS &= _is_before(places_BT[:, queries], places_BT[:, keys], sliding_window)
    if segments.bidirectional_BT is not None:
        prefix_BT = segments.bidirectional_BT.astype(bool)
        mask_BTS = mask_BTS | (prefix_BT[:, queries, None] & prefix_BT[:, None, keys])
    if segments.segment_ids_BT is not None:
        ids_BT = segments.segment_ids_BT
        # Padding (id 0) sees padding alone, so its rows stay finite and touch nothing real.
        if segments.seen_until_BT is None:
            is_seen_BTS = ids_BT[:, queries, None] == ids_BT[:, None, keys]
        else:
            until_BS = segments.seen_until_BT[:, keys]
            is_seen_BTS = ids_BT[:, queries, None] >= ids_BT[:, None, keys]
            is_seen_BTS &= ids_BT[:, queries, None] <= until_BS[:, None]
        mask_BTS = mask_BTS & is_seen_BTS
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
    key_BGSK, value_BGSK = jnp.swapaxes(key_BSGK, 1, 2), jnp.swapaxes(value_BSGK, 1, 2)
    query_BHTK = jnp.swapaxes(query_BTHK, 1, 2)
    return jnp.swapaxes(_attend(query_BHTK, key_BGSK, value_BGSK, mask_B1TS, bias_BHTS), 1, 2)


def _attend(
    query_BHTK: jax.Array,
    key_BGSK: jax.Array,
    value_BGSK: jax.Array,
    mask_B1TS: jax.Array,
    bias_BHTS: jax.Array | None,
) -> jax.Array:
    """As `dot_product_attention`, heads first; divides sums of values and not every weight."""
    batch, heads, length, width = query_BHTK.shape
    groups, keys = key_BGSK.shape[1:3]
    query_BGNK = (query_BHTK * width**-0.5).reshape(batch, groups, -1, width)  # N = Q x T
    logits_BGNS = jnp.einsum(
        "BGNK,BGSK->BGNS", query_BGNK, key_BGSK, preferred_element_type=jnp.float32
    )
    logits_BHTS = logits_BGNS.reshape(batch, heads, length, keys)
    if bias_BHTS is not None:
        logits_BHTS = logits_BHTS + bias_BHTS
    logits_BHTS = jnp.where(mask_B1TS, logits_BHTS, MASKED)
    largest_BHT1 = jax.lax.stop_gradient(jnp.max(logits_BHTS, axis=-1, keepdims=True))
    weights_BHTS = jnp.exp(logits_BHTS - largest_BHT1)
    sum_BHT1 = jnp.sum(weights_BHTS, axis=-1, keepdims=True)
    outputs_BGNK = jnp.einsum(
        "BGNS,BGSK->BGNK",
        weights_BHTS.astype(value_BGSK.dtype).reshape(batch, groups, -1, keys),
        value_BGSK,
        preferred_element_type=jnp.float32,
    )
    outputs_BHTK = outputs_BGNK.reshape(batch, heads, length, -1)
    return (outputs_BHTK / sum_BHT1).astype(value_BGSK.dtype)


def chunked_attention(
    query_BTHK: jax.Array,
    key_BTGK: jax.Array,
    value_BTGK: jax.Array,
    segments: Segments,
    config: config_lib.DecoderConfig,
) -> jax.Array:
    """`dot_product_attention` of a text to itself, some queries at a time.

    The backward pass computes weights, mask and bias again, so that no [T, T] is kept for it, and
    keys that no query of a piece may see, coming after it or before its window, are not touched:
    of a causal text in four pieces 5/8 of the products are left.

    Args:
      query_BTHK: queries.
      key_BTGK: keys.
      value_BTGK: values.
      segments: where the tokens stand, and who may see whom.
      config: the decoder's.

    Returns:
      outputs_BTHK in the values' type.
    """
    length = query_BTHK.shape[1]
    chunk = max(QUERY_CHUNK, -(-length // MOST_CHUNKS))
    slopes_H = positions.alibi_slopes(config.num_heads) if config.position == "alibi" else None

    # One checkpoint around all pieces: around each, slices of the keys would be kept as well.
    # Blocks are scanned as a rule, and a scan merges nothing back.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def attend(
        query_BHTK: jax.Array, key_BGTK: jax.Array, value_BGTK: jax.Array, segments: Segments
    ) -> jax.Array:
        outputs = []
        for start in range(0, length, chunk):
            queries = slice(start, min(start + chunk, length))
            keys = _keys_seen(queries, length, segments, config.sliding_window)
            bias_BHTS = None
            if slopes_H is not None:
                places_BT = segments.positions_BT
                bias_BHTS = positions.alibi_bias(
                    jnp.asarray(slopes_H), places_BT[:, queries], places_BT[:, keys]
                )
            mask_B1TS = attention_mask(segments, config.sliding_window, queries, keys)
            outputs.append(
                _attend(
                    query_BHTK[:, :, queries],
                    key_BGTK[:, :, keys],
                    value_BGTK[:, :, keys],
                    mask_B1TS,
                    bias_BHTS,
                )
            )
        return jnp.concatenate(outputs, axis=2)

    arrays = (jnp.swapaxes(x, 1, 2) for x in (query_BTHK, key_BTGK, value_BTGK))
    return jnp.swapaxes(attend(*arrays, segments._replace(rotary_BTR=None, row_ids_B=None)), 1, 2)


def _keys_seen(
    queries: slice, length: int, segments: Segments, sliding_window: int | None
) -> slice:
    """The places of the keys that some of these queries may see."""
    if segments.bidirectional_BT is not None:
        return slice(0, length)
    if segments.seen_until_BT is not None:
        return slice(0, queries.stop)
    first = 0 if sliding_window is None else max(0, queries.start - sliding_window + 1)
    return slice(first, queries.stop)


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
            outputs_BTHK = self._read_cache(
                query_BTHK, cached_key_BSGK, cached_value_BSGK, segments.positions_BT
            )
        else:
            outputs_BTHK = chunked_attention(query_BTHK, key_BSGK, value_BSGK, segments, cfg)
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
                ("embed", "heads" if name == "query" else "kv_heads", "kv"),
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
            nn.with_logical_constraint(checkpoint_name(x, "qkv"), axes)
            for x, axes in (
                (query, ACTIVATION_AXES),
                (key, KEY_VALUE_AXES),
                (value, KEY_VALUE_AXES),
            )
        )
        return query, key, value

    def _read_cache(
        self,
        query_BTHK: jax.Array,
        key_BSGK: jax.Array,
        value_BSGK: jax.Array,
        positions_BT: jax.Array,
    ) -> jax.Array:
        """Attention of new tokens to the whole cache, what is not written yet masked out."""
        cfg = self.config
        key_positions_BS = jnp.arange(key_BSGK.shape[1])[None, :]
        mask_BTS = _is_before(positions_BT, key_positions_BS, cfg.sliding_window)
        bias_BHTS = None
        if cfg.position == "alibi":
            slopes_H = jnp.asarray(positions.alibi_slopes(cfg.num_heads))
            bias_BHTS = positions.alibi_bias(slopes_H, positions_BT, key_positions_BS)
        return dot_product_attention(query_BTHK, key_BSGK, value_BSGK, mask_BTS[:, None], bias_BHTS)

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
