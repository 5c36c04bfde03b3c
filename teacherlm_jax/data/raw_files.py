"""Rows in files that a user has, as JSON under their own names: JSON, Parquet, Arrow, CSV, TSV.

Nothing is guessed: a CSV field is a text unless it is named as a whole number.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import dataclasses
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import arrow_values, row_rendering

_TEXT_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
SUFFIXES = (*_TEXT_SUFFIXES, *(f"{suffix}.gz" for suffix in _TEXT_SUFFIXES), ".parquet", ".arrow")
"""Kinds of files, by their names' ends."""

_ROWS_AT_ONCE = 1024
_MAX_CSV_FIELD = 2**27
_LARGE_FILE_POINTER = b"version https://git-lfs"


class FileError(ValueError):
    """A file cannot be read as what its name says."""


@dataclasses.dataclass(frozen=True)
class RawFileRow:
    """A row of a file.

    Attributes:
      text: its JSON as UTF-8; where `reason` says so, or `row_rendering.parsed`, it is none.
      where: "FILE:N": the line it begins on, or the row's number from 1 where there are no lines.
      reason: why it cannot be JSON; "": as far as is known, it can.
    """

    text: bytes
    where: str
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
      columns: names of the fields of CSV and TSV files without a first line that names them.
      integers: fields of those that are whole numbers; all others are texts.
      drop: fields that are left out, of tables of all kinds.
      named: FIELD=PATTERN: CSV and TSV files have their rows' FIELD in their names, where the
        pattern's one group finds it; "": they have not.

    Raises:
      ValueError: `named` is none, or no regular expression with one group.
    """

    columns: Sequence[str] = ()
    integers: Sequence[str] = ()
    drop: Sequence[str] = ()
    named: str = ""

    def __post_init__(self) -> None:
        _ = self.named and self.named_field

    @property
    def named_field(self) -> tuple[str, re.Pattern[str]]:
        """The field that names of files hold, and the pattern."""
        field, equals, text = self.named.partition("=")
        try:
            pattern = re.compile(text)
        except re.error as error:
            raise ValueError(f"--named {self.named!r}: no regular expression ({error}).") from None
        if not (field and equals and pattern.groups == 1):
            raise ValueError(
                f"--named is {self.named!r}; it must be FIELD=PATTERN with one group in the"
                " pattern, such as 'subject=(.+)_test'."
            )
        return field, pattern


AS_THEY_ARE = Reading()


def kind_of(file: epath.PathLike) -> str | None:
    """The end of a file's name that tells its kind; None: it is none of ours."""
    name = epath.Path(file).name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)


def rows(file: epath.PathLike, reading: Reading = AS_THEY_ARE) -> Iterator[RawFileRow]:
    """The rows of a file, one by one; only files ending in .json are held whole.

    Raises:
      FileError: the file is of no kind that is known, or not what its name says.
    """
    path = epath.Path(file)
    kind = kind_of(path)
    if kind is None:
        raise FileError(f"{path}: the name ends in none of {', '.join(SUFFIXES)}; rename the file.")
    with path.open("rb") as raw:
        stream: Any = gzip.GzipFile(fileobj=raw) if kind.endswith(".gz") else raw
        kind = kind.removesuffix(".gz")
        try:
            if kind in (".parquet", ".arrow"):
                _check_is_no_pointer(path)
                yield from _table(stream, path, kind, reading.drop)
            elif kind in (".csv", ".tsv"):
                yield from _separated(stream, path, kind, reading)
            elif kind == ".json":
                yield from _json(stream.read(), path)
            else:
                yield from _lines(stream, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FileError(f"{path}: not a whole gzip file ({error}).") from None


def _check_is_no_pointer(path: epath.Path) -> None:
    with path.open("rb") as stream:
        if stream.read(len(_LARGE_FILE_POINTER)) == _LARGE_FILE_POINTER:
            raise FileError(
                f"{path}: only Git's pointer to the file, not the file: run `git lfs pull` in its"
                " repository, or fetch the file itself."
            )


# JSON


def _lines(lines: Iterator[bytes], path: epath.Path) -> Iterator[RawFileRow]:
    for number, line in enumerate(lines, start=1):
        text = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).strip()
        if text:
            yield RawFileRow(text, f"{path}:{number}")


def _json(data: bytes, path: epath.Path) -> Iterator[RawFileRow]:
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        return
    if data.lstrip()[:1] != b"[":
        # Many files called .json hold an object a line.
        lines = list(_lines(iter(data.split(b"\n")), path))
        if len(lines) == 1 or not _is_object(lines[0].text):
            raise FileError(
                f"{path}: neither a list of objects nor an object a line. Where the rows stand in a"
                " field of one object, write that field to a file of its own."
            )
        yield from lines
        return
    try:
        values = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: not valid JSON in UTF-8 ({error}).") from None
    for number, row in enumerate(values, start=1):
        yield RawFileRow(row_rendering.row_text(row), f"{path}:{number}")


