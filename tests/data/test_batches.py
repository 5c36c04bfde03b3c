"""Which rows a step sees."""

import collections
import hashlib
import itertools
import subprocess
import sys
from concurrent import futures

import numpy as np
import pytest

from teacherlm_jax.data.batches import (
    ExampleTable,
    MixtureBatches,
    NoSuchStepError,
    ReplicaBatches,
    RowFormat,
    TokenizedExample,
    capped,
)
from tests.data.tiny_tables import example, large, same, varied
from tests.source import ROOT

ROW = RowFormat(8)


def table(name, count):
    return ExampleTable(name, [example(f"{name}{i}", [i], [i, 1]) for i in range(count)])


def mixture(counts, rates, batch_size=5, seed=0, **settings):
    tables = [table(name, count) for name, count in counts.items()]
    return MixtureBatches(tables, rates, ROW, batch_size, seed, **settings)


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


def test_replicas_come_whole_and_without_components():
    replicas = [
        mixture({"a": 9, "b": 4}, None, seed=seed, num_epochs=epochs)
        for seed, epochs in ((0, 1), (1, 2))
    ]
    together = ReplicaBatches(replicas)
    assert together.components == () and together.batch_size == 5 and together.steps == 3
    assert "decoder_component_ids" in replicas[0](0)[1]
    assert "decoder_component_ids" not in together(0)[1]
    with pytest.raises(ValueError, match=r"rows = \[0\], but replicas are read whole"):
        together(0, [0])
    assert ReplicaBatches([mixture({"a": 9}, [1.0])] * 2).steps is None


# Hosts


def parts_of(hosts, size=16):
    rows = np.arange(size).reshape(hosts, -1)
    return [part.tolist() for part in rows]


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("hosts", [1, 2, 4, 8])
def test_hosts_read_the_same_stream_each_its_part(pack, hosts):
    whole, _ = large(pack)
    expected = [whole(step) for step in range(6)]
    for rows in parts_of(hosts):
        batches, tables = large(pack)
        for step, (ids, arrays) in enumerate(expected):
            for table in tables:
                table.examples.read.clear()
            own_ids, own = batches(step, rows)
            assert own_ids == ids
            same(own, {name: array[rows] for name, array in arrays.items()})
            # What other hosts hold was not read: segments of these rows, and no more.
            read = sum(table.examples.read.total() for table in tables)
            assert read <= own["decoder_segment_ids"].max(axis=1).sum()


@pytest.mark.parametrize("pack", [False, True])
def test_the_stream_goes_on_when_the_number_of_hosts_changes(pack):
    whole, _ = large(pack)
    for step, hosts in enumerate((8, 8, 2, 1, 4, 4, 8)):
        parts = [large(pack)[0](step, rows)[1] for rows in parts_of(hosts)]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        same(joined, whole(step)[1])


def test_rows_come_in_the_order_asked_for():
    batches, _ = large(True)
    arrays = batches(3)[1]
    same(batches(3, [9, 2, 2])[1], {name: array[[9, 2, 2]] for name, array in arrays.items()})
    assert batches(3, [])[1]["decoder_positions"].shape == (0, 32)
    with pytest.raises(ValueError, match=r"rows \[16, -1\]: a step has rows 0 to 15"):
        batches(3, [0, 16, -1])


# Resume


@pytest.mark.parametrize("pack", [False, True])
def test_a_resume_is_the_stream_from_the_start_and_reads_nothing_of_it(pack):
    counts = (("a", 1500), ("b", 700), ("c", 90))
    from_start, _ = large(pack, counts=counts)
    expected = [from_start(step) for step in range(1003)]
    resumed, tables = large(pack, counts=counts)
    for step in (1000, 1001, 1002):
        ids, arrays = resumed(step)
        assert ids == expected[step][0]
        same(arrays, expected[step][1])
    read = sum(table.examples.read.total() for table in tables)
    assert read <= sum(len(ids) for ids, _ in expected[1000:])
    # Epochs have gone by since the start.
    assert len(set(itertools.chain(*(ids for ids, _ in expected)))) == 2290


def stream_digest():
    """SHA-256 of some steps of packed and unpacked mixtures."""
    digest = hashlib.sha256()
    for pack, step in itertools.product((False, True), (0, 1, 40)):
        ids, arrays = large(pack, max_examples={"a": 90}, cap_seed=3)[0](step)
        digest.update("\n".join(ids).encode())
        for name in sorted(arrays):
            digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def test_another_process_sees_the_same_stream():
    code = "from tests.data import test_batches; print(test_batches.stream_digest())"
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == stream_digest()


def test_threads_may_ask_at_once():
    expected, _ = large(True)
    shared, _ = large(True)
    steps = [30, 1, 17, 2, 29, 0, 8, 16] * 4
    with futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(shared, steps))
    for step, (ids, arrays) in zip(steps, found, strict=True):
        assert ids == expected(step)[0]
        same(arrays, expected(step)[1])


# Epochs


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("epochs", [1, 3])
def test_data_that_ends_holds_every_example_once_an_epoch(pack, epochs):
    tables = [varied("a", 61), varied("b", 20)]
    batches = MixtureBatches(tables, None, RowFormat(32, pack=pack), 16, 0, num_epochs=epochs)
    seen = [batches(step) for step in range(batches.steps)]
    counts = collections.Counter(itertools.chain(*(ids for ids, _ in seen)))
    assert counts == {f"{name}{i}": epochs for name, n in (("a", 61), ("b", 20)) for i in range(n)}
    assert {array.shape for _, arrays in seen for array in arrays.values()} == {(16, 32)}
    used = seen[-1][1]["decoder_segment_ids"].any(axis=1)
    assert 0 < used.sum() < 16 and not used[used.sum() :].any()
    for array in seen[-1][1].values():
        assert not array[~used].any()
    # A host that holds only rows that fill up reads nothing.
    read = [table.examples.read.copy() for table in tables]
    batches(batches.steps - 1, [15])
    assert [table.examples.read for table in tables] == read


