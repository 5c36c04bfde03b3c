"""Models of transformers at random, in every shape that the families have, and their folders.

Widths are small but for those of a head. Weights are drawn far wider than at a usual start, so that
a mistake shows in the logits.
"""

import dataclasses
import functools
import json
import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import ml_dtypes
import numpy as np
import safetensors.numpy
import torch
import transformers
from etils import epath

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.weights import accounting, catalogue, directory

transformers.utils.logging.disable_progress_bar()

# The last rows of a vocabulary are often padding that no token of the tokenizer has.
VOCAB_SIZE, USED_VOCAB = 96, 90
LONG = 500

_BLOOM = {"vocab_size": VOCAB_SIZE, "n_layer": 2, "hidden_size": 128, "n_head": 2}
_OPT = {
    "vocab_size": VOCAB_SIZE,
    "num_hidden_layers": 2,
    "hidden_size": 128,
    "word_embed_proj_dim": 128,
    "num_attention_heads": 2,
    "ffn_dim": 160,
    "max_position_embeddings": 512,
}
_LLAMA = {
    "vocab_size": VOCAB_SIZE,
    "num_hidden_layers": 2,
    "hidden_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 160,
    "max_position_embeddings": 1024,
}
_NEOX = {
    "vocab_size": VOCAB_SIZE,
    "num_hidden_layers": 2,
    "hidden_size": 160,
    "num_attention_heads": 2,
    "intermediate_size": 192,
    "max_position_embeddings": 1024,
}
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    # Short, so that 500 tokens see wavelengths that are kept, between and stretched.
    "original_max_position_embeddings": 256,
}
_LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.5}

# Name -> (model_type, fields of its configuration).
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("bloom", _BLOOM),
    "bloom_112_heads": ("bloom", {**_BLOOM, "n_layer": 1, "hidden_size": 224, "n_head": 112}),
    "bloom_untied": ("bloom", {**_BLOOM, "tie_word_embeddings": False, "n_head": 1}),
    "opt": ("opt", _OPT),
    "opt_350m": ("opt", {**_OPT, "word_embed_proj_dim": 48, "do_layer_norm_before": False}),
    "opt_no_bias": ("opt", {**_OPT, "enable_bias": False, "activation_function": "gelu"}),
    "opt_no_final_norm": (
        "opt",
        {**_OPT, "hidden_size": 160, "word_embed_proj_dim": 160, "_remove_final_layer_norm": True},
    ),
    "llama": ("llama", {**_LLAMA, "num_key_value_heads": 4}),
    "llama_grouped_linear": (
        "llama",
        {**_LLAMA, "head_dim": 128, "rope_parameters": _LINEAR_ROPE},
    ),
    "llama_one_key_head_biases": (
        "llama",
        {
            **_LLAMA,
            "num_key_value_heads": 1,
            "attention_bias": True,
            "mlp_bias": True,
            "hidden_act": "gelu_pytorch_tanh",
        },
    ),
    "llama3_tied": (
        "llama",
        {**_LLAMA, "rope_parameters": _LLAMA3_ROPE, "head_dim": 64, "tie_word_embeddings": True},
    ),
    "mistral_window": ("mistral", {**_LLAMA, "sliding_window": 32, "head_dim": 96}),
    "mistral": ("mistral", {**_LLAMA, "sliding_window": None}),
    "qwen2": ("qwen2", {**_LLAMA, "tie_word_embeddings": True}),
    "qwen2_untied": ("qwen2", {**_LLAMA, "tie_word_embeddings": False, "num_key_value_heads": 1}),
    "qwen3": ("qwen3", {**_LLAMA, "head_dim": 128, "tie_word_embeddings": True}),
    "qwen3_biases": ("qwen3", {**_LLAMA, "head_dim": 80, "attention_bias": True}),
    "gpt_neox": ("gpt_neox", {**_NEOX, "hidden_act": "gelu"}),
    "gpt_neox_sequential": (
        "gpt_neox",
        {**_NEOX, "use_parallel_residual": False, "hidden_size": 192, "hidden_act": "gelu_fast"},
    ),
    "gpt_neox_whole_heads_no_bias": (
        "gpt_neox",
        {
            **_NEOX,
            "attention_bias": False,
            "hidden_act": "relu",
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 2_000.0,
                "partial_rotary_factor": 1.0,
            },
        },
    ),
}

# One of each family, for what does not depend on the options of a shape.
OF_FAMILIES = {
    "bloom": "bloom",
    "opt": "opt",
    "llama": "llama_grouped_linear",
    "mistral": "mistral_window",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gpt_neox": "gpt_neox",
}


def of_type(*model_types: str) -> list[str]:
    """Names of the variants of these families."""
    return [name for name, (model_type, _) in VARIANTS.items() if model_type in model_types]


def config(name: str) -> Any:
    """The configuration of a variant, as transformers has it."""
    model_type, fields = VARIANTS[name]
    return transformers.AutoConfig.for_model(model_type, **fields)


@functools.cache
def model(name: str) -> Any:
    """The model of a variant, in float32; not to be changed."""
    built = transformers.AutoModelForCausalLM.from_config(config(name)).eval()
    draw(built)
    return built


def draw(built: Any) -> None:
    """Weights such that activations keep their size, biases and scales that matter."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            parameter.normal_(0.0, 1.0, generator=generator)
            is_norm = "norm" in name or "ln_f" in name
            if parameter.ndim == 1:
                parameter.mul_(0.3)
                parameter.add_(1.0 if is_norm and name.endswith("weight") else 0.0)
            elif "embed" in name and "embed_out" not in name:
                parameter.mul_(0.2)  # Of a tied model, logits too come from it.
            else:
                parameter.mul_(1.5 * parameter.shape[1] ** -0.5)


@functools.cache
def state(name: str) -> Mapping[str, np.ndarray]:
    """The tensors of a variant as transformers saves them: without a tied head."""
    with tempfile.TemporaryDirectory() as folder:
        model(name).save_pretrained(folder)
        return safetensors.numpy.load_file(pathlib.Path(folder) / "model.safetensors")


def save(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Saves a variant as transformers does; returns the folder."""
    model(name).save_pretrained(folder)
    return folder


def write(
    folder: pathlib.Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> pathlib.Path:
    """Writes a folder as public repositories have it; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    contiguous = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    safetensors.numpy.save_file(contiguous, folder / "model.safetensors", {"format": "pt"})
    return folder


def config_values(name: str) -> dict[str, Any]:
    """config.json of a variant: the fields alone that differ from its class."""
    model_type, fields = VARIANTS[name]
    architecture = type(model(name)).__name__
    return {"model_type": model_type, "architectures": [architecture], **fields}


def matched(folder: pathlib.Path, **changes: Any) -> tuple[accounting.Matched, DecoderConfig]:
    """A folder's tensors against its model, without reading them."""
    path = epath.Path(folder)
    family, config = catalogue.read_config(path)
    config = dataclasses.replace(config, **changes)
    return accounting.match(directory.open_directory(path), family, config, path), config


def bits(values: np.ndarray) -> np.ndarray:
    """Values as whole numbers, in which NaN is equal to itself."""
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def all_bits(dtype: Any, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random bits: subnormal numbers, infinities and NaN of many payloads are among them."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(seed)
    integers = np.dtype(f"u{dtype.itemsize}")
    values = rng.integers(0, 2 ** (8 * dtype.itemsize), shape, dtype=integers)
    return values.view(dtype)


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
