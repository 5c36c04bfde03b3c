import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.models import config as config_lib
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from tests.models import families, reference

SMALL = reference.SMALL


@pytest.mark.parametrize("field", list(SMALL))
@pytest.mark.parametrize("value", [0, -2, 2.0, "8", True, None])
def test_sizes_are_whole_numbers_above_zero(field, value):
    with pytest.raises(ValueError, match=rf"{field} = {value!r}.*at least 1.*gin/models/"):
        DecoderConfig(**{**SMALL, field: value})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("norm_epsilon", 0.0, "norm_epsilon = 0.0.*above 0"),
        ("norm_epsilon", math.nan, "norm_epsilon = nan.*above 0"),
        ("norm_epsilon", "1e-5", "norm_epsilon = '1e-5'.*number"),
        ("embedding_init_scale", None, "embedding_init_scale = None.*number"),
        ("dropout_rate", 1.0, r"dropout_rate = 1.0.*\[0, 1\)"),
        ("dropout_rate", -0.1, r"dropout_rate = -0.1.*\[0, 1\)"),
        ("dropout_rate", True, "dropout_rate = True.*number"),
        ("mlp_activation", "swish", "mlp_activation = 'swish'.*gelu.*silu"),
        ("norm", "batchnorm", "norm = 'batchnorm'.*layernorm.*rmsnorm"),
        ("position", "t5", "position = 't5'.*alibi.*learned.*none.*rotary"),
        ("residual", "sandwich", "residual = 'sandwich'.*parallel.*post_norm.*pre_norm"),
        ("rope_theta", 0.0, "rope_theta = 0.0.*above 0"),
        ("rope_theta", math.inf, "rope_theta = inf.*above 0"),
        ("rope_theta", "1e4", "rope_theta = '1e4'.*number"),
        ("rope_scaling", {"kind": "linear"}, "rope_scaling = {'kind'.*RopeScaling"),
        ("position", "learned", "max_positions = None.*learned.*gin/models/"),
        ("num_kv_heads", 2, "num_kv_heads = 2.*divide num_heads = 3"),
        ("num_kv_heads", 6, "num_kv_heads = 6.*divide num_heads = 3"),
        ("position_offset", -1, "position_offset = -1.*at least 0.*gin/models/"),
        ("position_offset", None, "position_offset = None.*at least 0"),
        ("position_offset", True, "position_offset = True.*at least 0"),
        ("dtype", "float16", "dtype = 'float16'.*bfloat16.*float32"),
        ("param_dtype", "int8", "param_dtype = 'int8'.*bfloat16.*float32"),
        ("remat_policy", "minimal", "remat_policy = 'minimal'.*dots.*full.*none"),
    ],
)
def test_errors_say_field_value_and_what_may_be(field, value, message):
    with pytest.raises(ValueError, match=f"DecoderConfig.{message}"):
        DecoderConfig(**{**SMALL, field: value})


@pytest.mark.parametrize(
    "field", ["num_kv_heads", "token_dim", "max_positions", "rotary_dim", "sliding_window"]
)
@pytest.mark.parametrize("value", [0, -2, 2.0, "8", True])
def test_sizes_that_may_be_absent_are_whole_numbers_otherwise(field, value):
    with pytest.raises(ValueError, match=rf"{field} = {value!r}.*at least 1.*gin/models/"):
        DecoderConfig(**{**SMALL, field: value})


@pytest.mark.parametrize(
    ("fields", "width"), [({"rotary_dim": 3}, 3), ({"rotary_dim": 10}, 10), ({"head_dim": 7}, 7)]
)
def test_what_is_rotated_is_even_and_fits_a_head(fields, width):
    most = fields.get("head_dim", 8)
    with pytest.raises(ValueError, match=rf"rotary_dim = {width}.*even.*\[2, {most}\]"):
        DecoderConfig(**{**SMALL, "position": "rotary", **fields})
    DecoderConfig(**{**SMALL, "position": "alibi", **fields})


@pytest.mark.parametrize("family", families.NAMES)
def test_families_are_values_that_survive_json(family):
    """As a checkpoint keeps them, and as jit's cache needs them."""
    config = families.config(family)
    assert hash(config) == hash(families.config(family))
    fields = dataclasses.asdict(config)
    assert json.loads(json.dumps(fields)) == fields


def test_rows_are_no_longer_than_learned_positions():
    config = families.config("opt")
    config.check_row_length(14, "max_length")
    with pytest.raises(ValueError, match=r"max_length = 15.*14 learned positions.*at most 14"):
        config.check_row_length(15, "max_length")
    config.check_row_length(15, "max_length", unread=1)
    with pytest.raises(ValueError, match=r"max_length = 16.*14 learned positions.*at most 15"):
        config.check_row_length(16, "max_length", unread=1)
    # Elsewhere the number says what weights were trained for, and forbids nothing.
    families.config("llama", max_positions=14).check_row_length(15, "max_length")


def test_widths_have_defaults():
    config = DecoderConfig(**SMALL)
    assert (config.kv_heads, config.token_width, config.rotary_width) == (3, 16, 8)
    config = DecoderConfig(**SMALL, num_kv_heads=1, token_dim=4, rotary_dim=2)
    assert (config.kv_heads, config.token_width, config.rotary_width) == (1, 4, 2)


def test_configurations_are_values():
    one = DecoderConfig(**SMALL)
    assert one == DecoderConfig(**SMALL) and hash(one) == hash(DecoderConfig(**SMALL))
    assert one != dataclasses.replace(one, norm="rmsnorm")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.vocab_size = 3


def test_types_have_names():
    config = DecoderConfig(**SMALL, dtype="bfloat16")
    assert config.compute_dtype == jnp.bfloat16 and config.parameter_dtype == jnp.float32


@pytest.mark.parametrize("name", list(config_lib.ACTIVATIONS))
def test_activations_are_their_formulas(name):
    x = np.linspace(-6, 6, 201)
    found = jax.jit(config_lib.ACTIVATIONS[name])(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, reference.activation(name, x), atol=2e-6)


@functools.cache
def gradients(remat_policy):
    """Gradients, and how many matrix products their program has."""
    cfg = DecoderConfig(**SMALL, remat_policy=remat_policy)
    params = reference.stack_layers(reference.random_params(cfg))
    tokens = np.random.default_rng(0).integers(0, 40, (2, 9))

    def loss(params):
        logits = Decoder(cfg).apply({"params": params}, tokens, tokens, enable_dropout=False)
        return jnp.sum(jnp.sin(logits))

    lowered = jax.jit(jax.grad(loss)).lower(params)
    # What XLA makes of it is not the question here.
    compiled = lowered.compile({"xla_backend_optimization_level": 0})
    return jax.device_get(compiled(params)), lowered.as_text().count("dot_general")


@pytest.mark.parametrize("policy", sorted(set(config_lib.REMAT_POLICIES) - {"none"}))
def test_remat_gives_the_same_gradients_for_more_work(policy):
    usual, products = gradients("none")
    found, more_products = gradients(policy)
    assert more_products > products
    for (path, one), two in zip(jax.tree.leaves_with_path(usual), jax.tree.leaves(found)):
        # Softmax feels no bias of the keys: that gradient is rounding alone.
        np.testing.assert_allclose(two, one, atol=1e-5 * (1 + np.abs(one).max()), err_msg=str(path))


def test_remat_policies_go_from_little_to_much_saved():
    counts = [gradients(policy)[1] for policy in ("full", "qkv_attention", "qkv_attention_mlp")]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) == 3
