"""Checkpoints of made-up numbers, as large as asked for and written a tensor at a time."""

import json
import pathlib
from typing import Any

import ml_dtypes
import numpy as np

from teacherlm_jax.weights import catalogue, safetensors_file
from teacherlm_jax.weights import rules as rules_lib
from teacherlm_jax.weights.accounting import expanded
from teacherlm_jax.weights.config_fields import ConfigFields

DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float32": np.dtype(np.float32)}
# Of 2 GB the embedding is a seventh, so that "twice the largest tensor" hides nothing.
_BLOCKS_OF_TWO_GB = {
    ("bloom", "bfloat16"): {"n_layer": 16, "vocab_size": 65_536},
    ("bloom", "float32"): {"n_layer": 8, "vocab_size": 32_768},
    ("llama", "bfloat16"): {"num_hidden_layers": 18, "vocab_size": 32_000},
    ("llama", "float32"): {"num_hidden_layers": 9, "vocab_size": 16_000},
}
_WIDTH = 2048
_SHARD_BYTES = 500_000_000
# Numbers repeat after so many; no compressor looks back as far.
_PERIOD = 2**24 + 1


def config_of(family: str, dtype: str, gigabytes: float = 2.0) -> dict[str, Any]:
    """The config.json of a model of about that size."""
    sizes = dict(_BLOCKS_OF_TWO_GB[family, dtype])
    layers = next(name for name in sizes if name != "vocab_size")
    sizes[layers] = max(1, round(sizes[layers] * gigabytes / 2))
    sizes["vocab_size"] = max(1, round(sizes["vocab_size"] * gigabytes / 16)) * 8
    common = {"model_type": family, "torch_dtype": dtype, "hidden_size": _WIDTH, **sizes}
    if family == "bloom":
        return {**common, "architectures": ["BloomForCausalLM"], "n_head": 16}
    return {
        **common,
        "architectures": ["LlamaForCausalLM"],
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 5632,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    }


def write(folder: pathlib.Path, config: dict[str, Any]) -> int:
    """Writes config.json, shards and their index; returns the bytes of all tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    family = catalogue.FAMILIES[config["model_type"]]
    ours = family.read_config(ConfigFields(config, "made up"))
    sizes = rules_lib.axis_sizes(ours)
    rules = expanded(family.rules(ours), ours.num_layers)
    shapes = {_full_name(family, rule, name): rule.their_shape(sizes) for name, _, rule in rules}
    dtype = DTYPES[config["torch_dtype"]]
    # As trained weights are: their last bits are noise, their exponents alike.
    numbers = np.random.default_rng(0).standard_normal(_PERIOD, np.float32) * 0.02
    numbers = numbers.astype(dtype)
    shards: list[list[str]] = [[]]
    total = used = 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * dtype.itemsize
        if shards[-1] and used + size > _SHARD_BYTES:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += size
        total += size

    def read(name: str) -> np.ndarray:
        start = list(shapes).index(name) * 1_000_003 % _PERIOD
        count = int(np.prod(shapes[name]))
        repeats = -(-(start + count) // _PERIOD)
        parts = [numbers[start:], *[numbers] * (repeats - 1)]
        return np.concatenate(parts)[:count].reshape(shapes[name])

    weight_map = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        entries = [(name, dtype, shapes[name]) for name in names]
        safetensors_file.write(folder / file, entries, read)
        weight_map.update(dict.fromkeys(names, file))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return total


def _full_name(family: Any, rule: rules_lib.Rule, name: str) -> str:
    return name if rule.in_head else family.prefix + name
