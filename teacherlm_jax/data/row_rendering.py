"""Rows of a source as JSON -> features of examples, by plain Python functions.

Sources give every row as three features: `row` (the raw row, a JSON object), `index` (its place in
its split, before any cap) and `where` (what to name in an error, such as "cb.jsonl:12"). A Python
function turns it into the features of zero or more examples. So what a data set means can be read,
tested on one dict, and does not care whether its rows came from TFDS or from a file.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from teacherlm_jax.data import data_setup, generators
from teacherlm_jax.data.rejects import Rejects

Features = Mapping[str, Any]

Row = tuple[bytes, int, str]
"""What a source's element holds: a row's JSON, its place in its split, and what names it."""

# Rows cross between TensorFlow and Python many at once: one by one, the crossing costs many times
# what the rendering does.
_ROWS_AT_ONCE = 256

# What a function that reads a row may raise where the row is not as it should be.
_MALFORMED = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)


class RowError(ValueError):
    """A row cannot be used; says which, and why."""


@dataclasses.dataclass(frozen=True)
class RawRow:
    """A row as its source gave it.

    Attributes:
      values: JSON types by name, as TFDS or the files name them.
      index: its place in its split, before any cap.
      where: names it in errors.
    """

    values: Mapping[str, Any]
    index: int
    where: str


def rendered(
    make_examples: Callable[[RawRow], Iterable[Features]],
    signature: Mapping[str, Any],
    name: str | None = None,
) -> Callable[[Any], Any]:
    """A seqio preprocessor that renders rows by a Python function.

    A row is malformed where it is no JSON object, or where the function raises RowError,
    LookupError, TypeError, AttributeError, ValueError or ArithmeticError. `data_setup` says whether
    that is an error or leaves the row out.

    Args:
      make_examples: features of the examples of a row, in order; none leaves the row out.
      signature: name -> tf.TensorSpec or tf.RaggedTensorSpec of each feature.
      name: of the task, for what is told of malformed rows; None: that of the rows' file or split.

    Returns:
      dataset -> dataset. Reading it raises what `generators.surfaced` turns into RowError.
    """

    def preprocess(dataset: Any) -> Any:
        import tensorflow as tf

        def blocks() -> Iterator[list[Features]]:
            made = _Pass(make_examples, name)
            for rows in dataset.batch(_ROWS_AT_ONCE).as_numpy_iterator():
                columns = [rows[key].tolist() for key in ("row", "index", "where")]
                yield [example for row in zip(*columns) for example in made.examples(*row)]
            made.finish()

        def many_at_once() -> Iterator[dict[str, Any]]:
            for block in blocks():
                yield {key: [example[key] for example in block] for key in signature}

        def one_by_one() -> Iterator[Features]:
            for block in blocks():
                yield from block

        if all(isinstance(spec, tf.TensorSpec) and spec.shape == () for spec in signature.values()):
            many = {key: tf.TensorSpec((None,), spec.dtype) for key, spec in signature.items()}
            return generators.from_generator(many_at_once, many).unbatch()
        return generators.from_generator(one_by_one, signature)

    return preprocess


class _Pass:
    """One pass over the rows of a task."""

    def __init__(
        self, make_examples: Callable[[RawRow], Iterable[Features]], name: str | None
    ) -> None:
        self._make_examples, self._name = make_examples, name
        self._skips = data_setup.skips_malformed_rows()
        self._rejects: Rejects | None = None
        self._rows = 0

    def examples(self, row: bytes, index: int, where: bytes) -> list[Features]:
        """The examples of a row; none where it is malformed and that is no error."""
        self._rows += 1
        place = where.decode("utf-8", "backslashreplace")
        try:
            return list(self._make_examples(RawRow(parsed(row), index, place)))
        except _MALFORMED as error:
            reason = reason_of(error)
            if not self._skips:
                raise RowError(f"{place}: {reason}") from None
            if self._rejects is None:
                name = self._name or place.rpartition(":")[0].rpartition("/")[2]
                self._rejects = Rejects(data_setup.rejects_dir(), name)
            self._rejects.add(row, place, reason)
            return []

    def finish(self) -> None:
        """Tells of what was left out.

        Raises:
          RowError: that was everything.
        """
        if self._rejects is None:
            return
        self._rejects.finish(self._rows)
        if self._rejects.count == self._rows:
            raise RowError(
                f"all {self._rows} rows are malformed, so that nothing is left; the first is"
                f" {self._rejects.first}"
            )


def raw_row(element: Mapping[str, Any]) -> RawRow:
    """The row of a source's element.

    Raises:
      RowError: it is no JSON object.
    """
    where = element["where"].decode("utf-8", "backslashreplace")
    try:
        return RawRow(parsed(element["row"]), int(element["index"]), where)
    except RowError as error:
        raise RowError(f"{where}: {error}") from None


def parsed(row: bytes) -> dict[str, Any]:
    """The JSON object that a row's text is.

    Raises:
      RowError: it is none, is not UTF-8, or holds a number that is not finite, half a character, or
        a field twice, of which readers take one or the other.
    """
    try:
        values = _DECODER.decode(row.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RowError(
            f"not UTF-8: byte 0x{row[error.start]:02x} at byte {error.start} of the row"
            f" ({error.reason})."
        ) from None
    except RowError:
        raise
    except (ValueError, RecursionError) as error:
        raise RowError(f"not valid JSON ({error}).") from None
    if not isinstance(values, dict):
        raise RowError(f"the row is {values!r:.80}; it must be a JSON object.")
    if b"\\ud" in row or b"\\uD" in row:
        try:
            json.dumps(values, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            raise RowError(
                f"a text holds {half!r}, half of a character, which is not Unicode."
            ) from None
    return values


def row_text(values: Mapping[str, Any]) -> bytes:
    """A row's JSON as UTF-8, which `parsed` reads; `values` holds JSON types alone.

    Bytes that are not UTF-8, in texts decoded with "surrogateescape", stay as they are: `parsed`
    refuses them, so that they are treated as all that is malformed. So are halves of characters.
    """
    try:
        return json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return json.dumps(values).encode("ascii")


def reason_of(error: Exception) -> str:
    """What an error of reading a row says, in words for a user."""
    if isinstance(error, RowError):
        return str(error)
    if isinstance(error, KeyError):
        return f"no field {error}."
    return f"{type(error).__name__}: {error}"


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise RowError(f"the number {text:.40} is not finite, or too large.")
    return number


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RowError(f"field {twice!r} stands twice in one object.")
    return values


_DECODER = json.JSONDecoder(
    parse_float=_finite, parse_constant=_finite, object_pairs_hook=_once_each
)
