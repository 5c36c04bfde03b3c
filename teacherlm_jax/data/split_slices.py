"""TFDS's words for splits and parts of them, for data that TFDS does not read."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PART = re.compile(r"(?P<split>[^\[\]+]+?)(?:\[(?P<first>-?\d+%?)?:(?P<last>-?\d+%?)?\])?")

Range = tuple[str, int, int]
"""A split, and places in it: the first, and the one after the last."""


def splits_of(spec: str) -> list[str]:
    """The whole splits that a slice takes from, in order.

    Raises:
      ValueError: it is no slice.
    """
    return [match["split"] for match in _parts(spec)]


def ranges(spec: str, counts: Mapping[str, int]) -> list[Range]:
    """The rows that a slice means.

    Args:
      spec: such as "train", "train[:-200]", "train[10%:]", "train+validation[:5]".
      counts: rows of the whole splits.

    Raises:
      ValueError: it is no slice, or of a split that there is not.
    """
    found = []
    for match in _parts(spec):
        split = match["split"]
        if split not in counts:
            raise ValueError(f"there is no split {split!r}; there are {sorted(counts)}.")
        size = counts[split]
        first = _place(match["first"], size, 0)
        found.append((split, first, max(first, _place(match["last"], size, size))))
    return found


def count(spec: str, counts: Mapping[str, int]) -> int | None:
    """How many rows a slice means; None where a split's count is not known."""
    if not set(splits_of(spec)) <= set(counts):
        return None
    return sum(last - first for _, first, last in ranges(spec, counts))


def _parts(spec: str) -> list[re.Match[str]]:
    found = []
    for part in spec.split("+"):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ValueError(
                f"{spec!r} is no split or slice: write one such as 'train', 'train[:-200]',"
                " 'train[10%:]', or a sum of them with '+'."
            )
        found.append(match)
    return found


def _place(text: str | None, size: int, default: int) -> int:
    if text is None:
        return default
    # TFDS rounds percents to the closest row, halves to even.
    place = round(int(text[:-1]) * size / 100) if text.endswith("%") else int(text)
    return min(max(place + size if place < 0 else place, 0), size)
