"""Step -> (example ids, arrays): the one interface through which training data comes.

Which rows a step sees is a pure function of the seed and the step. It does not depend on what
was read before, on the number of hosts or on a restart, so nothing needs to be saved to resume.
Each host asks for its own rows, and only their examples are read.

Shape legend: B batch, T positions.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from absl import logging

from teacherlm_jax.data import mixture_plan
from teacherlm_jax.data.examples import (
    ExampleTable,
    TokenizedExample,
    capped,
    capped_tables,
    tables_digest,
)
from teacherlm_jax.data.row_format import COMPONENT_IDS, LOSS_ON, Arrays, RowFormat
from teacherlm_jax.data.whole_numbers import check_whole

__all__ = [
    "COMPONENT_IDS",
    "LOSS_ON",
    "Arrays",
    "Batches",
    "ExampleTable",
    "MixtureBatches",
    "NoSuchStepError",
    "ReplicaBatches",
    "RowFormat",
    "TokenizedExample",
    "capped",
    "capped_tables",
    "tables_digest",
]


class NoSuchStepError(ValueError, IndexError):
    """A step before the first, or after the data's end."""


class Batches(Protocol):
    """What the loop trains on."""

    def __call__(self, step: int, rows: Sequence[int] | None = None) -> tuple[list[str], Arrays]:
        """Ids of all examples of a step, row by row, and the arrays of the rows asked for.

        The same for the same step, always.

        Args:
          step: from 0 on.
          rows: which rows of the batch to read, in this order; None: all.
        """

    @property
    def batch_size(self) -> int:
        """Rows B of a step, over all hosts."""

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the mixture's tables; with two or more, `decoder_component_ids` index them."""

    @property
    def steps(self) -> int | None:
        """How many steps there are; None: without end."""


