"""Small decoders in the shapes of published families, and the plain ways to run them."""

import functools
from typing import Any

import jax
import numpy as np

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.positions import RopeScaling
from tests.models import reference

# Dimensions that divide over meshes of 8 devices, whichever way these are cut.
SIZES = {
    "vocab_size": 40,
    "num_layers": 2,
    "emb_dim": 16,
    "num_heads": 4,
    "head_dim": 8,
    "mlp_dim": 24,
}
# Rows of so many tokens are the longest of those that learn positions.
MAX_POSITIONS = 14

_OPT = {
    "position": "learned",
    "max_positions": MAX_POSITIONS,
    "position_offset": 2,
    "mlp_activation": "relu",
    "embedding_norm": False,
}
_LLAMA = {
    "position": "rotary",
    "norm": "rmsnorm",
    "norm_epsilon": 1e-6,
    "mlp_activation": "silu",
    "gated_mlp": True,
    "embedding_norm": False,
    "use_bias": False,
    "logits_via_embedding": False,
    "num_kv_heads": 2,
}
_NEOX = {
    "position": "rotary",
    "rotary_dim": 4,
    "mlp_activation": "gelu_exact",
    "embedding_norm": False,
    "logits_via_embedding": False,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "bloom": {},
    "opt": _OPT,
    "opt_350m": {**_OPT, "token_dim": 8, "residual": "post_norm", "final_norm": False},
    "llama": {
        **_LLAMA,
        "rope_theta": 500.0,
        # Wavelengths are 6, 30, 141 and 664: kept, between, stretched, stretched.
        "rope_scaling": RopeScaling("llama3", 8.0, 1.0, 4.0, original_max_positions=48),
    },
    "mistral": {**_LLAMA, "sliding_window": 4},
    "qwen2": {**_LLAMA, "qkv_bias": True, "logits_via_embedding": True, "rope_theta": 1e6},
    "qwen3": {**_LLAMA, "qk_norm": True, "rope_scaling": RopeScaling("linear", 2.0)},
    "neox": {**_NEOX, "residual": "parallel"},
    "neox_sequential": _NEOX,
}
NAMES = list(FAMILIES)


def config(family: str, **overrides: Any) -> DecoderConfig:
    return DecoderConfig(**{**SIZES, **FAMILIES[family], **overrides})


@functools.cache
def unrolled_params(cfg: DecoderConfig) -> dict[str, Any]:
    return reference.random_params(cfg)


def params_of(cfg: DecoderConfig) -> dict[str, Any]:
    """The same parameters whether layers are scanned or not."""
    params = unrolled_params(DecoderConfig(**{**cfg.__dict__, "scan_layers": False}))
    return reference.stack_layers(params) if cfg.scan_layers else params


@functools.cache
def forward(cfg: DecoderConfig) -> Any:
    """Jitted logits of (params, tokens, segment ids, positions, both ways)."""
    model = Decoder(cfg)

    def logits(params, tokens, segment_ids, positions, both_ways):
        return model.apply(
            {"params": params},
            tokens,
            tokens,
            segment_ids,
            positions,
            both_ways,
            enable_dropout=False,
        )

    return jax.jit(logits)


def places(segment_ids: np.ndarray) -> np.ndarray:
    """Positions that begin anew in every segment; 0 in padding, as seqio packs."""
    found = np.zeros_like(segment_ids)
    for row, ids in enumerate(segment_ids):
        for place in range(1, len(ids)):
            if ids[place] and ids[place] == ids[place - 1]:
                found[row, place] = found[row, place - 1] + 1
    return found
