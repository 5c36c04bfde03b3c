"""Dense, norm, embedding and feed-forward layers with logical axis names.

Shape legend: B batch, T positions, D residual width, F feed-forward width, V vocabulary.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from teacherlm_jax.models import config as config_lib

Initializer = Callable[..., jax.Array]

# What is looked up in a table: rows are gathered over the axis that cuts the table's width, for as
# many columns. Left to itself, XLA makes the embedding of the whole batch on some meshes.
LOOKED_UP = ("activation_outer_batch", "activation_length", "activation_lookup_embed")


def _fan_in_init(reduce_ndim: int) -> Initializer:
    """Truncated normal by the fan-in of the flattened input axes."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        fan_in = 1
        for size in shape[:reduce_ndim]:
            fan_in *= size
        stddev = fan_in**-0.5
        return stddev * jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)

    return init


class Dense(nn.Module):
    """A projection from the last axes of the input to `features`.

    Attributes:
      features: output dimensions.
      kernel_axes: logical name of every kernel dimension, input dimensions first.
      config: the decoder's configuration (types and biases).
      use_bias: whether a bias of shape `features` is added; the configuration's by default.
      output_dtype: type in which products are summed and given back; the computation type by
        default.
    """

    features: tuple[int, ...]
    kernel_axes: tuple[str, ...]
    config: config_lib.DecoderConfig
    use_bias: bool | None = None
    output_dtype: Any = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Contracts the last `len(kernel_axes) - len(features)` axes of the input."""
        reduce_ndim = len(self.kernel_axes) - len(self.features)
        dtype = self.config.compute_dtype
        kernel = self.param(
            "kernel",
            nn.with_logical_partitioning(_fan_in_init(reduce_ndim), self.kernel_axes),
            (*inputs.shape[inputs.ndim - reduce_ndim :], *self.features),
            self.config.parameter_dtype,
        )
        contract = tuple(range(inputs.ndim - reduce_ndim, inputs.ndim))
        outputs = jax.lax.dot_general(
            inputs.astype(dtype),
            kernel.astype(dtype),
            ((contract, tuple(range(reduce_ndim))), ((), ())),
            preferred_element_type=self.output_dtype,
        )
        use_bias = self.config.use_bias if self.use_bias is None else self.use_bias
        if use_bias:
            bias = self.param(
                "bias",
                nn.with_logical_partitioning(
                    nn.initializers.zeros_init(), self.kernel_axes[reduce_ndim:]
                ),
                self.features,
                self.config.parameter_dtype,
            )
            outputs = outputs + bias.astype(outputs.dtype)
        return outputs


class Norm(nn.Module):
    """LayerNorm or RMSNorm over the last axis, computed in float32.

    Attributes:
      config: the decoder's configuration.
      kind: "layernorm" or "rmsnorm"; the configuration's by default.
    """

    config: config_lib.DecoderConfig
    kind: str | None = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Returns the normalised input in the computation type."""
        cfg = self.config
        width = inputs.shape[-1]
        scale = self._vector("scale", nn.initializers.ones_init(), width)
        bias = None
        if (self.kind or cfg.norm) == "layernorm":
            bias = self._vector("bias", nn.initializers.zeros_init(), width)

        # The backward pass keeps the input alone, which the residual stream keeps anyway.
        @functools.partial(jax.checkpoint, prevent_cse=False)
        def normalise(x: jax.Array) -> jax.Array:
            x = x.astype(jnp.float32)
            if bias is not None:
                x = x - jnp.mean(x, axis=-1, keepdims=True)
            variance = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
            x = x * jax.lax.rsqrt(variance + cfg.norm_epsilon) * scale
            x = x if bias is None else x + bias
            return x.astype(cfg.compute_dtype)

        return normalise(inputs)

    def _vector(self, name: str, init: Initializer, width: int) -> jax.Array:
        return self.param(
            name,
            nn.with_logical_partitioning(init, ("norm",)),
            (width,),
            self.config.parameter_dtype,
        ).astype(jnp.float32)


