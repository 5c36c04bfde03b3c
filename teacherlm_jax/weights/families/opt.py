"""OPT (Zhang et al. 2022, arXiv 2205.01068): learned positions after two rows that belong to none.

OPT-350M alone has its norms after the residual sums, none at the end, and a token embedding of
another width with projections in and out.
"""

from typing import Any

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.weights import rules as rules_lib
from teacherlm_jax.weights.config_fields import ConfigFields, their_activation
from teacherlm_jax.weights.family import Family, head

_OFFSET = 2


def _read(fields: ConfigFields) -> DecoderConfig:
    fields.require("layer_norm_elementwise_affine", [True], True)
    width = fields.integer("hidden_size")
    heads = fields.integer("num_attention_heads")
    is_pre_norm = fields.flag("do_layer_norm_before", default=True)
    token_width = fields.integer("word_embed_proj_dim", default=width)
    return DecoderConfig(
        vocab_size=fields.integer("vocab_size"),
        num_layers=fields.integer("num_hidden_layers"),
        emb_dim=width,
        num_heads=heads,
        head_dim=fields.head_dim(heads, width),
        mlp_dim=fields.integer("ffn_dim"),
        token_dim=None if token_width == width else token_width,
        mlp_activation=fields.activation("activation_function", default="relu"),
        residual="pre_norm" if is_pre_norm else "post_norm",
        final_norm=is_pre_norm and not fields.flag("_remove_final_layer_norm", default=False),
        position="learned",
        max_positions=fields.integer("max_position_embeddings"),
        position_offset=_OFFSET,
        embedding_norm=False,
        use_bias=fields.flag("enable_bias", default=True),
        logits_via_embedding=fields.flag("tie_word_embeddings", default=True),
    )


def _write(config: DecoderConfig) -> dict[str, Any]:
    is_pre_norm = config.residual == "pre_norm"
    return {
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.num_layers,
        "hidden_size": config.emb_dim,
        "num_attention_heads": config.num_heads,
        "ffn_dim": config.mlp_dim,
        "word_embed_proj_dim": config.token_width,
        "activation_function": their_activation(config.mlp_activation),
        "do_layer_norm_before": is_pre_norm,
        "_remove_final_layer_norm": is_pre_norm and not config.final_norm,
        "max_position_embeddings": config.max_positions,
        "enable_bias": config.use_bias,
        "layer_norm_elementwise_affine": True,
        "tie_word_embeddings": config.logits_via_embedding,
        "dropout": config.dropout_rate,
        "bos_token_id": 2,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }


def _rules(config: DecoderConfig) -> list[rules_lib.Rule]:
    attention, block, bias = "layers/self_attention", "decoder.layers.{layer}", config.use_bias
    norms = "pre" if config.residual == "pre_norm" else "post"
    rules = [
        rules_lib.Rule(
            "token_embedder/embedding", "decoder.embed_tokens.weight", "vocab token -> vocab token"
        ),
        rules_lib.Rule(
            "position_embedder/embedding",
            "decoder.embed_positions.weight",
            "positions embed -> positions embed",
        ),
        *rules_lib.norm(f"layers/{norms}_self_attention_norm", f"{block}.self_attn_layer_norm"),
        *rules_lib.norm(f"layers/{norms}_mlp_norm", f"{block}.final_layer_norm"),
        *rules_lib.dense(
            f"{attention}/out",
            f"{block}.self_attn.out_proj",
            "embed (heads kv) -> heads kv embed",
            bias,
        ),
        *rules_lib.dense("layers/mlp/wi", f"{block}.fc1", "mlp embed -> embed mlp", bias),
        *rules_lib.dense("layers/mlp/wo", f"{block}.fc2", "embed mlp -> mlp embed", bias),
        *head(config),
    ]
    for ours, theirs in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
        rules += rules_lib.dense(
            f"{attention}/{ours}",
            f"{block}.self_attn.{theirs}",
            "(heads kv) embed -> embed heads kv",
            bias,
        )
    if config.final_norm:
        rules += rules_lib.norm("decoder_norm", "decoder.final_layer_norm")
    if config.token_dim is not None:
        rules += [
            rules_lib.Rule(
                "project_in/kernel", "decoder.project_in.weight", "embed token -> token embed"
            ),
            rules_lib.Rule(
                "project_out/kernel", "decoder.project_out.weight", "token embed -> embed token"
            ),
        ]
    return rules


OPT = Family(
    "opt", "OPTForCausalLM", "model.", _read, _write, _rules, buffers=(r"decoder\.version",)
)
