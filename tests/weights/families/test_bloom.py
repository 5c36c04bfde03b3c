"""BLOOM beside transformers; its names; what its configuration may say."""

import numpy as np
import pytest

from teacherlm_jax.weights.config_fields import ConfigFields
from teacherlm_jax.weights.families.bloom import BLOOM
from teacherlm_jax.weights.tensors import WeightsError
from tests.weights import parity, reference_models

# As bigscience/bloom-560m has them: the base model alone.
PUBLIC_NAMES = {
    "word_embeddings.weight",
    "word_embeddings_layernorm.weight",
    "word_embeddings_layernorm.bias",
    *(
        f"h.0.{name}.{kind}"
        for name in (
            "input_layernorm",
            "self_attention.query_key_value",
            "self_attention.dense",
            "post_attention_layernorm",
            "mlp.dense_h_to_4h",
            "mlp.dense_4h_to_h",
        )
        for kind in ("weight", "bias")
    ),
    "ln_f.weight",
    "ln_f.bias",
}
SMALL = {"vocab_size": 8, "n_layer": 1, "n_embed": 6, "num_attention_heads": 2}


@pytest.mark.parametrize("name", reference_models.of_type("bloom"))
def test_every_part_is_that_of_transformers(name, tmp_path):
    parity.assert_every_part_is_equal(name, tmp_path)


def test_stacked_layers_and_short_rows(tmp_path):
    parity.assert_stacked_layers_are_equal("bloom", tmp_path)


def test_a_small_mistake_would_be_seen(tmp_path):
    assert parity.largest_difference("bloom", tmp_path, norm_epsilon=1e-3) > 1e-3


def test_names_are_those_of_public_files():
    config = BLOOM.read_config(ConfigFields(SMALL, "config.json"))
    rules = BLOOM.rules(config)
    assert {rule.theirs.format(layer=0) for rule in rules} == PUBLIC_NAMES
    assert not any(rule.in_head for rule in rules)


def test_queries_keys_and_values_are_fused_head_by_head(tmp_path):
    tensors = reference_models.state("bloom")
    fused = tensors["transformer.h.1.self_attention.query_key_value.weight"]
    folder = reference_models.save("bloom", tmp_path / "bloom")
    matched, _ = reference_models.matched(folder)
    rule, of_layers = matched.sources["layers/self_attention/key/kernel"]
    sizes = {"heads": 2, "kv": 64, "embed": 128}
    found = rule.read(of_layers[1], sizes, [(3, 9), (1, 2), (0, 64)])
    # Head 1 begins after the three times 64 rows of head 0; its keys after its 64 queries.
    np.testing.assert_array_equal(found[:, 0], fused[192 + 64 : 192 + 128, 3:9].T)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"apply_residual_connection_post_layernorm": True},
            r"config.json: apply_residual_connection_post_layernorm = True, .* one of \[False\]",
        ),
        ({"n_inner": 23}, r"n_inner = 23, but it must be one of \[None, 24\]"),
        ({"num_attention_heads": 4}, "num_attention_heads = 4, but it must be a divisor .*, 6"),
        ({"n_layer": None}, "no field 'n_layer' or 'num_hidden_layers'"),
        ({"layer_norm_epsilon": "1e-5"}, "layer_norm_epsilon = '1e-5', .* a number above 0"),
    ],
)
def test_what_the_family_cannot_do_is_an_error(change, message):
    with pytest.raises(WeightsError, match=message):
        BLOOM.read_config(ConfigFields({**SMALL, **change}, "config.json"))
