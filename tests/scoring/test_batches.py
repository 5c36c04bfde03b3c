import itertools

import numpy as np
import pytest

from teacherlm_jax.scoring import batches
from teacherlm_jax.scoring.likelihood import RowSize


@pytest.mark.parametrize("seed", range(40))
def test_fitted_sizes_pad_least(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 14, size=rng.integers(1, 20))
    most = int(rng.integers(1, 5))

    def padded(sizes):
        return sum(min(size for size in sizes if size >= value) for value in values)

    found = batches.fitted_buckets(values, most, 1)
    distinct = sorted(set(values.tolist()))
    every_choice = (
        choice
        for count in range(1, most + 1)
        for choice in itertools.combinations(distinct, count)
        if choice[-1] == distinct[-1]
    )
    assert len(found) <= most and found == sorted(found)
    assert padded(found) == min(map(padded, every_choice))


def test_sizes_are_whole_multiples_and_none_for_nothing():
    assert batches.fitted_buckets(np.array([1, 8, 9, 30]), 4, 8) == [8, 16, 32]
    assert batches.fitted_buckets(np.array([], np.int64), 4, 8) == []
    assert batches.plan([], 4) == []


def test_every_question_stands_in_one_batch_that_holds_it_and_sizes_are_few():
    rng = np.random.default_rng(0)
    sizes = [
        RowSize(int(rng.integers(10, 200)), int(rng.choice([1] * 60 + [*range(2, 60)])), 2 + n % 4)
        for n in range(300)
    ]
    planned = batches.plan(sizes, 16)
    assert sorted(n for batch in planned for n in batch.numbers) == list(range(300))
    for batch in planned:
        assert len(batch.numbers) <= 16
        for number in batch.numbers:
            assert all(has >= needs for has, needs in zip(batch.size, sizes[number]))
    assert len({batch.size for batch in planned}) <= 4 * (1 + 3)
    # Letters are apart but for those that fill up the others' last batch.
    letters = [batch for batch in planned if batch.size.places == 1]
    assert sum(len(batch.numbers) for batch in letters) > 100
    assert sum(len(batch.numbers) < 16 for batch in planned) <= 1 + 3


def test_given_buckets_are_kept_to():
    sizes = [RowSize(5, 1, 2), RowSize(9, 1, 2), RowSize(17, 3, 2)]
    assert {batch.size.positions for batch in batches.plan(sizes, 2, (12, 24))} == {12, 24}


@pytest.mark.parametrize(
    ("rows", "most", "shards", "expected"),
    [(5, 24, 1, 5), (25, 24, 1, 13), (48, 24, 1, 24), (5, 3, 4, 8), (1, 8, 8, 8), (100, 8, 8, 56)],
)
def test_batches_are_few_and_evenly_filled(rows, most, shards, expected):
    found = batches.evenly(rows, most, shards)
    assert found == expected and found % shards == 0 and found <= most * shards
    assert -(-rows // found) == -(-rows // (most * shards))
