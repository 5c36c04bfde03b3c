"""Best-fit decreasing over a histogram, against the same done example by example."""

import collections
import json

import numpy as np
import pytest
import seqio

from teacherlm_jax.data import packing, pipeline
from teacherlm_jax.data.batches import MixtureBatches, RowFormat
from teacherlm_jax.data.examples import ExampleTable, TokenizedExample
from tests.source import ROOT

PAPER_EVAL = ROOT.parent / "shared/data/paper_eval"


def one_by_one(lengths, row_length):
    """The room left in each row, as best-fit decreasing leaves it; tries every row."""
    rooms = []
    for length in sorted(lengths, reverse=True):
        fitting = [room for room in rooms if room >= length]
        if fitting:
            rooms.remove(min(fitting))
        rooms.append((min(fitting) if fitting else row_length) - length)
    return sorted(rooms)


def rooms_of(groups, row_length):
    return sorted(
        row_length - sum(length * count for length, count in group.contents)
        for group in groups
        for _ in range(group.rows)
    )


@pytest.mark.parametrize("seed", range(40))
def test_rows_are_those_of_best_fit_decreasing(seed):
    random = np.random.default_rng(seed)
    row_length = int(random.integers(1, 40))
    lengths = random.integers(1, row_length + 1, random.integers(0, 200))
    if seed % 2:  # Few lengths, many examples of each.
        lengths = random.choice(lengths[:3], len(lengths)) if len(lengths) else lengths
    groups = packing.best_fit(np.bincount(lengths, minlength=row_length + 1), row_length)
    assert rooms_of(groups, row_length) == one_by_one(lengths.tolist(), row_length)
    assert packing.row_count(groups) == len(one_by_one(lengths.tolist(), row_length))
    packed = collections.Counter()
    for group in groups:
        for length, count in group.contents:
            packed[length] += group.rows * count
    assert packed == collections.Counter(lengths.tolist())


def test_slots_are_the_rows_in_full():
    groups = [packing.RowGroup(2, ((5, 1), (2, 2))), packing.RowGroup(1, ((9, 1),))]
    lengths_S, per_row_R = packing.slots(groups)
    assert lengths_S.tolist() == [5, 2, 2, 5, 2, 2, 9]
    assert per_row_R.tolist() == [3, 3, 1]
    assert [array.tolist() for array in packing.slots([])] == [[], []]


def test_slots_get_examples_of_their_length_in_order():
    slots_S = np.array([5, 2, 2, 5, 2, 2, 70000])
    examples_S = packing.assign(slots_S, np.array([2, 5, 70000, 2, 2, 5, 2]))
    assert examples_S.tolist() == [1, 0, 3, 5, 4, 6, 2]


def test_lengths_that_no_row_holds_are_an_error():
    with pytest.raises(ValueError, match=r"take 0 to 3 positions, .* rows of 4 hold those of 1"):
        packing.best_fit(np.array([1, 0, 0, 2, 0]), 4)
    with pytest.raises(ValueError, match=r"take 1 to 5 positions, but rows of 4"):
        packing.best_fit(np.array([0, 1, 0, 0, 0, 1]), 4)


@pytest.mark.parametrize(
    ("median", "spread"),
    # In tokens: TeacherData's explanations, short questions, long documents.
    [(250, 0.8), (60, 0.5), (500, 1.0)],
)
def test_little_is_left_empty(median, spread):
    lengths = np.random.default_rng(0).lognormal(np.log(median), spread, 100_000)
    lengths = np.clip(lengths.astype(np.int64), 1, 2048)
    rows = packing.row_count(packing.best_fit(np.bincount(lengths, minlength=2049), 2048))
    assert lengths.sum() / (rows * 2048) > 0.99


def share_of_tokens(tables) -> float:
    """Of the positions of rows of 2,048, in an epoch of all examples."""
    batches = MixtureBatches(tables, None, RowFormat(2048, pack=True), 1, seed=0, num_epochs=1)
    used = [
        int((batches(step)[1]["decoder_segment_ids"] > 0).sum()) for step in range(batches.steps)
    ]
    assert sum(used) == sum(int(table.lengths_N2.sum()) for table in tables)
    return sum(used) / (2048 * len(used))


def test_rows_of_the_world_are_full():
    import teacherlm_jax.tasks.world  # noqa: F401

    tables, _ = pipeline.load_tables("world1_base")
    assert share_of_tokens(tables) >= 0.97


@pytest.mark.skipif(not PAPER_EVAL.exists(), reason="the authors' evaluation texts are not here")
def test_rows_of_the_papers_texts_are_full():
    """Questions and explanations of CREAK, ECQA and StrategyQA, in bytes."""
    vocabulary, tables = seqio.ByteVocabulary(), []
    for path in sorted(PAPER_EVAL.glob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        examples = [
            TokenizedExample(
                f"{path.stem}:{number}",
                np.array(vocabulary.encode(row["prompted_question"]), np.int32),
                np.array([*vocabulary.encode(row["explanation"]), vocabulary.eos_id], np.int32),
            )
            for number, row in enumerate(rows)
        ]
        tables.append(ExampleTable(path.stem, examples))
    assert len(tables) == 3 and share_of_tokens(tables) >= 0.97
