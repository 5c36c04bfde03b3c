import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from teacherlm_jax.models import layers
from teacherlm_jax.models.config import DecoderConfig
from tests.models import reference
from tests.models.reference import SMALL

RNG = np.random.default_rng(0)


def config(**overrides):
    return DecoderConfig(**{**SMALL, **overrides})


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def start(module, *inputs):
    return meta.unbox(module.init(jax.random.key(0), *inputs)["params"])


def shapes_of(module, *inputs):
    return jax.tree.map(jnp.shape, jax.eval_shape(lambda: start(module, *inputs)))


@pytest.mark.parametrize(
    ("features", "axes", "inputs", "equation"),
    [
        ((24,), ("embed", "mlp"), (2, 5, 16), "btd,df->btf"),
        ((3, 8), ("embed", "heads", "kv"), (2, 5, 16), "btd,dhk->bthk"),
        ((16,), ("heads", "kv", "embed"), (2, 5, 3, 8), "bthk,hkd->btd"),
    ],
)
@pytest.mark.parametrize("use_bias", [True, False])
def test_dense_contracts_the_last_axes(features, axes, inputs, equation, use_bias):
    module = layers.Dense(features, axes, config(use_bias=use_bias))
    x = normal(*inputs)
    shapes = shapes_of(module, x)
    kernel = normal(*inputs[len(inputs) - len(axes) + len(features) :], *features)
    assert shapes == {"kernel": kernel.shape, **({"bias": features} if use_bias else {})}
    params = {"kernel": kernel, **({"bias": normal(*features)} if use_bias else {})}
    expected = np.einsum(equation, x.astype(np.float64), kernel) + params.get("bias", 0.0)
    np.testing.assert_allclose(module.apply({"params": params}, x), expected, atol=1e-5)


def test_dense_takes_or_refuses_a_bias_against_the_configuration():
    x = normal(1, 16)
    for wanted in (True, False):
        module = layers.Dense((8,), ("embed", "mlp"), config(use_bias=not wanted), use_bias=wanted)
        assert ("bias" in shapes_of(module, x)) == wanted


def test_kernels_start_by_the_size_of_all_input_axes():
    # A normal cut off at two deviations keeps 0.8796 of its own.
    module = layers.Dense((300,), ("heads", "kv", "embed"), config())
    params = start(module, np.zeros((1, 20, 20), np.float32))
    kernel = np.asarray(params["kernel"]) * math.sqrt(400)
    assert kernel.std() == pytest.approx(0.8796, rel=0.01)
    assert abs(kernel.mean()) < 0.01 and np.abs(kernel).max() <= 2
    assert not np.any(params["bias"])


@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
def test_norms_are_their_formulas(norm):
    epsilon = 0.1  # Large enough to be seen.
    module = layers.Norm(config(norm=norm, norm_epsilon=epsilon))
    x = 3 * normal(2, 5, 16) + 2
    params = start(module, x)
    assert set(params) == ({"scale", "bias"} if norm == "layernorm" else {"scale"})
    assert np.all(params["scale"] == 1) and not np.any(params.get("bias", 0))
    params = {name: normal(16) for name in params}
    x64 = x.astype(np.float64)
    if norm == "layernorm":
        expected = (x64 - x64.mean(-1, keepdims=True)) / np.sqrt(x64.var(-1)[..., None] + epsilon)
        expected = expected * params["scale"] + params["bias"]
    else:
        expected = x64 / np.sqrt(np.square(x64).mean(-1)[..., None] + epsilon) * params["scale"]
    np.testing.assert_allclose(module.apply({"params": params}, x), expected, atol=1e-5)


def test_a_norm_may_be_of_another_kind_than_the_configurations():
    x = normal(2, 3, 8)
    for norm, kind in (("layernorm", "rmsnorm"), ("rmsnorm", "layernorm")):
        own = layers.Norm(config(norm=norm), kind=kind)
        usual = layers.Norm(config(norm=kind))
        params = jax.tree.map(lambda leaf: normal(*leaf.shape), start(usual, x))
        assert shapes_of(own, x) == jax.tree.map(jnp.shape, params)
        found, expected = (module.apply({"params": params}, x) for module in (own, usual))
        np.testing.assert_array_equal(found, expected)


def test_norms_compute_in_float32_whatever_the_type():
    """In bfloat16 the mean of a far-off input alone would be wrong by more than its spread."""
    module = layers.Norm(config(norm="layernorm", dtype="bfloat16"))
    x = jnp.asarray(1000 + 8 * normal(4, 16), jnp.bfloat16)
    found = module.apply({"params": {"scale": np.ones(16), "bias": np.zeros(16)}}, x)
    x64 = np.asarray(x, np.float64)
    expected = (x64 - x64.mean(-1, keepdims=True)) / x64.std(-1, keepdims=True)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, atol=0.02)


