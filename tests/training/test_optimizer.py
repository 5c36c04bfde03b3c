"""Which parameter is in which group, and what the groups do, against optax by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import meta

from teacherlm_jax.models import parameters
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.training import optimizer as optimizer_lib
from tests.training import tiny

# As many kinds of parameters as the decoder has: biases, norms with bias, tied and untied.
BIASED = {"num_layers": 2, "use_bias": True, "norm": "layernorm", "embedding_norm": True}
UNROLLED = tiny.config(**BIASED)
SCANNED = tiny.config(**BIASED, scan_layers=True)
TIED = tiny.config(**BIASED, scan_layers=True, logits_via_embedding=True)
KERNELS = (
    "self_attention/query",
    "self_attention/key",
    "self_attention/value",
    "self_attention/out",
    "mlp/wi",
    "mlp/wo",
)


def by_path(tree, is_leaf=None):
    return {
        "/".join(key.key for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    }


def boxed(config):
    return parameters.boxed_params(Decoder(config))


def normal_like(config, seed):
    """A tree of normal numbers, with the same numbers for scanned and unrolled layers."""
    rng = np.random.default_rng(seed)
    unrolled = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), meta.unbox(boxed(UNROLLED))
    )
    return stacked(unrolled) if config.scan_layers else unrolled


def stacked(unrolled):
    """Unrolled parameters as scanned ones."""
    rest = {name: tree for name, tree in unrolled.items() if not name.startswith("layers_")}
    layers = [unrolled["layers_0"], unrolled["layers_1"]]
    return {**rest, "layers": jax.tree.map(lambda *leaves: np.stack(leaves), *layers)}


def updates(transformation, params, gradients):
    """Updates of each gradient in turn, parameters held."""
    update_fn = jax.jit(transformation.update)
    state, found = transformation.init(params), []
    for gradient in gradients:
        update, state = update_fn(gradient, state, params)
        found.append(update)
    return found


# The groups


def muon_paths(config):
    numbers = optimizer_lib.muon_dimension_numbers(boxed(config))
    return by_path(numbers, is_leaf=lambda leaf: isinstance(leaf, tuple) or leaf is None)


def test_kernels_go_to_muon_and_all_else_to_adam():
    for config, prefixes in ((UNROLLED, ("layers_0", "layers_1")), (SCANNED, ("layers",))):
        numbers = muon_paths(config)
        assert numbers.keys() == by_path(meta.unbox(boxed(config))).keys()
        muon = {path for path, value in numbers.items() if value is not None}
        assert muon == {f"{prefix}/{name}/kernel" for prefix in prefixes for name in KERNELS}
        adam = {path.rpartition("/")[2] for path in numbers.keys() - muon}
        assert adam == {"embedding", "kernel", "bias", "scale"}
        assert "logits_dense/kernel" not in muon and "token_embedder/embedding" not in muon
    assert "logits_dense/kernel" not in muon_paths(TIED)


def test_kernels_are_flattened_around_embed_and_layers_are_a_batch():
    numbers = muon_paths(UNROLLED)
    assert numbers["layers_0/self_attention/query/kernel"] == ((0,), (1, 2))
    assert numbers["layers_0/self_attention/out/kernel"] == ((0, 1), (2,))
    assert numbers["layers_0/mlp/wi/kernel"] == ((0,), (1,))
    numbers = muon_paths(SCANNED)
    assert numbers["layers/self_attention/query/kernel"] == ((1,), (2, 3))
    assert numbers["layers/self_attention/out/kernel"] == ((1, 2), (3,))
    assert numbers["layers/mlp/wo/kernel"] == ((1,), (2,))


@pytest.mark.parametrize("names", [("heads", "embed", "kv"), ("layers", "heads", "kv"), None])
def test_a_kernel_without_embed_at_an_end_is_an_error(names):
    array = jax.ShapeDtypeStruct((2, 3, 4), jnp.float32)
    kernel = array if names is None else meta.Partitioned(array, names)
    with pytest.raises(ValueError, match=r"\['odd'\]\['kernel'\] has logical axes .*`embed`"):
        optimizer_lib.Muon(1e-3).build({"odd": {"kernel": kernel}})


# What the groups do

MUON = optimizer_lib.Muon(
    0.02,
    embedding_learning_rate=0.5,
    weight_decay=0.1,
    embedding_weight_decay=0.01,
    momentum=0.9,
    b1=0.8,
    b2=0.97,
    clip_norm=None,
)


@functools.cache
def muon_updates(config):
    params = normal_like(config, 0)
    gradients = [normal_like(config, seed) for seed in (1, 2)]
    found = updates(MUON.build(boxed(config)), params, gradients)
    return params, gradients, [by_path(update) for update in found]


def matrices(tree):
    """Every Muon kernel of an unrolled tree as [in, out]."""
    flat = by_path(tree)
    return {
        f"{layer}/{name}/kernel": np.reshape(
            flat[f"{layer}/{name}/kernel"], (-1, 16) if name.endswith(("out", "wo")) else (16, -1)
        )
        for layer in ("layers_0", "layers_1")
        for name in KERNELS
    }


def test_muon_updates_are_those_of_optax_on_each_matrix_alone():
    params, gradients, found = muon_updates(UNROLLED)
    by_hand = optax.contrib.muon(0.02, beta=0.9, weight_decay=0.1, consistent_rms=0.2)
    flat = [matrices(gradient) for gradient in gradients]
    assert all(matrix.ndim == 2 for matrix in flat[0].values())
    expected = updates(by_hand, matrices(params), flat)
    for step in range(2):
        for path, matrix in expected[step].items():
            update = np.reshape(found[step][path], matrix.shape)
            np.testing.assert_allclose(update, matrix, atol=1e-6, err_msg=path)


def test_the_rest_is_updated_by_adam():
    params, gradients, found = muon_updates(UNROLLED)
    kernels = matrices(params).keys()
    rest = [
        {path: leaf for path, leaf in by_path(tree).items() if path not in kernels}
        for tree in (params, *gradients)
    ]
    by_hand = optax.adamw(0.5, b1=0.8, b2=0.97, weight_decay=0.01, nesterov=True)
    expected = updates(by_hand, rest[0], rest[1:])
    assert expected[0].keys() | kernels == found[0].keys()
    for step in range(2):
        for path, leaf in expected[step].items():
            np.testing.assert_allclose(found[step][path], leaf, rtol=1e-5, err_msg=path)


def test_scanned_kernels_are_updated_as_their_layers_alone():
    found, alone = muon_updates(SCANNED)[2], muon_updates(UNROLLED)[2]
    assert not any(path.startswith("layers_") for path in found[0])
    for step in range(2):
        for path, leaf in found[step].items():
            if path.startswith("layers/"):
                for layer in range(2):
                    own = alone[step][path.replace("layers/", f"layers_{layer}/", 1)]
                    np.testing.assert_allclose(leaf[layer], own, atol=1e-6, err_msg=path)
            else:
                np.testing.assert_allclose(leaf, alone[step][path], rtol=1e-6, err_msg=path)


@pytest.mark.parametrize("config", [UNROLLED, SCANNED])
def test_the_size_of_a_muon_update_does_not_depend_on_the_shape(config):
    """arXiv 2502.16982: a root mean square near 0.2 times the learning rate, as AdamW has."""
    params, _, found = muon_updates(config)
    sizes = set()
    for path, update in found[0].items():
        decay = -0.02 * 0.1 * by_path(params)[path]
        if muon_paths(config)[path] is not None:
            size = np.sqrt(np.mean(np.square(update - decay))) / 0.02
            assert 0.15 < size < 0.25, path
            sizes.add(update.shape)
    assert len(sizes) == 4


SMALL_BOXED = {
    "wi": {"kernel": meta.Partitioned(jax.ShapeDtypeStruct((4, 7), np.float32), ("embed", "mlp"))},
    "norm": {"scale": meta.Partitioned(jax.ShapeDtypeStruct((4,), np.float32), ("norm",))},
}


def small_like(seed):
    rng = np.random.default_rng(seed)
    return {
        "wi": {"kernel": rng.normal(size=(4, 7)).astype(np.float32)},
        "norm": {"scale": rng.normal(size=4).astype(np.float32)},
    }


def small_updates(optimizer, gradients):
    return updates(optimizer.build(SMALL_BOXED), small_like(0), gradients)


def test_the_embedding_rate_is_the_matrix_rate_unless_it_is_given():
    one = small_updates(optimizer_lib.Muon(0.1), [small_like(1)])[0]
    two = small_updates(optimizer_lib.Muon(0.1, 0.2), [small_like(1)])[0]
    np.testing.assert_array_equal(one["wi"]["kernel"], two["wi"]["kernel"])
    np.testing.assert_allclose(2 * one["norm"]["scale"], two["norm"]["scale"], rtol=1e-6)
    assert np.abs(one["norm"]["scale"]).min() > 0.05


@pytest.mark.parametrize("make", [optimizer_lib.Muon, optimizer_lib.AdamW])
def test_gradients_above_the_norm_are_scaled_down_and_others_are_not(make):
    gradient, other = small_like(1), small_like(2)
    norms = [float(optax.tree.norm(tree)) for tree in (gradient, other)]
    small = jax.tree.map(lambda leaf: leaf / (4 * norms[1]), other)
    # Two gradients of different sizes: momentum tells whether the first was scaled down.
    clipped = small_updates(make(0.1, clip_norm=0.5), [gradient, small])[1]
    scaled = jax.tree.map(lambda leaf: leaf / (2 * norms[0]), gradient)
    expected = small_updates(make(0.1, clip_norm=None), [scaled, small])[1]
    unclipped = small_updates(make(0.1, clip_norm=None), [gradient, small])[1]
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), clipped, expected)
    assert np.abs(clipped["wi"]["kernel"] - unclipped["wi"]["kernel"]).max() > 1e-3


# AdamW


def test_adamw_decays_kernels_and_embeddings_alone():
    params = normal_like(SCANNED, 0)
    adamw = optimizer_lib.AdamW(0.1, weight_decay=0.5).build(boxed(SCANNED))
    zeros = jax.tree.map(np.zeros_like, params)
    for path, update in by_path(updates(adamw, params, [zeros])[0]).items():
        decays = path.endswith(("/kernel", "/embedding"))
        expected = -0.1 * 0.5 * by_path(params)[path] if decays else 0.0 * update
        np.testing.assert_allclose(update, expected, rtol=1e-6, err_msg=path)


def test_adamw_is_that_of_optax():
    params, gradients = normal_like(UNROLLED, 0), [normal_like(UNROLLED, seed) for seed in (1, 2)]
    settings = optimizer_lib.AdamW(0.1, b1=0.7, b2=0.9, eps=1e-3, clip_norm=None)
    found = updates(settings.build(boxed(UNROLLED)), params, gradients)
    expected = updates(optax.adam(0.1, b1=0.7, b2=0.9, eps=1e-3), params, gradients)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), found, expected)


# Settings


def test_warmup_cosine_rises_in_a_line_and_falls_along_a_cosine():
    schedule = optimizer_lib.warmup_cosine(0.4, train_steps=30, warmup_steps=10, end_fraction=0.1)
    for step in (0, 1, 5, 10, 11, 20, 29, 30, 31, 1000):
        along = min((step - 10) / 20, 1.0)
        cosine = 0.04 + (0.4 - 0.04) * 0.5 * (1 + np.cos(np.pi * along))
        np.testing.assert_allclose(
            schedule(step), 0.04 * step if step < 10 else cosine, rtol=1e-5, err_msg=str(step)
        )
    assert float(optimizer_lib.warmup_cosine(0.4, 30, 0)(0)) == pytest.approx(0.4)


@pytest.mark.parametrize("warmup", [-1, 30, 31])
def test_a_warmup_that_leaves_no_steps_is_an_error(warmup):
    with pytest.raises(ValueError, match=rf"warmup_steps = {warmup} must .* train_steps = 30"):
        optimizer_lib.warmup_cosine(0.4, train_steps=30, warmup_steps=warmup)


def test_the_learning_rate_at_a_step():
    assert optimizer_lib.learning_rate_at(optimizer_lib.AdamW(0.25), 7) == 0.25
    schedule = optimizer_lib.warmup_cosine(0.4, 30, 10)
    assert optimizer_lib.learning_rate_at(optimizer_lib.Muon(schedule), 5) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("make", "fields", "message"),
    [
        ("Muon", {"learning_rate": -1e-3}, r"Muon.learning_rate = -0.001, .* optax schedule"),
        ("Muon", {"learning_rate": "1e-3"}, r"Muon.learning_rate = '1e-3'"),
        ("Muon", {"learning_rate": 1.0, "momentum": True}, r"Muon.momentum = True"),
        (
            "Muon",
            {"learning_rate": 1.0, "weight_decay": abs},
            r"Muon.weight_decay = .*at least 0\.",
        ),
        ("AdamW", {"learning_rate": float("nan")}, r"AdamW.learning_rate = nan"),
        ("AdamW", {"learning_rate": float("inf")}, r"AdamW.learning_rate = inf"),
        ("AdamW", {"learning_rate": 1.0, "clip_norm": -1}, r"AdamW.clip_norm = -1"),
    ],
)
def test_a_setting_that_is_no_number_of_at_least_0_is_an_error(make, fields, message):
    with pytest.raises(ValueError, match=message):
        getattr(optimizer_lib, make)(**fields)
