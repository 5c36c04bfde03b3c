"""What a config.json says: the model that transformers makes of it, or a refusal; never silence.

The weights are those that transformers' class makes of the file itself, saved with the file put
back as it was, so that both sides read the same text.
"""

import json

import jax
import numpy as np
import pytest
import torch
import transformers
from etils import epath

from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.weights import accounting, catalogue, directory, load
from teacherlm_jax.weights.tensors import WeightsError

SHARED = {
    "vocab_size": 50,
    "hidden_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
}
BLOOM = {"vocab_size": 50, "hidden_size": 48, "n_layer": 1, "n_head": 4}
OPT = {**SHARED, "ffn_dim": 40, "word_embed_proj_dim": 48}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
CASES = [
    ("bloom", {**BLOOM, "num_attention_heads": 6}),
    ("bloom", {**BLOOM, "n_embed": 24}),
    ("bloom", {**BLOOM, "slow_but_exact": True, "pretraining_tp": 2}),
    ("bloom", {**BLOOM, "slow_but_exact": True, "pretraining_tp": 1}),
    ("bloom", {**BLOOM, "apply_residual_connection_post_layernorm": True}),
    ("opt", {**OPT, "enable_bias": False}),
    ("opt", {**OPT, "layer_norm_elementwise_affine": False}),
    ("opt", {**OPT, "_remove_final_layer_norm": True}),
    ("opt", {**OPT, "activation_function": "gelu_python"}),
    ("gpt_neox", {**SHARED, "rope_theta": 300.0}),
    ("gpt_neox", {**SHARED, "rotary_emb_base": 300, "rope_theta": 9000.0}),
    ("gpt_neox", {**SHARED, "partial_rotary_factor": 0.5}),
    ("gpt_neox", {**SHARED, "rotary_pct": 1.0, "partial_rotary_factor": 0.5}),
    ("gpt_neox", {**SHARED, "rotary_pct": 0.5, "rotary_emb_base": 300}),
    ("gpt_neox", {**SHARED, "rope_parameters": {"rope_type": "default", "rope_theta": 99.0}}),
    ("llama", {**SHARED, "rope_theta": 300.0, "rope_scaling": {"type": "linear", "factor": 2.0}}),
    (
        "llama",
        {
            **SHARED,
            "rope_scaling": {"rope_type": "linear", "factor": 4.0},
            "rope_parameters": {"rope_type": "default", "rope_theta": 2000.0},
        },
    ),
    ("llama", {**SHARED, "rope_scaling": LLAMA3, "original_max_position_embeddings": 16}),
    ("llama", {**SHARED, "rope_scaling": LLAMA3}),
    (
        "llama",
        {
            **SHARED,
            "rope_scaling": {**LLAMA3, "original_max_position_embeddings": 16},
            "original_max_position_embeddings": 32,
        },
    ),
    ("llama", {**SHARED, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
    ("llama", {**SHARED, "head_dim": 6, "num_key_value_heads": 2, "pretraining_tp": 2}),
    ("mistral", {**SHARED, "num_key_value_heads": 2, "sliding_window": None}),
    ("mistral", {**SHARED, "num_key_value_heads": 4, "sliding_window": 5}),
    ("qwen2", {**SHARED, "num_key_value_heads": 2, "use_sliding_window": True}),
    ("qwen2", {**SHARED, "num_key_value_heads": None}),
    ("qwen3", {**SHARED, "num_key_value_heads": 2, "head_dim": 8, "attention_bias": True}),
]


def logits_of(model, tokens):
    with torch.no_grad():
        return model(torch.from_numpy(tokens)).logits.numpy()


@pytest.mark.parametrize(("model_type", "values"), CASES, ids=lambda part: str(part)[:60])
def test_a_file_means_the_same_model_or_is_refused(model_type, values, tmp_path):
    text = json.dumps({"model_type": model_type, **values})
    (tmp_path / "config.json").write_text(text)
    path = epath.Path(tmp_path)
    try:
        family, config = catalogue.read_config(path)
    except WeightsError as error:
        assert "config.json" in str(error)
        return
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.from_pretrained(str(tmp_path)), attn_implementation="eager"
    ).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(text)
    matched = accounting.match(directory.open_directory(path), family, config, path)
    params = load.load_params(matched, config, make_mesh(MeshConfig(device_count=1)))
    tokens = np.random.default_rng(0).integers(0, 50, (1, 40))
    found = jax.jit(lambda params: Decoder(config).apply({"params": params}, tokens))(params)
    expected = logits_of(model, tokens)
    assert expected.std() > 0.3
    np.testing.assert_allclose(found, expected, atol=1e-4)
