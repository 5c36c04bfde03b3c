"""The same run on every mesh, and students trained together as apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from teacherlm_jax.data.batches import ReplicaBatches
from teacherlm_jax.models import parameters
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training import placement as placement_lib
from teacherlm_jax.training.placement import Placement
from tests.training import tiny

STEPS = 20
MODEL = Decoder(tiny.config())
START = tiny.params(MODEL.config)
# AdamW compiles in half the time of Muon, which is tried on the mesh that cuts matrices most.
SETTINGS = {
    "adamw": (MODEL, optimizer_lib.AdamW(2e-2)),
    "muon": (MODEL, optimizer_lib.Muon(5e-3, 2e-2)),
    "muon, scanned": (
        Decoder(tiny.config(num_layers=2, scan_layers=True)),
        optimizer_lib.Muon(5e-3, 2e-2),
    ),
}

MESHES = {
    "1": MeshConfig(device_count=1),
    "data 8": MeshConfig(data=8, device_count=8),
    "fsdp 8": MeshConfig(data=1, fsdp=8, device_count=8),
    "fsdp 4, tensor 2": MeshConfig(data=1, fsdp=4, tensor=2, device_count=8),
    "2, 2, 2": MeshConfig(data=2, fsdp=2, tensor=2, device_count=8),
    "2 slices": MeshConfig(data=1, fsdp=2, tensor=2, slices=2, device_count=8),
}
# The residual stream cut by positions, too.
SEQUENCE = rules_lib.logical_axis_rules(sequence_sharding=True)


@functools.cache
def placement(mesh, optimizer="adamw"):
    model, own = SETTINGS[optimizer]
    built = own.build(parameters.boxed_params(model))
    name = mesh.removesuffix(", sequence")
    rules = rules_lib.LOGICAL_AXIS_RULES if name == mesh else SEQUENCE
    return Placement(model, built, make_mesh(MESHES[name]), rules=rules)


def train(placement, batches):
    """Losses [step] or [step, replica], and the ids of every step."""
    start = START if placement.model is MODEL else tiny.params(placement.model.config)
    state, rng = placement.start(start), placement.rng(0)
    losses, ids = [], []
    for step in range(STEPS):
        step_ids, arrays = batches(step)
        state, metrics = placement.step_fn(state, placement.place(arrays), rng)
        losses.append(np.asarray(metrics["loss"].mean()))
        ids.append(step_ids)
    return np.stack(losses), ids, state


@functools.cache
def apart(seed, optimizer):
    """A student alone on one device."""
    return train(placement("1", optimizer), tiny.batches(8, seed))


# Meshes


@functools.cache
def on_mesh(mesh, optimizer):
    losses, _, state = train(placement(mesh, optimizer), tiny.batches(8))
    return losses, state


@pytest.mark.parametrize(
    ("mesh", "optimizer"),
    [
        ("data 8", "adamw"),
        ("fsdp 8", "adamw"),
        ("fsdp 4, tensor 2", "muon"),
        ("2, 2, 2", "adamw"),
        ("2, 2, 2", "muon, scanned"),
        ("fsdp 4, tensor 2, sequence", "adamw"),
        ("2 slices, sequence", "muon, scanned"),
    ],
)
def test_the_same_run_has_the_same_losses_on_every_mesh(mesh, optimizer):
    losses, state = on_mesh(mesh, optimizer)
    expected, _ = on_mesh("1", optimizer)
    assert expected[-1] < expected[0] - 0.3
    np.testing.assert_allclose(losses, expected, atol=1e-5)
    # The state stays where it was put.
    abstract = placement(mesh, optimizer).abstract_state
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == shardings


def test_parameters_and_their_moments_are_cut_as_the_axes_say():
    state = on_mesh("fsdp 4, tensor 2", "muon")[1]
    kernel = state.params["layers_0"]["self_attention"]["query"]["kernel"]
    assert kernel.sharding.spec == PartitionSpec("fsdp", "tensor", None)
    assert kernel.addressable_shards[0].data.shape == (4, 1, 8)
    cut = [
        leaf
        for leaf in jax.tree.leaves(state.opt_state)
        if leaf.ndim > 1 and leaf.addressable_shards[0].data.size * 8 == leaf.size
    ]
    # Muon keeps one moment of 6 kernels, Adam two of the embeddings and of the output.
    assert len(cut) == 6 + 2 * 2


def test_scratch_parameters_are_the_same_on_every_mesh():
    jax.tree.map(
        np.testing.assert_array_equal,
        placement("2, 2, 2").scratch_params(3),
        placement("1").scratch_params(3),
    )


def test_constraints_on_activations_take_effect():
    """Linen drops them without a word where no mesh is set; that would only cost speed."""
    place = placement("2, 2, 2")
    arrays = jax.eval_shape(lambda: tiny.batches(8)(0)[1])
    text = place.step_fn.lower(place.abstract_state, arrays, place.rng(0)).as_text()
    constraints = [line for line in text.splitlines() if "sharding_constraint" in line]
    assert any("tensor<8x12x2x8xf32>" in line and '"tensor"' in line for line in constraints)
    assert any("tensor<8x12x40xf32>" in line and '"tensor"' in line for line in constraints)
    residual = [line for line in constraints if "tensor<8x12x16xf32>" in line]
    assert any('"data", "fsdp"' in line for line in residual)
    # What is looked up in the table of embeddings is cut as that is: by its width.
    assert any('"data"}, {}, {"fsdp"' in line for line in residual)
    assert not any('"tensor"' in line for line in residual)
    cut = placement("2, 2, 2, sequence")
    text = cut.step_fn.lower(cut.abstract_state, arrays, cut.rng(0)).as_text()
    constraints = [line for line in text.splitlines() if "sharding_constraint" in line]
    assert any('"fsdp"}, {"tensor"}' in line for line in constraints if "8x12x16" in line)


def test_a_batch_is_cut_by_rows():
    arrays = tiny.batches(8)(0)[1]
    placed = placement("2, 2, 2").place(arrays)
    for name, array in arrays.items():
        assert placed[name].addressable_shards[0].data.shape == (2, 12)
        np.testing.assert_array_equal(placed[name], array)


def test_training_leaves_the_parameters_that_it_started_from():
    alone = placement("1")
    start = jax.device_put(START, jax.tree.map(lambda leaf: leaf.sharding, alone.abstract_params))
    alone.step_fn(alone.start(start), alone.place(tiny.batches(8)(0)[1]), alone.rng(0))
    jax.tree.map(np.testing.assert_array_equal, start, START)


# Replicas


@pytest.mark.parametrize(
    ("replicas", "devices", "optimizer"), [(2, 2, "muon"), (2, 1, "adamw"), (3, 3, "adamw")]
)
def test_students_of_different_seeds_trained_together_are_as_apart(replicas, devices, optimizer):
    mesh = placement_lib.replica_mesh(replicas, jax.devices()[:devices])
    assert mesh.size == devices
    own = SETTINGS[optimizer][1].build(parameters.boxed_params(MODEL))
    together = Placement(MODEL, own, mesh, replicas)
    batches = ReplicaBatches([tiny.batches(8, seed) for seed in range(replicas)])
    losses, ids, state = train(together, batches)
    alone = [apart(seed, optimizer) for seed in range(replicas)]
    assert losses.shape == (STEPS, replicas)
    assert np.abs(losses[:, 0] - losses[:, 1]).max() > 0.01
    for step in range(STEPS):
        assert ids[step] == [name for student in alone for name in student[1][step]]
    np.testing.assert_allclose(losses, np.stack([run[0] for run in alone], 1), atol=1e-5)
    assert np.array_equal(state.step, [STEPS] * replicas)
    for replica in range(replicas):
        jax.tree.map(
            lambda leaf, own, replica=replica: np.testing.assert_allclose(
                leaf[replica], own, atol=1e-3
            ),
            state.params,
            alone[replica][2].params,
        )


@pytest.mark.parametrize(
    ("replicas", "devices", "used"), [(1, 8, 1), (2, 8, 2), (3, 2, 1), (4, 3, 2), (6, 4, 3)]
)
def test_replicas_use_as_many_devices_as_they_divide_over(replicas, devices, used):
    assert placement_lib.replica_mesh(replicas, jax.devices()[:devices]).size == used


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
@pytest.mark.parametrize("replicas", [1, 3])
def test_replicas_on_one_device_run_each_its_own_step(platform, replicas):
    def step(state, batch, rng):
        noise = jax.random.uniform(rng)
        return state + jnp.sum(batch["x"]), {"noise": noise, "mean": jnp.mean(batch["x"])}

    rngs = jax.random.split(jax.random.key(0), replicas)
    states = jnp.arange(float(replicas))
    xs = jnp.arange(5.0 * replicas).reshape(replicas, 5)
    each = jax.jit(placement_lib._each(step, platform))
    found = each(states, {"x": xs}, rngs)
    alone = [step(states[i], {"x": xs[i]}, rngs[i]) for i in range(replicas)]
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *alone)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), found, expected)


def test_every_replica_has_noise_of_its_own():
    mesh = make_mesh(MESHES["1"])
    keys = Placement(MODEL, optax.sgd(0.1), mesh, 3).rng(0)
    assert keys.shape == (3,)
    assert len(np.unique(jax.random.key_data(keys), axis=0)) == 3


def test_the_noise_of_a_replica_is_that_of_its_seed_wherever_it_stands():
    mesh = make_mesh(MESHES["1"])
    together = Placement(MODEL, optax.sgd(0.1), mesh, 3).rng(0, (4, 0, 7))
    alone = Placement(MODEL, optax.sgd(0.1), mesh, 1).rng(0, (7,))
    assert np.array_equal(jax.random.key_data(together)[2], jax.random.key_data(alone)[0])
