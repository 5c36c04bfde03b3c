"""Adafactor's moments by row and column: against a slow loop, against optax, and on meshes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import meta
from jax.sharding import PartitionSpec

from teacherlm_jax.models import parameters
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.training import factored
from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training import state as state_lib
from teacherlm_jax.training.placement import Placement
from tests.training import tiny
from tests.training.trees import SCANNED, UNROLLED, boxed, by_path, matrices, normal_like, updates

# Kernels of the tiny decoder have 16 rows, biases and heads 2 to 32 entries.
LEAST = 16
PLAIN = optimizer_lib.Adafactor(0.1, min_dim_size_to_factor=LEAST)
FULL = optimizer_lib.Adafactor(
    0.1,
    decay_rate=0.6,
    clipping_threshold=0.5,
    momentum=0.7,
    eps=1e-5,
    weight_decay=0.3,
    min_dim_size_to_factor=LEAST,
)


def views(config, least=LEAST):
    return by_path(factored.matrix_views(boxed(config), least))


def test_rows_are_embed_columns_the_rest_and_layers_apart():
    found = views(SCANNED)
    assert found.keys() == by_path(meta.unbox(boxed(SCANNED))).keys()
    # [layers, embed, heads, kv], [layers, heads, kv, embed] and [vocab, embed]
    query, out = (f"layers/self_attention/{name}/kernel" for name in ("query", "out"))
    assert found[query] == factored.View((2, 16, 2 * 8), True, True)
    assert found[out] == factored.View((2, 2 * 8, 16), True, True)
    assert found["token_embedder/embedding"] == factored.View((40, 16), False, True)
    # Biases [layers, mlp] and [layers, heads, kv], and a norm.
    assert found["layers/mlp/wi/bias"] == factored.View((2, 32), True, False)
    assert found["layers/self_attention/query/bias"] == factored.View((2, 2, 8), True, False)
    assert found["decoder_norm/scale"] == factored.View((16,), False, False)
    assert views(UNROLLED)["layers_1/mlp/wi/kernel"] == factored.View((16, 32), False, True)


def test_small_matrices_and_kernels_without_embed_are_not_factored():
    assert not any(view.is_factored for view in views(SCANNED, 17).values())
    odd = meta.Partitioned(jax.ShapeDtypeStruct((99, 99, 99), jnp.float32), ("heads", "kv", "mlp"))
    bare = jax.ShapeDtypeStruct((99, 99), jnp.float32)
    found = factored.matrix_views({"odd": odd, "bare": bare}, 1)
    assert found == {
        "odd": factored.View((99, 99, 99), False, False),
        "bare": factored.View((99, 99), False, False),
    }


# Against others


def by_loop(param, gradients, settings, is_matrix):
    """The paper's algorithms 4 and 5 in float64, with decay; updates of one matrix or vector."""
    param = param.astype(np.float64)
    row = column = full = momentum = 0.0
    found = []
    for number, gradient in enumerate(gradients, 1):
        gradient = gradient.astype(np.float64)
        kept = 1 - number**-settings.decay_rate
        square = gradient**2 + settings.eps
        if is_matrix:
            row = kept * row + (1 - kept) * square.sum(1)
            column = kept * column + (1 - kept) * square.sum(0)
            moment = np.outer(row, column) / row.sum()
        else:
            moment = full = kept * full + (1 - kept) * square
        update = gradient / np.sqrt(moment)
        update /= max(1.0, np.sqrt(np.mean(update**2)) / settings.clipping_threshold)
        update *= settings.learning_rate * max(1e-3, np.sqrt(np.mean(param**2)))
        if settings.momentum is not None:
            update = momentum = settings.momentum * momentum + (1 - settings.momentum) * update
        found.append(-update)
    return found


@functools.cache
def results(settings, config):
    params = normal_like(config, 0)
    # A bias that is 0 counts as 1e-3 large.
    params["decoder_norm"]["bias"] = np.zeros_like(params["decoder_norm"]["bias"])
    gradients = [normal_like(config, seed) for seed in (1, 2, 3)]
    return params, gradients, updates(settings.build(boxed(config)), params, gradients)


@pytest.mark.parametrize(
    ("settings", "config"), [(PLAIN, UNROLLED), (FULL, SCANNED)], ids=["plain", "full, scanned"]
)
def test_updates_are_those_of_a_slow_loop_over_matrices(settings, config):
    params, gradients, found = results(settings, config)
    shapes = by_path(boxed(config), is_leaf=is_box)
    trees = [by_path(tree) for tree in (params, *gradients, *found)]
    for path, box in shapes.items():
        # A leaf of each layer, as a matrix where it is a kernel or an embedding.
        is_matrix = path.endswith(("kernel", "embedding"))
        layers = 2 if box.names[0] == "layers" else 1
        last = 16 if box.names[-1] == "embed" else -1
        shape = (layers, -1, 16) if last == 16 else (layers, 16, -1)
        if not is_matrix:
            shape = (layers, -1)
        leaves = [np.reshape(tree[path], shape) for tree in trees]
        for layer in range(layers):
            param, *rest = (leaf[layer] for leaf in leaves)
            expected = by_loop(param, rest[:3], settings, is_matrix)
            decay = settings.learning_rate * settings.weight_decay * param if is_matrix else 0.0
            for step in range(3):
                np.testing.assert_allclose(
                    rest[3 + step], expected[step] - decay, rtol=2e-4, atol=1e-6, err_msg=path
                )


