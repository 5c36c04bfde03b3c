"""OPT beside transformers; its names; what its configuration may say."""

import numpy as np
import pytest

from teacherlm_jax.weights.config_fields import ConfigFields
from teacherlm_jax.weights.families.opt import OPT
from teacherlm_jax.weights.tensors import WeightsError
from tests.weights import parity, reference_models

# As facebook/opt-350m has them, less the prefix "model.".
PUBLIC_NAMES = {
    "decoder.embed_tokens.weight",
    "decoder.embed_positions.weight",
    "decoder.project_in.weight",
    "decoder.project_out.weight",
    *(
        f"decoder.layers.0.{name}.{kind}"
        for name in (
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.q_proj",
            "self_attn.out_proj",
            "self_attn_layer_norm",
            "fc1",
            "fc2",
            "final_layer_norm",
        )
        for kind in ("weight", "bias")
    ),
}
SMALL = {
    "vocab_size": 8,
    "num_hidden_layers": 1,
    "hidden_size": 6,
    "num_attention_heads": 2,
    "ffn_dim": 10,
    "max_position_embeddings": 5,
}
SMALL_350M = {**SMALL, "word_embed_proj_dim": 4, "do_layer_norm_before": False}


@pytest.mark.parametrize("name", reference_models.of_type("opt"))
def test_every_part_is_that_of_transformers(name, tmp_path):
    parity.assert_every_part_is_equal(name, tmp_path)


@pytest.mark.parametrize("name", ["opt", "opt_350m"])
def test_stacked_layers_and_short_rows(name, tmp_path):
    parity.assert_stacked_layers_are_equal(name, tmp_path)


def test_a_small_mistake_would_be_seen(tmp_path):
    """Positions that begin a row too early, as the table's two extra rows invite."""
    config, params = parity.load_model("opt", tmp_path, scan_layers=True)
    table = params["position_embedder"]["embedding"]
    assert table.shape[0] == config.max_positions + 2
    rolled = {**params, "position_embedder": {"embedding": np.roll(table, 1, axis=0)}}
    logits, _ = parity.ours(config, rolled)
    expected, _ = parity.theirs("opt")
    assert np.abs(logits - expected)[parity.batch()[1]].max() > 0.1


def test_names_are_those_of_public_files():
    rules = OPT.rules(OPT.read_config(ConfigFields(SMALL_350M, "config.json")))
    assert {rule.theirs.format(layer=0) for rule in rules} == PUBLIC_NAMES
    rules = OPT.rules(OPT.read_config(ConfigFields(SMALL, "config.json")))
    final = {"decoder.final_layer_norm.weight", "decoder.final_layer_norm.bias"}
    projections = {"decoder.project_in.weight", "decoder.project_out.weight"}
    assert {rule.theirs.format(layer=0) for rule in rules} == PUBLIC_NAMES - projections | final


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_norm_elementwise_affine": False}, r"layer_norm_elementwise_affine = False, .*"),
        ({"max_position_embeddings": None}, "no field 'max_position_embeddings'"),
        ({"enable_bias": "no"}, "enable_bias = 'no', but it must be true or false"),
        ({"activation_function": "mish"}, r"activation_function = 'mish', .* one of \['gelu', "),
        ({"activation_function": ["relu"]}, r"activation_function = \['relu'\], .* one of "),
        ({"ffn_dim": 2.0}, r"ffn_dim = 2.0, but it must be a whole number"),
        ({"ffn_dim": True}, r"ffn_dim = True, but it must be a whole number"),
    ],
)
def test_what_the_family_cannot_do_is_an_error(change, message):
    with pytest.raises(WeightsError, match=message):
        OPT.read_config(ConfigFields({**SMALL, **change}, "config.json"))
