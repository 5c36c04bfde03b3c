"""Constraints on the fields of a TeacherData record (see `records`)."""

from __future__ import annotations

import difflib
import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

MAX_CHOICES = len(string.ascii_uppercase)


class RecordError(ValueError):
    """A record breaks a constraint; the message says where, which field, the value and why."""


def check_field_names(
    values: Mapping[str, Any], known: Sequence[str], required: Sequence[str]
) -> None:
    """Raises unless all names are among `known` and all `required` ones are given."""
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise RecordError(f"field {name!r} is unknown; {hint}Known: {', '.join(known)}.")
    for name in required:
        if name not in values:
            given = ", ".join(map(str, values)) or "none"
            raise RecordError(f"field {name!r} is missing; given: {given}.")


def check_text(name: str, value: Any, *, required: bool) -> None:
    """Raises unless the value is a string that UTF-8 can hold, and not blank where required."""
    if not isinstance(value, str):
        raise RecordError(
            f"field {name!r} is {short(value)}, of type {type(value).__name__}; it must be a"
            " string."
        )
    if required and not value.strip():
        raise RecordError(f"field {name!r} is {value!r}; it must not be empty.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RecordError(
            f"field {name!r} has {value[error.start]!r} at character {error.start}, half of a"
            " surrogate pair, which UTF-8 cannot hold. Remove the character."
        ) from None


def check_choices(choices: Any) -> None:
    """Raises unless the value is a list of no texts or of 2 to `MAX_CHOICES`, none blank."""
    if not isinstance(choices, list | tuple):
        raise RecordError(
            f"field 'choices' is {short(choices)}, of type {type(choices).__name__}; it must be a"
            " list of strings."
        )
    if len(choices) == 1 or len(choices) > MAX_CHOICES:
        raise RecordError(
            f"field 'choices' has {len(choices)} options; it must have 2 to {MAX_CHOICES}, or none"
            " where the answer is open."
        )
    for index, choice in enumerate(choices):
        check_text(f"choices[{index}]", choice, required=True)


def check_answer(answer: Any, num_choices: int) -> None:
    """Raises unless the value is the letter of one of the choices; without any, a text."""
    if num_choices == 0:
        check_text("answer", answer, required=True)
        return
    letters = string.ascii_uppercase[:num_choices]
    if not isinstance(answer, str) or len(answer) != 1 or answer not in letters:
        raise RecordError(
            f"field 'answer' is {short(answer)}; it must be the letter of one of the"
            f" {num_choices} choices: {', '.join(letters)}."
        )


def check_provenance(provenance: Any) -> None:
    """Raises unless the value maps names to objects of JSON values."""
    if not isinstance(provenance, Mapping):
        raise RecordError(f"field 'provenance' is {short(provenance)}; it must be an object.")
    for name, entry in provenance.items():
        if not isinstance(name, str) or not isinstance(entry, Mapping):
            raise RecordError(
                f"field 'provenance' has {name!r}: {short(entry)}; it must map the name of an"
                " explanation to an object."
            )
    try:
        json.dumps(provenance, allow_nan=False, sort_keys=True).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise RecordError(f"field 'provenance' must hold JSON values only: {error}.") from None


def short(value: Any) -> str:
    """Returns a value as an error shows it: its repr, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:60] + "..." + text[-15:]
