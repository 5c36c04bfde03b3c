"""Floating-point operations that a model needs, and the share of the peak that a run reaches."""

import jax

from teacherlm_jax.models.config import DecoderConfig

# Dense bfloat16 operations a second of one JAX device, by its kind (A100s have many). TPU: the
# chips' pages under cloud.google.com/tpu/docs, peak compute per chip; a JAX device of v2, v3 and
# TPU7x is one of a chip's two cores. GPU: NVIDIA's data sheets of A100, H100 and H200, without
# sparsity.
_A100 = "NVIDIA A100"
_PEAKS: dict[str, float] = {
    "TPU v2": 46e12 / 2,
    "TPU v3": 123e12 / 2,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "TPU7x": 2307e12 / 2,
    _A100: 312e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200 NVL": 835e12,
    "NVIDIA H200": 989e12,
}


def matrix_parameters(config: DecoderConfig) -> int:
    """Entries of the matrices that every token is multiplied with.

    The output projection counts once, tied to the embedding table or not. Tables that are looked up
    (tokens, positions), norms and biases do not count.
    """
    heads = 2 * config.num_heads + 2 * config.kv_heads
    attention = config.emb_dim * config.head_dim * heads
    feed_forward = (3 if config.gated_mlp else 2) * config.emb_dim * config.mlp_dim
    outside = config.vocab_size * config.token_width
    if config.token_dim is not None:
        outside += 2 * config.token_dim * config.emb_dim
    return config.num_layers * (attention + feed_forward) + outside


def forward_flops_per_token(config: DecoderConfig, row_length: int) -> float:
    """A third of `train_flops_per_token`: what evaluation and scoring need for a token."""
    return train_flops_per_token(config, row_length) / 3


def train_flops_per_token(config: DecoderConfig, row_length: int) -> float:
    """Operations of the forward and the backward pass for one token of a row.

    6 N + 12 L H K S (PaLM, Chowdhery et al. 2022, arXiv 2204.02311, appendix B): N entries of
    matrices (`matrix_parameters`), L layers, H query heads of width K, S the keys that a token is
    compared with. A multiplication and an addition are two operations; the backward pass does
    twice what the forward pass does.

    S is `row_length`, or the sliding window where that is shorter. As in PaLM, causality is not
    discounted (a token in the middle counts as one that sees the whole row, and so does one of a
    packed row), what is computed again in the backward pass is not counted, and neither are norms,
    activations, softmax, positions and the optimizer.

    Args:
      config: the decoder's.
      row_length: positions of a row.
    """
    keys = min(row_length, config.sliding_window or row_length)
    attention = 12 * config.num_layers * config.num_heads * config.head_dim * keys
    return float(6 * matrix_parameters(config) + attention)


def peak_flops(device: jax.Device) -> float | None:
    """Dense bfloat16 operations a second that a device can do at most.

    Returns:
      None where that is not known: a CPU, a part of a GPU (MIG), a device not in the table.
    """
    kind = device.device_kind
    if kind.startswith(_A100) and "MIG" not in kind.split():
        kind = _A100
    return _PEAKS.get(kind)


def utilization(
    tokens_per_second: float, flops_per_token: float, device_count: int, peak: float | None
) -> float | None:
    """Model FLOPs utilization (MFU): the share of the devices' peak that the model's work takes.

    tokens_per_second x flops_per_token / (device_count x peak), PaLM's definition (appendix B).
    The peak is that of bfloat16, whatever a run computes in. With tokens that are no padding,
    padding is not work: its share lowers the utilization.

    Args:
      tokens_per_second: over all devices.
      flops_per_token: of `train_flops_per_token`, or `forward_flops_per_token` without training.
      device_count: devices of the run, over all hosts.
      peak: of one device, as `peak_flops` says.

    Returns:
      From 0 to 1; None where the peak is not known.
    """
    if peak is None:
        return None
    return tokens_per_second * flops_per_token / (device_count * peak)