def _is_object(text: bytes) -> bool:
    with contextlib.suppress(ValueError, RecursionError):
        return isinstance(json.loads(text), dict)
    return False


# CSV and TSV


def _separated(stream: Any, path: epath.Path, kind: str, reading: Reading) -> Iterator[RawFileRow]:
    csv.field_size_limit(_MAX_CSV_FIELD)
    lines = io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="")
    if kind == ".tsv":  # In the files of this trade, quotes are part of the text.
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    else:
        reader = csv.reader(lines, strict=True)
    names = _checked_names(reading.columns, f"{path}: --columns", reading)
    of_file = _of_name(path, reading)
    first = 1
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FileError(f"{path}:{first}: not {kind[1:].upper()} ({error}).") from None
        where, first = f"{path}:{first}", reader.line_num + 1
        if not values:
            continue
        if not names:
            names = _checked_names(values, where, reading)
            continue
        yield _record(names, values, where, reading, of_file)


def _of_name(path: epath.Path, reading: Reading) -> dict[str, str]:
    """The field that the file's name holds."""
    if not reading.named:
        return {}
    field, pattern = reading.named_field
    found = pattern.search(path.name)
    if found is None or not found[1]:
        raise FileError(
            f"{path}: --named {reading.named!r} finds no {field} in the name {path.name!r}."
        )
    return {field: found[1]}


def _checked_names(names: Sequence[str], where: str, reading: Reading) -> list[str]:
    """The names of the fields; none where they are still to be read."""
    if len(set(names)) < len(names) or "" in names:
        raise FileError(
            f"{where}: the fields must have names, each once; they are {list(names)}. For a file"
            " whose first line does not name them give --columns."
        )
    unknown = sorted({*reading.integers} - {*names})
    if names and unknown:
        raise FileError(f"{where}: there is no field {unknown[0]!r}; there are {list(names)}.")
    if reading.named and reading.named_field[0] in names:
        raise FileError(f"{where}: the rows have a field {reading.named_field[0]!r} of their own.")
    both = sorted({*reading.integers} & {*reading.drop})
    if both:
        raise FileError(f"{where}: {both[0]!r} is among --integers and --drop; it can be one.")
    return list(names)


def _record(
    names: Sequence[str],
    values: Sequence[str],
    where: str,
    reading: Reading,
    of_file: Mapping[str, str],
) -> RawFileRow:
    raw = json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogateescape")
    if len(values) != len(names):
        return RawFileRow(raw, where, f"{len(values)} fields; there must be {len(names)}.")
    row: dict[str, Any] = {
        name: value for name, value in zip(names, values) if name not in reading.drop
    }
    for name in reading.integers:
        try:
            row[name] = int(row[name])
        except (ValueError, KeyError):
            text = row.get(name)
            return RawFileRow(raw, where, f"field {name!r} is {text!r:.80}, no whole number.")
    return RawFileRow(row_rendering.row_text({**row, **of_file}), where)


# Parquet and Arrow


def _table(stream: Any, path: epath.Path, kind: str, drop: Sequence[str]) -> Iterator[RawFileRow]:
    import pyarrow

    number = 0
    try:
        for batch in _batches(stream, kind):
            kept = [name for name in batch.schema.names if name not in drop]
            if twice := arrow_values.repeated_name(kept):
                raise FileError(
                    f"{path}: two columns are called {twice!r}: rename one, or leave both out with"
                    " --drop."
                )
            batch = batch.select(kept)
            for values in arrow_values.rows(batch):
                number += 1
                where = f"{path}:{number}"
                try:
                    yield RawFileRow(row_rendering.row_text(arrow_values.plain(values)), where)
                except arrow_values.NoJsonError as error:
                    shown = repr(values)[:10_000].encode("utf-8", "backslashreplace")
                    reason = f"{error}: leave the field out with --drop."
                    yield RawFileRow(shown, where, reason)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise FileError(f"{path}: not a whole {kind[1:]} file ({error}).") from None


def _batches(stream: Any, kind: str) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    if kind == ".parquet":
        yield from pyarrow.parquet.ParquetFile(stream).iter_batches(_ROWS_AT_ONCE)
        return
    try:
        reader = pyarrow.ipc.open_stream(stream)
    except pyarrow.ArrowInvalid:
        stream.seek(0)  # Not the form that a stream has, but that of a file.
        file = pyarrow.ipc.open_file(stream)
        for index in range(file.num_record_batches):
            yield file.get_batch(index)
        return
    yield from reader
