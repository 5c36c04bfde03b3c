"""Fixed parts of what rows give, where a row gives several examples, or none.

`DatasetSource` takes a fixed part of the rows. Where every row is one example that is enough.
"""

from __future__ import annotations

import hashlib
import heapq
import operator
from collections.abc import Callable, Iterator
from typing import Any

from teacherlm_jax.data import generators, whole_numbers

_AT_ONCE = 256


def at_most(most: int, seed: int, name: str) -> Callable[[Any], Any]:
    """A step of a source that keeps at most so many examples, always the same, in their order.

    Which they are depends on the seed, the name and the examples' ids alone, not on which others
    there are: two draws of different sizes hold each other. It is for `RowSource.giving`: as a
    preprocessor of a task it would see the rows of one host, and every host would keep so many.

    Args:
      most: examples of a split; those kept are held in memory.
      seed: decides which.
      name: hashed with the seed, so that two tasks over the same rows differ.

    Returns:
      dataset -> dataset; each example has a text `id`, that no other has.
    """

    def preprocess(dataset: Any) -> Any:
        def generate() -> Iterator[Any]:
            kept: list[tuple[int, int, Any]] = []  # a heap whose first has the largest draw
            for position, example in enumerate(_examples(dataset)):
                entry = (-draw(seed, name, example["id"].decode("utf-8")), position, example)
                if len(kept) < most:
                    heapq.heappush(kept, entry)
                else:
                    heapq.heappushpop(kept, entry)
            for _, _, example in sorted(kept, key=operator.itemgetter(1)):
                yield example

        return generators.from_generator(generate, dataset.element_spec)

    return preprocess


def _examples(dataset: Any) -> Iterator[Any]:
    if any(spec.shape.rank != 0 for spec in dataset.element_spec.values()):
        yield from dataset.as_numpy_iterator()
        return
    # One by one, crossing from TensorFlow costs more than all that is done here.
    for block in dataset.batch(_AT_ONCE).as_numpy_iterator():
        for values in zip(*block.values(), strict=True):
            yield dict(zip(block, values, strict=True))


def draw(seed: int, *parts: str | int) -> int:
    """A number of 64 bits that the seed and the parts decide."""
    text = "/".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "little")


def shares(counts: list[int], most: int) -> list[int]:
    """Parts of these sizes in proportion, `most` in all; each whole where all fit."""
    total = sum(counts)
    if total <= most:
        return list(counts)
    ends = [sum(counts[: place + 1]) * most // total for place in range(len(counts))]
    return [end - start for start, end in zip([0, *ends], ends)]


def check(max_examples: int, seed: int) -> None:
    """Raises ValueError unless the cap is a whole number from 1 on, and the seed one from 0 on."""
    whole_numbers.check_whole("the cap", 1, max_examples=max_examples)
    whole_numbers.check_whole("the cap", 0, seed=seed)


def suffix(max_examples: int, default: int, seed: int) -> str:
    """What tells apart the names of tasks with another cap or another seed.

    Raises:
      ValueError: either is no whole number, or too small.
    """
    check(max_examples, seed)
    return f"_max{max_examples}" * (max_examples != default) + f"_seed{seed}" * bool(seed)
