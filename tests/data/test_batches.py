"""Which rows a step sees, and how an example becomes a row."""

import collections
import json

import numpy as np
import pytest

from teacherlm_jax.data.batches import (
    ExampleTable,
    MixtureBatches,
    ReplicaBatches,
    RowFormat,
    TokenizedExample,
    tables_digest,
)

ROW = RowFormat(8)


def example(name, inputs, targets):
    return TokenizedExample(name, np.array(inputs, np.int32), np.array(targets, np.int32))


def table(name, count):
    return ExampleTable(name, [example(f"{name}{i}", [i], [i, 1]) for i in range(count)])


def mixture(counts, rates, batch_size=5, seed=0):
    tables = [table(name, count) for name, count in counts.items()]
    return MixtureBatches(tables, rates, ROW, batch_size, seed)


def rows(batches, steps):
    return [name for step in steps for name in batches(step)[0]]


# Order


def test_a_step_is_a_pure_function_of_seed_and_step():
    counts, rates = {"a": 7, "b": 11}, [2.0, 1.0]
    in_order = mixture(counts, rates)
    expected = [in_order(step) for step in range(12)]
    shuffled = mixture(counts, rates)
    for step in (11, 3, 0, 3, 7):
        ids, arrays = shuffled(step)
        assert ids == expected[step][0]
        for name, array in expected[step][1].items():
            np.testing.assert_array_equal(arrays[name], array)
    assert rows(mixture(counts, rates, seed=1), range(12)) != rows(in_order, range(12))


def test_rows_are_those_that_the_ids_name():
    ids, arrays = mixture({"a": 7}, [1.0])(2)
    assert [f"a{row[0]}" for row in arrays["decoder_target_tokens"]] == ids


def test_batch_size_only_cuts_the_same_order():
    small, large = (mixture({"a": 7, "b": 3}, [1, 2], size) for size in (2, 6))
    assert rows(small, range(9)) == rows(large, range(3))


