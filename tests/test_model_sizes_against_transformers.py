"""Size files have as many parameters as what transformers builds of the same dimensions."""

import dataclasses
import os
from typing import Any

import gin
import pytest

from teacherlm_jax.main import gin_setup
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params, parameter_count

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = [
    *("bloom/560m", "bloom/3b", "bloom/176b"),
    *("opt/125m", "opt/350m", "opt/6.7b", "opt/66b", "opt/175b"),
    *("llama/llama1_30b", "llama/llama2_70b", "llama/llama3_1_405b", "llama/llama3_2_1b"),
    *("llama/tinyllama_1.1b", "llama/smollm2_135m", "llama/smollm_1.7b"),
    *("llama/mistral_7b_v0_1", "llama/mistral_7b_v0_3"),
    *("qwen2/0.5b", "qwen2/7b", "qwen2/72b"),
    *("qwen3/0.6b", "qwen3/8b", "qwen3/32b"),
    *("gpt_neox/pythia_14m", "gpt_neox/pythia_1b", "gpt_neox/pythia_12b", "gpt_neox/gpt_neox_20b"),
]


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


def build(name: str, config: DecoderConfig) -> Any:
    """The model of transformers, without memory; its options are those of its class."""
    family, _, size = name.partition("/")
    shared: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.emb_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "max_position_embeddings": config.max_positions,
        "tie_word_embeddings": config.logits_via_embedding,
    }
    grouped = {"num_key_value_heads": config.kv_heads, "intermediate_size": config.mlp_dim}
    mistral = size.startswith("mistral")
    reference = {
        "bloom": lambda: transformers.BloomConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.emb_dim,
            n_layer=config.num_layers,
            n_head=config.num_heads,
        ),
        "opt": lambda: transformers.OPTConfig(
            **shared,
            ffn_dim=config.mlp_dim,
            word_embed_proj_dim=config.token_width,
            do_layer_norm_before=size != "350m",
        ),
        "llama": lambda: (transformers.MistralConfig if mistral else transformers.LlamaConfig)(
            **shared, **grouped, head_dim=config.head_dim
        ),
        "qwen2": lambda: transformers.Qwen2Config(**shared, **grouped),
        "qwen3": lambda: transformers.Qwen3Config(**shared, **grouped, head_dim=config.head_dim),
        "gpt_neox": lambda: transformers.GPTNeoXConfig(**shared, intermediate_size=config.mlp_dim),
    }[family]()
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(reference)


@pytest.mark.parametrize("name", SIZES)
def test_as_many_parameters_as_transformers_has(name):
    gin_setup.parse([f"models/{name}.gin"])
    config = gin_setup.bound(DecoderConfig)()
    theirs = build(name, config)
    tied = theirs.get_output_embeddings().weight is theirs.get_input_embeddings().weight
    assert tied == config.logits_via_embedding
    # Tied weights are one parameter of torch, so they are counted once.
    expected = sum(parameter.numel() for parameter in theirs.parameters())
    assert parameter_count(boxed_params(Decoder(config))) == expected


def test_a_dimension_that_is_off_by_one_is_noticed():
    gin_setup.parse(["models/opt/125m.gin"])
    config = gin_setup.bound(DecoderConfig)()
    theirs = build("opt/125m", dataclasses.replace(config, mlp_dim=config.mlp_dim + 1))
    expected = sum(parameter.numel() for parameter in theirs.parameters())
    assert parameter_count(boxed_params(Decoder(config))) != expected
