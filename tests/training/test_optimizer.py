"""Which parameter is in which group, and what the groups do, against optax by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import meta

from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training import schedules
from tests.training.trees import (
    KERNELS,
    SCANNED,
    TIED,
    UNROLLED,
    boxed,
    by_path,
    matrices,
    normal_like,
    updates,
)

NAMES = ("Muon", "AdamW", "Lion", "SGD", "Adafactor")

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


@pytest.mark.parametrize("name", NAMES)
def test_gradients_above_the_norm_are_scaled_down_and_others_are_not(name):
    make = getattr(optimizer_lib, name)
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


# One update by a formula, in float64


def gradients_and_params():
    return [small_like(seed)["wi"]["kernel"].astype(np.float64) for seed in (1, 2, 0)]


def test_an_adamw_update_is_that_of_the_paper():
    settings = optimizer_lib.AdamW(0.1, 0.3, b1=0.7, b2=0.9, eps=1e-3, clip_norm=None)
    found = small_updates(settings, [small_like(1), small_like(2)])[1]["wi"]["kernel"]
    first, second, param = gradients_and_params()
    momentum = (0.7 * 0.3 * first + 0.3 * second) / (1 - 0.7**2)
    square = (0.9 * 0.1 * first**2 + 0.1 * second**2) / (1 - 0.9**2)
    expected = -0.1 * (momentum / (np.sqrt(square) + 1e-3) + 0.3 * param)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_lion_update_is_that_of_the_paper():
    settings = optimizer_lib.Lion(0.1, 0.3, b1=0.7, b2=0.9, clip_norm=None)
    found = small_updates(settings, [small_like(1), small_like(2)])[1]["wi"]["kernel"]
    first, second, param = gradients_and_params()
    expected = -0.1 * (np.sign(0.7 * 0.1 * first + 0.3 * second) + 0.3 * param)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # The momentum decides some of the signs.
    assert np.any(np.sign(0.7 * 0.1 * first + 0.3 * second) != np.sign(second))


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.8, False), (0.8, True), (None, False)])
def test_an_sgd_update_is_that_of_the_formula(momentum, nesterov):
    settings = optimizer_lib.SGD(0.1, momentum, nesterov, weight_decay=0.3, clip_norm=None)
    found = small_updates(settings, [small_like(1), small_like(2)])[1]["wi"]["kernel"]
    first, second, param = gradients_and_params()
    total = second + (momentum or 0.0) * first
    step = second + momentum * total if nesterov else total
    np.testing.assert_allclose(found, -0.1 * (step + 0.3 * param), rtol=1e-5)


# Optimizers that are optax's own


@pytest.mark.parametrize(
    ("settings", "by_hand"),
    [
        (
            optimizer_lib.AdamW(0.1, b1=0.7, b2=0.9, eps=1e-3, clip_norm=None),
            optax.adam(0.1, b1=0.7, b2=0.9, eps=1e-3),
        ),
        (
            optimizer_lib.Lion(0.1, b1=0.7, b2=0.9, clip_norm=None),
            optax.lion(0.1, b1=0.7, b2=0.9, weight_decay=0.0),
        ),
        (optimizer_lib.SGD(0.1, 0.8, True, clip_norm=None), optax.sgd(0.1, 0.8, True)),
    ],
    ids=["AdamW", "Lion", "SGD"],
)
def test_without_decay_and_clipping_it_is_that_of_optax(settings, by_hand):
    params, gradients = normal_like(UNROLLED, 0), [normal_like(UNROLLED, seed) for seed in (1, 2)]
    found = updates(settings.build(boxed(UNROLLED)), params, gradients)
    expected = updates(by_hand, params, gradients)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), found, expected)


@pytest.mark.parametrize("name", ["AdamW", "Lion"])
def test_the_first_moment_is_kept_in_the_type_that_is_asked_for(name):
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), small_like(0))

    def moments(**settings):
        optimizer = getattr(optimizer_lib, name)(0.1, **settings).build(SMALL_BOXED)
        state = optimizer.init(params)
        state = optimizer.update(small_like(1), state, params)[1]
        return {leaf.dtype for leaf in jax.tree.leaves(optax.tree.get(state, "mu"))}

    assert moments() == {jnp.dtype("float32")}
    assert moments(mu_dtype="bfloat16") == {jnp.dtype("bfloat16")}


# Weight decay


def decayed(optimizer, config, params):
    """Updates of gradients that are 0, by path, and parameters by path."""
    zeros = jax.tree.map(np.zeros_like, params)
    found = updates(optimizer.build(boxed(config)), params, [zeros, zeros])[1]
    return by_path(found), by_path(params)


def half_then_quarter(step):
    return 0.5 / (1.0 + step)


@pytest.mark.parametrize("name", ["AdamW", "Lion", "SGD", "Adafactor"])
@pytest.mark.parametrize("rate", [0.25, half_then_quarter], ids=["number", "schedule"])
def test_kernels_and_embeddings_alone_decay(name, rate):
    optimizer = getattr(optimizer_lib, name)(rate, weight_decay=0.5)
    found, params = decayed(optimizer, SCANNED, normal_like(SCANNED, 0))
    for path, update in found.items():
        decays = path.endswith(("/kernel", "/embedding"))
        expected = -0.25 * 0.5 * params[path] if decays else 0.0 * update
        np.testing.assert_allclose(update, expected, rtol=1e-6, err_msg=path)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_paths_say_decays(name):
    make = functools.partial(getattr(optimizer_lib, name), 0.25, weight_decay=0.5)
    paths = ["layers/mlp/.*/kernel", ".*/bias"]
    found, params = decayed(make(weight_decay_paths=paths), SCANNED, normal_like(SCANNED, 0))
    decaying = {"layers/mlp/wi/kernel", "layers/mlp/wo/kernel"}
    if name == "Muon":
        # Biases are Adam's, with a decay of their own that is 0 here.
        assert "layers/mlp/wi/bias" in found
    else:
        decaying |= {path for path in found if path.endswith("/bias")}
    for path, update in found.items():
        expected = -0.25 * 0.5 * params[path] if path in decaying else 0.0 * update
        np.testing.assert_allclose(update, expected, rtol=1e-6, err_msg=path)
    with pytest.raises(ValueError, match=rf"{name}.weight_decay_paths has 'wi/kernel', which"):
        make(weight_decay_paths=["wi/kernel"]).build(boxed(SCANNED))


def test_muon_with_all_paths_is_muon_without():
    """Decay beside optax's Muon is the decay within, where rates and decays of both differ."""
    rates = [schedules.warmup_constant(0.02, 2), schedules.warmup_constant(0.5, 4)]
    decays = {"weight_decay": 0.1, "embedding_weight_decay": 0.01}
    gradients = [small_like(1), small_like(2)]
    inside = small_updates(optimizer_lib.Muon(*rates, **decays), gradients)
    beside = small_updates(
        optimizer_lib.Muon(*rates, **decays, weight_decay_paths=[".*"]), gradients
    )
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), beside, inside)
    alone = small_updates(optimizer_lib.Muon(rates[0], **decays), gradients)
    alone_beside = small_updates(
        optimizer_lib.Muon(rates[0], **decays, weight_decay_paths=[".*"]), gradients
    )
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), alone_beside, alone)