@pytest.mark.parametrize("pack", [False, True])
def test_there_are_no_steps_past_the_end(pack):
    batches = MixtureBatches([table("a", 7)], [1.0], RowFormat(8, pack=pack), 2, 0, num_epochs=2)
    assert batches.steps == (4 if pack else 7)
    for step in (batches.steps, 1000, -1):
        with pytest.raises(NoSuchStepError, match=rf"step {step}, .* 0 to {batches.steps - 1} \(2"):
            batches(step)
    assert issubclass(NoSuchStepError, ValueError) and issubclass(NoSuchStepError, IndexError)
    endless = MixtureBatches([table("a", 7)], [1.0], ROW, 2, 0)
    assert endless.steps is None
    with pytest.raises(NoSuchStepError, match="step -1, but there are steps without end"):
        endless(-1)


def test_packed_epochs_of_an_endless_stream_are_those_of_one_that_ends():
    ending, endless = large(True, num_epochs=2)[0], large(True)[0]
    for step in range(ending.steps - 1):
        assert ending(step)[0] == endless(step)[0]


# Parts


@pytest.mark.parametrize("pack", [False, True])
def test_every_position_names_its_component(pack):
    batches, _ = large(pack)
    assert batches.components == ("a", "b", "c") and batches.batch_size == 16
    mixed = 0
    for step in range(4):
        ids, arrays = batches(step)
        found = []
        for components, segments in zip(
            arrays["decoder_component_ids"], arrays["decoder_segment_ids"], strict=True
        ):
            assert not components[segments == 0].any()
            own = [set(components[segments == n].tolist()) for n in range(1, segments.max() + 1)]
            assert all(len(of_segment) == 1 for of_segment in own)
            found += ["abc"[of_segment.pop()] for of_segment in own]
            mixed += len(set(components[segments > 0].tolist())) > 1
        assert found == [name[0] for name in ids]
    assert mixed > 20 if pack else mixed == 0


def test_a_lone_table_needs_no_component():
    batches = mixture({"a": 7}, [1.0])
    assert batches.components == ("a",) and "decoder_component_ids" not in batches(0)[1]


@pytest.mark.parametrize("pack", [False, True])
def test_caps_are_the_same_part_whatever_the_order(pack):
    expected = {e.example_id for e in capped(varied("a", 150), 20, seed=9).examples}
    for seed in (0, 1):
        batches, _ = large(pack, seed, max_examples={"a": 20}, cap_seed=9)
        seen = itertools.chain(*(batches(step)[0] for step in range(30)))
        assert {name for name in seen if name[0] == "a"} == expected
    with pytest.raises(ValueError, match=r"max_examples names 'd'"):
        large(pack, max_examples={"d": 20})


def test_what_does_not_fit_is_counted(caplog):
    tables = [varied("a", 100, most=40), varied("b", 10)]
    long = sum(int(size) > 24 for size in tables[0].lengths_N2.sum(1))
    for too_long in ("drop", "trim"):
        row_format = RowFormat(24, too_long=too_long, pack=True)
        batches = MixtureBatches(tables, None, row_format, 8, 0, num_epochs=1)
        counts = {"drop": batches.dropped, "trim": batches.trimmed}
        assert counts.pop(too_long) == {"a": long} and list(counts.values()) == [{}]
        ids = [name for step in range(batches.steps) for name in batches(step)[0]]
        assert len(ids) == len(set(ids)) == 110 - (long if too_long == "drop" else 0)
    assert sum("of 100 examples" in record.message for record in caplog.records) == 2
    with pytest.raises(ValueError, match="a: all of its 100 examples are dropped"):
        MixtureBatches(tables[:1], None, RowFormat(1, too_long="drop"), 8, 0)


def test_packed_rows_of_2048_are_nearly_full():
    """Lengths of explanations, about 250 tokens; padding by seqio's packing in order is 5 %."""
    lengths = np.random.default_rng(0).lognormal(np.log(250), 0.8, 20_000).astype(np.int32)
    lengths = np.clip(lengths, 2, 2048)
    sizes = np.stack([lengths // 2, lengths - lengths // 2], axis=1)

    class Zeros(list):
        def __getitem__(self, index):
            inputs, targets = sizes[index]
            return TokenizedExample("", np.zeros(inputs, np.int32), np.zeros(targets, np.int32))

    ids = [str(index) for index in range(len(sizes))]
    tables = [ExampleTable("t", Zeros(ids), sizes, ids)]
    batches = MixtureBatches(tables, [1.0], RowFormat(2048, pack=True), 64, 0, num_epochs=1)
    rows = np.concatenate(
        [batches(step)[1]["decoder_segment_ids"] for step in range(batches.steps)]
    )
    rows = rows[rows.any(axis=1)]
    assert (rows > 0).mean() > 0.97
    assert (rows > 0).sum() == lengths.sum()


# Errors


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size = 0, but it must be a whole number of at least 1"),
        ({"num_epochs": 0}, "num_epochs = 0, but it must be a whole number of at least 1"),
        ({"num_epochs": 1.5}, "num_epochs = 1.5, but"),
    ],
)
def test_counts_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        mixture({"a": 3}, [1.0], **settings)
