"""Numbers in words, alike in reports and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, noun: str) -> str:
    """A number and what it counts: "1 question", "2 questions"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(values: Sequence[object]) -> str:
    """One after another, the last two with "and" between them."""
    *before, last = map(str, values)
    return f"{', '.join(before)} and {last}" if before else last
