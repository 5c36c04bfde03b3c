"""The pure step: state and batch in, state and metrics out.

Shape legend: B batch, T positions, M microbatches, P components of a mixture.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from teacherlm_jax.metrics.sums import WeightedSum
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.training.loss import chunked_cross_entropy
from teacherlm_jax.training.state import TrainState

Batch = Mapping[str, jax.Array]
Metrics = dict[str, Any]
StepFn = Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]

COMPONENT_IDS = "decoder_component_ids"

# Of the rows of a microbatch their places in the whole batch, from which dropout's noise comes.
_ROW_IDS = "decoder_row_ids"


def forward(
    model: nn.Module, params: Any, batch: Batch, dropout_rng: jax.Array | None = None
) -> jax.Array:
    """Logits [B, T, V] of a batch of seqio's decoder features."""
    return model.apply(
        {"params": params},
        batch["decoder_input_tokens"],
        batch["decoder_target_tokens"],
        decoder_segment_ids=batch.get("decoder_segment_ids"),
        decoder_positions=batch.get("decoder_positions"),
        decoder_causal_attention=batch.get("decoder_causal_attention"),
        decoder_row_ids=batch.get(_ROW_IDS),
        enable_dropout=dropout_rng is not None,
        rngs=None if dropout_rng is None else {"dropout": dropout_rng},
    )


def loss_sums(
    model: Decoder,
    params: Any,
    batch: Batch,
    dropout_rng: jax.Array | None = None,
    *,
    z_loss: float = 0.0,
    num_components: int = 0,
) -> dict[str, WeightedSum]:
    """Sums of a batch's loss and accuracy, without whole logits; see `chunked_cross_entropy`.

    Args:
      model: the decoder.
      params: its parameters.
      batch: seqio's decoder features; `decoder_component_ids` [B, T] where components are counted.
      dropout_rng: None: no dropout.
      z_loss: see `loss.cross_entropy`.
      num_components: of the mixture, P; 0: losses of components are not wanted.
    """
    # The loss makes the logits itself, a chunk at a time.
    hidden_BTD = forward(model.clone(return_hidden=True), params, batch, dropout_rng)
    return chunked_cross_entropy(
        hidden_BTD,
        model.output_table(params),
        batch["decoder_target_tokens"],
        batch["decoder_loss_weights"],
        z_loss,
        components=(batch[COMPONENT_IDS], num_components) if num_components else None,
    )


def make_train_step(
    model: Decoder,
    optimizer: optax.GradientTransformation,
    z_loss: float = 0.0,
    *,
    microbatches: int = 1,
    num_components: int = 0,
) -> StepFn:
    """The update as a pure function, to be jitted (or vmapped) by the caller.

    The gradient is that of the summed loss, divided once by the number of weighted target
    tokens; microbatches add up sums, so that their number changes rounding alone. Dropout noise
    comes from the rng, the step and the row.

    Where the loss or the gradient's norm is not finite, the update is left out: parameters and
    optimizer stay as they are (so its schedule waits), and the step counts.

    Args:
      model: the decoder.
      optimizer: the optax transformation.
      z_loss: see `loss.cross_entropy`.
      microbatches: parts of a batch whose gradients are added up one after another; rows of the
        batch must divide by it.
      num_components: see `loss_sums`.

    Returns:
      A function (state, batch, rng) -> (state, metrics); metrics are `loss` and `accuracy`
      (WeightedSum), `component_loss` (the same [P], where there are components), `tokens` (of the
      batch, without padding), `gradient_norm`, `parameter_norm` and `skipped` (1 where the update
      was left out), all float32.
    """
    use_dropout = model.config.dropout_rate > 0
    gradient_of = functools.partial(_gradient, model, z_loss=z_loss, num_components=num_components)

    def train_step(state: TrainState, batch: Batch, rng: jax.Array) -> tuple[TrainState, Metrics]:
        dropout_rng = jax.random.fold_in(rng, state.step) if use_dropout else None
        sums, gradients = _accumulated(gradient_of, state.params, batch, dropout_rng, microbatches)
        weight = jnp.maximum(sums["loss"].weight, 1e-9)
        gradients = jax.tree.map(lambda gradient: gradient / weight, gradients)
        gradient_norm = optax.tree.norm(gradients)
        is_finite = jnp.isfinite(sums["loss"].total) & jnp.isfinite(gradient_norm)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        updated = (optax.apply_updates(state.params, updates), opt_state)
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(is_finite, new, old),
            updated,
            (state.params, state.opt_state),
        )
        others = {
            "tokens": jnp.sum(batch["decoder_segment_ids"] != 0),
            "gradient_norm": gradient_norm,
            "parameter_norm": optax.tree.norm(params),
            "skipped": ~is_finite,
        }
        metrics = {**sums, **{name: x.astype(jnp.float32) for name, x in others.items()}}
        return TrainState(state.step + 1, params, opt_state), metrics

    return train_step


def _gradient(
    model: Decoder, params: Any, batch: Batch, dropout_rng: jax.Array | None, **settings: Any
) -> tuple[dict[str, WeightedSum], Any]:
    """(sums, gradient of the summed loss) of a batch; settings are those of `loss_sums`."""

    def loss_fn(params: Any) -> tuple[jax.Array, dict[str, WeightedSum]]:
        sums = loss_sums(model, params, batch, dropout_rng, **settings)
        return sums["loss"].total, sums

    (_, sums), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
    return sums, gradients


def _accumulated(
    gradient_of: Callable[..., tuple[Any, Any]],
    params: Any,
    batch: Batch,
    dropout_rng: jax.Array | None,
    count: int,
) -> tuple[Any, Any]:
    """Sums and gradients of `count` microbatches, added up.

    Row i is in microbatch i % M, so that each device cuts what it holds and no row moves.
    """
    if count == 1:
        return gradient_of(params, batch, dropout_rng)

    def cut(x: jax.Array) -> jax.Array:
        x_MBT = jnp.swapaxes(x.reshape(-1, count, *x.shape[1:]), 0, 1)
        return nn.with_logical_constraint(x_MBT, (None, "activation_batch", *[None] * (x.ndim - 1)))

    def add(carry: Any, part: Batch) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, carry, gradient_of(params, part, dropout_rng)), None

    rows = jax.tree.leaves(batch)[0].shape[0]
    parts = jax.tree.map(cut, {**batch, _ROW_IDS: jnp.arange(rows)})
    first = jax.tree.map(lambda x: x[0], parts)
    shapes = jax.eval_shape(gradient_of, params, first, dropout_rng)
    # In float32 where parameters are bfloat16: a small gradient must not vanish beside the sum.
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32)), shapes
    )
    return jax.lax.scan(add, zeros, parts)[0]
