"""Small readers of raw rows that many definitions share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample

_WHOLE = re.compile(r"-?[0-9]{1,18}")


def _found(row: Mapping[str, Any], names: Sequence[str]) -> tuple[str, Any]:
    """Name and value of the first of these fields that the row has."""
    for name in names:
        if name in row:
            return name, row[name]
    raise RowError(f"no field {' or '.join(map(repr, names))}; there are {sorted(row)}.")


def value(row: Mapping[str, Any], *names: str) -> Any:
    """The first of these fields that the row has.

    Raises:
      RowError: it has none of them.
    """
    return _found(row, names)[1]


def text(row: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that the row has, a text, without white space around.

    Raises:
      RowError: there is none, or it is no text.
    """
    name, found = _found(row, names)
    if not isinstance(found, str):
        raise RowError(f"field {name!r} is {found!r:.80}; it must be a text.")
    return found.strip()


def known_texts(row: Mapping[str, Any], **fields: str) -> dict[str, str]:
    """Fields of a sample that its question does without: those of the row that hold something.

    Args:
      row: may lack any of them, or have null or nothing there.
      **fields: of the sample -> of the row.

    Raises:
      RowError: one is something else than a text.
    """
    found = {name: text(row, field) for name, field in fields.items() if row.get(field) is not None}
    return {name: words for name, words in found.items() if words}


def as_whole_number(found: Any) -> int | None:
    """A whole number, or the one that a text spells; None for anything else, true and false too.

    TFDS gives labels as numbers; CSV, and the hub's files of some sets, as texts.
    """
    if isinstance(found, str):
        return int(found) if _WHOLE.fullmatch(found.strip()) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def number(
    row: Mapping[str, Any], *names: str, least: int, most: int, hidden: int | None = None
) -> int:
    """The first of these fields that the row has, a whole number, which a text may spell.

    Args:
      row: raw.
      *names: of fields.
      least: it may be.
      most: it may be.
      hidden: what else it may be, for an answer that is not told.

    Raises:
      RowError: there is none, or it is no such number.
    """
    name, found = _found(row, names)
    whole = as_whole_number(found)
    if whole is None or (whole != hidden and not least <= whole <= most):
        raise RowError(f"field {name!r} is {found!r:.80}; it must be {least} to {most}.")
    return whole


def truth(row: Mapping[str, Any], name: str) -> bool:
    """A field that is true or false; CSV has that as a text.

    Raises:
      RowError: there is none, or it is something else.
    """
    found = value(row, name)
    spelled = found.strip().lower() if isinstance(found, str) else found
    if isinstance(spelled, bool):
        return spelled
    if spelled not in ("true", "false"):
        raise RowError(f"field {name!r} is {found!r:.80}; it must be true or false.")
    return spelled == "true"


def by_label(row: Mapping[str, Any], name: str, options: Sequence[str]) -> str | None:
    """The option that a `number` names, from 0; None where it is -1, which hides a label.

    Raises:
      RowError: it is no such number.
    """
    label = number(row, name, least=0, most=len(options) - 1, hidden=-1)
    return None if label == -1 else options[label]


def texts(row: Mapping[str, Any], *names: str) -> list[str]:
    """The first of these fields that the row has, a list of texts, without white space around.

    Raises:
      RowError: there is none, or it holds something else.
    """
    name, found = _found(row, names)
    if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
        raise RowError(f"field {name!r} is {found!r:.80}; it must be a list of texts.")
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
        found = row.get(name)
        if isinstance(found, Mapping):
            return "-".join(f"{key}{found[key]}" for key in sorted(found))
        if found is not None:
            return str(found)
    return ""


def unescaped(words: str) -> str:
    """Yelp's texts, whose line breaks and quotation marks are escaped.

    A mark is a backslash and two marks in the files, of which some readers of CSV leave one.
    """
    return re.sub(r'\\""?', '"', words).replace("\\n", "\n").strip()


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
      place: from 0, as `by_label` reads it.
      name: the field that the place is from, for the error.
      id: the row's.

    Raises:
      RowError: the place is none of the options'.
    """
    answer = by_label({name: place}, name, options)
    if answer is None:
        return None
    return Sample(fields, answer, tuple(options), id, as_whole_number(place))