def test_updates_of_matrices_are_those_of_optax():
    settings = optimizer_lib.Adafactor(
        0.1, momentum=0.7, clipping_threshold=0.5, min_dim_size_to_factor=LEAST
    )
    params, gradients, found = results(settings, UNROLLED)
    by_hand = optax.adafactor(
        0.1, momentum=0.7, clipping_threshold=0.5, min_dim_size_to_factor=LEAST
    )
    expected = updates(by_hand, matrices(params), [matrices(tree) for tree in gradients])
    for step in range(3):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7),
            matrices(found[step]),
            expected[step],
        )


def test_moments_are_kept_in_float32_and_momentum_as_asked():
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), normal_like(SCANNED, 0))
    settings = optimizer_lib.Adafactor(0.1, momentum=0.9, momentum_dtype="bfloat16")
    state = jax.eval_shape(settings.build(boxed(SCANNED)).init, params)
    moments, _, momentum, _ = state
    assert {leaf.dtype for leaf in jax.tree.leaves(moments)} == {
        jnp.dtype("float32"),
        jnp.dtype("int32"),
    }
    assert {leaf.dtype for leaf in jax.tree.leaves(momentum.ema)} == {jnp.dtype("bfloat16")}


# Memory


def test_the_state_is_small_where_that_of_optax_is_not():
    """BLOOM 1.1B: 16 heads of 96, both too small for optax to factor attention kernels."""
    config = tiny.config(
        vocab_size=250_880,
        num_layers=24,
        emb_dim=1536,
        num_heads=16,
        head_dim=96,
        mlp_dim=6144,
        use_bias=True,
        norm="layernorm",
        logits_via_embedding=True,
        scan_layers=True,
    )
    params = meta.unbox(boxed(config))

    def state_size(optimizer):
        return parameters.parameter_count(jax.eval_shape(optimizer.init, params))

    count = parameters.parameter_count(params)
    own = optimizer_lib.Adafactor(1e-2).build(boxed(config))
    assert state_size(own) < 0.002 * count
    assert state_size(optax.adafactor(1e-2)) > 0.2 * count
    # Without factors, a moment for every parameter.
    unfactored = optimizer_lib.Adafactor(1e-2, factored=False).build(boxed(config))
    assert 1 < state_size(unfactored) / count < 1.001


# Meshes


def is_box(leaf):
    return isinstance(leaf, meta.AxisMetadata)


def state_of(config, settings):
    model = Decoder(config)
    transformation = settings.build(parameters.boxed_params(model))
    return state_lib.boxed_state(model, transformation), transformation


@pytest.mark.parametrize("config", [UNROLLED, SCANNED], ids=["unrolled", "scanned"])
def test_what_mirrors_a_parameter_has_its_axes_and_nothing_else_has_any(config):
    state, transformation = state_of(config, FULL)
    axes = by_path(boxed(config), is_leaf=is_box)
    found = {"ema": set(), "v": set()}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.opt_state, is_leaf=is_box):
        text = "/".join(str(getattr(key, "key", getattr(key, "name", ""))) for key in path)
        own = next((name for name in axes if text.endswith(f"/{name}")), None)
        if is_box(leaf) and jax.tree.leaves(leaf):
            assert leaf.names == axes[own].names and leaf.unbox().shape == axes[own].unbox().shape
            found[text.removesuffix(f"/{own}").rpartition("/")[2]].add(own)
        elif own is not None and not is_box(leaf):
            assert leaf.size <= 2 * (32 + 16), text
    # The momentum mirrors all parameters, moments those that are not factored.
    assert found == {
        "ema": set(axes),
        "v": {path for path in axes if "bias" in path or "scale" in path},
    }
    real = jax.eval_shape(
        lambda params: state_lib.from_params(params, transformation), meta.unbox(boxed(config))
    )
    assert real == meta.unbox(state)


MESHES = {
    "1": MeshConfig(device_count=1),
    "fsdp 8": MeshConfig(data=1, fsdp=8, device_count=8),
    "2, 2, 2": MeshConfig(data=2, fsdp=2, tensor=2, device_count=8),
}


@functools.cache
def trained(mesh, settings):
    model = Decoder(tiny.config(num_layers=2, scan_layers=True))
    own = settings.build(parameters.boxed_params(model))
    place = Placement(model, own, make_mesh(MESHES[mesh]))
    state, rng, losses = place.start(tiny.params(model.config)), place.rng(0), []
    for step in range(8):
        state, metrics = place.step_fn(state, place.place(tiny.batches(8)(step)[1]), rng)
        losses.append(float(metrics["loss"].mean()))
    return losses, state, place.abstract_state


@pytest.mark.parametrize("mesh", ["fsdp 8", "2, 2, 2"])
def test_training_on_a_mesh_is_that_on_one_device(mesh):
    losses, state, abstract = trained(mesh, FULL)
    expected, alone, _ = trained("1", FULL)
    assert expected[-1] < expected[0] - 0.1
    np.testing.assert_allclose(losses, expected, atol=1e-5)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, atol=1e-4), state.params, alone.params
    )
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == jax.tree.map(
        lambda leaf: leaf.sharding, abstract
    )


def test_momentum_is_cut_and_moments_of_rows_and_columns_are_whole():
    _, state, _ = trained("2, 2, 2", FULL)
    path = ("layers", "self_attention", "query", "kernel")
    for keep in ("ema", "v_row", "v_col"):
        tree = optax.tree.get_all_with_path(state.opt_state, keep)
        leaves = [functools.reduce(lambda node, key: node[key], path, found) for _, found in tree]
        leaves = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
        assert len(leaves) == 1, keep
        if keep == "ema":
            assert leaves[0].sharding.spec == PartitionSpec(None, "fsdp", "tensor", None)
        else:
            assert leaves[0].shape == (2, 16) and leaves[0].sharding.is_fully_replicated
