"""Tables of tokenized examples, randomly addressable: whole, a part of them, or shortened.

A table knows the lengths and ids of its examples without reading one, so that checks and plans
cost no reading, however large it is.

Shape legend: N examples of a table, K chosen ones; 2 (inputs, targets).
"""

import dataclasses
import difflib
import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from teacherlm_jax.data import seeded_order
from teacherlm_jax.data.whole_numbers import check_whole


@dataclasses.dataclass(frozen=True)
class TokenizedExample:
    """One example as token ids.

    Attributes:
      example_id: names the row in errors and ledgers.
      inputs: int32 ids that carry no loss; may be empty.
      targets: int32 ids that carry loss; EOS included where the task adds one.
    """

    example_id: str
    inputs: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs) + len(self.targets)


@dataclasses.dataclass(frozen=True, eq=False)
class ExampleTable:
    """The examples of one task, randomly addressable.

    Attributes:
      name: the task's.
      examples: in memory, or read when asked for; `__getitems__`, where it has one, reads many at
        once.
      known_lengths_N2: int32 lengths; None: counted from the examples, all of which are read.
      known_ids: ids of the examples; None: read off the examples.
      known_digest: gives the `content_digest`; None: computed from the examples.
    """

    name: str
    examples: Sequence[TokenizedExample]
    known_lengths_N2: np.ndarray | None = None
    known_ids: Sequence[str] | None = None
    known_digest: Callable[[], str] | None = None

    def __post_init__(self) -> None:
        for what, known in (("lengths", self.known_lengths_N2), ("ids", self.known_ids)):
            if known is not None and len(known) != len(self.examples):
                raise ValueError(
                    f"{self.name} has {len(self.examples)} examples but {len(known)} {what}: give "
                    "one for each."
                )

    def __len__(self) -> int:
        return len(self.examples)

    @functools.cached_property
    def lengths_N2(self) -> np.ndarray:
        """Tokens of inputs and of targets, int32."""
        if self.known_lengths_N2 is not None:
            return self.known_lengths_N2
        pairs = [(len(example.inputs), len(example.targets)) for example in self.examples]
        return np.array(pairs, np.int32).reshape(-1, 2)

    @functools.cached_property
    def content_digest(self) -> str:
        """SHA-256 (hex) over the token ids; ids and name of the table have no part in it."""
        if self.known_digest is not None:
            return self.known_digest()
        digest = ContentDigest()
        for example in self.examples:
            digest.add(example.inputs, example.targets)
        return digest.hexdigest()

    def example_id(self, index: int) -> str:
        """An example's id."""
        if self.known_ids is None:
            return self.examples[index].example_id
        return self.known_ids[index]

    def read(self, indices: Sequence[int]) -> list[TokenizedExample]:
        """Reads these examples and no others, at once where the table can."""
        return read_many(self.examples, indices)


class ContentDigest:
    """SHA-256 over examples that come one by one."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        """Takes the next example's token ids."""
        self._digest.update(f"{len(inputs)} {len(targets)}\n".encode())
        self._digest.update(inputs.astype("<i4").tobytes())
        self._digest.update(targets.astype("<i4").tobytes())

    def hexdigest(self) -> str:
        """Of all so far."""
        return self._digest.hexdigest()


def tables_digest(tables: Sequence[ExampleTable], rates: Sequence[float]) -> str:
    """SHA-256 (hex) over the token ids of tables and their rates: names a data set by content.

    The same whether a table lies in memory or in a cache, which knows its own part of it.
    """
    total = hashlib.sha256()
    for table, rate in zip(tables, rates, strict=True):
        total.update(f"{len(table)} {rate!r} {table.content_digest}\n".encode())
    return total.hexdigest()


def read_many(items: Sequence[Any], indices: Iterable[int]) -> list[Any]:
    """Items at these places, at once where the sequence can read many."""
    places = [int(index) for index in indices]
    at_once = getattr(items, "__getitems__", None)
    if at_once is not None:
        return list(at_once(places))
    return [items[place] for place in places]


