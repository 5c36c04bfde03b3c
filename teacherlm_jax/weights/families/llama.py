"""Llama and its shape-alikes.

Llama 1 to 3 (Grattafiori et al. 2024, arXiv 2407.21783), Mistral (Jiang et al. 2023, arXiv
2310.06825), TinyLlama and SmolLM; Qwen2 and 2.5 (arXiv 2412.15115), which has biases at queries,
keys and values; Qwen3 (arXiv 2505.09388), which normalises queries and keys.
"""

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


def _common(fields: ConfigFields, default_kv_heads: int | None = None) -> dict[str, Any]:
    """The arguments of DecoderConfig that all of them share."""
    width = fields.integer("hidden_size")
    heads = fields.integer("num_attention_heads")
    theta, scaling, share = rope(fields)
    kv_heads = default_kv_heads
    if "num_key_value_heads" in fields.values:  # Null: as many as query heads.
        kv_heads = fields.integer("num_key_value_heads", default=None)
    fields.require("rope_interleaved", [False], False)
    if share != 1.0:
        fields.refuse("partial_rotary_factor", share, "1: whole heads are rotated")
    return {
        "vocab_size": fields.integer("vocab_size"),
        "num_layers": fields.integer("num_hidden_layers"),
        "emb_dim": width,
        "num_heads": heads,
        "num_kv_heads": kv_heads,
        "head_dim": fields.head_dim(heads, width),
        "mlp_dim": fields.integer("intermediate_size"),
        "mlp_activation": fields.activation("hidden_act", default="silu"),
        "gated_mlp": True,
        "norm": "rmsnorm",
        "norm_epsilon": fields.number("rms_norm_eps", default=1e-6),
        "position": "rotary",
        "max_positions": fields.integer("max_position_embeddings", default=None),
        "rope_theta": theta,
        "rope_scaling": scaling,
        "embedding_norm": False,
        "use_bias": False,
        "logits_via_embedding": fields.flag("tie_word_embeddings", default=False),
    }


def _read_llama(fields: ConfigFields) -> DecoderConfig:
    common = _common(fields)
    if common["emb_dim"] % common["num_heads"]:
        # Its class in transformers refuses it even where `head_dim` is given; Mistral's does not.
        fields.refuse(
            "num_attention_heads",
            common["num_heads"],
            f"a divisor of the width, {common['emb_dim']}",
        )
    bias = fields.flag("attention_bias", default=False)
    return DecoderConfig(
        **common,
        qkv_bias=bias,
        attention_out_bias=bias,
        mlp_bias=fields.flag("mlp_bias", default=False),
    )


def _read_mistral(fields: ConfigFields) -> DecoderConfig:
    # Null is no window; a file that says nothing has the class's default.
    window = 4096
    if "sliding_window" in fields.values:
        window = fields.integer("sliding_window", default=None)
    common = _common(fields, default_kv_heads=8)
    return DecoderConfig(
        **common,
        qkv_bias=False,
        attention_out_bias=False,
        mlp_bias=False,
        sliding_window=window,
    )


def _read_qwen2(fields: ConfigFields) -> DecoderConfig:
    common = _common(fields, default_kv_heads=32)
    _check_full_attention(fields, common["num_layers"])
    return DecoderConfig(**common, qkv_bias=True, attention_out_bias=False, mlp_bias=False)


def _read_qwen3(fields: ConfigFields) -> DecoderConfig:
    if fields.values.get("head_dim") is None:
        fields = ConfigFields({**fields.values, "head_dim": 128}, fields.where)
    common = _common(fields, default_kv_heads=32)
    _check_full_attention(fields, common["num_layers"])
    bias = fields.flag("attention_bias", default=False)
    return DecoderConfig(
        **common, qkv_bias=bias, attention_out_bias=bias, mlp_bias=False, qk_norm=True
    )


def _check_full_attention(fields: ConfigFields, num_layers: int) -> None:
    """Qwen's sliding windows differ from layer to layer, and no released model turns them on."""
    fields.require("use_sliding_window", [False], False)
    fields.layers_alike(num_layers, "full_attention")


