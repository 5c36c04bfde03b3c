"""Values of Arrow's tables as Python has them, where some cannot be read."""

from __future__ import annotations

import collections
import dataclasses
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

    Texts that are not UTF-8 come as bytes, and what cannot be read as `Unreadable`.
    """
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
        yield from values


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
        reason = str(error).partition(". ")[0]
        return Unreadable(f"a value of field {name!r}, {column.type}, cannot be read ({reason})")