def test_every_epoch_covers_a_table_once_in_an_order_of_its_own():
    order = rows(mixture({"a": 12}, [1.0], batch_size=5), range(12))
    epochs = [order[first : first + 12] for first in range(0, 60, 12)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(f"a{i}" for i in range(12))
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_seeds_and_tables_have_orders_of_their_own_in_every_epoch():
    """Not one seed's second epoch as the next seed's first."""
    orders = []
    for seed in (0, 1, 2):
        drawn = rows(mixture({"a": 12, "b": 12}, [1, 1], batch_size=24, seed=seed), range(4))
        for name in "ab":
            own = [row[1:] for row in drawn if row[0] == name]
            orders += [tuple(own[first : first + 12]) for first in range(0, 48, 12)]
    assert len(orders) == len(set(orders)) == 24


def test_every_table_of_a_mixture_is_covered_epoch_by_epoch():
    order = rows(mixture({"a": 6, "b": 4}, [3.0, 1.0], batch_size=8), range(12))
    for name, count in (("a", 6), ("b", 4)):
        own = [row for row in order if row.startswith(name)]
        assert len(own) == {"a": 72, "b": 24}[name]
        for first in range(0, len(own), count):
            assert len(set(own[first : first + count])) == count


@pytest.mark.parametrize("rates", [[0.85 / 3, 0.85 / 3, 0.85 / 3, 0.15], [75, 24, 1, 50]])
def test_tables_take_turns_in_proportion_to_their_rates(rates):
    counts = {"a": 5000, "b": 500, "c": 2000, "d": 900}
    order = rows(mixture(counts, rates, batch_size=10), range(200))
    for length in (100, 1000, 2000):
        found = collections.Counter(row[0] for row in order[:length])
        for name, rate in zip(counts, rates, strict=True):
            wanted = length * rate / sum(rates)
            assert abs(found[name] - wanted) <= 0.01 * wanted + 2, (name, length)


def test_mixtures_that_share_tables_and_rates_draw_the_same_rows_from_them():
    one = mixture({"a": 9, "b": 6, "c": 5}, [2, 1, 1], batch_size=4, seed=3)
    other = mixture({"x": 30, "b": 6, "c": 5}, [2, 1, 1], batch_size=4, seed=3)
    first, second = rows(one, range(50)), rows(other, range(50))
    assert len([row for row in first if row[0] in "bc"]) == 100
    for row, counterpart in zip(first, second, strict=True):
        assert row == counterpart if row[0] in "bc" else counterpart[0] == "x"


def test_replicas_are_stacked_each_with_its_own_order():
    replicas = [mixture({"a": 9}, [1.0], seed=seed) for seed in (0, 1, 2)]
    ids, arrays = ReplicaBatches(replicas)(4)
    assert ids == [name for batches in replicas for name in batches(4)[0]]
    for index, batches in enumerate(replicas):
        for name, array in batches(4)[1].items():
            np.testing.assert_array_equal(arrays[name][index], array)
            assert arrays[name].dtype == array.dtype and arrays[name].shape == (3, 5, 8)


# Rows


def arrays_of(inputs, targets, **settings):
    arrays = RowFormat(6, **settings).arrays([example("e", inputs, targets)])
    assert {name: str(array.dtype) for name, array in arrays.items()} == {
        "decoder_input_tokens": "int32",
        "decoder_target_tokens": "int32",
        "decoder_loss_weights": "float32",
        "decoder_segment_ids": "int32",
        "decoder_positions": "int32",
    }
    return {name.removeprefix("decoder_"): array[0].tolist() for name, array in arrays.items()}


def test_a_row_with_a_token_before_the_text():
    # Token 0 is real here, in the inputs as in the targets.
    assert arrays_of([7, 0], [0, 9, 1], bos_id=3) == {
        "input_tokens": [3, 7, 0, 0, 9, 0],
        "target_tokens": [7, 0, 0, 9, 1, 0],
        "loss_weights": [0, 0, 1, 1, 1, 0],
        "segment_ids": [1, 1, 1, 1, 1, 0],
        "positions": [0, 1, 2, 3, 4, 0],
    }


def test_a_row_without_a_token_before_the_text():
    assert arrays_of([7, 0], [0, 9, 1], bos_id=None) == {
        "input_tokens": [7, 0, 0, 9, 0, 0],
        "target_tokens": [0, 0, 9, 1, 0, 0],
        "loss_weights": [0, 1, 1, 1, 0, 0],
        "segment_ids": [1, 1, 1, 1, 0, 0],
        "positions": [0, 1, 2, 3, 0, 0],
    }


@pytest.mark.parametrize(
    ("inputs", "targets", "settings", "weights"),
    [
        ([7, 8], [9, 1], {"loss_on": "all"}, [1, 1, 1, 1, 0, 0]),
        ([7, 8], [9, 1], {"loss_on": "all", "bos_id": None}, [1, 1, 1, 0, 0, 0]),
        ([], [9, 1], {}, [1, 1, 0, 0, 0, 0]),
        # The first token of a text is context alone where nothing comes before it.
        ([], [9, 5, 1], {"bos_id": None}, [1, 1, 0, 0, 0, 0]),
        ([7], [9, 5, 1], {"bos_id": None}, [1, 1, 1, 0, 0, 0]),
        ([1, 2, 3], [4, 5, 6], {}, [0, 0, 0, 1, 1, 1]),
        ([1, 2, 3], [4, 5, 6, 7], {"bos_id": None}, [0, 0, 1, 1, 1, 1]),
    ],
)
def test_which_positions_carry_loss(inputs, targets, settings, weights):
    arrays = arrays_of(inputs, targets, **settings)
    assert arrays["loss_weights"] == weights
    tokens = inputs + targets
    used = sum(arrays["segment_ids"])
    assert arrays["target_tokens"][:used] == tokens[-used:]


def test_rows_of_different_lengths_stand_side_by_side():
    arrays = ROW.arrays([example("e", [5], [1]), example("f", [], [6, 7, 1])])
    assert arrays["decoder_segment_ids"].sum(1).tolist() == [2, 3]


# Errors


@pytest.mark.parametrize("bos_id", [0, None])
def test_an_example_that_does_not_fit_is_named(bos_id):
    row = RowFormat(6, bos_id)
    room = 6 if bos_id == 0 else 7
    row.check(ExampleTable("t", [example("fits", [2] * (room - 2), [3, 1])]))
    long = ExampleTable("t", [example("t/train:4", [2] * (room - 2), [3, 3, 1])])
    message = rf"t/train:4 has {room + 1} tokens \(inputs {room - 2}, targets 3\), .* holds {room}"
    with pytest.raises(ValueError, match=message):
        MixtureBatches([long], [1.0], row, 2, 0)


def test_an_example_without_a_token_to_learn_from_is_named():
    with pytest.raises(ValueError, match="e has no target tokens"):
        ROW.check(ExampleTable("t", [example("e", [5], [])]))
    alone = ExampleTable("t", [example("e", [], [5])])
    ROW.check(alone)
    with pytest.raises(ValueError, match="e has one token alone"):
        RowFormat(8, bos_id=None).check(alone)


@pytest.mark.parametrize(
    ("counts", "rates", "message"),
    [
        ({}, [], "mixture of 0 tables"),
        ({"a": 3}, [1.0, 2.0], "1 tables got 2 rates"),
        ({"a": 3, "b": 0}, [1.0, 1.0], "b has no examples"),
        ({"a": 3}, [0.0], "a has rate 0.0"),
        ({"a": 3}, [float("nan")], "a has rate nan"),
        ({"a": 3, "b": 2}, [1.0, float("inf")], "b has rate inf"),
    ],
)
def test_a_mixture_that_cannot_be_drawn_from_is_an_error(counts, rates, message):
    with pytest.raises(ValueError, match=message):
        mixture(counts, rates)


def test_settings_of_rows_are_checked():
    with pytest.raises(ValueError, match="loss_on = 'target', but it must be one of"):
        RowFormat(8, loss_on="target")
    with pytest.raises(ValueError, match="row length 0"):
        RowFormat(0)


# Digest


def test_a_digest_names_the_content_and_nothing_else():
    base = [table("a", 3), table("b", 2)]
    digest = tables_digest(base, [1.0, 2.0])
    renamed = [
        ExampleTable("z", [example("z", e.inputs, e.targets) for e in t.examples]) for t in base
    ]
    assert tables_digest(renamed, [1.0, 2.0]) == digest
    wide = ExampleTable(
        "a",
        [TokenizedExample("a", e.inputs.astype(np.int64), e.targets) for e in base[0].examples],
    )
    assert tables_digest([wide, base[1]], [1.0, 2.0]) == digest
    others = [
        tables_digest(base, [1.0, 2.5]),
        tables_digest(base[::-1], [1.0, 2.0]),
        tables_digest([table("a", 4), table("b", 2)], [1.0, 2.0]),
        tables_digest([ExampleTable("a", [example("a", [5, 6], [7])])], [1.0]),
        tables_digest([ExampleTable("a", [example("a", [5], [6, 7])])], [1.0]),
    ]
    assert len({digest, *others}) == 6
    assert len(digest) == 64 and json.loads(json.dumps(digest)) == digest
