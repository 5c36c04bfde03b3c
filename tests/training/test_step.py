"""The step: its gradient, its weights, its noise, and what padding must not do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from teacherlm_jax.data import batches as batches_lib
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.training import state as state_lib
from teacherlm_jax.training.step import forward, make_train_step
from tests.training import tiny

RNG = jax.random.key(0)
Z_LOSS = 0.01
PARAMS = tiny.params(tiny.config(num_layers=2, scan_layers=True))


@functools.cache
def model(dropout_rate=0.0):
    # Scanned layers: each needs noise of its own.
    return Decoder(tiny.config(num_layers=2, scan_layers=True, dropout_rate=dropout_rate))


@functools.cache
def jitted_step(dropout_rate):
    return jax.jit(make_train_step(model(dropout_rate), optax.sgd(1.0), Z_LOSS))


def run(batch, *, params=PARAMS, dropout_rate=0.0, rng=RNG, step=0):
    """(gradient, metrics, new state) of a batch: a step of SGD at rate 1 moves by the gradient."""
    state = state_lib.TrainState(jnp.int32(step), params, optax.sgd(1.0).init(params))
    after, metrics = jitted_step(dropout_rate)(state, batch, rng)
    gradient = jax.tree.map(lambda old, new: np.asarray(old - new), params, after.params)
    return gradient, metrics, after


def batch(step=0, rows=8):
    return tiny.batches(rows)(step)[1]


def mean_loss(params, arrays):
    """The mean over target tokens by optax's loss, as a plain function of the parameters."""
    logits = forward(model(), params, arrays)
    losses = optax.softmax_cross_entropy_with_integer_labels(
        logits, arrays["decoder_target_tokens"]
    )
    losses += Z_LOSS * jax.nn.logsumexp(logits, -1) ** 2
    weights = arrays["decoder_loss_weights"]
    return jnp.sum(losses * weights) / jnp.sum(weights)


def assert_close(tree, other, **tolerance):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **tolerance), tree, other)


def test_the_update_is_the_gradient_of_the_mean_over_target_tokens():
    loss, expected = jax.jit(jax.value_and_grad(mean_loss))(PARAMS, batch())
    gradient, metrics, after = run(batch())
    assert_close(gradient, expected, atol=2e-6)
    np.testing.assert_allclose(metrics["loss"].mean(), loss, rtol=1e-6)
    assert after.step == 1


def test_the_gradient_is_that_of_finite_differences():
    def loss(params):
        sums = run(batch(), params=params)[1]["loss"]
        return float(sums.total) / float(sums.weight)

    gradient, _, _ = run(batch())
    leaves, treedef = jax.tree.flatten(PARAMS)
    rng = np.random.default_rng(0)
    for index, slope in enumerate(jax.tree.leaves(gradient)):
        # Along the gradient, so that the change stands out from rounding, and somewhat beside it.
        beside = rng.normal(size=slope.shape) * np.sqrt(np.mean(slope**2))
        direction = slope + 0.5 * beside
        direction = (1e-2 * direction / np.linalg.norm(direction)).astype(np.float32)
        moved = [
            treedef.unflatten([*leaves[:index], leaves[index] + move, *leaves[index + 1 :]])
            for move in (direction, -direction)
        ]
        difference = (loss(moved[0]) - loss(moved[1])) / 2
        np.testing.assert_allclose(np.vdot(slope, direction), difference, rtol=0.02)


