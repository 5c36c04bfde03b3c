"""Every tensor is accounted for, under public names with and without the prefix."""

import numpy as np
import pytest

from teacherlm_jax.weights.tensors import WeightsError
from tests.weights import reference_models

HEAD = "lm_head.weight"


def write(folder, name, change=lambda tensors: None, **fields):
    """A folder of a variant, its tensors changed."""
    tensors = dict(reference_models.state(name))
    change(tensors)
    config = {**reference_models.config_values(name), **fields}
    return reference_models.write(folder, config, tensors)


def without_prefix(prefix):
    def change(tensors):
        for key in list(tensors):
            tensors[key.removeprefix(prefix)] = tensors.pop(key)

    return change


PREFIXES = {"bloom": "transformer.", "gpt_neox": "gpt_neox."}


@pytest.mark.parametrize("name", reference_models.OF_FAMILIES.values())
def test_the_prefix_may_be_absent(name, tmp_path):
    prefix = PREFIXES.get(name, "model.")
    with_prefix, config = reference_models.matched(write(tmp_path / "with", name))
    bare, _ = reference_models.matched(write(tmp_path / "bare", name, without_prefix(prefix)))
    assert with_prefix.has_prefix and not bare.has_prefix
    assert with_prefix.sources.keys() == bare.sources.keys()
    kernel, tensors = bare.sources["layers/mlp/wo/kernel"]
    assert len(tensors) == config.num_layers and "{layer}" in kernel.theirs
    used = {tensor.name for tensor in with_prefix.tensors}
    assert used == reference_models.state(name).keys()


def test_a_tied_head_may_be_there_if_it_is_the_table(tmp_path):
    def add_head(tensors):
        tensors[HEAD] = tensors["transformer.word_embeddings.weight"]

    matched, _ = reference_models.matched(write(tmp_path / "same", "bloom", add_head))
    assert matched.tied_head == HEAD and HEAD not in {t.name for t in matched.tensors}

    def change_head(tensors):
        tensors[HEAD] = tensors["transformer.word_embeddings.weight"].copy()
        tensors[HEAD][-1, -1] += 1

    folder = write(tmp_path / "other", "bloom", change_head)
    with pytest.raises(WeightsError, match=r"lm_head.weight is not equal to .*tie_word_embeddings"):
        reference_models.matched(folder)


BUFFERS = {
    "llama_grouped_linear": ["model.layers.1.self_attn.rotary_emb.inv_freq"],
    "opt": ["model.decoder.version"],
    "gpt_neox": [
        "gpt_neox.layers.0.attention.bias",
        "gpt_neox.layers.0.attention.masked_bias",
        "gpt_neox.layers.1.attention.rotary_emb.inv_freq",
    ],
}


@pytest.mark.parametrize("name", BUFFERS)
def test_what_files_hold_beside_parameters_is_known_by_name(name, tmp_path):
    def add(tensors):
        tensors.update(dict.fromkeys(BUFFERS[name], np.zeros(3, np.uint8)))

    matched, _ = reference_models.matched(write(tmp_path, name, add))
    assert matched.buffers == tuple(sorted(BUFFERS[name]))


QUERY = "model.layers.1.self_attn.q_proj.weight"


def drop(tensors):
    del tensors[QUERY]


def add_unknown(tensors):
    tensors["model.layers.0.self_attn.q_proj.bias"] = np.zeros(4, np.float32)


def add_twice(tensors):
    tensors[QUERY.removeprefix("model.")] = tensors[QUERY]


def misshape(tensors):
    tensors[QUERY] = tensors[QUERY].T[:, :7]


def quantize(tensors):
    tensors[QUERY] = tensors[QUERY].astype(np.int8)


def strip(tensors):
    tensors[QUERY.removeprefix("model.")] = tensors.pop(QUERY)


def shift(tensors):
    tensors["model.layers.2.self_attn.q_proj.weight"] = tensors.pop(QUERY)


@pytest.mark.parametrize(
    ("change", "fields", "message"),
    [
        (
            drop,
            {},
            r"missing 1: layers.1.self_attn.q_proj.weight \[512, 128\]; get the files again",
        ),
        (add_unknown, {}, r"unknown 1: model.layers.0.self_attn.q_proj.bias \[4\]; get"),
        (shift, {}, r"missing 1: .*unknown 1: model.layers.2.self_attn.q_proj.weight"),
        (strip, {}, "has the prefix 'model.', but layers.1.* has not: name all"),
        (add_twice, {}, f"'{QUERY}'.* the same tensor under two names"),
        (misshape, {}, rf"{QUERY} has shape \[128, 7\], but config.json makes it \[512, 128\]"),
        (quantize, {}, f"{QUERY} holds int8, but a parameter must hold one of .*bfloat16"),
        (lambda tensors: None, {"num_hidden_layers": 10**9}, "speaks of 1000000000 layers"),
        (lambda tensors: None, {"num_hidden_layers": 4}, "missing 18: .* and 13 more; get"),
        (lambda tensors: None, {"attention_bias": True}, r"missing 8: .*bias \[512\]"),
        (lambda tensors: tensors.pop(HEAD), {}, r"missing 1: lm_head.*tie_word_embeddings"),
    ],
)
def test_errors_name_the_tensor_and_what_was_expected(change, fields, message, tmp_path):
    folder = write(tmp_path / "folder", "llama_grouped_linear", change, **fields)
    with pytest.raises(WeightsError, match=message):
        reference_models.matched(folder)
