"""Llama, Mistral, Qwen2 and Qwen3 beside transformers; their names and configurations."""

import numpy as np
import pytest
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from teacherlm_jax.models import positions
from teacherlm_jax.models.positions import RopeScaling
from teacherlm_jax.weights import catalogue
from teacherlm_jax.weights.config_fields import ConfigFields
from teacherlm_jax.weights.tensors import WeightsError
from tests.weights import parity, reference_models

SMALL = {
    "vocab_size": 8,
    "num_hidden_layers": 1,
    "hidden_size": 12,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 10,
}
NORMS = {"layers.0.input_layernorm", "layers.0.post_attention_layernorm", "norm"}
PROJECTIONS = {
    *(f"layers.0.self_attn.{name}_proj" for name in "qkvo"),
    *(f"layers.0.mlp.{name}_proj" for name in ("gate", "up", "down")),
}
# As meta-llama/Llama-2-7b-hf, Qwen/Qwen2.5-7B and Qwen/Qwen3-0.6B have them, less "model.".
LLAMA_NAMES = {f"{name}.weight" for name in {"embed_tokens", "lm_head"} | NORMS | PROJECTIONS}
QWEN2_NAMES = LLAMA_NAMES | {f"layers.0.self_attn.{name}_proj.bias" for name in "qkv"}
QWEN3_NAMES = LLAMA_NAMES | {f"layers.0.self_attn.{name}_norm.weight" for name in "qk"}


def read(model_type, **changes):
    family = catalogue.FAMILIES[model_type]
    return family.read_config(ConfigFields({**SMALL, **changes}, "config.json"))


@pytest.mark.parametrize("name", reference_models.of_type("llama", "mistral", "qwen2", "qwen3"))
def test_every_part_is_that_of_transformers(name, tmp_path):
    parity.assert_every_part_is_equal(name, tmp_path)


@pytest.mark.parametrize("name", ["llama_grouped_linear", "mistral_window", "qwen2", "qwen3"])
def test_stacked_layers_and_short_rows(name, tmp_path):
    parity.assert_stacked_layers_are_equal(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "change"),
    [("llama3_tied", {"rope_scaling": None}), ("mistral_window", {"sliding_window": 33})],
)
def test_a_small_mistake_would_be_seen(name, change, tmp_path):
    assert parity.largest_difference(name, tmp_path, **change) > 1e-2


@pytest.mark.parametrize("theta", [1e4, 1e5, 5e5, 1e6])
@pytest.mark.parametrize("head_dim", [64, 80, 128])
def test_rotary_frequencies_are_rounded_as_torch_rounds_them(head_dim, theta):
    """Two units in the last place are a turn of 0.001 after 8,000 positions."""
    parameters = {"rope_type": "linear", "rope_theta": theta, "factor": 1.0}
    config = transformers.LlamaConfig(
        hidden_size=head_dim, num_attention_heads=1, rope_parameters=parameters
    )
    expected, _ = ROPE_INIT_FUNCTIONS["linear"](config, "cpu")
    found = positions.rotary_frequencies(head_dim, theta)
    np.testing.assert_array_max_ulp(found, expected.numpy(), maxulp=1)


@pytest.mark.parametrize(
    ("model_type", "changes", "expected"),
    [
        ("llama", {}, LLAMA_NAMES),
        ("llama", {"tie_word_embeddings": True}, LLAMA_NAMES - {"lm_head.weight"}),
        (
            "llama",
            {"attention_bias": True, "mlp_bias": True},
            LLAMA_NAMES | {f"{name}.bias" for name in PROJECTIONS},
        ),
        ("mistral", {}, LLAMA_NAMES),
        ("qwen2", {}, QWEN2_NAMES),
        ("qwen3", {}, QWEN3_NAMES),
    ],
)
def test_names_are_those_of_public_files(model_type, changes, expected):
    rules = catalogue.FAMILIES[model_type].rules(read(model_type, **changes))
    assert {rule.theirs.format(layer=0) for rule in rules} == expected


def test_defaults_are_those_of_the_classes():
    """What a file leaves out is what the class of transformers then has."""
    assert read("mistral").sliding_window == 4096
    assert read("mistral", sliding_window=None).sliding_window is None
    assert read("qwen3").head_dim == 128 and read("qwen2").head_dim == 6
    assert read("llama", num_key_value_heads=None).kv_heads == 2
    assert not read("llama").logits_via_embedding


def test_older_and_newer_names_of_rotary_fields():
    scaling = {
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 2.0,
        "original_max_position_embeddings": 64,
    }
    expected = RopeScaling("llama3", 4.0, 1.0, 2.0, 64)
    older = read("llama", rope_theta=5e5, rope_scaling={"rope_type": "llama3", **scaling})
    newer = read("llama", rope_parameters={"rope_theta": 5e5, "rope_type": "llama3", **scaling})
    assert older == newer and (older.rope_theta, older.rope_scaling) == (5e5, expected)
    linear = read("llama", rope_scaling={"type": "linear", "factor": 2.0})
    assert linear.rope_scaling == RopeScaling("linear", 2.0)


@pytest.mark.parametrize(
    ("model_type", "change", "message"),
    [
        ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type = 'dynamic'"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "yarn"}},
            "rope_parameters: rope_type = 'yarn'",
        ),
        ("llama", {"rope_scaling": {"type": "linear"}}, "rope_scaling has no field 'factor'"),
        ("llama", {"rope_scaling": "linear"}, "rope_scaling = 'linear', .* an object or null"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5, but it must be 1"),
        ("llama", {"num_attention_heads": 5}, "num_attention_heads = 5, .* divisor .*, 12"),
        (
            "llama",
            {"num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": 4},
            "num_attention_heads = 5, .* divisor .*, 12",
        ),
        ("llama", {"attention_bias": 0}, "attention_bias = 0, but it must be true or false"),
        ("mistral", {"sliding_window": 0}, "sliding_window = 0, .* at least 1"),
        ("qwen2", {"use_sliding_window": True}, r"use_sliding_window = True, .*one of \[False\]"),
        ("qwen3", {"layer_types": ["sliding_attention"]}, "layer_types = .* 'full_attention'"),
        ("qwen3", {"layer_types": 3}, "layer_types = 3, .* 'full_attention'"),
    ],
)
def test_what_the_families_cannot_do_is_an_error(model_type, change, message):
    with pytest.raises(WeightsError, match=f"config.json.*{message}"):
        read(model_type, **change)
