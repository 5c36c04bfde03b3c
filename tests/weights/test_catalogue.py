"""Public configurations are the models of the size files; families are found by shape."""

import dataclasses
import json

import gin
import numpy as np
import pytest
from etils import epath
from flax.core import meta

from teacherlm_jax.checkpoints import restore
from teacherlm_jax.main import gin_setup
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params, paths
from teacherlm_jax.weights import catalogue
from teacherlm_jax.weights.config_fields import ConfigFields
from teacherlm_jax.weights.rules import axis_sizes
from teacherlm_jax.weights.tensors import WeightsError
from tests.models import families
from tests.weights import reference_models
from tests.weights.public_configs import PUBLIC


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


def config_of(name, **changes):
    """Of a width that the heads share, as most families ask."""
    return families.config(name, **{"emb_dim": 32, "mlp_dim": 128, **changes})


def read(folder, text):
    (folder / "config.json").write_text(text)
    return catalogue.read_config(epath.Path(folder))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_configuration_is_the_model_of_its_size_file(name, tmp_path):
    family, found = read(tmp_path, PUBLIC[name])
    gin_setup.parse([f"models/{name}.gin"])
    expected = gin_setup.bound(DecoderConfig)()
    assert catalogue.unlike(found, expected) == []
    assert found.max_positions == expected.max_positions
    # So a checkpoint that was imported is read with its size file.
    restore._check_model(epath.Path("0"), found, expected)
    assert family.architecture == json.loads(PUBLIC[name])["architectures"][0]


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_written_of_a_public_model_is_the_same_model(name, tmp_path):
    family, config = read(tmp_path, PUBLIC[name])
    found = catalogue.family_of(config)
    # Without a window Mistral is a Llama.
    assert found is (catalogue.FAMILIES["llama"] if name.endswith("v0_3") else family)
    written = {"model_type": found.model_type, **found.write_config(config)}
    _, again = read(tmp_path, json.dumps(written))
    assert catalogue.resolved(again) == catalogue.resolved(config)
    assert again.max_positions == config.max_positions


@pytest.mark.parametrize("name", reference_models.VARIANTS)
def test_older_names_are_read_as_those_that_transformers_writes_now(name, tmp_path):
    reference_models.config(name).save_pretrained(tmp_path)
    family, newer = catalogue.read_config(epath.Path(tmp_path))
    written = {"model_type": family.model_type, **family.write_config(newer)}
    _, older = read(tmp_path, json.dumps(written))
    assert catalogue.resolved(older) == catalogue.resolved(newer)
    assert catalogue.unlike(older, newer) == []


@pytest.mark.parametrize("name", families.NAMES)
def test_every_shape_of_ours_belongs_to_a_family(name):
    expected = {"opt_350m": "opt", "neox": "gpt_neox", "neox_sequential": "gpt_neox"}
    assert catalogue.family_of(config_of(name)).model_type == expected.get(name, name)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bloom", {"position": "none"}, r"bloom \(position\).*opt \(.*gpt_neox \("),
        ("opt", {"norm_epsilon": 1e-6}, r"opt \(norm_epsilon\)"),
        ("opt_350m", {"final_norm": True}, r"opt \(final_norm\)"),
        # transformers has projections only where the widths differ.
        ("opt", {"token_dim": 32}, r"opt \(token_dim\)"),
        ("bloom", {"qkv_bias": False}, r"bloom \(qkv_bias\)"),
        ("neox", {"mlp_bias": False}, r"gpt_neox \(mlp_bias\)"),
        ("neox", {"head_dim": 12}, r"gpt_neox \(.*head_dim"),
    ],
)
def test_a_shape_that_no_family_has_says_what_differs(name, changes, message):
    with pytest.raises(WeightsError, match=f"no family of public checkpoints .*{message}"):
        catalogue.family_of(config_of(name, **changes))


def test_heads_that_do_not_divide_the_width_are_mistrals():
    """Llama's class refuses them, whatever the width of a head; Mistral's does not."""
    config = families.config("llama", num_heads=6)
    assert catalogue.family_of(config).model_type == "mistral"


def test_two_configurations_of_one_model_are_alike():
    config = families.config("llama")
    other = dataclasses.replace(
        config,
        qkv_bias=False,
        rotary_dim=config.head_dim,
        dtype="bfloat16",
        scan_layers=False,
        max_positions=77,
    )
    assert catalogue.unlike(config, other) == []
    assert catalogue.unlike(config, dataclasses.replace(config, mlp_bias=True)) == ["mlp_bias"]
    learned = families.config("opt")
    assert catalogue.unlike(learned, dataclasses.replace(learned, max_positions=5)) == [
        "max_positions"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "lama"}, "model_type = 'lama', .* did you mean 'llama'"),
        ({"model_type": ["llama"]}, r"model_type = \['llama'\], but it must be one of"),
        ({"model_type": None}, "no field 'model_type'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config = .* absent"),
        (
            {"num_key_value_heads": 3},
            "config.json describes a model that cannot be: .*num_kv_heads = 3",
        ),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_field(change, message, tmp_path):
    values = {**json.loads(PUBLIC["llama/llama2_7b"]), **change}
    with pytest.raises(WeightsError, match=message):
        read(tmp_path, json.dumps(values))


def test_rules_are_of_every_parameter():
    """Of each shape, by name and by number of scalars."""
    for name in reference_models.VARIANTS:
        model_type, _ = reference_models.VARIANTS[name]
        family = catalogue.FAMILIES[model_type]
        values = reference_models.config(name).to_dict()
        config = family.read_config(ConfigFields(values, name))
        leaves = paths(meta.unbox(boxed_params(Decoder(config))))
        rules = family.rules(config)
        assert sorted(rule.ours for rule in rules) == sorted(leaves), name
        sizes = axis_sizes(config)
        for rule in rules:
            count = config.num_layers if rule.is_layered else 1
            own = int(np.prod(rule.their_shape(sizes))) // rule.parts
            assert count * own == leaves[rule.ours].size, (name, rule)
