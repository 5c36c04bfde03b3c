"""Readers of right options in rows that name them by letter or by place, and of listed options."""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.reading import as_whole_number, number, value

_MOST_READINGS = 1_000


def letter_place(row: Mapping[str, Any], name: str, count: int) -> int:
    """The place of the option, of `count`, that a letter names: "b", "B" or "(B)" is 1.

    Raises:
      RowError: the field is missing or no such letter.
    """
    letter = value(row, name)
    letters = string.ascii_uppercase[:count]
    bare = letter.strip().strip("().").upper() if isinstance(letter, str) else ""
    if len(bare) != 1 or bare not in letters:
        raise RowError(f"field {name!r} is {letter!r:.80}; it must be a letter of {letters}.")
    return letters.index(bare)


def number_place(row: Mapping[str, Any], name: str, count: int) -> int:
    """The place of the option, of `count`, that a `number` from 0 on names.

    Raises:
      RowError: the field is missing or no such number.
    """
    return number(row, name, least=0, most=count - 1)


def key_place(row: Mapping[str, Any], name: str, labels: Any, count: int) -> int:
    """The place of the option, of `count`, whose label the row names: a letter or a number.

    Args:
      row: raw.
      name: of the field.
      labels: one an option, each another.
      count: of options.

    Raises:
      RowError: the field is missing or none of the labels, or these are not as said.
    """
    spelled = [_spelled(label) for label in labels] if isinstance(labels, list) else []
    if len(spelled) != count or len(set(spelled)) < count or None in spelled:
        raise RowError(
            f"the labels of {count} options are {labels!r:.80}; each must have one of its own."
        )
    key = _spelled(value(row, name))
    if key not in spelled:
        raise RowError(f"field {name!r} is {row[name]!r:.80}; it must be one of {labels}.")
    return spelled.index(key)


def _spelled(label: Any) -> str | None:
    whole = as_whole_number(label)
    if whole is not None:
        return str(whole)
    return label.strip().upper() if isinstance(label, str) else None


def listed_options(listed: str, mark: Callable[[str], str], most: int) -> list[str]:
    """The texts between the marks of a, b, … in order, as long as there is a next one.

    A mark inside of an option's text, as in "a ) ( c , b ) , b ) 4", is told from those between
    options by being another than the next letter's, and else by what would be left of options:
    none is empty, and each closes the brackets that it opens, where there is such a reading.

    Args:
      listed: begins with the mark of a.
      mark: a letter in lower case -> a pattern.
      most: options.

    Returns:
      Texts as they stand, with white space; none where it begins otherwise, or a letter is left out
      before others.
    """
    marks = [re.compile(mark(letter)) for letter in string.ascii_lowercase[:most]]
    first = marks[0].match(listed)
    if first is None:
        return []
    # The earliest mark of each letter leaves the most room for those after it.
    count, end = 1, first.end()
    while count < most and (found := marks[count].search(listed, end)):
        count, end = count + 1, found.end()
    best = _best(listed, first.end(), marks[1:count])
    if any(map(_is_empty, best)):
        # The last marks may be inside of the last option, as in "a ) 1 , b ) ( b , c )".
        shorter = (_best(listed, first.end(), marks[1:less]) for less in range(count - 1, 1, -1))
        best = next((found for found in shorter if _flaws(found) == (0, 0)), best)
    return [] if _is_marked(best[-1], marks[len(best) + 1 :]) else best


def _is_marked(words: str, marks: Sequence[re.Pattern[str]]) -> bool:
    """Whether one of the marks stands in the words, outside of their brackets."""
    found = (words[: one.start()] for mark in marks for one in mark.finditer(words))
    return any(before.count("(") == before.count(")") for before in found)


def _best(listed: str, begin: int, marks: Sequence[re.Pattern[str]]) -> list[str]:
    readings = _readings(listed, begin, marks)
    return min(itertools.islice(readings, _MOST_READINGS), key=_flaws)


def _readings(listed: str, begin: int, marks: Sequence[re.Pattern[str]]) -> Iterator[list[str]]:
    """Every way to cut the text from `begin` on by one mark of each, the earliest first."""
    if not marks:
        yield [listed[begin:]]
        return
    for found in marks[0].finditer(listed, begin):
        for rest in _readings(listed, found.end(), marks[1:]):
            yield [listed[begin : found.start()], *rest]


def _flaws(options: Sequence[str]) -> tuple[int, int]:
    return sum(map(_is_empty, options)), sum(not _is_closed(option) for option in options)


def _is_empty(words: str) -> bool:
    return not words.strip(" ,")


def _is_closed(words: str) -> bool:
    depth = 0
    for char in words:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            return False
    return depth == 0
