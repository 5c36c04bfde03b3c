"""Which examples stand in which rows, against the contract spelled out slowly."""

import collections
import itertools
import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from teacherlm_jax.data import mixture_plan, seeded_order
from teacherlm_jax.data.mixture_plan import Draws, PackedRows, SingleRows

ROW_LENGTH = 24


def lengths_of(sizes, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(1, ROW_LENGTH + 1, size) for size in sizes]


def packed(sizes, rates, seed=0):
    return PackedRows(lengths_of(sizes), rates, ROW_LENGTH, seed)


def contents(rows):
    """The (table, entry) pairs of each row."""
    pairs = list(zip(rows.tables_S.tolist(), rows.entries_S.tolist(), strict=True))
    ends = np.cumsum(rows.per_row_R).tolist()
    assert (ends or [0])[-1] == len(pairs)
    return [pairs[start:end] for start, end in itertools.pairwise([0, *ends])]


MIXTURES = [
    ((7,), (1.0,)),
    ((40, 25), (40.0, 25.0)),
    ((40, 25), (1.0, 1.0)),
    ((31, 5, 64), (0.1, 0.2, 0.7)),
    ((3, 300), (0.85 / 3, 0.15)),
    ((1, 1, 1), (1.0, 1.0, 1e-3)),
]


# Packed


