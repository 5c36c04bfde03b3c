"""Small readers of raw rows that many definitions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.data.row_rendering import RowError


def value(row: Mapping[str, Any], *names: str) -> Any:
    """The first of these fields that the row has.

    Raises:
      RowError: it has none of them.
    """
    for name in names:
        if name in row:
            return row[name]
    raise RowError(f"no field {' or '.join(map(repr, names))}; there are {sorted(row)}.")


def text(row: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that the row has, a text, without white space around.

    Raises:
      RowError: there is none, or it is no text.
    """
    found = value(row, *names)
    if not isinstance(found, str):
        raise RowError(f"field {names[0]!r} is {found!r:.80}; it must be a text.")
    return found.strip()


def by_label(row: Mapping[str, Any], name: str, options: Sequence[str]) -> str | None:
    """The option that a whole number names, from 0; None where it is -1, which hides a label.

    Raises:
      RowError: it is no such number.
    """
    label = value(row, name)
    if isinstance(label, bool) or not isinstance(label, int) or not -1 <= label < len(options):
        raise RowError(f"field {name!r} is {label!r:.80}; it must be 0 to {len(options) - 1}.")
    return None if label == -1 else options[label]