# Settings


@pytest.mark.parametrize("name", NAMES)
def test_the_learning_rate_at_a_step(name):
    make = getattr(optimizer_lib, name)
    assert optimizer_lib.learning_rate_at(make(6e-6), 7) == 6e-6
    schedule = optimizer_lib.warmup_cosine(0.4, 30, 10)
    assert optimizer_lib.learning_rate_at(make(schedule), 5) == pytest.approx(0.2)


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
        ("AdamW", {"learning_rate": None}, r"AdamW.learning_rate = None, .* optax schedule"),
        ("AdamW", {"learning_rate": 1.0, "b1": None}, r"AdamW.b1 = None, .* at least 0\."),
        ("AdamW", {"learning_rate": 1.0, "clip_norm": -1}, r"AdamW.clip_norm = -1"),
        ("AdamW", {"learning_rate": 1.0, "mu_dtype": "f16"}, r"mu_dtype = 'f16'.*'bfloat16'"),
        ("Lion", {"learning_rate": 1.0, "mu_dtype": None}, r"Lion.mu_dtype = None"),
        ("Lion", {"learning_rate": 1.0, "weight_decay_paths": "a"}, r"decay_paths = 'a', .* list"),
        ("SGD", {"learning_rate": 1.0, "nesterov": 1}, r"SGD.nesterov = 1, .* True or False"),
        ("Adafactor", {"learning_rate": 1.0, "factored": None}, r"Adafactor.factored = None"),
        ("Adafactor", {"learning_rate": 1.0, "decay_rate": -1}, r"Adafactor.decay_rate = -1"),
        ("Muon", {"learning_rate": 1.0, "weight_decay_paths": ["("]}, r"paths has '\(', which"),
    ],
)
def test_a_setting_that_is_no_number_of_at_least_0_is_an_error(make, fields, message):
    with pytest.raises(ValueError, match=message):
        getattr(optimizer_lib, make)(**fields)
