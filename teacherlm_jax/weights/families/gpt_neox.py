"""GPT-NeoX (Black et al. 2022, arXiv 2204.06745) and Pythia (Biderman et al. 2023, 2304.01373).

Attention and feed-forward in parallel, a quarter of each head rotated, queries, keys and values
fused head by head.
"""

import math
from typing import Any

from teacherlm_jax.models.config import DecoderConfig, explicit
from teacherlm_jax.weights import rules as rules_lib
from teacherlm_jax.weights.config_fields import (
    ConfigFields,
    rope,
    rope_fields,
    their_activation,
)
from teacherlm_jax.weights.family import Family, head


def _read(fields: ConfigFields) -> DecoderConfig:
    width = fields.integer("hidden_size")
    heads = fields.integer("num_attention_heads")
    head_dim = fields.head_dim(heads, width)
    theta, scaling, share = rope(fields, "rotary_emb_base", "rotary_pct", 0.25)
    # Other families' names, which this one's class does not read.
    for name, used in (("rope_theta", theta), ("partial_rotary_factor", share)):
        if fields.values.get(name) not in (None, used):
            fields.refuse(name, fields.values[name], f"left away, or {used}, which counts here")
    is_parallel = fields.flag("use_parallel_residual", default=True)
    bias = fields.flag("attention_bias", default=True)
    return DecoderConfig(
        vocab_size=fields.integer("vocab_size"),
        num_layers=fields.integer("num_hidden_layers"),
        emb_dim=width,
        num_heads=heads,
        head_dim=head_dim,
        mlp_dim=fields.integer("intermediate_size"),
        mlp_activation=fields.activation("hidden_act", default="gelu"),
        norm_epsilon=fields.number("layer_norm_eps", default=1e-5),
        residual="parallel" if is_parallel else "pre_norm",
        position="rotary",
        max_positions=fields.integer("max_position_embeddings", default=None),
        rotary_dim=int(head_dim * share),
        rope_theta=theta,
        rope_scaling=scaling,
        embedding_norm=False,
        qkv_bias=bias,
        attention_out_bias=bias,
        logits_via_embedding=fields.flag("tie_word_embeddings", default=False),
    )


def _write(config: DecoderConfig) -> dict[str, Any]:
    rotary = rope_fields(config.rope_theta, config.rope_scaling)
    return {
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.num_layers,
        "hidden_size": config.emb_dim,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.mlp_dim,
        "hidden_act": their_activation(config.mlp_activation),
        "layer_norm_eps": config.norm_epsilon,
        "use_parallel_residual": config.residual == "parallel",
        "rotary_pct": _share(config.rotary_width, config.head_dim),
        "rotary_emb_base": rotary.pop("rope_theta"),
        **rotary,
        "max_position_embeddings": config.max_positions or 2048,
        "attention_bias": explicit(config).qkv_bias,
        "tie_word_embeddings": config.logits_via_embedding,
    }


def _share(part: int, whole: int) -> float:
    """A share that gives the part again when the product is cut to a whole number."""
    share = part / whole
    return share if int(whole * share) == part else math.nextafter(share, math.inf)


def _rules(config: DecoderConfig) -> list[rules_lib.Rule]:
    block = "layers.{layer}"
    bias = explicit(config).qkv_bias
    return [
        rules_lib.Rule("token_embedder/embedding", "embed_in.weight", "vocab token -> vocab token"),
        *rules_lib.norm("layers/pre_self_attention_norm", f"{block}.input_layernorm"),
        *rules_lib.norm("layers/pre_mlp_norm", f"{block}.post_attention_layernorm"),
        *rules_lib.fused_block(block, "attention", bias),
        *rules_lib.norm("decoder_norm", "final_layer_norm"),
        *head(config, "embed_out"),
    ]


GPT_NEOX = Family(
    "gpt_neox",
    "GPTNeoXForCausalLM",
    "gpt_neox.",
    _read,
    _write,
    _rules,
    buffers=(
        r"layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",
        r"rotary_emb\.inv_freq",
    ),
)
