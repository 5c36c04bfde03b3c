"""Row of the endless stream -> the examples in it, for mixtures with and without packing.

All of it follows from sizes, lengths, rates and a seed. Nothing is read, and nothing that came
before has to be gone through again.

Shape legend: N examples of a table, R rows, S slots (the examples of some rows, row by row),
D draws of an epoch, L lengths from 0 to a row's.
"""

import bisect
import dataclasses
import math
import sys
import threading
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

import grain
import numpy as np
from absl import logging

from teacherlm_jax.data import packing, seeded_order

_PLANS_KEPT = 2


@dataclasses.dataclass(frozen=True)
class DrawnRows:
    """What stands in some rows.

    Attributes:
      per_row_R: how many examples each row has.
      tables_S: the table of each example.
      entries_S: its index in the table.
    """

    per_row_R: np.ndarray
    tables_S: np.ndarray
    entries_S: np.ndarray


class RowStream(Protocol):
    """Rows without end."""

    def rows(self, first: int, last: int) -> DrawnRows:
        """The rows from `first` up to `last`, without that one."""

    def count(self, epochs: int) -> int:
        """Rows of so many epochs."""


class SingleRows:
    """One example a row.

    Each table is shuffled anew every pass and repeated; tables take turns in the proportion of
    their rates. An epoch is as many rows as the tables hold examples.
    """

    def __init__(
        self, sizes: Sequence[int], rates: Sequence[float], seed: int, is_exact: bool = False
    ) -> None:
        """See the class.

        Args:
          sizes: examples of each table.
          rates: of the tables.
          seed: of all orders.
          is_exact: take turns in exact proportion, so that an epoch is one pass over every table
            where rates are in proportion to sizes. Otherwise grain's `mix` decides, which rounds
            rates to a hundredth of the smallest.
        """
        self._epoch_rows = sum(sizes)
        datasets = [
            grain.MapDataset.range(size)
            # grain shuffles pass p with seed + p, so neighbouring seeds would share all orders but
            # one.
            .shuffle(seed=int(np.random.SeedSequence([seed, table]).generate_state(1)[0]))
            .repeat()
            .map(_Numbered(table))
            for table, size in enumerate(sizes)
        ]
        if is_exact:
            turns = _ExactTurns(exact_shares(rates))
            self._mixed = grain.MapDataset.select_from_datasets(datasets, turns)
        else:
            total = sum(rates)
            self._mixed = grain.MapDataset.mix(datasets, [rate / total for rate in rates])

    def rows(self, first: int, last: int) -> DrawnRows:
        """See `RowStream`."""
        drawn = [self._mixed[row] for row in range(first, last)]
        pairs = np.array(drawn, np.int64).reshape(-1, 2)
        return DrawnRows(np.ones(len(pairs), np.int64), pairs[:, 0], pairs[:, 1])

    def count(self, epochs: int) -> int:
        """See `RowStream`."""
        return epochs * self._epoch_rows


@dataclasses.dataclass(frozen=True)
class _Numbered:
    """Puts the table beside an index."""

    table: int

    def __call__(self, entry: int) -> tuple[int, int]:
        return self.table, entry


class _ExactTurns(grain.transforms.DatasetSelectionMap):
    """Tables in turn, spread evenly; after every whole number of rounds each has its exact share.

    The first table takes its share of all turns, the second its share of those that are left, and
    so on.
    """

    def __init__(self, shares: Sequence[Fraction]) -> None:
        whole = math.lcm(*(share.denominator for share in shares))
        parts = [int(share * whole) for share in shares]
        # (what is left for later tables, what there is for this one and them) of `whole` turns.
        ends = [whole - sum(parts[: table + 1]) for table in range(len(parts))]
        self._left = list(zip(ends, [whole, *ends]))

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> tuple[int, int]:
        before, after = index, index + 1
        for table, (left, whole) in enumerate(self._left):
            left_before, left_after = before * left // whole, after * left // whole
            if before - left_before < after - left_after:
                return table, before - left_before
            before, after = left_before, left_after
        raise AssertionError("the last table takes what is left")


