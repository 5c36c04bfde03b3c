"""Tables of random examples that count what is read of them, and mixtures of these."""

import collections

import numpy as np

from teacherlm_jax.data.batches import (
    Arrays,
    ExampleTable,
    MixtureBatches,
    RowFormat,
    TokenizedExample,
)


class Counted(list):
    """Examples that count how often each is read."""

    def __init__(self, examples):
        super().__init__(examples)
        self.read = collections.Counter()

    def __getitem__(self, index):
        self.read[index] += 1
        return super().__getitem__(index)


def example(name: str, inputs, targets) -> TokenizedExample:
    """One example of these token ids."""
    return TokenizedExample(name, np.array(inputs, np.int32), np.array(targets, np.int32))


def varied(name: str, count: int, most: int = 14) -> ExampleTable:
    """A table of examples of 2 to `most` tokens that says how long they are; id 0 is a token."""
    random = np.random.default_rng(0)
    sizes = random.integers(1, most // 2 + 1, (count, 2)).astype(np.int32)
    examples = [
        example(f"{name}{i}", random.integers(0, 9, inputs), random.integers(0, 9, targets))
        for i, (inputs, targets) in enumerate(sizes.tolist())
    ]
    return ExampleTable(name, Counted(examples), sizes, [e.example_id for e in examples])


def large(
    pack: bool, seed: int = 0, counts=(("a", 150), ("b", 70), ("c", 9)), **settings
) -> tuple[MixtureBatches, list[ExampleTable]]:
    """Batches of 16 rows of 32 positions from three tables, and the tables."""
    tables = [varied(name, count) for name, count in counts]
    row_format = RowFormat(32, pack=pack)
    return MixtureBatches(tables, [0.6, 0.3, 0.1], row_format, 16, seed, **settings), tables


def same(arrays: Arrays, others: Arrays) -> None:
    """Fails unless names, types and values are the same."""
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)
        assert array.dtype == others[name].dtype
