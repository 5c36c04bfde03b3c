"""Cross-entropy as sums.

Shape legend: B batch, T positions, C positions of a chunk, N chunks, D width of what logits are a
projection of, V vocabulary, P components of a mixture, S parts that the mesh cuts the batch into.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import PartitionSpec

from teacherlm_jax.metrics.sums import WeightedSum
from teacherlm_jax.partitioning import rules as rules_lib


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
    loss_BT, correct_BT = _losses(logits_BTV, targets_BT, z_loss)
    weight = jnp.sum(weights_BT)
    return {
        "loss": WeightedSum(jnp.sum(loss_BT * weights_BT), weight),
        "accuracy": WeightedSum(jnp.sum(correct_BT * weights_BT), weight),
    }


def _losses(
    logits_BTV: jax.Array, targets_BT: jax.Array, z_loss: float
) -> tuple[jax.Array, jax.Array]:
    """(loss, whether the prediction is right) of every position."""
    log_normalizer_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    target_logits_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
    loss_BT = log_normalizer_BT - target_logits_BT + z_loss * jnp.square(log_normalizer_BT)
    # Not argmax: it keeps an index beside every maximum, which a CPU does 10 times slower.
    best_BT = jax.lax.stop_gradient(jnp.max(logits_BTV, axis=-1))
    return loss_BT, (target_logits_BT >= best_BT).astype(jnp.float32)


def chunked_cross_entropy(
    hidden_BTD: jax.Array,
    table_VD: jax.Array,
    targets_BT: jax.Array,
    weights_BT: jax.Array,
    z_loss: float = 0.0,
    chunk: int | None = None,
    components: tuple[jax.Array, int] | None = None,
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
      components: (component_ids_BT, P) where losses of the components of a mixture are wanted.

    Returns:
      What `cross_entropy` returns, the same up to rounding; with `components` also
      `component_loss`, whose totals and weights are [P], and which carries no gradient.
    """
    if chunk is None:
        batch, length = hidden_BTD.shape[:2]
        chunk = _chunk_length(batch, length, table_VD.shape[0])
    loss, correct, losses_BT = _chunked(hidden_BTD, table_VD, targets_BT, weights_BT, z_loss, chunk)
    weight = jnp.sum(weights_BT)
    sums = {"loss": WeightedSum(loss, weight), "accuracy": WeightedSum(correct, weight)}
    if components is not None:
        losses_BT = jax.lax.stop_gradient(losses_BT)
        sums["component_loss"] = WeightedSum(
            _by_component(losses_BT, *components), _by_component(weights_BT, *components)
        )
    return sums


def _by_component(values_BT: jax.Array, ids_BT: jax.Array, count: int) -> jax.Array:
    """Sums [P] of the values of each component.

    Compared and summed, which stays cut over devices; a scatter would be gathered first.
    """
    is_of_BTP = ids_BT[..., None] == jnp.arange(count)
    return jnp.sum(jnp.where(is_of_BTP, values_BT[..., None], 0.0), axis=(0, 1))


# Sums of losses and of right predictions, and every position's loss times its weight [B, T].
Sums = tuple[jax.Array, jax.Array, jax.Array]

# Logits of a chunk on one device. Where the batch is cut over several, each chunk reads and writes
# the whole gradient of the table, and few chunks are better.
CHUNK_LOGITS, CHUNK_LOGITS_OF_SEVERAL = 2**24, 2**26
# Tokens of a chunk on one device, at least: with fewer, reading the table costs more than the
# products with it.
CHUNK_TOKENS = 256


