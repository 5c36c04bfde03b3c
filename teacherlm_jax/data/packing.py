"""Which lengths share a row: best-fit decreasing over a histogram of lengths.

Best-fit decreasing takes examples from the longest to the shortest and puts each into the fullest
row that it fits into. Examples of one length are alike to it, so that it can be done for all of a
length, and for all rows of the same content, at once: its cost grows with the number of distinct
lengths, not of examples. (Krell et al. 2021, arXiv 2107.02027, pack BERT's data by such a
histogram.)

Shape legend: L lengths from 0 to a row's, R rows, S slots (places for one example each).
"""

import bisect
import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class RowGroup:
    """Rows that hold examples of the same lengths.

    Attributes:
      rows: how many.
      contents: (length, number of examples of it), from the longest to the shortest.
    """

    rows: int
    contents: tuple[tuple[int, int], ...]


def best_fit(counts_L: np.ndarray, row_length: int) -> list[RowGroup]:
    """Packs examples of these lengths into rows.

    Args:
      counts_L: how many examples there are of each length.
      row_length: positions of a row.

    Returns:
      The rows, always the same ones for the same counts.

    Raises:
      ValueError: there are examples of length 0, or longer than a row.
    """
    lengths = np.flatnonzero(counts_L)
    if len(lengths) and not 0 < lengths[0] <= lengths[-1] <= row_length:
        raise ValueError(
            f"examples take {int(lengths[0])} to {int(lengths[-1])} positions, but rows of "
            f"{row_length} hold those of 1 to {row_length}: drop or trim the others."
        )
    # Rows by the room that is left in them, and the sorted rooms there are.
    groups: dict[int, list[RowGroup]] = {}
    rooms: list[int] = []

    def put(room: int, group: RowGroup) -> None:
        if room not in groups:
            groups[room] = []
            bisect.insort(rooms, room)
        groups[room].append(group)

    for length in lengths[::-1].tolist():
        left = int(counts_L[length])
        while left:
            place = bisect.bisect_left(rooms, length)
            if place == len(rooms):
                room, group = row_length, RowGroup(-(-left // (row_length // length)), ())
            else:
                room = rooms[place]
                group = groups[room].pop()
                if not groups[room]:
                    del groups[room], rooms[place]
            for remaining, part in _filled(group, room, length, left):
                put(remaining, part)
            left -= min(left, group.rows * (room // length))
    return [group for room in rooms for group in groups[room]]


def _filled(group: RowGroup, room: int, length: int, left: int) -> list[tuple[int, RowGroup]]:
    """Puts up to `left` examples of a length into rows of one kind, one row after another.

    Returns:
      (room left, rows): those filled, one filled in part, those untouched; where there are any.
    """
    each = room // length
    full = min(group.rows, left // each)
    rest = min(left - full * each, each) if full < group.rows else 0
    split = [(full, each), (int(rest > 0), rest), (group.rows - full - (rest > 0), 0)]
    return [
        (
            room - count * length,
            RowGroup(rows, (*group.contents, (length, count)) if count else group.contents),
        )
        for rows, count in split
        if rows
    ]


def row_count(groups: Sequence[RowGroup]) -> int:
    """How many rows there are."""
    return sum(group.rows for group in groups)


def slots(groups: Sequence[RowGroup]) -> tuple[np.ndarray, np.ndarray]:
    """The places of the examples, row by row.

    Returns:
      (length of the example of each slot [S], slots of each row [R]), both int64.
    """
    lengths, per_row = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for group in groups:
        row = np.repeat(*np.array(group.contents, np.int64).T)
        lengths.append(np.tile(row, group.rows))
        per_row.append(np.full(group.rows, len(row), np.int64))
    return np.concatenate(lengths), np.concatenate(per_row)


def assign(slot_lengths_S: np.ndarray, example_lengths_S: np.ndarray) -> np.ndarray:
    """Gives each slot an example of its length; examples of one length in their order.

    Returns:
      The example of each slot, int64 [S].
    """
    # Sorting 16-bit numbers takes time in proportion to their count.
    dtype = np.uint16 if slot_lengths_S.max(initial=0) < 2**16 else np.int64
    examples_S = np.empty(len(slot_lengths_S), np.int64)
    examples_S[np.argsort(slot_lengths_S.astype(dtype), kind="stable")] = np.argsort(
        example_lengths_S.astype(dtype), kind="stable"
    )
    return examples_S