class MixtureBatches:
    """Batches from a weighted mixture of tables.

    One example a row: each table is shuffled anew every pass and repeated; tables take turns in the
    proportion of their rates. Two mixtures with the same rates and seed draw the same rows from the
    tables that they share, at the same steps. Packed (`RowFormat.pack`): see
    `mixture_plan.PackedRows`.

    An epoch is as many draws as the tables hold examples that fit. In a mixture that is a pass over
    every table only where rates are in proportion to sizes.

    Attributes:
      components: names of the tables, in their order.
      batch_size: rows B of a step.
      dropped: table name -> examples left out since they do not fit, where there are any.
      trimmed: table name -> examples cut, where there are any.
    """

    def __init__(
        self,
        tables: Sequence[ExampleTable],
        rates: Sequence[float] | None,
        row_format: RowFormat,
        batch_size: int,
        seed: int,
        *,
        num_epochs: int | None = None,
        max_examples: int | Mapping[str, int] | None = None,
        cap_seed: int = 0,
    ) -> None:
        """Plans; reads no example of a table that knows its lengths.

        Args:
          tables: the examples.
          rates: of the tables, in any unit; None: in proportion to what they hold, so that with
            num_epochs an epoch is one pass over every table.
          row_format: how examples become rows.
          batch_size: rows of a step, over all hosts.
          seed: of all orders.
          num_epochs: None repeats without end. With a number, the last step is filled up with empty
            rows (segment 0, weight 0), so that no example is lost, and tables take turns in exact
            proportion.
          max_examples: caps of all tables, or of those named: see `examples.capped`. Caps come
            before drops, so that the part does not depend on the row's length.
          cap_seed: which part of a capped table is taken.

        Raises:
          ValueError: no tables, an empty table, a rate not above 0, an example that cannot be used,
            a cap of a table that is not there, or a count that is none.
        """
        _check_rates(tables, rates)
        check_whole("batches", batch_size=batch_size)
        if num_epochs is not None:
            check_whole("batches", num_epochs=num_epochs)
        self.batch_size = batch_size
        self.components = tuple(table.name for table in tables)
        self.dropped: dict[str, int] = {}
        self.trimmed: dict[str, int] = {}
        self._tables = [
            self._usable(table, row_format)
            for table in capped_tables(tables, max_examples, cap_seed)
        ]
        sizes = [len(table) for table in self._tables]
        rates = list(map(float, sizes)) if rates is None else rates
        self._row_format = row_format
        self._num_epochs = num_epochs
        self._stream: mixture_plan.RowStream
        if row_format.pack:
            used = [row_format.used_N(table) for table in self._tables]
            self._stream = mixture_plan.PackedRows(used, rates, row_format.length, seed)
        else:
            self._stream = mixture_plan.SingleRows(
                sizes, rates, seed, is_exact=num_epochs is not None
            )

    def _usable(self, table: ExampleTable, row_format: RowFormat) -> ExampleTable:
        usable = row_format.usable(table)
        if usable.dropped:
            self.dropped[table.name] = usable.dropped
        if usable.trimmed:
            self.trimmed[table.name] = usable.trimmed
        if usable.dropped or usable.trimmed:
            logging.warning(
                "%s: of %d examples, %d are dropped and %d trimmed, since rows hold %d tokens.",
                table.name,
                len(table),
                usable.dropped,
                usable.trimmed,
                row_format.room,
            )
        if not len(usable.table):
            raise ValueError(
                f"{table.name}: all of its {len(table)} examples are dropped, since rows hold "
                f"{row_format.room} tokens: raise the stage's task_feature_lengths, or trim."
            )
        return usable.table

    @functools.cached_property
    def steps(self) -> int | None:
        """How many steps there are; None: without end."""
        if self._num_epochs is None:
            return None
        return -(-self._stream.count(self._num_epochs) // self.batch_size)

    def __call__(self, step: int, rows: Sequence[int] | None = None) -> tuple[list[str], Arrays]:
        """The rows of a step; see `Batches`.

        Raises:
          NoSuchStepError: there is no such step.
          ValueError: there is no such row.
        """
        drawn = self._drawn(step)
        asked = range(self.batch_size) if rows is None else [int(row) for row in rows]
        wrong = [row for row in asked if not 0 <= row < self.batch_size]
        if wrong:
            raise ValueError(f"rows {wrong}: a step has rows 0 to {self.batch_size - 1}.")
        tables, entries = drawn.tables_S.tolist(), drawn.entries_S.tolist()
        ids = [self._tables[t].example_id(entry) for t, entry in zip(tables, entries, strict=True)]
        # Rows that fill up the last step hold nothing.
        ends = np.cumsum(drawn.per_row_R).tolist()
        slots = [range(start, end) for start, end in zip([0, *ends], ends)]
        slots_of = [slots[row] if row < len(slots) else range(0) for row in asked]
        examples = self._read(drawn, sorted({slot for row in slots_of for slot in row}))
        components = None
        if len(self.components) > 1:
            components = [[tables[slot] for slot in row] for row in slots_of]
        return ids, self._row_format.row_arrays(
            [[examples[slot] for slot in row] for row in slots_of], components
        )

    def _drawn(self, step: int) -> mixture_plan.DrawnRows:
        if step < 0 or (self.steps is not None and step >= self.steps):
            there_are = "without end" if self.steps is None else f"0 to {self.steps - 1}"
            raise NoSuchStepError(
                f"step {step}, but there are steps {there_are} ({self._num_epochs} epochs of "
                f"{sum(map(len, self._tables))} examples, {self.batch_size} rows a step): train "
                "for fewer steps, or raise num_epochs (None repeats without end)."
            )
        first, last = step * self.batch_size, (step + 1) * self.batch_size
        if self._num_epochs is not None:
            last = min(last, self._stream.count(self._num_epochs))
        return self._stream.rows(first, last)

    def _read(
        self, drawn: mixture_plan.DrawnRows, slots: Sequence[int]
    ) -> dict[int, TokenizedExample]:
        """Slot -> its example; each table is asked once."""
        slots_S = np.asarray(slots, np.int64)
        found: dict[int, TokenizedExample] = {}
        for table in np.unique(drawn.tables_S[slots_S]).tolist():
            own = slots_S[drawn.tables_S[slots_S] == table]
            examples = self._tables[table].read(drawn.entries_S[own].tolist())
            found.update(zip(own.tolist(), examples, strict=True))
        return found


def _check_rates(tables: Sequence[ExampleTable], rates: Sequence[float] | None) -> None:
    if not tables or rates is not None and len(tables) != len(rates):
        raise ValueError(f"a mixture of {len(tables)} tables got {len(rates or ())} rates.")
    for table, rate in zip(tables, rates or [1.0] * len(tables), strict=True):
        if not len(table):
            raise ValueError(
                f"{table.name} has no examples in the split that is read: leave it out of the "
                "mixture, or read another split."
            )
        if not 0 < rate < math.inf:
            raise ValueError(f"{table.name} has rate {rate}, but rates must be finite and above 0.")


class ReplicaBatches:
    """Batches of several independent runs stacked on a leading axis, for students in parallel."""

    components: tuple[str, ...] = ()

    def __init__(self, replicas: Sequence[Batches]) -> None:
        self._replicas = replicas

    @property
    def batch_size(self) -> int:
        """Rows of a step of one replica."""
        return self._replicas[0].batch_size

    @property
    def steps(self) -> int | None:
        """Steps that every replica has; None: without end."""
        return min(
            (replica.steps for replica in self._replicas if replica.steps is not None),
            default=None,
        )

    def __call__(self, step: int, rows: Sequence[int] | None = None) -> tuple[list[str], Arrays]:
        """Arrays [replica, B, T]; ids in the same order, flattened.

        Raises:
          ValueError: rows were asked for; replicas run in one process, which needs all.
        """
        if rows is not None:
            raise ValueError(f"rows = {list(rows)}, but replicas are read whole: leave rows out.")
        parts = [batches(step) for batches in self._replicas]
        ids = [example_id for part_ids, _ in parts for example_id in part_ids]
        names = [name for name in parts[0][1] if name != COMPONENT_IDS]
        return ids, {name: np.stack([arrays[name] for _, arrays in parts]) for name in names}
