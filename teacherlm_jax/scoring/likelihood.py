"""Log-likelihood of options after a context, as pure functions.

Logits are computed at the positions that count and nowhere else: the context fills the cache but
for its last token, and the first logits that are read are those after that token.

Shape legend: B questions, T context positions, O options, L option positions, V vocabulary.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from teacherlm_jax.generation import decode
from teacherlm_jax.models import cache as cache_lib

Params = Any
Cache = Any
Array = jax.Array | np.ndarray


class Questions(NamedTuple):
    """A batch of questions, padded; filler rows and filler options have length 0.

    Attributes:
      contexts_BT: int32, right-padded; see `split.Split`.
      context_lengths_B: int32.
      options_BOL: int32, right-padded.
      option_lengths_BO: int32.
    """

    contexts_BT: Array
    context_lengths_B: Array
    options_BOL: Array
    option_lengths_BO: Array


def repeat_cache_rows(cache: Cache, repeats: int) -> Cache:
    """Repeats every row of a cache, the copies side by side.

    Args:
      cache: the `cache` collection of a decoder.
      repeats: copies of each row.

    Returns:
      The cache of `repeats` times as many rows.
    """
    return jax.tree.map(
        lambda leaf: jnp.repeat(leaf, repeats, axis=cache_lib.batch_axis(leaf)), cache
    )


def single_token_log_likelihoods(
    params: Params, model: nn.Module, questions: Questions
) -> jax.Array:
    """Log-likelihoods of options of one token: one forward pass a question serves them all.

    Args:
      params: the model's parameters.
      model: a decoder with T5X's decoder-only signature.
      questions: options of one token, L = 1.

    Returns:
      float32 [B, O]; 0 for filler options.
    """
    length = questions.contexts_BT.shape[1]
    lengths_B = questions.context_lengths_B
    cache = decode.prefill(params, model, questions.contexts_BT, lengths_B, length)
    last_B1 = decode.last_tokens(questions.contexts_BT, lengths_B)[:, None]
    logits_B1V, _ = decode.append(params, model, cache, last_B1)
    chosen_BO = _log_probabilities(logits_B1V, questions.options_BOL[:, :, 0])
    return jnp.where(questions.option_lengths_BO > 0, chosen_BO, 0.0)


def log_likelihoods(
    params: Params, model: nn.Module, questions: Questions, max_length: int
) -> jax.Array:
    """Log-likelihoods of options of any length: the context is computed once for all of them.

    Args:
      params: the model's parameters.
      model: a decoder with T5X's decoder-only signature.
      questions: the batch.
      max_length: most tokens of context and option together.

    Returns:
      float32 [B, O], summed over each option's tokens; 0 for filler options.
    """
    contexts_BT, lengths_B = questions.contexts_BT, questions.context_lengths_B
    batch, options, option_length = questions.options_BOL.shape
    cache = decode.prefill(
        params,
        model,
        contexts_BT,
        lengths_B,
        decode.cache_length(contexts_BT.shape[1], option_length, max_length),
    )
    cache = decode.constrain_cache(repeat_cache_rows(cache, options))
    # Each token predicts the next: the context's last one the option's first.
    last_B = decode.last_tokens(contexts_BT, lengths_B)
    last_BO1 = jnp.broadcast_to(last_B[:, None, None], (batch, options, 1))
    inputs_BOL = jnp.concatenate([last_BO1, questions.options_BOL[:, :, :-1]], axis=-1)
    inputs_RL = inputs_BOL.reshape(batch * options, option_length)
    logits_RLV, _ = decode.append(params, model, cache, inputs_RL)
    targets_RL1 = questions.options_BOL.reshape(batch * options, option_length, 1)
    vocab_size = logits_RLV.shape[-1]
    chosen_RL = _log_probabilities(
        logits_RLV.reshape(-1, 1, vocab_size), targets_RL1.reshape(-1, 1)
    )
    chosen_BOL = chosen_RL.reshape(batch, options, option_length)
    is_real_BOL = jnp.arange(option_length) < questions.option_lengths_BO[:, :, None]
    return jnp.sum(jnp.where(is_real_BOL, chosen_BOL, 0.0), axis=-1)


def _log_probabilities(logits_B1V: jax.Array, tokens_BO: Array) -> jax.Array:
    """Float32 log-softmax at the tokens; the [B, V] result of a full log-softmax is not kept."""
    logits_BV = logits_B1V[:, 0].astype(jnp.float32)
    chosen_BO = jnp.take_along_axis(logits_BV, tokens_BO, axis=-1)
    return chosen_BO - jax.nn.logsumexp(logits_BV, axis=-1, keepdims=True)