def exact_shares(rates: Sequence[float]) -> list[Fraction]:
    """The share of each rate in their sum; rates count as the decimals they are written as.

    So 0.1 is a tenth, which no binary number is.
    """
    exact = [Fraction(repr(float(rate))) for rate in rates]
    return [rate / sum(exact) for rate in exact]


class Draws:
    """Which examples each epoch of a mixture draws, table by table.

    After e epochs, floor(share * N * e) examples of a table have been drawn, N being the examples
    of all tables: shares are exact in the long run, and where they are in proportion to the tables'
    sizes, an epoch is one pass over all. Draw k of a table is entry k % n of pass k // n, each pass
    an order of its own: none is lost or doubled within a pass.
    """

    def __init__(self, sizes: Sequence[int], rates: Sequence[float], seed: int) -> None:
        self.sizes = tuple(sizes)
        self._seed = seed
        self._per_epoch = [share * sum(sizes) for share in exact_shares(rates)]

    @property
    def epochs_are_whole_passes(self) -> bool:
        """Whether every epoch draws every table a whole number of times."""
        return all((per / size).denominator == 1 for per, size in zip(self._per_epoch, self.sizes))

    def before(self, table: int, epoch: int) -> int:
        """Draws of a table in the epochs before this one."""
        return math.floor(self._per_epoch[table] * epoch)

    def entries(self, table: int, epoch: int) -> np.ndarray:
        """The entries of a table that an epoch draws, in their order: int64."""
        first, last = self.before(table, epoch), self.before(table, epoch + 1)
        size = self.sizes[table]
        parts = [np.zeros(0, np.int64)]
        for number in range(first // size, -(-last // size)):
            start = number * size
            part = self._order(table, number)
            parts.append(part[max(first - start, 0) : min(last - start, size)])
        return np.concatenate(parts)

    def histogram(self, table: int, epoch: int, used_N: np.ndarray, bins: int) -> np.ndarray:
        """How many of an epoch's draws of a table have each length: int64 [L].

        Whole passes are not drawn for it.

        Args:
          table: which.
          epoch: which.
          used_N: the length of each entry.
          bins: L.
        """
        first, last = self.before(table, epoch), self.before(table, epoch + 1)
        size = self.sizes[table]

        def up_to(draws: int) -> np.ndarray:
            passes, rest = divmod(draws, size)
            counts_L = passes * whole_L
            if rest:
                counts_L += np.bincount(used_N[self._order(table, passes)[:rest]], minlength=bins)
            return counts_L

        whole_L = np.bincount(used_N, minlength=bins)
        return up_to(last) - up_to(first)

    def _order(self, table: int, number: int) -> np.ndarray:
        return seeded_order.permutation(
            self.sizes[table], self._seed, seeded_order.PASS, table, number
        )


@dataclasses.dataclass(frozen=True)
class _EpochPlan:
    """The rows of one epoch: row r has the slots from starts[r] up to starts[r + 1]."""

    starts_R1: np.ndarray
    tables_S: np.ndarray
    entries_S: np.ndarray


class PackedRows:
    """Several examples a row, as best-fit decreasing packs the draws of each epoch.

    An epoch's rows are packed from its own draws alone, so that the last rows of an epoch may have
    room left. Which of the examples of one length share a row with which others, and the order of
    the rows, are random.
    """

    def __init__(
        self,
        used: Sequence[np.ndarray],
        rates: Sequence[float],
        row_length: int,
        seed: int,
    ) -> None:
        """See the class.

        Args:
          used: positions that each example of each table takes, each 1 to the row length.
          rates: of the tables.
          row_length: positions of a row.
          seed: of all orders.
        """
        self._used = [np.asarray(used_N, np.int64) for used_N in used]
        self._draws = Draws([len(used_N) for used_N in used], rates, seed)
        self._row_length, self._seed = row_length, seed
        self._lock = threading.Lock()
        self._ends: list[int] = []  # Rows of epochs 0 to e.
        self._plans: dict[int, _EpochPlan] = {}

    def count(self, epochs: int) -> int:
        """See `RowStream`."""
        with self._lock:
            return self._first_row(epochs)

    def fill(self, epoch: int = 0) -> float:
        """The share of an epoch's positions that is no padding."""
        counts_L = self._histogram(epoch)
        rows = packing.row_count(packing.best_fit(counts_L, self._row_length))
        return float(counts_L @ np.arange(len(counts_L)) / (rows * self._row_length))

    def rows(self, first: int, last: int) -> DrawnRows:
        """See `RowStream`."""
        parts = []
        with self._lock:
            epoch = self._epoch_of(first)
            while first < last:
                start, end = self._first_row(epoch), self._first_row(epoch + 1)
                plan = self._plan(epoch)
                stop = min(last, end)
                starts_R1 = plan.starts_R1[first - start : stop - start + 1]
                slots = slice(int(starts_R1[0]), int(starts_R1[-1]))
                parts.append((np.diff(starts_R1), plan.tables_S[slots], plan.entries_S[slots]))
                first, epoch = stop, epoch + 1
        nothing = (np.zeros(0, np.int64),) * 3
        return DrawnRows(*(np.concatenate(arrays) for arrays in zip(nothing, *parts)))

    def _epoch_of(self, row: int) -> int:
        if self._draws.epochs_are_whole_passes:
            return row // self._first_row(1)
        while not self._ends or self._ends[-1] <= row:
            self._first_row(len(self._ends) + 1)
        return bisect.bisect_right(self._ends, row)

    def _first_row(self, epoch: int) -> int:
        # Epochs of whole passes have the same lengths, and so as many rows.
        whole = self._draws.epochs_are_whole_passes
        while len(self._ends) < (min(epoch, 1) if whole else epoch):
            counts_L = self._histogram(len(self._ends))
            rows = packing.row_count(packing.best_fit(counts_L, self._row_length))
            self._ends.append(rows + (self._ends[-1] if self._ends else 0))
        if epoch == 0:
            return 0
        return epoch * self._ends[0] if whole else self._ends[epoch - 1]

    def _histogram(self, epoch: int) -> np.ndarray:
        bins = self._row_length + 1
        return sum(
            (
                self._draws.histogram(table, epoch, used_N, bins)
                for table, used_N in enumerate(self._used)
            ),
            np.zeros(bins, np.int64),
        )

    def _plan(self, epoch: int) -> _EpochPlan:
        if epoch not in self._plans:
            while len(self._plans) >= _PLANS_KEPT:
                del self._plans[next(iter(self._plans))]
            self._plans[epoch] = self._make_plan(epoch)
        return self._plans[epoch]

    def _make_plan(self, epoch: int) -> _EpochPlan:
        drawn = [self._draws.entries(table, epoch) for table in range(len(self._used))]
        tables_D = np.repeat(np.arange(len(drawn), dtype=np.int32), [len(part) for part in drawn])
        entries_D = np.concatenate(drawn).astype(np.int32)
        used_D = np.concatenate([used_N[part] for used_N, part in zip(self._used, drawn)])
        counts_L = np.bincount(used_D, minlength=self._row_length + 1)
        slot_lengths_S, per_row_R = packing.slots(packing.best_fit(counts_L, self._row_length))
        if not self._plans:
            logging.info(
                "Epoch %d packs %d examples into %d rows, %.2f %% of whose positions are used.",
                epoch,
                len(used_D),
                len(per_row_R),
                100 * used_D.sum() / (len(per_row_R) * self._row_length),
            )
        mixed_D = seeded_order.permutation(len(used_D), self._seed, seeded_order.NEIGHBOURS, epoch)
        draw_S = mixed_D[packing.assign(slot_lengths_S, used_D[mixed_D])]
        order_R = seeded_order.permutation(len(per_row_R), self._seed, seeded_order.ROWS, epoch)
        starts_R = (np.cumsum(per_row_R) - per_row_R)[order_R]
        per_row_R = per_row_R[order_R]
        starts_R1 = np.concatenate([[0], np.cumsum(per_row_R)])
        slot_S = np.arange(len(draw_S)) + np.repeat(starts_R - starts_R1[:-1], per_row_R)
        draw_S = draw_S[slot_S]
        return _EpochPlan(starts_R1, tables_D[draw_S], entries_D[draw_S])
