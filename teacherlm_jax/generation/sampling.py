"""Sampling policies, and noise that belongs to a sample and not to its batch.

Shape legend: B batch, V vocabulary rows (padded rows included), K candidates kept.
"""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Named, never jax's default: under "rbg", a usual setting on TPUs, the bits of a row depend on
# the batch around it.
KEY_IMPLEMENTATION = "threefry2x32"
# Finite, so that a masked row never turns a sum into NaN.
MASKED = -1e30


@dataclasses.dataclass(frozen=True)
class Greedy:
    """Takes the most likely token; of equals, the one with the lowest id."""


@dataclasses.dataclass(frozen=True)
class Temperature:
    """Draws from softmax(logits / temperature), cut to the likelier tokens.

    The order is transformers': temperature, then top-k, then top-p. Tokens that tie with the
    last one kept are kept too.

    Attributes:
      temperature: above 0; 1 samples the model's own distribution.
      top_k: keep the k likeliest tokens; None keeps all.
      top_p: keep the fewest likeliest tokens whose probabilities reach this sum (nucleus
        sampling, Holtzman et al. 2020, arXiv 1904.09751); None keeps all.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(
                f"Temperature.temperature = {self.temperature}, but it must be a finite number "
                "above 0: for the most likely token use the policy Greedy."
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(
                f"Temperature.top_k = {self.top_k}, but it must be at least 1: None keeps all."
            )
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise ValueError(
                f"Temperature.top_p = {self.top_p}, but it must lie in (0, 1]: None keeps all."
            )


Policy = Greedy | Temperature


def describe(policy: Policy) -> dict[str, Any]:
    """The policy as plain values, for the provenance of what it wrote."""
    return {"name": type(policy).__name__, **dataclasses.asdict(policy)}


def example_hash(example_id: str) -> tuple[int, int]:
    """64 bits of the SHA-256 of an example's id, as two 32-bit halves (high, low)."""
    digest = hashlib.sha256(example_id.encode("utf-8")).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")


def noise_ids(example_ids: Sequence[str], sample_indices: Sequence[int]) -> np.ndarray:
    """What tells one sample's noise from another's.

    Args:
      example_ids: one a row.
      sample_indices: which sample of that example, at least 0.

    Returns:
      uint32 [B, 3]: both halves of the id's hash and the sample index.

    Raises:
      ValueError: a sample index is outside [0, 2**32).
    """
    rows = []
    for example_id, sample_index in zip(example_ids, sample_indices, strict=True):
        if not 0 <= sample_index < 2**32:
            raise ValueError(
                f"sample_index = {sample_index} of example {example_id!r}, but it must lie in "
                "[0, 2**32): number an example's samples from 0."
            )
        rows.append((*example_hash(example_id), sample_index))
    return np.asarray(rows, np.uint32).reshape(-1, 3)


def run_key(seed: int) -> jax.Array:
    """The key of a run, of a fixed implementation.

    Raises:
      ValueError: the seed is outside [0, 2**32); jax would drop its higher bits in silence.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed = {seed}, but it must lie in [0, 2**32): choose a smaller one.")
    return jax.random.key(seed, impl=KEY_IMPLEMENTATION)


def row_keys(key: jax.Array, ids_B3: jax.Array | np.ndarray) -> jax.Array:
    """A key a sample: the run's key folded with the ids of `noise_ids`; returns keys_B."""

    def fold(ids_3: jax.Array) -> jax.Array:
        folded = key
        for part in range(3):
            folded = jax.random.fold_in(folded, ids_3[part])
        return folded

    return jax.vmap(fold)(jnp.asarray(ids_B3))


def mask_vocabulary(logits_BV: jax.Array, valid_vocab_size: int | None) -> jax.Array:
    """Float32 logits, without the rows that only pad the table (BLOOM, padded shardings)."""
    logits_BV = logits_BV.astype(jnp.float32)
    if valid_vocab_size is None or valid_vocab_size >= logits_BV.shape[-1]:
        return logits_BV
    is_real_V = jnp.arange(logits_BV.shape[-1]) < valid_vocab_size
    return jnp.where(is_real_V, logits_BV, MASKED)


def restrict(policy: Temperature, logits_BV: jax.Array) -> jax.Array:
    """Divides by the temperature and masks the tokens that top-k and top-p drop."""
    logits_BV = logits_BV / policy.temperature
    vocab_size = logits_BV.shape[-1]
    sorted_BK = None
    if policy.top_k is not None and policy.top_k < vocab_size:
        sorted_BK = jax.lax.top_k(logits_BV, policy.top_k)[0]
        logits_BV = jnp.where(logits_BV < sorted_BK[:, -1:], MASKED, logits_BV)
    if policy.top_p is not None and policy.top_p < 1.0:
        if sorted_BK is None:
            sorted_BK = -jnp.sort(-logits_BV, axis=-1)
        # Ties beyond the k-th are left out of the sum here; they are as unlikely as the k-th.
        probabilities_BK = jax.nn.softmax(sorted_BK, axis=-1)
        before_BK = jnp.cumsum(probabilities_BK, axis=-1) - probabilities_BK
        kept_BK = jnp.where(before_BK < policy.top_p, sorted_BK, jnp.inf)
        logits_BV = jnp.where(
            logits_BV < jnp.min(kept_BK, axis=-1, keepdims=True), MASKED, logits_BV
        )
    return logits_BV


def sample(
    policy: Policy,
    logits_BV: jax.Array,
    keys_B: jax.Array,
    positions_B: jax.Array | np.ndarray,
    valid_vocab_size: int | None = None,
) -> jax.Array:
    """Chooses a token a row.

    The noise is a function of a row's key, its position and the token id alone: batch, neighbours
    and padded vocabulary rows cannot change what is drawn.

    Args:
      policy: how to choose.
      logits_BV: next-token logits.
      keys_B: one key a row, of `row_keys`; unused by Greedy.
      positions_B: int32, place in the row of the token to be chosen.
      valid_vocab_size: ids at and above it are never chosen; None: all may be.

    Returns:
      int32 tokens_B.
    """
    logits_BV = mask_vocabulary(logits_BV, valid_vocab_size)
    if isinstance(policy, Greedy):
        return jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
    logits_BV = restrict(policy, logits_BV)

    def noise(key: jax.Array, position: jax.Array) -> jax.Array:
        # Partitionable bits are counted by element, so padded rows leave the others' bits alone.
        with jax.threefry_partitionable(True):
            return jax.random.gumbel(
                jax.random.fold_in(key, position), logits_BV.shape[-1:], jnp.float32
            )

    noise_BV = jax.vmap(noise)(keys_B, jnp.asarray(positions_B))
    return jnp.argmax(logits_BV + noise_BV, axis=-1).astype(jnp.int32)
