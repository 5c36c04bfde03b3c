"""Training states, concrete and abstract."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from teacherlm_jax.models import parameters
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training import state as state_lib
from tests.training import tiny

SCANNED = tiny.config(num_layers=2, scan_layers=True, use_bias=True, norm="layernorm")


def axes_by_path(boxed):
    leaves = jax.tree_util.tree_leaves_with_path(
        boxed, is_leaf=lambda leaf: isinstance(leaf, meta.AxisMetadata)
    )
    return {
        jax.tree_util.keystr(path): leaf.names
        for path, leaf in leaves
        if isinstance(leaf, meta.AxisMetadata)
    }


@functools.cache
def init():
    return jax.jit(lambda rng: parameters.init_params(Decoder(SCANNED), rng))


@functools.cache
def params(seed):
    return init()(jax.random.key(seed))


def test_boxed_params_are_the_abstract_form_of_params():
    boxed = parameters.boxed_params(Decoder(SCANNED))
    kernel = boxed["layers"]["self_attention"]["query"]["kernel"]
    assert kernel.names == ("layers", "embed", "heads", "kv")
    assert kernel.unbox() == jax.ShapeDtypeStruct((2, 16, 2, 8), jnp.float32)
    concrete = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params(0))
    assert concrete == meta.unbox(boxed)


def test_params_depend_on_the_seed_and_layers_differ():
    kernel = params(0)["layers"]["mlp"]["wi"]["kernel"]
    jax.tree.map(np.testing.assert_array_equal, params(0), init()(jax.random.key(0)))
    assert np.abs(kernel - params(1)["layers"]["mlp"]["wi"]["kernel"]).min() > 0
    assert np.abs(kernel[0] - kernel[1]).min() > 0


def test_parameter_count_is_that_of_the_formula():
    block = 4 * 16 * 16 + 2 * 16 * 32 + 3 * 16 + 16 + 32 + 16 + 2 * 2 * 16
    assert parameters.parameter_count(params(0)) == 2 * block + 2 * 40 * 16 + 2 * 16
    boxed = parameters.boxed_params(Decoder(SCANNED))
    assert parameters.parameter_count(boxed) == parameters.parameter_count(params(0))


@pytest.mark.parametrize(
    "optimizer", [optimizer_lib.AdamW(1e-3, clip_norm=None), optimizer_lib.Muon(1e-3)]
)
def test_the_optimizer_state_carries_the_axes_of_the_parameters_that_it_mirrors(optimizer):
    model = Decoder(SCANNED)
    boxed_params = parameters.boxed_params(model)
    transformation = optimizer.build(boxed_params)
    boxed = state_lib.boxed_state(model, transformation)
    axes, mirrored = axes_by_path(boxed_params), axes_by_path(boxed.opt_state)
    assert len(axes) == 20
    assert axes_by_path(boxed.params) == axes
    for path, names in mirrored.items():
        assert names == next(axes[own] for own in axes if path.endswith(own)), path
    moments = 2 if isinstance(optimizer, optimizer_lib.AdamW) else 1
    for own in axes:
        holders = [path for path in mirrored if path.endswith(own)]
        assert len(holders) >= moments, own
    # The same tree as a state of real parameters has, leaf by leaf.
    real = jax.eval_shape(
        lambda: state_lib.from_params(
            jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), meta.unbox(boxed_params)),
            transformation,
        )
    )
    assert real == meta.unbox(boxed)


def test_a_state_starts_at_step_0_from_the_parameters():
    transformation = optimizer_lib.AdamW(1e-3).build(parameters.boxed_params(Decoder(SCANNED)))
    state = state_lib.from_params(params(0), transformation)
    assert state.step.dtype == jnp.int32 and state.step == 0
    assert state.params is params(0)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(state.opt_state))
