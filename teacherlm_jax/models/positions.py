"""Position encodings.

Shape legend: B batch, T query positions, S key positions, H heads, K head width, R half of what is
rotated of it.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np


def alibi_slopes(num_heads: int) -> np.ndarray:
    """Slopes of ALiBi, one a head (Press et al. 2022, arXiv 2108.12409).

    Where the number of heads is no power of two, the slopes of the next lower power come
    first and every second slope of the next higher power fills up, as BLOOM has it.

    Args:
      num_heads: attention heads, at least 1.

    Returns:
      float32 [num_heads], positive.
    """
    lower = 2 ** math.floor(math.log2(num_heads))
    slopes = [2.0 ** (-8.0 * (i + 1) / lower) for i in range(lower)]
    extra = [2.0 ** (-4.0 * (2 * i + 1) / lower) for i in range(num_heads - lower)]
    return np.asarray(slopes + extra, np.float32)


def alibi_bias(
    slopes_H: jax.Array, query_positions_BT: jax.Array, key_positions_BS: jax.Array
) -> jax.Array:
    """Distance penalty added to attention logits.

    It depends on differences of positions alone, so neither padding on the left nor the place
    of a segment within a packed row changes it. Where a prefix is seen both ways, what comes
    after a query is as far as what comes before.

    Args:
      slopes_H: one slope a head.
      query_positions_BT: position of each query within its segment.
      key_positions_BS: position of each key within its segment.

    Returns:
      float32 bias_BHTS.
    """
    distance_BTS = jnp.abs(query_positions_BT[:, :, None] - key_positions_BS[:, None, :])
    return -slopes_H[None, :, None, None] * distance_BTS[:, None].astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """How rotary wavelengths are stretched, so that a model reads longer rows.

    Attributes:
      kind: "linear" (all by the factor: Chen et al. 2023, arXiv 2306.15595) or "llama3" (long
        wavelengths by the factor, short ones not, smoothly between: Grattafiori et al. 2024, arXiv
        2407.21783, as its published code has it).
      factor: by how much.
      low_freq_factor: llama3: wavelengths above original_max_positions over this are stretched.
      high_freq_factor: llama3: those below original_max_positions over this are kept.
      original_max_positions: llama3: row length before the stretching.
    """

    kind: str
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 8192

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "llama3"):
            raise ValueError(f"RopeScaling.kind = {self.kind!r}, but it must be linear or llama3.")
        for field in ("factor", "low_freq_factor", "high_freq_factor"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"RopeScaling.{field} = {value!r}, but it must be a number.")
        if not (math.isfinite(self.factor) and self.factor >= 1):
            raise ValueError(f"RopeScaling.factor = {self.factor}, but it must be at least 1.")
        if not 0 < self.low_freq_factor < self.high_freq_factor:
            raise ValueError(
                f"RopeScaling.low_freq_factor = {self.low_freq_factor} and high_freq_factor = "
                f"{self.high_freq_factor}, but the low one must be above 0 and below the high one."
            )
        length = self.original_max_positions
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise ValueError(
                f"RopeScaling.original_max_positions = {length!r}, but it must be a whole number "
                "of at least 1."
            )


def rotary_frequencies(
    rotary_dim: int, theta: float, scaling: RopeScaling | None = None
) -> np.ndarray:
    """Radians a position, for each rotated pair of dimensions.

    Args:
      rotary_dim: dimensions that are rotated, even.
      theta: base of the wavelengths.
      scaling: how they are stretched.

    Returns:
      float32 [rotary_dim / 2], falling.
    """
    # In float32: the rounding of the frequencies is part of what weights have learned. The power
    # alone is rounded from float64, since NumPy's of float32 is off by units that torch's is not,
    # and hundreds of positions make that much of a turn.
    exponents_R = np.arange(0, rotary_dim, 2).astype(np.float32) / np.float32(rotary_dim)
    powers_R = (float(theta) ** exponents_R.astype(np.float64)).astype(np.float32)
    frequencies_R = np.float32(1.0) / powers_R
    if scaling is not None and scaling.kind == "linear":
        frequencies_R = frequencies_R / scaling.factor
    elif scaling is not None:
        turns_R = scaling.original_max_positions * frequencies_R / (2 * math.pi)
        span = scaling.high_freq_factor - scaling.low_freq_factor
        kept_R = np.clip((turns_R - scaling.low_freq_factor) / span, 0.0, 1.0)
        frequencies_R = frequencies_R * (kept_R + (1 - kept_R) / scaling.factor)
    return frequencies_R.astype(np.float32)


def rotary_angles(
    frequencies_R: np.ndarray, positions_BT: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns float32 cosines_BTR and sines_BTR of every position."""
    angles_BTR = positions_BT[:, :, None].astype(jnp.float32) * frequencies_R
    return jnp.cos(angles_BTR), jnp.sin(angles_BTR)


def rotate(x_BTHK: jax.Array, cosines_BTR: jax.Array, sines_BTR: jax.Array) -> jax.Array:
    """Rotates the leading 2R dimensions of each head, pairing dimension r with R + r.

    The pairing is that of GPT-NeoX and of transformers, not the interleaved one of the paper: the
    two are the same up to a permutation of a head's dimensions, which the weights have learned.

    Args:
      x_BTHK: queries or keys.
      cosines_BTR: of `rotary_angles`.
      sines_BTR: of `rotary_angles`.

    Returns:
      x_BTHK, rotated in float32, in its own type.
    """
    half = cosines_BTR.shape[-1]
    cosines_BT1R, sines_BT1R = cosines_BTR[:, :, None, :], sines_BTR[:, :, None, :]
    first, second = (
        part.astype(jnp.float32) for part in (x_BTHK[..., :half], x_BTHK[..., half : 2 * half])
    )
    rotated = (
        first * cosines_BT1R - second * sines_BT1R,
        second * cosines_BT1R + first * sines_BT1R,
    )
    parts = [part.astype(x_BTHK.dtype) for part in rotated]
    return jnp.concatenate([*parts, x_BTHK[..., 2 * half :]], axis=-1)
