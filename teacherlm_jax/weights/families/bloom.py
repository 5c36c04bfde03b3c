"""BLOOM and BLOOMZ (BigScience Workshop 2022, arXiv 2211.05100).

Public files hold the base model alone, without a prefix; the projection to queries, keys and
values is fused head by head.
"""

from typing import Any

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.weights import rules as rules_lib
from teacherlm_jax.weights.config_fields import ConfigFields
from teacherlm_jax.weights.family import Family, head


def _read(fields: ConfigFields) -> DecoderConfig:
    fields.require("apply_residual_connection_post_layernorm", [False], False)
    if fields.integer("pretraining_tp", default=1) > 1:
        fields.require("slow_but_exact", [False], False)  # It would leave biases out.
    width = fields.integer("n_embed", default=None) or fields.integer("hidden_size")
    heads = fields.integer("n_head", "num_attention_heads")
    fields.require("n_inner", [None, 4 * width], None)
    return DecoderConfig(
        vocab_size=fields.integer("vocab_size"),
        num_layers=fields.integer("n_layer", "num_hidden_layers"),
        emb_dim=width,
        num_heads=heads,
        head_dim=fields.head_dim(heads, width),
        mlp_dim=4 * width,
        mlp_activation="gelu",
        norm_epsilon=fields.number("layer_norm_epsilon", default=1e-5),
        position="alibi",
        max_positions=fields.integer("seq_length", default=None),
        logits_via_embedding=fields.flag("tie_word_embeddings", default=True),
    )


def _write(config: DecoderConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "n_layer": config.num_layers,
        "hidden_size": config.emb_dim,
        "n_head": config.num_heads,
        "layer_norm_epsilon": config.norm_epsilon,
        "seq_length": config.max_positions,
        "tie_word_embeddings": config.logits_via_embedding,
        "apply_residual_connection_post_layernorm": False,
        "attention_dropout": config.dropout_rate,
        "hidden_dropout": config.dropout_rate,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }


def _rules(config: DecoderConfig) -> list[rules_lib.Rule]:
    block = "h.{layer}"
    return [
        rules_lib.Rule(
            "token_embedder/embedding", "word_embeddings.weight", "vocab token -> vocab token"
        ),
        *rules_lib.norm("embedding_norm", "word_embeddings_layernorm"),
        *rules_lib.norm("layers/pre_self_attention_norm", f"{block}.input_layernorm"),
        *rules_lib.fused_block(block, "self_attention", True),
        *rules_lib.norm("layers/pre_mlp_norm", f"{block}.post_attention_layernorm"),
        *rules_lib.norm("decoder_norm", "ln_f"),
        *head(config),
    ]


BLOOM = Family("bloom", "BloomForCausalLM", "transformer.", _read, _write, _rules)
