"""Lengths, fits and epochs, against slow loops and against what training does."""

import json

import numpy as np
import pytest
import seqio

from teacherlm_jax.data import length_statistics, pipeline, token_cache
from teacherlm_jax.data.batches import MixtureBatches
from teacherlm_jax.data.examples import ExampleTable, TokenizedExample
from teacherlm_jax.data.length_statistics import Measured
from teacherlm_jax.data.row_format import RowFormat
from tests.data import tiny_tasks


def table(name: str, lengths) -> ExampleTable:
    """Examples of these lengths."""
    return ExampleTable(
        name,
        [
            TokenizedExample(f"{name}/x:{n}", np.ones(a, np.int32), np.ones(b, np.int32))
            for n, (a, b) in enumerate(lengths)
        ],
    )


def whole(examples: ExampleTable) -> Measured:
    return Measured(examples, len(examples), True)


RANDOM = np.random.default_rng(0)
ONE = table("one", RANDOM.integers(1, 30, (200, 2)))
TWO = table("two", RANDOM.integers(1, 9, (80, 2)))
RATES = [3.0, 1.0]


def computed(lengths, tables=(ONE, TWO), rates=RATES, **settings):
    parts = [whole(examples) for examples in tables]
    return length_statistics.statistics("m", "train", parts, rates, lengths, **settings)


def test_lengths_of_a_task():
    (task,) = computed([64], [ONE], [1.0]).tasks
    inputs = sorted(ONE.lengths_N2[:, 0].tolist())
    assert task.inputs.mean == pytest.approx(sum(inputs) / 200)
    assert (task.inputs.median, task.inputs.p95, task.inputs.p99, task.inputs.max) == (
        inputs[99],
        inputs[189],
        inputs[197],
        inputs[199],
    )
    assert task.total.max == max(len(example) for example in ONE.examples)


def test_shares_of_tokens():
    tasks = {task.name: task for task in computed([64]).tasks}
    mean = {t.name: sum(map(len, t.examples)) / len(t) for t in (ONE, TWO)}
    assert tasks["one"].share == 0.75
    expected = 0.75 * mean["one"] / (0.75 * mean["one"] + 0.25 * mean["two"])
    assert tasks["one"].token_share == pytest.approx(expected)
    assert sum(task.loss_share for task in tasks.values()) == pytest.approx(1)


def test_what_does_not_fit():
    (fit,) = computed([20]).fits
    long = [len(example) for example in ONE.examples if len(example) > 20]
    assert fit.too_long == {"one": len(long)}
    assert fit.too_long_share == pytest.approx(0.75 * len(long) / 200)
    each = {"one": 0.75 / 200, "two": 0.25 / 80}
    tokens = sum(each[t.name] * len(example) for t in (ONE, TWO) for example in t.examples)
    assert fit.lost_by_drop == pytest.approx(each["one"] * sum(long) / tokens)
    cut = sum(length - 20 for length in long)
    assert fit.lost_by_trim == pytest.approx(each["one"] * cut / tokens)


def test_without_bos_a_row_holds_a_token_more():
    exact = table("t", [(10, 11)])
    assert computed([20], [exact], [1.0]).fits[0].too_long == {"t": 1}
    assert computed([20], [exact], [1.0], bos_id=None).fits[0].too_long == {}
    assert computed([], [exact], [1.0]).needed == 21
    assert computed([], [exact], [1.0], bos_id=None).needed == 20