def test_a_batch_is_the_token_weighted_sum_of_its_halves():
    arrays = batch(step=1)
    first, second = (
        # The other half made padding: the same shape, which is compiled already.
        run({name: array * (np.arange(8) // 4 == half)[:, None] for name, array in arrays.items()})
        for half in (0, 1)
    )
    weights = [half[1]["loss"].weight for half in (first, second)]
    assert weights[0] != weights[1]
    gradient, metrics, _ = run(arrays)
    expected = jax.tree.map(
        lambda a, b: (a * weights[0] + b * weights[1]) / sum(weights), first[0], second[0]
    )
    assert_close(gradient, expected, atol=2e-6)
    for name in ("loss", "accuracy"):
        both = first[1][name] + second[1][name]
        np.testing.assert_allclose(both.total, metrics[name].total, rtol=1e-6)
        assert both.weight == metrics[name].weight == arrays["decoder_loss_weights"].sum()
    assert first[1]["tokens"] + second[1]["tokens"] == metrics["tokens"]


def test_metrics_count_tokens_and_measure_norms():
    arrays = batch()
    gradient, metrics, after = run(arrays)

    def norm(tree):
        return np.sqrt(sum(np.sum(np.square(leaf, dtype=float)) for leaf in jax.tree.leaves(tree)))

    assert metrics["tokens"] == sum(len(row.nonzero()[0]) for row in arrays["decoder_segment_ids"])
    np.testing.assert_allclose(metrics["gradient_norm"], norm(gradient), rtol=1e-4)
    np.testing.assert_allclose(metrics["parameter_norm"], norm(after.params), rtol=1e-6)


def test_padding_is_known_by_segment_and_never_by_token():
    arrays = batch()
    assert any(0 in example.inputs[1:] for example in tiny.table().examples)
    padding = arrays["decoder_segment_ids"] == 0
    assert padding.any()
    other = {**arrays, "decoder_positions": arrays["decoder_positions"].copy()}
    for name in ("decoder_input_tokens", "decoder_target_tokens"):
        other[name] = np.where(padding, 7, arrays[name])
    other["decoder_positions"][padding] = 5
    gradient, metrics, _ = run(arrays)
    same, others, _ = run(other)
    assert_close(gradient, same, atol=1e-7)
    assert metrics["loss"].total == others["loss"].total
    # A real token of id 0 counts: another one in its place changes the loss.
    row, place = np.argwhere((arrays["decoder_input_tokens"][:, 1:] == 0) & ~padding[:, 1:])[0]
    changed = arrays["decoder_input_tokens"].copy()
    changed[row, place + 1] = 9
    assert run({**arrays, "decoder_input_tokens": changed})[1]["loss"].total != others["loss"].total


def test_renaming_tokens_so_that_a_real_one_gets_id_0_changes_no_loss():
    # Under the second names BOS is 14, and 0 is the token that was 26.
    names = (np.arange(tiny.VOCAB_SIZE) + 14) % tiny.VOCAB_SIZE
    renamed = [
        batches_lib.TokenizedExample(
            example.example_id, names[example.inputs], names[example.targets]
        )
        for example in tiny.table().examples[:8]
    ]
    other = batches_lib.RowFormat(12, bos_id=int(names[0])).arrays(renamed)
    arrays = tiny.ROW_FORMAT.arrays(tiny.table().examples[:8])
    weighted = other["decoder_loss_weights"] > 0
    assert (other["decoder_target_tokens"][weighted] == 0).any()
    assert (other["decoder_segment_ids"] == 0).any()
    params = jax.tree.map(np.array, PARAMS)
    params["token_embedder"]["embedding"][names] = PARAMS["token_embedder"]["embedding"]
    params["logits_dense"]["kernel"][:, names] = PARAMS["logits_dense"]["kernel"]
    gradient, metrics, _ = run(arrays)
    same, others, _ = run(other, params=params)
    for name in ("loss", "accuracy"):
        assert metrics[name].weight == others[name].weight == weighted.sum()
        np.testing.assert_allclose(metrics[name].total, others[name].total, rtol=1e-6)
    assert metrics["tokens"] == others["tokens"]
    table = same["token_embedder"]["embedding"][names]
    np.testing.assert_allclose(table, gradient["token_embedder"]["embedding"], atol=1e-6)
    used = arrays["decoder_segment_ids"] > 0
    np.testing.assert_allclose(
        forward(model(), PARAMS, arrays)[used],
        forward(model(), params, other)[used][:, names],
        atol=1e-5,
    )


def test_a_batch_without_weight_moves_nothing():
    arrays = batch()
    nothing = np.zeros_like(arrays["decoder_loss_weights"])
    gradient, metrics, _ = run({**arrays, "decoder_loss_weights": nothing})
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradient))
    assert metrics["gradient_norm"] == 0 and metrics["loss"].total == 0


def test_noise_comes_from_the_rng_and_the_step_alone():
    losses = {
        (seed, step): float(
            run(batch(), dropout_rate=0.3, rng=jax.random.key(seed), step=step)[1]["loss"].total
        )
        for seed in (0, 1)
        for step in (0, 1, 2)
    }
    assert len(set(losses.values())) == 6
    again = run(batch(), dropout_rate=0.3, rng=jax.random.key(1), step=2)[1]["loss"].total
    assert losses[1, 2] == again


def test_without_dropout_the_rng_changes_nothing():
    one, other = (run(batch(), rng=jax.random.key(seed))[1]["loss"].total for seed in (0, 1))
    assert one == other


# Microbatches


@functools.cache
def step_of(microbatches=1, num_components=0, dropout_rate=0.0):
    return jax.jit(
        make_train_step(
            model(dropout_rate),
            optax.sgd(1.0),
            Z_LOSS,
            microbatches=microbatches,
            num_components=num_components,
        )
    )


def stepped(step, arrays, params=PARAMS):
    state = state_lib.TrainState(jnp.int32(0), params, optax.sgd(1.0).init(params))
    return step(state, arrays, RNG)


def unequal_batch():
    """Rows whose numbers of target tokens differ, so that means of means would be another loss."""
    arrays = {name: array.copy() for name, array in batch(step=2).items()}
    arrays["decoder_loss_weights"][::2, 4:] = 0
    return arrays


@pytest.mark.parametrize(("microbatches", "dropout_rate"), [(2, 0.0), (8, 0.0), (4, 0.3)])
def test_microbatches_give_the_update_of_one_batch(microbatches, dropout_rate):
    arrays = unequal_batch()
    weights = arrays["decoder_loss_weights"].sum(1)
    assert weights[::2].sum() != weights[1::2].sum()
    one, metrics = stepped(step_of(1, 0, dropout_rate), arrays)
    other, others = stepped(step_of(microbatches, 0, dropout_rate), arrays)
    assert_close(other.params, one.params, atol=2e-6)
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(others[name].total, metrics[name].total, rtol=1e-6)
        assert others[name].weight == metrics[name].weight
    assert others["tokens"] == metrics["tokens"]


def test_each_row_has_noise_of_its_own():
    # With the noise of one half twice, two equal halves would have the same loss.
    half = batch(rows=4)
    both = {name: np.repeat(array, 2, axis=0) for name, array in half.items()}
    whole = stepped(step_of(2, 0, 0.3), both)[1]["loss"].total
    first = stepped(step_of(1, 0, 0.3), half)[1]["loss"].total
    assert abs(whole - 2 * first) > 1e-3


# Components


@pytest.mark.parametrize("microbatches", [1, 2])
def test_losses_of_components_are_those_of_their_positions(microbatches):
    arrays = unequal_batch()
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, arrays["decoder_loss_weights"].shape).astype(np.int32)
    _, metrics = stepped(step_of(microbatches, 4), {**arrays, "decoder_component_ids": ids})
    logits = np.asarray(forward(model(), PARAMS, arrays), np.float64)
    log_z = np.log(np.exp(logits).sum(-1))
    targets = arrays["decoder_target_tokens"][..., None]
    losses = log_z - np.take_along_axis(logits, targets, -1)[..., 0] + Z_LOSS * log_z**2
    for component in range(4):
        weights = arrays["decoder_loss_weights"] * (ids == component)
        assert metrics["component_loss"].weight[component] == weights.sum()
        np.testing.assert_allclose(
            metrics["component_loss"].total[component], (losses * weights).sum(), rtol=1e-5
        )
    assert metrics["component_loss"].weight[3] == 0