def slow_draws(sizes, rates, seed, epoch):
    """Draw by draw, with decimal rates."""
    exact = [Fraction(str(rate)) for rate in rates]
    drawn = collections.Counter()
    for table, (size, rate) in enumerate(zip(sizes, exact, strict=True)):
        per_epoch = rate / sum(exact) * sum(sizes)
        for draw in range(math.floor(per_epoch * epoch), math.floor(per_epoch * (epoch + 1))):
            order = seeded_order.permutation(size, seed, seeded_order.PASS, table, draw // size)
            drawn[table, int(order[draw % size])] += 1
    return drawn


@pytest.mark.parametrize(("sizes", "rates"), MIXTURES)
def test_epochs_hold_what_the_contract_says(sizes, rates):
    stream, used = packed(sizes, rates, seed=5), lengths_of(sizes)
    assert stream.count(0) == 0
    for epoch in range(6):
        rows = contents(stream.rows(stream.count(epoch), stream.count(epoch + 1)))
        drawn = collections.Counter(itertools.chain(*rows))
        assert drawn == slow_draws(sizes, rates, 5, epoch)
        row_lengths = [sum(int(used[table][entry]) for table, entry in row) for row in rows]
        assert min(row_lengths) > 0 and max(row_lengths) <= ROW_LENGTH
        # Best fit leaves no two rows that would fit into one.
        assert len(rows) < 2 or sum(sorted(row_lengths)[:2]) > ROW_LENGTH
        assert stream.fill(epoch) == pytest.approx(sum(row_lengths) / (len(rows) * ROW_LENGTH))


@pytest.mark.parametrize(("sizes", "rates"), MIXTURES)
def test_none_is_lost_or_doubled_within_a_pass(sizes, rates):
    draws = Draws(sizes, rates, seed=2)
    for table, size in enumerate(sizes):
        entries = np.concatenate([draws.entries(table, epoch) for epoch in range(9)])
        for first in range(0, len(entries) - size + 1, size):
            assert sorted(entries[first : first + size].tolist()) == list(range(size))
        rest = entries[len(entries) // size * size :]
        assert len(set(rest.tolist())) == len(rest)


@pytest.mark.parametrize(("sizes", "rates"), MIXTURES)
def test_histograms_are_those_of_the_draws(sizes, rates):
    draws, used = Draws(sizes, rates, seed=2), lengths_of(sizes)
    for epoch, table in itertools.product(range(7), range(len(sizes))):
        expected = np.bincount(used[table][draws.entries(table, epoch)], minlength=ROW_LENGTH + 1)
        found = draws.histogram(table, epoch, used[table], ROW_LENGTH + 1)
        np.testing.assert_array_equal(found, expected)


def test_rates_are_exact_in_the_long_run():
    draws = Draws((30, 50, 20), (0.1, 0.2, 0.7), seed=0)
    for epochs in (1, 7, 1000):
        found = [draws.before(table, epochs) for table in range(3)]
        # Tenths as they are written; as binary numbers they would lose one.
        assert found == [10 * epochs, 20 * epochs, 70 * epochs]


@pytest.mark.parametrize(("sizes", "rates"), MIXTURES)
def test_any_part_of_the_stream_is_the_same_however_it_is_come_by(sizes, rates):
    whole = contents(packed(sizes, rates).rows(0, 200))
    for first, last in ((0, 1), (199, 200), (0, 0), (50, 50), (3, 180), (120, 160)):
        # A stream of its own for each: as after a restart.
        assert contents(packed(sizes, rates).rows(first, last)) == whole[first:last]
    stream = packed(sizes, rates)
    there_and_back = [150, 3, 60, 3, 199, 0]
    for first in there_and_back:
        assert contents(stream.rows(first, first + 1)) == whole[first : first + 1]


def test_seeds_and_epochs_have_orders_and_neighbours_of_their_own():
    def neighbours(seed, epoch):
        stream = packed((200,), (1.0,), seed)
        rows = contents(stream.rows(stream.count(epoch), stream.count(epoch + 1)))
        return {frozenset(row) for row in rows if len(row) > 1}, tuple(map(tuple, rows))

    seen = [neighbours(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({order for _, order in seen}) == 4
    for (pairs, _), (others, _) in itertools.combinations(seen, 2):
        assert len(pairs & others) < 0.2 * len(pairs)


def test_tables_are_mixed_within_rows():
    lengths = [np.full(300, 4), np.full(300, 4)]
    rows = contents(PackedRows(lengths, [1.0, 1.0], 24, seed=0).rows(0, 100))
    tables = [[table for table, _ in row] for row in rows]
    assert all(len(row) == 6 for row in tables)
    assert sum(len(set(row)) == 2 for row in tables) > 90  # 97 are expected.


def test_late_epochs_need_no_plan_of_earlier_ones(monkeypatch):
    planned = []
    make_plan = PackedRows._make_plan
    monkeypatch.setattr(
        PackedRows, "_make_plan", lambda self, e: planned.append(e) or make_plan(self, e)
    )
    stream = packed((50, 70), (1.0, 1.0))
    stream.rows(stream.count(300), stream.count(300) + 2)
    assert planned == [300]
    # Where epochs are whole passes, none is even counted.
    stream = packed((50, 70), (50.0, 70.0))
    stream.rows(10**12, 10**12 + 1)
    assert len(planned) == 2 and len(stream._ends) == 1


def test_only_plans_in_use_are_held():
    lengths = [np.random.default_rng(0).integers(1, 25, 50_000)]
    stream = PackedRows(lengths, [1.0], 24, seed=0)
    stream.rows(0, 1)
    tracemalloc.start()
    for epoch in range(6):
        stream.rows(stream.count(epoch), stream.count(epoch) + 1)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Per plan: 8 bytes an example and 8 a row.
    assert held < 3 * 50_000 * 16


# One example a row


@pytest.mark.parametrize(
    ("sizes", "rates"),
    [*MIXTURES[:2], ((2000, 3019), (2000.0, 3019.0)), ((3, 97, 41), (3, 97, 41))],
)
def test_exact_turns_make_an_epoch_a_pass(sizes, rates):
    stream = SingleRows(sizes, rates, 0, is_exact=True)
    for epoch in range(2):
        rows = stream.rows(stream.count(epoch), stream.count(epoch + 1))
        assert (rows.per_row_R == 1).all()
        pairs = set(itertools.chain(*contents(rows)))
        assert pairs == {
            (table, entry) for table, size in enumerate(sizes) for entry in range(size)
        }
        assert len(rows.tables_S) == sum(sizes)


def test_exact_turns_are_spread_evenly():
    tables_S = SingleRows((500, 500, 500), (0.2, 0.3, 0.5), 0, is_exact=True).rows(0, 1000).tables_S
    for length in (10, 50, 333, 1000):
        counts = np.bincount(tables_S[:length], minlength=3)
        np.testing.assert_allclose(counts, np.array([0.2, 0.3, 0.5]) * length, atol=2)


def test_rounded_turns_are_not_exact():
    """Why there are exact ones: grain's mix rounds 3019 / 2000 to 1.5."""
    tables_S = SingleRows((2000, 3019), (2000.0, 3019.0), 0).rows(0, 5019).tables_S
    assert np.bincount(tables_S).tolist() == [2008, 3011]


def test_rates_count_as_they_are_written():
    assert mixture_plan.exact_shares([0.1, 0.2, 0.7]) == [
        Fraction(1, 10),
        Fraction(2, 10),
        Fraction(7, 10),
    ]
    assert mixture_plan.exact_shares([1e-5, 3]) == [Fraction(1, 300001), Fraction(300000, 300001)]