@pytest.mark.parametrize("length", [64, 20])
@pytest.mark.parametrize("pack", [True, False])
def test_rows_are_as_full_as_those_of_training(pack, length):
    found = computed([length], pack=pack, train_steps=50, batch_size=8)
    batches = MixtureBatches(
        [ONE, TWO], RATES, RowFormat(length, 0, too_long="drop", pack=pack), 8, seed=5
    )
    used, drawn = 0, {"one": 0, "two": 0}
    for step in range(50):
        ids, arrays = batches(step)
        used += int((arrays["decoder_segment_ids"] > 0).sum())
        for example_id in ids:
            drawn[example_id.partition("/")[0]] += 1
    fit = found.fits[0]
    share = fit.fill_packed if pack else fit.fill_single
    assert share == pytest.approx(used / (50 * 8 * length), rel=0.02)
    assert found.schedule["draws"] == pytest.approx(sum(drawn.values()), rel=0.02)
    assert found.schedule["tokens"] == pytest.approx(used, rel=0.02)
    assert bool(fit.too_long) == (length == 20)
    for task in found.tasks:
        fitting = task.examples - fit.too_long.get(task.name, 0)
        assert task.epochs == pytest.approx(drawn[task.name] / fitting, rel=0.05)


def test_suggested_lengths_cut_nothing():
    found = computed([])
    longest = np.concatenate([ONE.lengths_N2, TWO.lengths_N2]).max(axis=0)
    for feature, most in zip(("inputs", "targets"), longest):
        assert most <= found.suggested[feature] < most + 8 and found.suggested[feature] % 8 == 0
    assert found.fits[0].length >= found.needed and not found.fits[0].too_long


def test_suggested_p99_follows_the_rates():
    """Two of 20 examples are long: a tenth of one task, but a thousandth of the draws."""
    rare = table("rare", [(1, 100)] * 2 + [(1, 5)] * 18)
    common = table("common", [(1, 5)] * 20)
    often = computed([], [rare, common], [1.0, 1.0])
    seldom = computed([], [rare, common], [1.0, 99.0])
    assert often.suggested_p99["targets"] == 104 and seldom.suggested_p99["targets"] == 8
    assert seldom.suggested["targets"] == 104


def test_examples_without_tokens_are_counted():
    found = computed([8], [table("t", [(3, 2), (3, 0), (1, 1)])], [1.0])
    assert found.tasks[0].unusable == 1
    with pytest.raises(ValueError, match="none of its 2 examples has a token"):
        computed([8], [table("t", [(3, 0), (0, 0)])], [1.0])


def test_a_limit_leaves_sizes_to_the_tables():
    part = [Measured(ONE, 4000, False)]
    found = length_statistics.statistics(
        "m", "train", part, [1.0], [64], pack=False, train_steps=100, batch_size=8
    )
    assert not found.is_whole and found.tasks[0].epochs == pytest.approx(800 / 4000)
    unknown = [Measured(ONE, None, False)]
    found = length_statistics.statistics(
        "m", "train", unknown, [1.0], [64], train_steps=100, batch_size=8
    )
    assert found.tasks[0].epochs is None
    json.dumps(found.as_json())


def test_measuring_a_mixture(tmp_path):
    provider = seqio.get_mixture_or_task(tiny_tasks.MIXTURE)
    tables, _ = pipeline.load_tables(tiny_tasks.MIXTURE)
    measured, rates = length_statistics.measure(provider, "train", 100)
    assert rates == [3.0, 1.0] and all(part.is_whole for part in measured)
    for part, expected in zip(measured, tables):
        assert (part.table.lengths_N2 == expected.lengths_N2).all()
    limited, _ = length_statistics.measure(provider, "train", 12)
    assert [(len(part.table), part.is_whole, part.examples) for part in limited] == [
        (12, False, None),
        (12, True, 12),
    ]


def test_a_token_cache_is_read_whole_and_none_is_written(tmp_path):
    provider = seqio.get_mixture_or_task(tiny_tasks.MIXTURE)
    colors = seqio.get_mixture_or_task("teacherlm_test_colors")
    token_cache.cached_table(colors, "train", tmp_path)
    before = sorted(tmp_path.rglob("*"))
    measured, _ = length_statistics.measure(provider, "train", 5, tmp_path)
    assert [(len(part.table), part.is_whole) for part in measured] == [(20, True), (5, False)]
    assert sorted(tmp_path.rglob("*")) == before
