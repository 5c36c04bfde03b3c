"""Cross-entropy against float64 numpy."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from teacherlm_jax.partitioning.rules import LOGICAL_AXIS_RULES
from teacherlm_jax.training import loss as loss_lib
from teacherlm_jax.training.loss import chunked_cross_entropy, cross_entropy


def random_case(seed=0, scale=3.0, shape=(3, 5, 11)):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=shape)).astype(np.float32)
    targets = rng.integers(0, shape[-1], shape[:-1]).astype(np.int32)
    weights = (rng.random(shape[:-1]) < 0.6).astype(np.float32)
    weights[0, :2] = (0.5, 2.0)
    targets[0, :2] = logits[0, :2].argmax(-1)
    return logits, targets, weights


def reference(logits, targets, weights, z_loss):
    """Sums, and the gradient of the summed loss, in float64."""
    logits, weights = logits.astype(np.float64), weights.astype(np.float64)
    largest = logits.max(-1)
    log_z = largest + np.log(np.exp(logits - largest[..., None]).sum(-1))
    one_hot = np.eye(logits.shape[-1])[targets]
    chosen = (logits * one_hot).sum(-1)
    loss = log_z - chosen + z_loss * log_z**2
    right = chosen == largest
    softmax = np.exp(logits - log_z[..., None])
    gradient = softmax - one_hot + 2 * z_loss * (log_z[..., None] * softmax)
    return (
        (loss * weights).sum(),
        (right * weights).sum(),
        weights.sum(),
        gradient * weights[..., None],
    )


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
def test_sums_and_gradient_are_those_of_float64(z_loss):
    logits, targets, weights = random_case()
    loss, right, weight, gradient = reference(logits, targets, weights, z_loss)
    sums = cross_entropy(logits, targets, weights, z_loss)
    np.testing.assert_allclose(sums["loss"].total, loss, rtol=1e-6)
    np.testing.assert_allclose(sums["loss"].mean(), loss / weight, rtol=1e-6)
    assert sums["accuracy"].total == right >= 2.5
    assert sums["accuracy"].weight == sums["loss"].weight == weight
    found = jax.grad(lambda x: cross_entropy(x, targets, weights, z_loss)["loss"].total)(logits)
    np.testing.assert_allclose(found, gradient, atol=1e-6)


def test_a_position_without_weight_changes_nothing():
    logits, targets, weights = random_case()
    changed, others = logits.copy(), targets.copy()
    changed[weights == 0] = 1e4
    others[weights == 0] = 0
    for name, value in cross_entropy(logits, targets, weights, 0.01).items():
        other = cross_entropy(changed, others, weights, 0.01)[name]
        assert (value.total, value.weight) == (other.total, other.weight)


def test_sums_of_halves_are_the_sum():
    logits, targets, weights = random_case()
    whole = cross_entropy(logits, targets, weights)
    first = cross_entropy(logits[:1], targets[:1], weights[:1])
    second = cross_entropy(logits[1:], targets[1:], weights[1:])
    for name in ("loss", "accuracy"):
        both = first[name] + second[name]
        np.testing.assert_allclose(both.total, whole[name].total, rtol=1e-6)
        assert both.weight == whole[name].weight


def test_large_logits_neither_overflow_nor_lose_the_loss():
    logits = np.array([[[1e4, 0.0, -1e4]]], np.float32)
    ones = np.ones((1, 1), np.float32)
    for target, expected in ((0, 0.0), (1, 1e4), (2, 2e4)):
        targets = np.full((1, 1), target, np.int32)
        np.testing.assert_allclose(cross_entropy(logits, targets, ones)["loss"].total, expected)


def test_a_tie_with_the_largest_counts_as_right_and_nan_as_wrong():
    logits = np.array([[[2.0, 2.0, 1.0], [2.0, 2.0, 1.0], [np.nan, 0.0, 0.0]]], np.float32)
    targets = np.array([[1, 2, 1]], np.int32)
    sums = cross_entropy(logits, targets, np.ones((1, 3), np.float32))
    assert sums["accuracy"].total == 1
    assert np.isnan(sums["loss"].total)


def test_nothing_with_weight_is_a_mean_of_zero():
    logits, targets, weights = random_case()
    sums = cross_entropy(logits, targets, np.zeros_like(weights))
    assert sums["loss"].mean() == 0


# The loss that makes its own logits


@pytest.mark.parametrize("chunk", [1, 2, 5, 128])
@pytest.mark.parametrize("z_loss", [0.0, 0.01])
def test_chunked_sums_and_gradients_are_those_of_float64(chunk, z_loss):
    """Chunks of one position, of a part of the row that does not divide it, and of more than it."""
    rng = np.random.default_rng(1)
    hidden, table = rng.normal(size=(3, 5, 4)), rng.normal(size=(11, 4))
    _, targets, weights = random_case()
    logits = hidden @ table.T
    targets[0, :2] = logits[0, :2].argmax(-1)
    loss, right, weight, gradient = reference(logits, targets, weights, z_loss)

    def total(hidden, table):
        sums = chunked_cross_entropy(hidden, table, targets, weights, z_loss, chunk)
        return 3 * sums["loss"].total, sums

    inputs = hidden.astype(np.float32), table.astype(np.float32)
    (_, sums), found = jax.value_and_grad(total, (0, 1), has_aux=True)(*inputs)
    for one in (sums, total(*inputs)[1]):  # With a gradient, and without.
        np.testing.assert_allclose(one["loss"].total, loss, rtol=1e-5)
        assert one["accuracy"].total == right >= 2.5
        assert one["accuracy"].weight == one["loss"].weight == weight
    np.testing.assert_allclose(found[0], 3 * gradient @ table, atol=1e-5)
    by_rows = np.einsum("btv,btd->vd", 3 * gradient, hidden)
    np.testing.assert_allclose(found[1], by_rows, atol=1e-5)


def test_bfloat16_has_a_gradient_on_this_device_where_there_is_one_chunk():
    rng = np.random.default_rng(0)
    hidden, table = rng.normal(size=(2, 16, 8)), rng.normal(size=(40, 8))
    targets, weights = np.zeros((2, 16), np.int32), np.ones((2, 16), np.float32)

    def gradients(dtype):
        def loss(hidden, table):
            sums = chunked_cross_entropy(hidden, table, targets, weights, chunk=16)
            return sums["loss"].total

        of_both = jax.jit(jax.grad(loss, (0, 1)))
        return of_both(hidden.astype(dtype), table.astype(np.float32))

    for found, expected in zip(gradients("bfloat16"), gradients(np.float32)):
        np.testing.assert_allclose(found.astype(np.float32), expected, rtol=0.1, atol=0.1)


def test_the_logits_are_never_whole():
    shapes = [(2, 512, 8), (1000, 8)]
    hidden, table = (jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes)
    targets, weights = np.zeros((2, 512), np.int32), np.ones((2, 512), np.float32)

    def temporary_bytes(function):
        compiled = jax.jit(jax.grad(function, (0, 1))).lower(hidden, table).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    def chunked(hidden, table):
        return chunked_cross_entropy(hidden, table, targets, weights, chunk=128)["loss"].total

    def whole(hidden, table):
        return cross_entropy(hidden @ table.T, targets, weights)["loss"].total

    logits_bytes = 2 * 512 * 1000 * 4
    assert temporary_bytes(chunked) < logits_bytes < temporary_bytes(whole)


@pytest.mark.parametrize(
    ("sizes", "length", "vocab_size", "expected"),
    [
        ({}, 512, 32_000, 128),  # 4 rows: 2^24 logits are 131 positions.
        ({}, 100, 200, 100),
        ({}, 3, 2**30, 3),  # 256 tokens at least
        ({}, 512, 250_880, 64),
        ({"data": 1, "fsdp": 2, "tensor": 4}, 2048, 250_880, 512),
        ({"data": 1, "fsdp": 1, "tensor": 1}, 512, 32_000, 128),
    ],
)
def test_chunks_are_as_long_as_a_devices_share_of_logits_allows(
    sizes, length, vocab_size, expected, monkeypatch
):
    mesh = jax.sharding.AbstractMesh(tuple(sizes.values()), tuple(sizes))
    monkeypatch.setattr(jax.sharding, "get_abstract_mesh", lambda: mesh)
    with nn.logical_axis_rules(list(LOGICAL_AXIS_RULES)):
        assert loss_lib._chunk_length(4, length, vocab_size) == expected
