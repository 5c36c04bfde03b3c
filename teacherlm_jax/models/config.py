"""Dimensions and variants of the decoder."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

POSITION_ENCODINGS = ("alibi", "none")
NORMS = ("layernorm", "rmsnorm")
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def _gelu_exact(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)


def _gelu_tanh(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": _gelu_tanh,
    "gelu_exact": _gelu_exact,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}

# Named remat policies: what the backward pass finds saved. "none" saves everything.
REMAT_POLICIES: dict[str, Any] = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "qkv_attention": jax.checkpoint_policies.save_only_these_names("qkv", "attention"),
    "qkv_attention_mlp": jax.checkpoint_policies.save_only_these_names("qkv", "attention", "mlp"),
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def _choose(field: str, value: str, allowed: object) -> None:
    names = sorted(allowed)  # type: ignore[call-overload]
    if value not in names:
        raise ValueError(f"DecoderConfig.{field} = {value!r}, but it must be one of {names}.")


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """What a decoder is; field names are T5X's where T5X has one.

    Attributes:
      vocab_size: rows of the embedding table, padded rows included.
      num_layers: decoder blocks.
      emb_dim: width of the residual stream.
      num_heads: attention heads.
      head_dim: width of one head.
      mlp_dim: hidden width of the feed-forward block.
      mlp_activation: key of `ACTIVATIONS`.
      norm: "layernorm" (scale and bias) or "rmsnorm" (scale alone).
      norm_epsilon: added to the variance.
      position: "alibi" (Press et al. 2022, arXiv 2108.12409; BLOOM's choice) or "none".
      embedding_norm: a norm right after the token embedding (BLOOM).
      use_bias: biases in the projections.
      logits_via_embedding: tie the output projection to the embedding table.
      embedding_init_scale: standard deviation of the embedding table at the start.
      dropout_rate: probability with which activations are zeroed while training.
      dtype: computation type, "float32" or "bfloat16".
      param_dtype: type in which parameters are kept.
      scan_layers: stack the blocks' parameters on a leading axis and scan over them.
      remat_policy: key of `REMAT_POLICIES`.
    """

    vocab_size: int
    num_layers: int
    emb_dim: int
    num_heads: int
    head_dim: int
    mlp_dim: int
    mlp_activation: str = "gelu"
    norm: str = "layernorm"
    norm_epsilon: float = 1e-5
    position: str = "alibi"
    embedding_norm: bool = True
    use_bias: bool = True
    logits_via_embedding: bool = True
    embedding_init_scale: float = 0.02
    dropout_rate: float = 0.0
    dtype: str = "float32"
    param_dtype: str = "float32"
    scan_layers: bool = True
    remat_policy: str = "none"

    def __post_init__(self) -> None:
        for field in ("vocab_size", "num_layers", "emb_dim", "num_heads", "head_dim", "mlp_dim"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"DecoderConfig.{field} = {value!r}, but it must be a whole number of at "
                    "least 1: set it in the size file under gin/models/."
                )
        for field in ("norm_epsilon", "embedding_init_scale", "dropout_rate"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"DecoderConfig.{field} = {value!r}, but it must be a number.")
        if not (math.isfinite(self.norm_epsilon) and self.norm_epsilon > 0):
            raise ValueError(
                f"DecoderConfig.norm_epsilon = {self.norm_epsilon}, but it must be above 0."
            )
        if self.embedding_init_scale < 0:
            raise ValueError(
                f"DecoderConfig.embedding_init_scale = {self.embedding_init_scale}, but it must "
                "be 0 or more."
            )
        if not 0.0 <= self.dropout_rate < 1.0:
            raise ValueError(
                f"DecoderConfig.dropout_rate = {self.dropout_rate}, but it must lie in [0, 1)."
            )
        _choose("mlp_activation", self.mlp_activation, ACTIVATIONS)
        _choose("norm", self.norm, NORMS)
        _choose("position", self.position, POSITION_ENCODINGS)
        _choose("dtype", self.dtype, DTYPES)
        _choose("param_dtype", self.param_dtype, DTYPES)
        _choose("remat_policy", self.remat_policy, REMAT_POLICIES)

    @property
    def compute_dtype(self) -> Any:
        """The jax dtype of activations."""
        return DTYPES[self.dtype]

    @property
    def parameter_dtype(self) -> Any:
        """The jax dtype of parameters."""
        return DTYPES[self.param_dtype]
