"""Cross-entropy as sums.

Shape legend: B batch, T positions, C positions of a chunk, N chunks, D width of what logits are a
projection of, V vocabulary.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from teacherlm_jax.metrics.sums import WeightedSum


def cross_entropy(
    logits_BTV: jax.Array,
    targets_BT: jax.Array,
    weights_BT: jax.Array,
    z_loss: float = 0.0,
) -> dict[str, WeightedSum]:
    """Next-token loss and accuracy, summed and not yet divided.

    Args:
      logits_BTV: float32.
      targets_BT: token ids.
      weights_BT: float32, 0 where a position does not count.
      z_loss: factor on log(Z)^2, which keeps the softmax normaliser near 1 (PaLM, arXiv
        2204.02311, section 5).

    Returns:
      `loss` in nats (z-loss included) and `accuracy` as a fraction, each a WeightedSum. A target
      that ties with the largest logit counts as right.
    """
    log_normalizer_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    target_logits_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
    loss_BT = log_normalizer_BT - target_logits_BT + z_loss * jnp.square(log_normalizer_BT)
    # Not argmax: it keeps an index beside every maximum, which a CPU does 10 times slower.
    best_BT = jax.lax.stop_gradient(jnp.max(logits_BTV, axis=-1))
    correct_BT = (target_logits_BT >= best_BT).astype(jnp.float32)
    weight = jnp.sum(weights_BT)
    return {
        "loss": WeightedSum(jnp.sum(loss_BT * weights_BT), weight),
        "accuracy": WeightedSum(jnp.sum(correct_BT * weights_BT), weight),
    }


def chunked_cross_entropy(
    hidden_BTD: jax.Array,
    table_VD: jax.Array,
    targets_BT: jax.Array,
    weights_BT: jax.Array,
    z_loss: float = 0.0,
    chunk: int | None = None,
) -> dict[str, WeightedSum]:
    """`cross_entropy` of the logits hidden . table, of which only a chunk exists at a time.

    Where a gradient is asked for, a chunk's is computed beside its loss, as long as its logits
    are there: they are neither kept nor computed twice. Chunks are cut along T, so that a batch
    stays cut over devices, and so does a vocabulary.

    Args:
      hidden_BTD: what the logits are a projection of.
      table_VD: the output projection.
      targets_BT: token ids.
      weights_BT: float32, 0 where a position does not count.
      z_loss: see `cross_entropy`.
      chunk: positions of a row that are done at a time; None: as many as `CHUNK_LOGITS` allows.

    Returns:
      What `cross_entropy` returns, the same up to rounding.
    """
    if chunk is None:
        batch, length = hidden_BTD.shape[:2]
        chunk = _chunk_length(batch, length, table_VD.shape[0])
    loss, correct = _chunked(hidden_BTD, table_VD, targets_BT, weights_BT, z_loss, chunk)
    weight = jnp.sum(weights_BT)
    return {"loss": WeightedSum(loss, weight), "accuracy": WeightedSum(correct, weight)}


Sums = tuple[jax.Array, jax.Array]

# Logits of a chunk on one device. Over several devices each chunk costs a reduction of the table's
# gradient, and few chunks are better.
CHUNK_LOGITS, CHUNK_LOGITS_OF_SEVERAL = 2**24, 2**26


def _chunk_length(batch: int, length: int, vocab_size: int) -> int:
    """Positions of a chunk, so that chunks are about equal."""
    mesh = dict(jax.sharding.get_abstract_mesh().shape)
    rows = -(-batch // (mesh.get("data", 1) * mesh.get("fsdp", 1)))
    logits = rows * -(-vocab_size // mesh.get("tensor", 1))
    is_alone = all(size == 1 for size in mesh.values())
    most = (CHUNK_LOGITS if is_alone else CHUNK_LOGITS_OF_SEVERAL) // logits
    count = -(-length // min(max(most, 1), length))
    return -(-length // count)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _chunked(
    hidden_BTD: jax.Array,
    table_VD: jax.Array,
    targets_BT: jax.Array,
    weights_BT: jax.Array,
    z_loss: float,
    chunk: int,
) -> Sums:
    table_VD = _gathered(table_VD, hidden_BTD.dtype)

    def one(sums: Sums, chunk_of: tuple[jax.Array, ...]) -> tuple[Sums, None]:
        hidden_BCD, targets_BC, weights_BC = chunk_of
        logits_BCV = _chunk_logits(hidden_BCD, table_VD)
        found = cross_entropy(logits_BCV, targets_BC, weights_BC, z_loss)
        return (sums[0] + found["loss"].total, sums[1] + found["accuracy"].total), None

    zero = jnp.zeros((), jnp.float32)
    chunks = _cut((hidden_BTD, targets_BT, weights_BT), chunk)
    return jax.lax.scan(one, (zero, zero), chunks)[0]


def _chunked_forward(
    hidden_BTD: jax.Array,
    table_VD: jax.Array,
    targets_BT: jax.Array,
    weights_BT: jax.Array,
    z_loss: float,
    chunk: int,
) -> tuple[Sums, tuple[jax.Array, jax.Array]]:
    """The sums, and the gradient of the loss to hidden and table."""
    parameter_dtype, table_VD = table_VD.dtype, _gathered(table_VD, hidden_BTD.dtype)

    def one(carry: Any, chunk_of: tuple[jax.Array, ...]) -> tuple[Any, jax.Array]:
        (loss, correct), table_grad_DV = carry
        hidden_BCD, targets_BC, weights_BC = chunk_of
        logits_BCV = _chunk_logits(hidden_BCD, table_VD)
        best_BC1 = jnp.max(logits_BCV, axis=-1, keepdims=True)
        log_z_BC1 = best_BC1 + jnp.log(
            jnp.sum(jnp.exp(logits_BCV - best_BC1), axis=-1, keepdims=True)
        )
        target_BC1 = jnp.take_along_axis(logits_BCV, targets_BC[..., None], axis=-1)
        loss_BC1 = log_z_BC1 - target_BC1 + z_loss * jnp.square(log_z_BC1)
        weights_BC1 = weights_BC[..., None]
        is_target_BCV = jnp.arange(logits_BCV.shape[-1]) == targets_BC[..., None]
        probability_BCV = jnp.exp(logits_BCV - log_z_BC1) * (1 + 2 * z_loss * log_z_BC1)
        grad_BCV = (probability_BCV - is_target_BCV) * weights_BC1
        grad_BCV = grad_BCV.astype(hidden_BCD.dtype)
        hidden_grad_BCD = jnp.einsum("BCV,VD->BCD", grad_BCV, table_VD)
        # [D, V] and not [V, D]: a CPU multiplies so a third faster.
        table_grad_DV += jnp.einsum(
            "BCD,BCV->DV", hidden_BCD, grad_BCV, preferred_element_type=jnp.float32
        )
        loss += jnp.sum(loss_BC1 * weights_BC1)
        correct += jnp.sum((target_BC1 >= best_BC1) * weights_BC1)
        return ((loss, correct), table_grad_DV), hidden_grad_BCD

    zero = jnp.zeros((), jnp.float32)
    start = ((zero, zero), jnp.zeros(table_VD.shape[::-1], jnp.float32))
    chunks = _cut((hidden_BTD, targets_BT, weights_BT), chunk)
    (sums, table_grad_DV), hidden_grad_NBCD = jax.lax.scan(one, start, chunks)
    batch, length, width = hidden_BTD.shape
    filled_BTD = jnp.swapaxes(hidden_grad_NBCD, 0, 1).reshape(batch, -1, width)
    hidden_grad_BTD = filled_BTD[:, :length]
    return sums, (hidden_grad_BTD, table_grad_DV.T.astype(parameter_dtype))


def _chunked_backward(
    z_loss: float, chunk: int, saved: tuple[jax.Array, jax.Array], cotangents: Sums
) -> tuple[jax.Array | None, ...]:
    del z_loss, chunk
    hidden_grad_BTD, table_grad_VD = (grad * cotangents[0].astype(grad.dtype) for grad in saved)
    return hidden_grad_BTD, table_grad_VD, None, None


_chunked.defvjp(_chunked_forward, _chunked_backward)


def _gathered(table_VD: jax.Array, dtype: Any) -> jax.Array:
    """The table in the computation type, cut by vocabulary alone: gathered once for all chunks."""
    return nn.with_logical_constraint(
        table_VD.astype(dtype), ("activation_vocab", "activation_embed")
    )


def _chunk_logits(hidden_BCD: jax.Array, table_VD: jax.Array) -> jax.Array:
    logits_BCV = jnp.einsum("BCD,VD->BCV", hidden_BCD, table_VD, preferred_element_type=jnp.float32)
    return nn.with_logical_constraint(
        logits_BCV, ("activation_batch", "activation_length", "activation_vocab")
    )


def _cut(arrays: tuple[jax.Array, ...], chunk: int) -> tuple[jax.Array, ...]:
    """[B, T, ...] as [N, B, C, ...], the last chunk filled up with zeros, which weigh nothing."""
    batch, length = arrays[0].shape[:2]
    size = min(chunk, length)
    count = -(-length // size)

    def one(x: jax.Array) -> jax.Array:
        filler = [(0, 0), (0, count * size - length), *[(0, 0)] * (x.ndim - 2)]
        return jnp.swapaxes(jnp.pad(x, filler).reshape(batch, count, size, *x.shape[2:]), 0, 1)

    return tuple(map(one, arrays))
