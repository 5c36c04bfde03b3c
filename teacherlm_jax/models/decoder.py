"""The decoder: embedding, blocks (scanned or unrolled), norm, logits.

Shape legend: B batch, T positions, D residual width, V vocabulary.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from teacherlm_jax.models import attention, layers
from teacherlm_jax.models import config as config_lib
from teacherlm_jax.models.positions import rotary_angles, rotary_frequencies

# Between attention and feed-forward, and as these read it: a mesh may cut the first by positions.
RESIDUAL = ("activation_batch", "activation_residual_length", "activation_embed")
READ = ("activation_batch", "activation_length", "activation_embed")


def _residual_axes(decode: bool, prefill: bool) -> tuple[str, ...]:
    """Decoding adds a position at a time, and prompts have any length: nothing cuts these."""
    return READ if decode or prefill else RESIDUAL


class DecoderBlock(nn.Module):
    """Attention and feed-forward with residual connections."""

    config: config_lib.DecoderConfig
    deterministic: bool
    decode: bool
    prefill: bool

    @nn.compact
    def __call__(self, x_BTD: jax.Array, segments: attention.Segments) -> tuple[jax.Array, None]:
        """Returns the residual stream and None: the (carry, output) that `nn.scan` wants."""
        cfg = self.config
        x_BTD = self._residual(x_BTD)
        if cfg.residual == "post_norm":
            x_BTD = x_BTD + self._attend(x_BTD, segments)
            x_BTD = layers.Norm(cfg, name="post_self_attention_norm")(x_BTD)
            x_BTD = x_BTD + self._feed_forward(x_BTD, segments)
            x_BTD = layers.Norm(cfg, name="post_mlp_norm")(x_BTD)
            return self._residual(x_BTD), None
        y_BTD = layers.Norm(cfg, name="pre_self_attention_norm")(x_BTD)
        attended_BTD = x_BTD + self._attend(y_BTD, segments)
        read_BTD = x_BTD if cfg.residual == "parallel" else attended_BTD
        y_BTD = layers.Norm(cfg, name="pre_mlp_norm")(read_BTD)
        x_BTD = attended_BTD + self._feed_forward(y_BTD, segments)
        return self._residual(x_BTD), None

    def _residual(self, x_BTD: jax.Array) -> jax.Array:
        return nn.with_logical_constraint(x_BTD, _residual_axes(self.decode, self.prefill))

    def _attend(self, x_BTD: jax.Array, segments: attention.Segments) -> jax.Array:
        attend = attention.SelfAttention(self.config, name="self_attention")
        x_BTD = nn.with_logical_constraint(x_BTD, READ)
        x_BTD = attend(x_BTD, segments, decode=self.decode, prefill=self.prefill)
        return self._dropout(self._residual(x_BTD), segments)

    def _feed_forward(self, x_BTD: jax.Array, segments: attention.Segments) -> jax.Array:
        x_BTD = layers.Mlp(self.config, name="mlp")(nn.with_logical_constraint(x_BTD, READ))
        return self._dropout(self._residual(x_BTD), segments)

    def _dropout(self, x_BTD: jax.Array, segments: attention.Segments) -> jax.Array:
        return layers.Dropout(self.config, self.deterministic)(x_BTD, segments.row_ids_B)


class Decoder(nn.Module):
    """A decoder-only language model with the call signature of T5X's decoder-only network.

    Attributes:
      config: its dimensions and variants.
      return_hidden: stop before the projection to logits; see `output_table`.
    """

    config: config_lib.DecoderConfig
    return_hidden: bool = False

    @property
    def scan_layers(self) -> bool:
        """Whether parameters and cache carry a leading layer axis (T5X's attribute)."""
        return self.config.scan_layers

    @nn.compact
    def __call__(
        self,
        decoder_input_tokens: jax.Array,
        decoder_target_tokens: jax.Array | None = None,
        decoder_segment_ids: jax.Array | None = None,
        decoder_positions: jax.Array | None = None,
        decoder_causal_attention: jax.Array | None = None,
        *,
        decoder_row_ids: jax.Array | None = None,
        decoder_seen_until: jax.Array | None = None,
        enable_dropout: bool = True,
        decode: bool = False,
        max_decode_length: int | None = None,
        prefill: bool = False,
        prefill_lengths: jax.Array | None = None,
    ) -> jax.Array:
        """Returns next-token logits.

        Padding is known by `decoder_segment_ids` alone. Without them every token is real;
        right-padding then still cannot reach real tokens, since attention is causal.

        Args:
          decoder_input_tokens: int32 [B, T], the text shifted right.
          decoder_target_tokens: int32 [B, T]; taken for T5X's signature, never read.
          decoder_segment_ids: int32 [B, T], 0 padding, packed texts 1, 2, ...
          decoder_positions: int32 [B, T] within each segment; 0..T-1 by default.
          decoder_causal_attention: [B, T], nonzero where the text is seen both ways.
          decoder_row_ids: int32 [B], what tells the rows' dropout noise apart; by default 0..B-1.
          decoder_seen_until: int32 [B, T], the last segment that sees it: `attention.Segments`.
          enable_dropout: needs a "dropout" rng where the rate is above 0.
          decode: append the T tokens of each row (usually one) at the row's own cache index.
            The first call with a mutable `cache` and none given makes the cache, of length T.
          max_decode_length: taken for T5X's signature; the cache fixes the length.
          prefill: fill the cache with right-padded prompts; the index becomes the lengths.
          prefill_lengths: int32 [B], the prompts' lengths; T by default.

        Returns:
          float32 logits [B, T, V]; with `return_hidden` what they are a projection of.

        Raises:
          ValueError: decode and prefill are both asked for, or there are more tokens than learned
            positions.
        """
        del decoder_target_tokens, max_decode_length
        batch, length = decoder_input_tokens.shape
        self._check(length, decoder_positions, decode, prefill)
        start_B = self._advance(batch, length, decode, prefill, prefill_lengths)
        positions_BT = _positions(batch, length, start_B, decoder_positions)
        segments = attention.Segments(
            positions_BT,
            decoder_segment_ids,
            decoder_causal_attention,
            start_B,
            self._rotary(positions_BT),
            decoder_row_ids,
            decoder_seen_until,
        )
        flags = {"deterministic": not enable_dropout, "decode": decode, "prefill": bool(prefill)}
        return self._logits(decoder_input_tokens, segments, flags)

    def output_table(self, params: Any) -> jax.Array:
        """The projection to logits [V, D] among the parameters: logits = hidden . table."""
        if self.config.logits_via_embedding:
            return params["token_embedder"]["embedding"]
        return params["logits_dense"]["kernel"].T

    def _check(
        self, length: int, positions_BT: jax.Array | None, decode: bool, prefill: bool
    ) -> None:
        if decode and prefill:
            raise ValueError("Decoder: decode and prefill are both True; prefill, then decode.")
        # Packed rows are longer than their segments, and say where those begin.
        if positions_BT is None or decode or prefill:
            self.config.check_row_length(length, "tokens of a row")

    def _rotary(self, positions_BT: jax.Array) -> tuple[jax.Array, jax.Array] | None:
        cfg = self.config
        if cfg.position != "rotary":
            return None
        frequencies = rotary_frequencies(cfg.rotary_width, cfg.rope_theta, cfg.rope_scaling)
        return rotary_angles(frequencies, positions_BT)

    def _advance(
        self,
        batch: int,
        length: int,
        decode: bool,
        prefill: bool,
        prefill_lengths: jax.Array | None,
    ) -> jax.Array | None:
        """Moves the cache's index on; returns where it stood, None where there is no cache yet."""
        if not (decode or prefill):
            return None
        is_initialized = self.has_variable("cache", "cache_index")
        shape = (1, batch) if self.scan_layers else (batch,)
        index = self.variable("cache", "cache_index", jnp.zeros, shape, jnp.int32)
        if not is_initialized:
            return None
        start_B = index.value.reshape(batch)
        end_B = start_B + length
        if prefill:
            start_B = jnp.zeros((batch,), jnp.int32)
            end_B = start_B + (length if prefill_lengths is None else prefill_lengths)
        index.value = end_B.astype(jnp.int32).reshape(shape)
        return start_B

    def _logits(
        self, tokens_BT: jax.Array, segments: attention.Segments, flags: dict[str, bool]
    ) -> jax.Array:
        cfg = self.config
        embed = layers.Embed(cfg, name="token_embedder")
        residual = _residual_axes(flags["decode"], flags["prefill"])
        x_BTD = nn.with_logical_constraint(embed(tokens_BT.astype(jnp.int32)), residual)
        if cfg.token_dim is not None:
            x_BTD = self._projection(cfg.emb_dim, "project_in")(x_BTD)
        if cfg.position == "learned":
            places = layers.PositionEmbed(cfg, name="position_embedder")
            placed_BTD = nn.with_logical_constraint(places(segments.positions_BT), residual)
            x_BTD = x_BTD + placed_BTD
        if cfg.embedding_norm:
            x_BTD = layers.Norm(cfg, name="embedding_norm")(x_BTD)
        x_BTD = layers.Dropout(cfg, flags["deterministic"])(x_BTD, segments.row_ids_B)
        x_BTD = self._blocks(x_BTD, segments, flags)
        if cfg.final_norm:
            x_BTD = layers.Norm(cfg, name="decoder_norm")(x_BTD)
        if cfg.token_dim is not None:
            x_BTD = self._projection(cfg.token_dim, "project_out")(x_BTD)
        x_BTD = nn.with_logical_constraint(x_BTD, READ)
        if self.return_hidden:
            return x_BTD
        if cfg.logits_via_embedding:
            logits_BTV = embed.attend(x_BTD)
        else:
            logits_BTV = self._projection(cfg.vocab_size, "logits_dense")(x_BTD)
        return nn.with_logical_constraint(
            logits_BTV, ("activation_batch", "activation_length", "activation_vocab")
        )

    def _projection(self, width: int, name: str) -> layers.Dense:
        """A projection without bias around the blocks."""
        axes = {
            "project_in": ("token_embed", "embed"),
            "project_out": ("embed", "token_embed"),
            "logits_dense": ("embed", "vocab"),
        }[name]
        output_dtype = jnp.float32 if name == "logits_dense" else None
        return layers.Dense(
            (width,), axes, self.config, use_bias=False, output_dtype=output_dtype, name=name
        )

    def _blocks(
        self, x_BTD: jax.Array, segments: attention.Segments, flags: dict[str, bool]
    ) -> jax.Array:
        cfg = self.config
        block: Any = DecoderBlock
        if cfg.remat_policy != "none":
            policy = config_lib.REMAT_POLICIES[cfg.remat_policy]
            block = nn.remat(block, policy=policy, prevent_cse=not cfg.scan_layers)
        if not cfg.scan_layers:
            for layer in range(cfg.num_layers):
                x_BTD, _ = block(cfg, name=f"layers_{layer}", **flags)(x_BTD, segments)
            return x_BTD
        scanned = nn.scan(
            block,
            variable_axes={"params": 0, "cache": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=nn.broadcast,
            length=cfg.num_layers,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )
        x_BTD, _ = scanned(cfg, name="layers", **flags)(x_BTD, segments)
        return x_BTD


def _positions(
    batch: int, length: int, start_B: jax.Array | None, given_BT: jax.Array | None
) -> jax.Array:
    """Positions within each segment: on from where the cache stands, or as given, or from 0."""
    places_1T = jnp.arange(length)[None, :]
    if start_B is not None:
        return start_B[:, None] + places_1T
    return jnp.broadcast_to(places_1T, (batch, length)) if given_BT is None else given_BT
