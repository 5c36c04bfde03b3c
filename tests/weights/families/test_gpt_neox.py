"""GPT-NeoX and Pythia beside transformers; their names and configurations."""

import pytest

from teacherlm_jax.weights.config_fields import ConfigFields
from teacherlm_jax.weights.families.gpt_neox import GPT_NEOX
from teacherlm_jax.weights.tensors import WeightsError
from tests.weights import parity, reference_models

# As EleutherAI/pythia-70m has them, less the prefix "gpt_neox.".
PUBLIC_NAMES = {
    "embed_in.weight",
    *(
        f"layers.0.{name}.{kind}"
        for name in (
            "input_layernorm",
            "post_attention_layernorm",
            "attention.query_key_value",
            "attention.dense",
            "mlp.dense_h_to_4h",
            "mlp.dense_4h_to_h",
        )
        for kind in ("weight", "bias")
    ),
    "final_layer_norm.weight",
    "final_layer_norm.bias",
    "embed_out.weight",
}
SMALL = {
    "vocab_size": 8,
    "num_hidden_layers": 1,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 10,
}


def read(**changes):
    return GPT_NEOX.read_config(ConfigFields({**SMALL, **changes}, "config.json"))


@pytest.mark.parametrize("name", reference_models.of_type("gpt_neox"))
def test_every_part_is_that_of_transformers(name, tmp_path):
    parity.assert_every_part_is_equal(name, tmp_path)


@pytest.mark.parametrize("name", ["gpt_neox", "gpt_neox_sequential"])
def test_stacked_layers_and_short_rows(name, tmp_path):
    parity.assert_stacked_layers_are_equal(name, tmp_path)


@pytest.mark.parametrize("change", [{"mlp_activation": "gelu"}, {"rotary_dim": 18}])
def test_a_small_mistake_would_be_seen(change, tmp_path):
    assert parity.largest_difference("gpt_neox", tmp_path, **change) > 1e-3


def test_names_are_those_of_public_files():
    rules = GPT_NEOX.rules(read())
    assert {rule.theirs.format(layer=0) for rule in rules} == PUBLIC_NAMES
    assert {rule.theirs for rule in rules if rule.in_head} == {"embed_out.weight"}
    bare = {rule.theirs.format(layer=0) for rule in GPT_NEOX.rules(read(attention_bias=False))}
    without = {"query_key_value.bias", "dense.bias"}
    assert bare == PUBLIC_NAMES - {f"layers.0.attention.{name}" for name in without}


def test_older_and_newer_names_of_rotary_fields():
    older = read(rotary_emb_base=5_000, rotary_pct=0.5)
    newer = read(rope_parameters={"rope_theta": 5_000.0, "partial_rotary_factor": 0.5})
    assert older == newer and (older.rope_theta, older.rotary_width) == (5_000.0, 4)
    assert read().rotary_width == 2


def test_every_rotary_width_survives_being_written_as_a_share():
    """49 x (1 / 49) is less than 1 in floating point."""
    for head_dim in range(2, 130, 2):
        for rotary_dim in range(2, head_dim + 1, 2):
            share = (rotary_dim + 0.5) / head_dim if rotary_dim < head_dim else 1.0
            config = read(hidden_size=2 * head_dim, rotary_pct=share)
            assert config.rotary_dim == rotary_dim
            assert read(**GPT_NEOX.write_config(config)).rotary_dim == rotary_dim


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rotary_pct": 0.1}, "rotary_dim = 0, but it must be"),
        ({"rotary_pct": 0}, "rotary_pct = 0, but it must be a number above 0"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2}}, "rope_type = 'dynamic'"),
        ({"hidden_act": "mish"}, "hidden_act = 'mish'"),
        ({"use_parallel_residual": 1}, "use_parallel_residual = 1, .* true or false"),
    ],
)
def test_what_the_family_cannot_do_is_an_error(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(**change)
    # The catalogue makes a WeightsError that names the file of what the model itself refuses.
    assert isinstance(caught.value, WeightsError) or "DecoderConfig" in str(caught.value)