def test_embedding_looks_up_rows_and_attends_to_them():
    module = layers.Embed(config())
    table = normal(40, 16)
    bound = module.bind({"params": {"embedding": table}})
    tokens = np.array([[0, 39, 7], [7, 0, 1]])
    np.testing.assert_array_equal(bound(tokens), table[tokens])
    x = normal(2, 3, 16)
    np.testing.assert_allclose(bound.attend(x), x.astype(np.float64) @ table.T, atol=1e-5)


def test_the_table_starts_at_its_scale():
    module = layers.Embed(config(vocab_size=2000, embedding_init_scale=0.3))
    table = start(module, np.zeros((1, 1), np.int32))["embedding"]
    assert float(jnp.std(table)) == pytest.approx(0.3, rel=0.02)


def test_bfloat16_logits_are_summed_and_kept_in_float32():
    module = layers.Embed(config(dtype="bfloat16", emb_dim=16))
    bound = module.bind({"params": {"embedding": normal(40, 16)}})
    logits = bound.attend(jnp.asarray(normal(1, 3, 16), jnp.bfloat16))
    assert logits.dtype == jnp.float32
    assert np.any(np.asarray(logits) != np.asarray(logits.astype(jnp.bfloat16), np.float32))


def test_mlp_goes_up_and_down():
    module = layers.Mlp(config(mlp_activation="relu"))
    x = normal(2, 3, 16)
    shapes = shapes_of(module, x)
    assert shapes == {
        "wi": {"kernel": (16, 24), "bias": (24,)},
        "wo": {"kernel": (24, 16), "bias": (16,)},
    }
    params = jax.tree.map(lambda shape: normal(*shape), shapes, is_leaf=lambda x: type(x) is tuple)
    hidden = np.maximum(x.astype(np.float64) @ params["wi"]["kernel"] + params["wi"]["bias"], 0)
    expected = hidden @ params["wo"]["kernel"] + params["wo"]["bias"]
    np.testing.assert_allclose(module.apply({"params": params}, x), expected, atol=5e-5)


@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_a_gate_multiplies_and_is_activated(activation):
    """Shazeer 2020: (act(x W) * x V) W2; `wi_0` is W and `wi_1` is V, as in T5X."""
    module = layers.Mlp(config(mlp_activation=activation, gated_mlp=True))
    x = normal(2, 3, 16)
    shapes = shapes_of(module, x)
    assert set(shapes) == {"wi_0", "wi_1", "wo"}
    params = jax.tree.map(lambda shape: normal(*shape), shapes, is_leaf=lambda x: type(x) is tuple)
    gate, linear = (
        x.astype(np.float64) @ params[name]["kernel"] + params[name]["bias"]
        for name in ("wi_0", "wi_1")
    )
    hidden = reference.activation(activation, gate) * linear
    expected = hidden @ params["wo"]["kernel"] + params["wo"]["bias"]
    np.testing.assert_allclose(
        module.apply({"params": params}, x), expected, atol=3e-6 * np.abs(expected).max()
    )


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize(("use_bias", "mlp_bias"), [(True, False), (False, True)])
def test_biases_of_the_mlp_may_be_its_own(gated, use_bias, mlp_bias):
    cfg = config(gated_mlp=gated, use_bias=use_bias, mlp_bias=mlp_bias)
    for name, shapes in shapes_of(layers.Mlp(cfg), normal(1, 2, 16)).items():
        assert ("bias" in shapes) == mlp_bias, name


def test_learned_positions_begin_after_the_offset():
    module = layers.PositionEmbed(config(position="learned", max_positions=9, position_offset=2))
    places = np.array([[0, 1, 8], [3, 0, 0]])
    assert shapes_of(module, places) == {"embedding": (11, 16)}
    table = normal(11, 16)
    found = module.apply({"params": {"embedding": table}}, places)
    np.testing.assert_array_equal(found, table[2:][places])
    # Rows that have ended go on past the last position; they must stay finite.
    beyond = module.apply({"params": {"embedding": table}}, np.array([[9, 100]]))
    np.testing.assert_array_equal(beyond[0], table[[10, 10]])


def test_a_narrow_token_embedding_is_a_narrow_table():
    assert shapes_of(layers.Embed(config(token_dim=8)), np.zeros((1, 1), np.int32)) == {
        "embedding": (40, 8)
    }