class Embed(nn.Module):
    """Token embedding, and logits from it where the two are tied."""

    config: config_lib.DecoderConfig

    def setup(self) -> None:
        """Creates the table."""
        cfg = self.config
        self.embedding = self.param(
            "embedding",
            nn.with_logical_partitioning(
                nn.initializers.normal(stddev=cfg.embedding_init_scale), ("vocab", "embed")
            ),
            (cfg.vocab_size, cfg.token_width),
            cfg.parameter_dtype,
        )

    def __call__(self, tokens_BT: jax.Array) -> jax.Array:
        """Embeds token ids; returns embedded_BTD in the computation type."""
        embedded_BTD = jnp.take(self.embedding, tokens_BT, axis=0).astype(self.config.compute_dtype)
        return nn.with_logical_constraint(embedded_BTD, LOOKED_UP)

    def attend(self, x_BTD: jax.Array) -> jax.Array:
        """Returns float32 logits_BTV against the table."""
        table_VD = self.embedding.astype(self.config.compute_dtype)
        return jnp.einsum("BTD,VD->BTV", x_BTD, table_VD, preferred_element_type=jnp.float32)


class PositionEmbed(nn.Module):
    """A learned vector a position (OPT), after `position_offset` rows that belong to none."""

    config: config_lib.DecoderConfig

    @nn.compact
    def __call__(self, positions_BT: jax.Array) -> jax.Array:
        """Returns embedded_BTD in the computation type."""
        cfg = self.config
        assert cfg.max_positions is not None
        table_PD = self.param(
            "embedding",
            nn.with_logical_partitioning(
                nn.initializers.normal(stddev=cfg.embedding_init_scale), ("positions", "embed")
            ),
            (cfg.max_positions + cfg.position_offset, cfg.emb_dim),
            cfg.parameter_dtype,
        )
        rows_BT = positions_BT + cfg.position_offset
        embedded_BTD = jnp.take(table_PD, rows_BT, axis=0, mode="clip").astype(cfg.compute_dtype)
        return nn.with_logical_constraint(embedded_BTD, LOOKED_UP)


class Mlp(nn.Module):
    """Feed-forward block: up, activation (a gate or not), down."""

    config: config_lib.DecoderConfig

    @nn.compact
    def __call__(self, inputs_BTD: jax.Array) -> jax.Array:
        """Returns outputs_BTD."""
        cfg = self.config

        def up(name: str) -> jax.Array:
            dense = Dense((cfg.mlp_dim,), ("embed", "mlp"), cfg, use_bias=cfg.mlp_bias, name=name)
            return checkpoint_name(dense(inputs_BTD), "mlp")

        # Left to itself, the backward pass of a GELU keeps six arrays of this shape.
        activation = jax.checkpoint(config_lib.ACTIVATIONS[cfg.mlp_activation], prevent_cse=False)
        hidden_BTF = activation(up("wi_0")) * up("wi_1") if cfg.gated_mlp else activation(up("wi"))
        hidden_BTF = nn.with_logical_constraint(
            hidden_BTF, ("activation_batch", "activation_length", "activation_mlp")
        )
        return Dense((cfg.emb_dim,), ("mlp", "embed"), cfg, use_bias=cfg.mlp_bias, name="wo")(
            hidden_BTF
        )


class Dropout(nn.Module):
    """Zeroes activations at random (Srivastava et al. 2014), each row by noise of its own.

    `nn.Dropout` draws for a whole array: a row's noise would change with the rows beside it, and so
    with the number of microbatches.
    """

    config: config_lib.DecoderConfig
    deterministic: bool

    @nn.compact
    def __call__(self, x_BTD: jax.Array, row_ids_B: jax.Array | None = None) -> jax.Array:
        """Returns x_BTD, what is left of it scaled up; row_ids_B: the rows' places by default."""
        rate = self.config.dropout_rate
        if self.deterministic or rate == 0:
            return x_BTD
        key = self.make_rng("dropout")
        row_ids_B = jnp.arange(x_BTD.shape[0]) if row_ids_B is None else row_ids_B

        def keep(row_id: jax.Array) -> jax.Array:
            own = jax.random.fold_in(key, row_id)
            return jax.random.bernoulli(own, 1.0 - rate, x_BTD.shape[1:])

        scaled_BTD = x_BTD / jnp.asarray(1.0 - rate, x_BTD.dtype)
        return jnp.where(jax.vmap(keep)(row_ids_B), scaled_BTD, jnp.zeros_like(x_BTD))
