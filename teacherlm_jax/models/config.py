"""Dimensions and variants of the decoder."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from teacherlm_jax.models.positions import RopeScaling

POSITION_ENCODINGS = ("alibi", "learned", "none", "rotary")
NORMS = ("layernorm", "rmsnorm")
RESIDUALS = ("pre_norm", "post_norm", "parallel")
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


# Above these, sizes are slips; arrays so large are found out by a machine without memory.
_MOST, _MOST_HEADS = 2**31 - 1, 2**16


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
      num_kv_heads: heads of keys and values, each shared by as many query heads (grouped-query
        attention, Ainslie et al. 2023, arXiv 2305.13245); None: as many as `num_heads`.
      token_dim: width of the token embedding where it is another than `emb_dim`, with projections
        in and out that have no bias (OPT-350M); None: `emb_dim`.
      mlp_activation: key of `ACTIVATIONS`.
      gated_mlp: the activation gates a second projection (GLU, Shazeer 2020, arXiv 2002.05202).
      norm: "layernorm" (scale and bias) or "rmsnorm" (scale alone).
      norm_epsilon: added to the variance.
      residual: "pre_norm"; "post_norm" (a norm after each sum: OPT-350M); or "parallel" (attention
        and feed-forward both read the block's input, each through its own norm: GPT-NeoX).
      final_norm: a norm before the logits.
      qk_norm: an RMSNorm over each head's queries and keys, before positions (Qwen3).
      position: "alibi" (Press et al. 2022, arXiv 2108.12409; BLOOM's choice), "learned" (a table
        added to the token embedding: OPT), "rotary" (Su et al. 2021, arXiv 2104.09864) or "none".
      max_positions: most tokens of a row. Needed, and enforced, where positions are learned;
        elsewhere what the weights were trained for, for people and exports to read.
      position_offset: rows of the learned table that come before position 0 (OPT: 2).
      rotary_dim: leading dimensions of a head that are rotated; None: all.
      rope_theta: base of the rotary wavelengths.
      rope_scaling: how wavelengths are stretched for longer rows; None: not at all.
      sliding_window: a token sees itself and so many less one before it; None: all before it.
      embedding_norm: a norm right after the token embedding (BLOOM).
      use_bias: biases in the projections, where the next three say nothing else.
      qkv_bias: biases in the projections to queries, keys and values; None: as `use_bias`.
      attention_out_bias: biases in attention's output projection; None: as `use_bias`.
      mlp_bias: biases in the feed-forward block; None: as `use_bias`.
      logits_via_embedding: tie the output projection to the embedding table.
      embedding_init_scale: standard deviation of the embedding tables at the start.
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
    num_kv_heads: int | None = None
    token_dim: int | None = None
    mlp_activation: str = "gelu"
    gated_mlp: bool = False
    norm: str = "layernorm"
    norm_epsilon: float = 1e-5
    residual: str = "pre_norm"
    final_norm: bool = True
    qk_norm: bool = False
    position: str = "alibi"
    max_positions: int | None = None
    position_offset: int = 0
    rotary_dim: int | None = None
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    sliding_window: int | None = None
    embedding_norm: bool = True
    use_bias: bool = True
    qkv_bias: bool | None = None
    attention_out_bias: bool | None = None
    mlp_bias: bool | None = None
    logits_via_embedding: bool = True
    embedding_init_scale: float = 0.02
    dropout_rate: float = 0.0
    dtype: str = "float32"
    param_dtype: str = "float32"
    scan_layers: bool = True
    remat_policy: str = "none"

    def __post_init__(self) -> None:
        self._check_sizes()
        self._check_numbers()
        _choose("mlp_activation", self.mlp_activation, ACTIVATIONS)
        _choose("norm", self.norm, NORMS)
        _choose("residual", self.residual, RESIDUALS)
        _choose("position", self.position, POSITION_ENCODINGS)
        _choose("dtype", self.dtype, DTYPES)
        _choose("param_dtype", self.param_dtype, DTYPES)
        _choose("remat_policy", self.remat_policy, REMAT_POLICIES)
        if not isinstance(self.rope_scaling, RopeScaling | None):
            raise ValueError(
                f"DecoderConfig.rope_scaling = {self.rope_scaling!r}, but it must be a RopeScaling "
                "or None."
            )
        if self.num_heads % self.kv_heads:
            raise ValueError(
                f"DecoderConfig.num_kv_heads = {self.num_kv_heads}, but it must divide num_heads = "
                f"{self.num_heads}: each is shared by as many query heads."
            )
        if self.position == "learned" and self.max_positions is None:
            raise ValueError(
                "DecoderConfig.max_positions = None, but a table of learned positions has a "
                "length: set it in the size file under gin/models/."
            )
        width = self.rotary_width
        if self.position == "rotary" and (width % 2 or not 2 <= width <= self.head_dim):
            raise ValueError(
                f"DecoderConfig.rotary_dim = {width}, but pairs are rotated: it must be even and "
                f"lie in [2, {self.head_dim}], the width of a head."
            )

    def _check_sizes(self) -> None:
        sizes = ("vocab_size", "num_layers", "emb_dim", "num_heads", "head_dim", "mlp_dim")
        optional = ("num_kv_heads", "token_dim", "max_positions", "rotary_dim", "sliding_window")
        for field in (*sizes, *optional, "position_offset"):
            value = getattr(self, field)
            least = 0 if field == "position_offset" else 1
            if value is None and field in optional:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(
                    f"DecoderConfig.{field} = {value!r}, but it must be a whole number of at "
                    f"least {least}: set it in the size file under gin/models/."
                )
            most = _MOST_HEADS if field == "num_heads" else _MOST
            if value > most:
                raise ValueError(
                    f"DecoderConfig.{field} = {value:.3g}, but it must be at most {most:,}: no "
                    "device holds more."
                )

    def _check_numbers(self) -> None:
        for field in ("norm_epsilon", "rope_theta", "embedding_init_scale", "dropout_rate"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"DecoderConfig.{field} = {value!r}, but it must be a number.")
            if isinstance(value, int) and abs(value) > _MOST:
                raise ValueError(f"DecoderConfig.{field} is above {_MOST:,}: write it as 1e10.")
        for field in ("norm_epsilon", "rope_theta"):
            value = getattr(self, field)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"DecoderConfig.{field} = {value}, but it must be above 0.")
        if self.embedding_init_scale < 0:
            raise ValueError(
                f"DecoderConfig.embedding_init_scale = {self.embedding_init_scale}, but it must "
                "be 0 or more."
            )
        if not 0.0 <= self.dropout_rate < 1.0:
            raise ValueError(
                f"DecoderConfig.dropout_rate = {self.dropout_rate}, but it must lie in [0, 1)."
            )

    def check_row_length(self, length: int, name: str, unread: int = 0) -> None:
        """Checks that the model has a position for every token of a row.

        Args:
          length: tokens of a row.
          name: of what sets it, for the error.
          unread: how many of them the model does not read.

        Raises:
          ValueError: positions are learned, and there are fewer; JAX would take the last one for
            all that come after it.
        """
        most = (self.max_positions or 0) + unread
        if self.position == "learned" and length > most:
            raise ValueError(
                f"{name} = {length}, but the model has {self.max_positions} learned positions "
                f"(DecoderConfig.max_positions): set it to at most {most}."
            )

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def token_width(self) -> int:
        """Width of the token embedding."""
        return self.emb_dim if self.token_dim is None else self.token_dim

    @property
    def rotary_width(self) -> int:
        """Dimensions of a head that are rotated."""
        return self.head_dim if self.rotary_dim is None else self.rotary_dim

    @property
    def compute_dtype(self) -> Any:
        """The jax dtype of activations."""
        return DTYPES[self.dtype]

    @property
    def parameter_dtype(self) -> Any:
        """The jax dtype of parameters."""
        return DTYPES[self.param_dtype]


def explicit(config: DecoderConfig) -> DecoderConfig:
    """The configuration with what None stands for, and without what then changes nothing.

    Two configurations that come out alike are of the same function of the same parameters.
    """
    bias, is_rotary = config.use_bias, config.position == "rotary"

    def either(own: bool | None) -> bool:
        return bias if own is None else own

    return dataclasses.replace(
        config,
        num_kv_heads=config.kv_heads,
        rotary_dim=config.rotary_width if is_rotary else None,
        rope_theta=config.rope_theta if is_rotary else 10_000.0,
        rope_scaling=config.rope_scaling if is_rotary else None,
        use_bias=False,
        qkv_bias=either(config.qkv_bias),
        attention_out_bias=either(config.attention_out_bias),
        mlp_bias=either(config.mlp_bias),
        max_positions=config.max_positions if config.position == "learned" else None,
    )


def from_dict(values: Mapping[str, Any]) -> DecoderConfig:
    """A configuration from `dataclasses.asdict` of one, as checkpoints keep it.

    Fields that are missing, being younger than the checkpoint, have their defaults.

    Raises:
      ValueError: a field is unknown, or a value is not allowed.
    """
    unknown = sorted(values.keys() - {field.name for field in dataclasses.fields(DecoderConfig)})
    if unknown:
        raise ValueError(
            f"a model's configuration has the fields {unknown}, which DecoderConfig has not: it "
            "was written by a newer version; use that."
        )
    scaling = values.get("rope_scaling")
    return DecoderConfig(
        **{**values, "rope_scaling": None if scaling is None else RopeScaling(**scaling)}
    )