def test_counting_components_changes_no_update():
    arrays = batch()
    ids = np.zeros_like(arrays["decoder_segment_ids"])
    one, _ = stepped(step_of(), arrays)
    other, _ = stepped(step_of(1, 2), {**arrays, "decoder_component_ids": ids})
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)


# What is not finite


@functools.cache
def adam_step():
    return jax.jit(make_train_step(model(), optax.adam(0.1)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_update_that_is_not_finite_is_left_out(bad):
    adam = optax.adam(0.1)
    params = jax.tree.map(jnp.asarray, PARAMS)
    state = state_lib.from_params(params, adam)
    state, _ = adam_step()(state, batch(), RNG)
    arrays = batch(step=1)
    weights = arrays["decoder_loss_weights"].copy()
    row, place = np.argwhere(weights > 0)[0]
    weights[row, place] = bad
    after, metrics = adam_step()(state, {**arrays, "decoder_loss_weights": weights}, RNG)
    assert metrics["skipped"] == 1
    jax.tree.map(np.testing.assert_array_equal, after.params, state.params)
    jax.tree.map(np.testing.assert_array_equal, after.opt_state, state.opt_state)
    assert after.step == 2
    good, found = adam_step()(after, batch(step=2), RNG)
    assert found["skipped"] == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(good.params))


def test_a_finite_update_is_not_left_out():
    assert run(batch())[1]["skipped"] == 0