def _chunk_length(batch: int, length: int, vocab_size: int) -> int:
    """Positions of a chunk, so that chunks are about equal."""
    parts = rules_lib.active_shards("activation_batch", batch)
    vocab_parts = rules_lib.active_shards("activation_vocab", vocab_size)
    rows = batch // parts
    logits = rows * (vocab_size // vocab_parts)
    most = (CHUNK_LOGITS if parts * vocab_parts == 1 else CHUNK_LOGITS_OF_SEVERAL) // logits
    most = max(most, -(-CHUNK_TOKENS // rows))
    count = -(-length // min(most, length))
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

    def one(carry: Any, chunk_of: tuple[jax.Array, ...]) -> tuple[Any, jax.Array]:
        hidden_BCD, targets_BC, weights_BC = chunk_of
        logits_BCV = _chunk_logits(hidden_BCD, table_VD)
        losses_BC, correct_BC = _losses(logits_BCV, targets_BC, z_loss)
        losses_BC = losses_BC * weights_BC
        sums = (carry[0] + jnp.sum(losses_BC), carry[1] + jnp.sum(correct_BC * weights_BC))
        return sums, losses_BC

    zero = jnp.zeros((), jnp.float32)
    chunks = _cut((hidden_BTD, targets_BT, weights_BT), chunk)
    (loss, correct), losses_NBC = jax.lax.scan(one, (zero, zero), chunks)
    return loss, correct, _joined(losses_NBC, targets_BT.shape[1])


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

    def one(carry: Any, chunk_of: tuple[jax.Array, ...]) -> tuple[Any, tuple[jax.Array, ...]]:
        (loss, correct), table_grad_SDV = carry
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
        table_grad_SDV += _table_gradient(hidden_BCD, grad_BCV, table_grad_SDV.shape[0])
        loss_BC1 = loss_BC1 * weights_BC1
        loss += jnp.sum(loss_BC1)
        correct += jnp.sum((target_BC1 >= best_BC1) * weights_BC1)
        return ((loss, correct), table_grad_SDV), (hidden_grad_BCD, loss_BC1[..., 0])

    zero = jnp.zeros((), jnp.float32)
    parts = rules_lib.active_shards("activation_batch", hidden_BTD.shape[0])
    start = ((zero, zero), jnp.zeros((parts, *table_VD.shape[::-1]), jnp.float32))
    chunks = _cut((hidden_BTD, targets_BT, weights_BT), chunk)
    (sums, table_grad_SDV), (hidden_grad_NBCD, losses_NBC) = jax.lax.scan(one, start, chunks)
    # Where there is one chunk, XLA would turn product and transpose into one product, which it
    # cannot do in bfloat16 on a CPU.
    table_grad_DV = jax.lax.optimization_barrier(_summed(table_grad_SDV))
    table_grad_VD = table_grad_DV.T.astype(parameter_dtype)
    length = hidden_BTD.shape[1]
    saved = (_joined(hidden_grad_NBCD, length), table_grad_VD)
    return (*sums, _joined(losses_NBC, length)), saved


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


def _table_gradient(hidden_BCD: jax.Array, grad_BCV: jax.Array, parts: int) -> jax.Array:
    """The table's gradient [S, D, V] of each part of the batch.

    Summed over the batch as well, it would be reduced over the devices once a chunk.
    """
    # [D, V] and not [V, D]: a CPU multiplies so a third faster.
    product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
    if parts == 1:
        return product("BCD,BCV->DV", hidden_BCD, grad_BCV)[None]
    hidden_SND, grad_SNV = (
        x.reshape(parts, -1, x.shape[-1]) for x in (hidden_BCD, grad_BCV)
    )  # N = B / S x C
    return nn.with_logical_constraint(
        product("SND,SNV->SDV", hidden_SND, grad_SNV),
        ("activation_batch", "activation_embed", "activation_vocab"),
    )


def _summed(table_grad_SDV: jax.Array) -> jax.Array:
    """The table's gradient [D, V].

    Said outright, since XLA makes it whole on every device: summed over the devices that cut the
    table's width, each of which keeps its part, and of that part over the others.
    """
    names = ("activation_batch", "embed", "vocab")
    batch, embed, vocab = (rules_lib.active_axes(name) for name in names)
    if table_grad_SDV.shape[0] == 1 or not set(embed) <= set(batch):
        return jnp.sum(table_grad_SDV, axis=0)

    def on_device(table_grad_1DV: jax.Array) -> jax.Array:
        table_grad_DV = table_grad_1DV[0]
        if embed:
            table_grad_DV = jax.lax.psum_scatter(table_grad_DV, embed, tiled=True)
        return jax.lax.psum(table_grad_DV, tuple(axis for axis in batch if axis not in embed))

    cut, kept = PartitionSpec(batch, None, vocab), PartitionSpec(embed, vocab)
    return jax.shard_map(on_device, in_specs=cut, out_specs=kept)(table_grad_SDV)


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


def _joined(x: jax.Array, length: int) -> jax.Array:
    """[N, B, C, ...] as [B, T, ...], what the last chunk was filled up with cut off."""
    chunks, batch, size = x.shape[:3]
    return jnp.swapaxes(x, 0, 1).reshape(batch, chunks * size, *x.shape[3:])[:, :length]
