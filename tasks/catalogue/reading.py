"""Small readers of raw rows that many definitions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample


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


def texts(row: Mapping[str, Any], *names: str) -> list[str]:
    """The first of these fields that the row has, a list of texts, without white space around.

    Raises:
      RowError: there is none, or it holds something else.
    """
    found = value(row, *names)
    if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
        raise RowError(f"field {names[0]!r} is {found!r:.80}; it must be a list of texts.")
    return [entry.strip() for entry in found]


def part(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A field that is an object with fields of its own.

    Raises:
      RowError: there is none, or it is no object.
    """
    found = value(row, name)
    if not isinstance(found, Mapping):
        raise RowError(f"field {name!r} is {found!r:.80}; it must be an object.")
    return found


def row_id(row: Mapping[str, Any], *names: str) -> str:
    """The data set's own id of the row, from the first of these fields that it has; else ""."""
    for name in names:
        if name in row:
            found = row[name]
            if isinstance(found, Mapping):
                return "-".join(f"{key}{found[key]}" for key in sorted(found))
            return str(found)
    return ""


def chosen(
    fields: Mapping[str, str],
    options: Sequence[str],
    place: Any,
    name: str = "label",
    id: str = "",
) -> Sample | None:
    """A sample whose answer is the option at a place that the row gives; the options may repeat.

    None where the place is -1, which hides a label.

    Args:
      fields: the sample's.
      options: at least two.
      place: from 0; text that holds a whole number does too.
      name: the field that the place is from, for the error.
      id: the row's.

    Raises:
      RowError: the place is none of the options'.
    """
    if isinstance(place, str) and place.strip().lstrip("-").isdecimal():
        place = int(place)
    answer = by_label({name: place}, name, options)
    return None if answer is None else Sample(fields, answer, tuple(options), id, place)
