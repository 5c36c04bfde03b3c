"""The pure step: state and batch in, state and metrics out.

Shape legend: B batch, T positions.
"""

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
        enable_dropout=dropout_rng is not None,
        rngs=None if dropout_rng is None else {"dropout": dropout_rng},
    )


def make_train_step(
    model: Decoder, optimizer: optax.GradientTransformation, z_loss: float = 0.0
) -> StepFn:
    """The update as a pure function, to be jitted (or vmapped) by the caller.

    The gradient is that of the summed loss, divided once by the number of weighted target
    tokens. Dropout noise comes from the rng and the step alone.

    Returns:
      A function (state, batch, rng) -> (state, metrics); metrics are `loss` and `accuracy`
      (WeightedSum), `tokens` (of the batch, without padding), `gradient_norm` and
      `parameter_norm` (float32).
    """
    # The loss makes the logits itself, a chunk at a time.
    hidden_model = model.clone(return_hidden=True)
    use_dropout = model.config.dropout_rate > 0

    def train_step(state: TrainState, batch: Batch, rng: jax.Array) -> tuple[TrainState, Metrics]:
        def loss_fn(params: Any) -> tuple[jax.Array, dict[str, WeightedSum]]:
            dropout_rng = jax.random.fold_in(rng, state.step) if use_dropout else None
            sums = chunked_cross_entropy(
                forward(hidden_model, params, batch, dropout_rng),
                model.output_table(params),
                batch["decoder_target_tokens"],
                batch["decoder_loss_weights"],
                z_loss,
            )
            return sums["loss"].total, sums

        (_, sums), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        weight = jnp.maximum(sums["loss"].weight, 1e-9)
        gradients = jax.tree.map(lambda gradient: gradient / weight, gradients)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {
            **sums,
            "tokens": jnp.sum(batch["decoder_segment_ids"] != 0).astype(jnp.float32),
            "gradient_norm": optax.tree.norm(gradients),
            "parameter_norm": optax.tree.norm(params),
        }
        return TrainState(state.step + 1, params, opt_state), metrics

    return train_step
