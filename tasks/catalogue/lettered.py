"""Readers of right options in rows that name them by letter or by place."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.reading import value


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
    """The place of the option, of `count`, that a whole number from 0 on names.

    Raises:
      RowError: the field is missing or no such number.
    """
    place = value(row, name)
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < count:
        raise RowError(f"field {name!r} is {place!r:.80}; it must be 0 to {count - 1}.")
    return place
