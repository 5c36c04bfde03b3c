"""Cached decoding as pure functions: prefill, then a loop that appends a token a row.

Shape legend: B batch, T prompt positions (right-padded), N most new tokens, V vocabulary.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from teacherlm_jax.generation import sampling
from teacherlm_jax.models import cache as cache_lib

Params = Any
Cache = Any
Array = jax.Array | np.ndarray

NO_EOS = -1


class Prompts(NamedTuple):
    """A batch of prompts.

    Attributes:
      tokens_BT: int32, right-padded; what stands beyond a row's length is never seen.
      lengths_B: int32, prompt tokens of each row; at least 1 except in filler rows.
      max_new_B: int32, most tokens to write in each row, at most N; 0 in filler rows.
      eos_B: int32, the id that ends a row; `NO_EOS` where none does.
      noise_ids_B3: uint32, see `sampling.noise_ids`.
    """

    tokens_BT: Array
    lengths_B: Array
    max_new_B: Array
    eos_B: Array
    noise_ids_B3: Array


class Decoded(NamedTuple):
    """What a batch of prompts became.

    Attributes:
      tokens_BN: int32, the new tokens, EOS included; 0 beyond a row's length.
      lengths_B: int32, new tokens of each row, EOS included.
      finished_B: bool, whether the row ended with its EOS (and not at its maximum).
      log_probabilities_B: float32, sum over the new tokens, EOS included, of their natural
        log-probability under the model itself: no temperature, no top-k, no top-p; padded
        vocabulary rows excluded.
      steps: int32 scalar, decoding steps the batch took.
    """

    tokens_BN: jax.Array
    lengths_B: jax.Array
    finished_B: jax.Array
    log_probabilities_B: jax.Array
    steps: jax.Array


class _Loop(NamedTuple):
    cache: Cache
    last_B: jax.Array
    active_B: jax.Array
    decoded: Decoded


def cache_length(prompt_length: int, new_length: int, max_length: int) -> int:
    """Positions of the cache: enough for every real token, and none past `max_length`.

    What padded or ended rows write past its end is dropped, so a position that the model has no
    embedding for never enters it.
    """
    return max(prompt_length, min(prompt_length + new_length, max_length))


def constrain_cache(cache: Cache) -> Cache:
    """Shards a cache by rows and heads where a mesh is in force.

    Left to itself the compiler copies the whole cache to every data shard.
    """

    def one(leaf: jax.Array) -> jax.Array:
        names: list[str | None] = [None] * leaf.ndim
        batch_axis = cache_lib.batch_axis(leaf)
        names[batch_axis] = "activation_batch"
        if leaf.ndim >= 4:
            names[batch_axis + 2] = "activation_heads"
        return nn.with_logical_constraint(leaf, tuple(names))

    return jax.tree.map(one, cache)


def prefill(
    params: Params,
    model: nn.Module,
    tokens_BT: Array,
    lengths_B: Array,
    length: int,
) -> Cache:
    """Fills a new cache with every row's prompt but its last token.

    The last token is left to the first decoding step, whose logits are then the first that
    anyone reads: those of the prompt are dead code, and no [B, T, V] array is ever made.

    Args:
      params: the model's parameters.
      model: a decoder with T5X's decoder-only signature.
      tokens_BT: right-padded prompts.
      lengths_B: their lengths; 0 counts as 1.
      length: positions of the cache, at least T; see `cache_length`.

    Returns:
      The cache; the index of each row is its length - 1.
    """
    batch = tokens_BT.shape[0]
    cache = constrain_cache(cache_lib.init_cache(model, batch, length))
    _, variables = model.apply(
        {"params": params, "cache": cache},
        tokens_BT,
        tokens_BT,
        enable_dropout=False,
        prefill=True,
        prefill_lengths=jnp.maximum(lengths_B - 1, 0),
        mutable=["cache"],
    )
    return constrain_cache(variables["cache"])


def append(
    params: Params, model: nn.Module, cache: Cache, tokens_BT: Array
) -> tuple[jax.Array, Cache]:
    """Appends T tokens to every row at its own index.

    Returns:
      float32 logits_BTV, the prediction after each of them, and the cache.
    """
    logits_BTV, variables = model.apply(
        {"params": params, "cache": cache},
        tokens_BT,
        tokens_BT,
        enable_dropout=False,
        decode=True,
        mutable=["cache"],
    )
    return logits_BTV.astype(jnp.float32), variables["cache"]


def last_tokens(tokens_BT: Array, lengths_B: Array) -> jax.Array:
    """The last real token of each row, int32 [B]; the first filler of a row of length 0."""
    places_B1 = jnp.maximum(lengths_B - 1, 0)[:, None]
    return jnp.take_along_axis(tokens_BT, places_B1, axis=1)[:, 0]


def decode(
    params: Params,
    model: nn.Module,
    policy: sampling.Policy,
    cache: Cache,
    prompts: Prompts,
    key: jax.Array,
    *,
    max_new_tokens: int,
    valid_vocab_size: int | None = None,
) -> tuple[Decoded, Cache]:
    """Writes new tokens until every row has ended.

    Args:
      params: the model's parameters.
      model: as in `prefill`.
      policy: how tokens are chosen.
      cache: of `prefill`, long enough for every row; donate it where this is jitted.
      prompts: the batch.
      key: of `sampling.run_key`.
      max_new_tokens: N, the width of the result.
      valid_vocab_size: ids at and above it are never written; None: all may be.

    Returns:
      The new tokens, and the used cache, which gives a donated one a place to live.
    """
    batch = prompts.lengths_B.shape[0]
    keys_B = sampling.row_keys(key, prompts.noise_ids_B3)

    def go_on(loop: _Loop) -> jax.Array:
        return jnp.any(loop.active_B)

    def step(loop: _Loop) -> _Loop:
        logits_B1V, cache = append(params, model, loop.cache, loop.last_B[:, None])
        logits_BV = sampling.mask_vocabulary(logits_B1V[:, 0], valid_vocab_size)
        positions_B = prompts.lengths_B + loop.decoded.steps
        tokens_B = sampling.sample(policy, logits_BV, keys_B, positions_B, valid_vocab_size)
        decoded = _record(loop.decoded, loop.active_B, tokens_B, logits_BV, prompts.eos_B)
        goes_on_B = ~decoded.finished_B & (decoded.lengths_B < prompts.max_new_B)
        return _Loop(cache, tokens_B, loop.active_B & goes_on_B, decoded)

    start = _Loop(
        cache=cache,
        last_B=last_tokens(prompts.tokens_BT, prompts.lengths_B),
        active_B=jnp.asarray(prompts.max_new_B) > 0,
        decoded=Decoded(
            tokens_BN=jnp.zeros((batch, max_new_tokens), jnp.int32),
            lengths_B=jnp.zeros((batch,), jnp.int32),
            finished_B=jnp.zeros((batch,), bool),
            log_probabilities_B=jnp.zeros((batch,), jnp.float32),
            steps=jnp.zeros((), jnp.int32),
        ),
    )
    end = jax.lax.while_loop(go_on, step, start)
    return end.decoded, end.cache


def _record(
    decoded: Decoded,
    active_B: jax.Array,
    tokens_B: jax.Array,
    logits_BV: jax.Array,
    eos_B: Array,
) -> Decoded:
    """Adds one token to the rows that are still active."""
    chosen_B = jnp.take_along_axis(logits_BV, tokens_B[:, None], axis=-1)[:, 0]
    log_probabilities_B = chosen_B - jax.nn.logsumexp(logits_BV, axis=-1)
    return Decoded(
        tokens_BN=jax.lax.dynamic_update_index_in_dim(
            decoded.tokens_BN, jnp.where(active_B, tokens_B, 0), decoded.steps, axis=1
        ),
        lengths_B=decoded.lengths_B + active_B,
        finished_B=decoded.finished_B | (active_B & (tokens_B == eos_B)),
        log_probabilities_B=decoded.log_probabilities_B
        + jnp.where(active_B, log_probabilities_B, 0.0),
        steps=decoded.steps + 1,
    )