class Selection(Sequence[Any]):
    """A view of some items of a sequence, in a given order."""

    def __init__(self, items: Sequence[Any], places_K: np.ndarray) -> None:
        self._items, self._places_K = items, places_K

    def __len__(self) -> int:
        return len(self._places_K)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Selection(self._items, self._places_K[index])
        return self._items[int(self._places_K[index])]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        return read_many(self._items, self._places_K[np.asarray(indices, np.int64)])


class _Trimmed(Sequence[Any]):
    """A view of examples that are cut to their last tokens when they are read."""

    def __init__(self, examples: Sequence[TokenizedExample], most: int) -> None:
        self._examples, self._most = examples, most

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _Trimmed(self._examples[index], self._most)
        return self._cut(self._examples[index])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        return [self._cut(example) for example in read_many(self._examples, indices)]

    def _cut(self, example: TokenizedExample) -> TokenizedExample:
        over = len(example) - self._most
        if over <= 0:
            return example
        of_inputs = min(over, len(example.inputs))
        return dataclasses.replace(
            example,
            inputs=example.inputs[of_inputs:],
            targets=example.targets[over - of_inputs :],
        )


def selected(table: ExampleTable, indices_K: np.ndarray) -> ExampleTable:
    """A view of some examples of a table; nothing is read or copied."""
    indices_K = np.asarray(indices_K, np.int64)
    ids = table.known_ids

    def digest() -> str:
        part = hashlib.sha256(f"part of {table.content_digest}\n".encode())
        part.update(indices_K.astype("<i8").tobytes())
        return part.hexdigest()

    return ExampleTable(
        table.name,
        Selection(table.examples, indices_K),
        table.lengths_N2[indices_K],
        None if ids is None else Selection(ids, indices_K),
        digest,
    )


def trimmed(table: ExampleTable, most: int) -> ExampleTable:
    """A view of a table whose examples keep their last `most` tokens, inputs and targets together.

    The authors' release cuts over-long texts so: what is cut first is the start of the inputs.
    """
    check_whole(f"trimming of {table.name}", most=most)
    targets_N = np.minimum(table.lengths_N2[:, 1], most)
    inputs_N = np.minimum(table.lengths_N2[:, 0], most - targets_N)
    return ExampleTable(
        table.name,
        _Trimmed(table.examples, most),
        np.stack([inputs_N, targets_N], axis=1),
        table.known_ids,
        lambda: hashlib.sha256(f"last {most} of {table.content_digest}\n".encode()).hexdigest(),
    )


def capped_tables(
    tables: Sequence[ExampleTable], max_examples: int | Mapping[str, int] | None, seed: int = 0
) -> list[ExampleTable]:
    """Tables of at most so many examples each: fixed parts, not mixing rates; nothing is read.

    P3-Sense-3K and Muffin-3W of the paper (arXiv 2310.19019) are collections capped so.

    Args:
      tables: of a mixture.
      max_examples: of every table, or by table name (others stay whole); None: tables stay whole.
      seed: decides which examples, with the table's name: see `capped`.

    Raises:
      ValueError: a name is that of no table, or a number is no whole number of at least 1.
    """
    if max_examples is None:
        return list(tables)
    names = [table.name for table in tables]
    if not isinstance(max_examples, Mapping):
        max_examples = dict.fromkeys(names, max_examples)
    for name in max_examples:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3) or sorted(names)[:10]
            raise ValueError(
                f"max_examples names {name!r}, which is no task of the mixture; the nearest are "
                f"{near}."
            )
    return [
        capped(table, max_examples[table.name], seed) if table.name in max_examples else table
        for table in tables
    ]


def capped(table: ExampleTable, maximum: int, seed: int = 0) -> ExampleTable:
    """A view of at most so many examples of a table, in the table's order.

    Which ones depends on the table's name and size and on the seed: not on the order of training,
    nor on other tables. A smaller cap takes a part of what a larger one takes.

    Raises:
      ValueError: the maximum is no whole number of at least 1.
    """
    check_whole(f"cap of {table.name}", maximum=maximum)
    if maximum >= len(table):
        return table
    order_N = seeded_order.named_permutation(len(table), seed, table.name)
    return selected(table, np.sort(order_N[:maximum]))