def _write_common(config: DecoderConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.num_layers,
        "hidden_size": config.emb_dim,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.mlp_dim,
        "hidden_act": their_activation(config.mlp_activation),
        "rms_norm_eps": config.norm_epsilon,
        # A length that is unknown is said to be long: nothing in the model depends on it.
        "max_position_embeddings": config.max_positions or 131_072,
        "tie_word_embeddings": config.logits_via_embedding,
        **rope_fields(config.rope_theta, config.rope_scaling),
    }


def _write_llama(config: DecoderConfig) -> dict[str, Any]:
    return {
        **_write_common(config),
        "attention_bias": explicit(config).qkv_bias,
        "mlp_bias": explicit(config).mlp_bias,
    }


def _write_mistral(config: DecoderConfig) -> dict[str, Any]:
    return {**_write_common(config), "sliding_window": config.sliding_window}


def _write_qwen2(config: DecoderConfig) -> dict[str, Any]:
    return {**_write_common(config), "use_sliding_window": False}


def _write_qwen3(config: DecoderConfig) -> dict[str, Any]:
    return {
        **_write_common(config),
        "attention_bias": explicit(config).qkv_bias,
        "use_sliding_window": False,
    }


def _rules(config: DecoderConfig) -> list[rules_lib.Rule]:
    attention, block = "layers/self_attention", "layers.{layer}"
    mlp_bias = explicit(config).mlp_bias
    qkv_bias = explicit(config).qkv_bias
    rules = [
        rules_lib.Rule(
            "token_embedder/embedding", "embed_tokens.weight", "vocab token -> vocab token"
        ),
        *rules_lib.norm("layers/pre_self_attention_norm", f"{block}.input_layernorm", bias=False),
        *rules_lib.norm("layers/pre_mlp_norm", f"{block}.post_attention_layernorm", bias=False),
        *rules_lib.norm("decoder_norm", "norm", bias=False),
        *rules_lib.dense(
            f"{attention}/out",
            f"{block}.self_attn.o_proj",
            "embed (heads kv) -> heads kv embed",
            explicit(config).attention_out_bias,
        ),
        *head(config),
    ]
    for ours, theirs, heads in (
        ("query", "q_proj", "heads"),
        ("key", "k_proj", "kv_heads"),
        ("value", "v_proj", "kv_heads"),
    ):
        rules += rules_lib.dense(
            f"{attention}/{ours}",
            f"{block}.self_attn.{theirs}",
            f"({heads} kv) embed -> embed {heads} kv",
            qkv_bias,
        )
    for ours, theirs, axes in (
        ("wi_0", "gate_proj", "mlp embed -> embed mlp"),
        ("wi_1", "up_proj", "mlp embed -> embed mlp"),
        ("wo", "down_proj", "embed mlp -> mlp embed"),
    ):
        rules += rules_lib.dense(f"layers/mlp/{ours}", f"{block}.mlp.{theirs}", axes, mlp_bias)
    if config.qk_norm:
        for ours, theirs in (("query_norm", "q_norm"), ("key_norm", "k_norm")):
            rules += rules_lib.norm(
                f"{attention}/{ours}", f"{block}.self_attn.{theirs}", "kv", bias=False
            )
    return rules


_BUFFERS = (r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq", r"rotary_emb\.inv_freq")

LLAMA = Family("llama", "LlamaForCausalLM", "model.", _read_llama, _write_llama, _rules, _BUFFERS)
MISTRAL = Family(
    "mistral", "MistralForCausalLM", "model.", _read_mistral, _write_mistral, _rules, _BUFFERS
)
QWEN2 = Family("qwen2", "Qwen2ForCausalLM", "model.", _read_qwen2, _write_qwen2, _rules, _BUFFERS)
QWEN3 = Family("qwen3", "Qwen3ForCausalLM", "model.", _read_qwen3, _write_qwen3, _rules, _BUFFERS)
