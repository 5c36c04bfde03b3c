"""Values of Arrow's tables as Python has them, where some cannot be read."""

from __future__ import annotations

import collections
import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_ROWS_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """Stands for a value that has no Python value: a date out of range, a fraction too fine.

    Attributes:
      reason: why, with the field and its type.
    """

    reason: str


def repeated_name(names: Sequence[str]) -> str | None:
    """A column's name that stands twice, so that a row cannot have both; None: there is none."""
    return next((name for name, count in collections.Counter(names).items() if count > 1), None)


def rows(batch: Any) -> Iterator[Mapping[str, Any]]:
    """The rows of a batch, whose columns' names differ.

    Texts that are not UTF-8 come as bytes, and what cannot be read as `Unreadable`. So does a time
    that is finer than a microsecond, which has a Python value where pandas is installed alone.
    """
    import pyarrow

    times = {
        field.name: field.type for field in batch.schema if pyarrow.types.is_timestamp(field.type)
    }
    for first in range(0, batch.num_rows, _ROWS_AT_ONCE):
        part = batch.slice(first, _ROWS_AT_ONCE)
        try:
            values = part.to_pylist()
        except (ValueError, OverflowError):
            names = part.schema.names
            values = [
                {name: _value(name, part.column(name), row) for name in names}
                for row in range(part.num_rows)
            ]
        for row in values:
            for name in times:
                if _is_too_fine(row[name]):
                    row[name] = _unreadable(name, times[name], "it is finer than a microsecond")
            yield row


def _is_too_fine(value: Any) -> bool:
    return isinstance(value, datetime.datetime) and bool(getattr(value, "nanosecond", 0))


class NoJsonError(ValueError):
    """A value has no form in JSON; says why."""


def plain(value: Any) -> Any:
    """A value of `rows` as JSON types; bytes that are not UTF-8 as half characters.

    Raises:
      NoJsonError: there is none for it.
    """
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if _is_too_fine(value):
        raise NoJsonError(f"{value!r:.40} is finer than a microsecond")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Unreadable):
        raise NoJsonError(value.reason)
    raise NoJsonError(f"{value!r:.40} is a {type(value).__name__}, for which JSON has no type")


def _value(name: str, column: Any, row: int) -> Any:
    import pyarrow

    try:
        return column[row].as_py()
    except UnicodeDecodeError:
        if pyarrow.types.is_string(column.type):
            return column.view(pyarrow.binary())[row].as_py()
        if pyarrow.types.is_large_string(column.type):
            return column.view(pyarrow.large_binary())[row].as_py()
        return b"\xff (a text in here is not UTF-8)"
    except (ValueError, OverflowError) as error:
        return _unreadable(name, column.type, str(error).partition(". ")[0])


def _unreadable(name: str, kind: Any, reason: str) -> Unreadable:
    return Unreadable(f"a value of field {name!r}, {kind}, cannot be read ({reason})")
