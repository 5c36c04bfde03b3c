"""Files of rows: JSON lines, Parquet, CSV or JSON, one or many, local or gs://, read as a stream.

Those of text may be packed by gzip: their names then end in .jsonl.gz and the like.

What a row means is not known here: see `records` and `annotations_import`.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import arrow_values, ledger, links
from teacherlm_jax.data.record_fields import RecordError

GZIP = ".gz"
_TEXT_SUFFIXES = (".jsonl", ".csv", ".json")
SUFFIXES = (*_TEXT_SUFFIXES, ".parquet", *(f"{suffix}{GZIP}" for suffix in _TEXT_SUFFIXES))
"""Kinds of files, by their names' ends."""

MORE_FIELDS = "(more fields)"
PARQUET_ROWS_AT_ONCE = 1024

_SHARD_NAME = re.compile(
    r"^(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+(?:\.gz)?)$"
)
_NO_ROWS = (".rejects.jsonl", "configuration.json", "manifest.json", "agreement.json")
_MAX_CSV_FIELD = 2**27

Row = tuple[bytes, str]
"""A row as JSON text, and what names it in errors, such as "questions.jsonl:12"."""


def list_files(
    path: epath.PathLike | Sequence[epath.PathLike], suffixes: Sequence[str] = SUFFIXES
) -> list[epath.Path]:
    """Returns the files that a path means, sorted by name.

    In a folder, rejects, manifests and other kinds of files are left out, and shards named
    `x-00003-of-00010.jsonl` must be there in full.

    Args:
        path: a file; a pattern with `*`, `?` or `[` in its last component; a folder; or several.
        suffixes: kinds of files that are taken from a folder.

    Raises:
        FileNotFoundError: no file matches, one is a link to what is not there, or shards of a
            folder are missing or unfinished.
        ValueError: a folder holds rows in files of several kinds, which may be the same rows.
    """
    if isinstance(path, list | tuple):
        return [file for one in path for file in list_files(one, suffixes)]
    if not os.fspath(path):  # type: ignore[arg-type]
        raise FileNotFoundError("the path of the rows is empty text: name a file or folder.")
    place = epath.Path(path)  # type: ignore[arg-type]
    if re.search(r"[*?\[]", place.name):
        files = sorted(place.parent.glob(place.name), key=str)
        if not files:
            raise FileNotFoundError(f"no file matches {str(place)!r}")
        return [links.checked(file) for file in files]
    if not place.is_dir():
        if not links.checked(place).exists():
            raise FileNotFoundError(f"no such file or folder: {str(place)!r}")
        return [place]
    return _files_of_folder(place, suffixes)


def _files_of_folder(folder: epath.Path, suffixes: Sequence[str]) -> list[epath.Path]:
    files = sorted(
        (
            file
            for file in folder.iterdir()
            if file.name.endswith(tuple(suffixes)) and not file.name.endswith(_NO_ROWS)
        ),
        key=str,
    )
    if not files:
        kinds = " or ".join(f"*{suffix}" for suffix in suffixes)
        raise FileNotFoundError(f"folder {str(folder)!r} holds no {kinds} file")
    kinds_found = {
        next(suffix for suffix in suffixes if file.name.endswith(suffix)): file.name
        for file in files
    }
    if len(kinds_found) > 1:
        raise ValueError(
            f"folder {str(folder)!r} holds rows in files of several kinds"
            f" ({', '.join(sorted(kinds_found.values()))}): name the files by a pattern such as"
            f" {str(folder / ('*' + next(iter(kinds_found))))!r}."
        )
    _check_shards_complete(folder, files)
    return [links.checked(file) for file in files]


def _check_shards_complete(folder: epath.Path, files: Sequence[epath.Path]) -> None:
    """Raises unless every series of shards is whole and, where any file is marked, all are."""
    present: dict[tuple[str, int, str], set[int]] = {}
    for file in files:
        if match := _SHARD_NAME.match(file.name):
            series = (match["stem"], int(match["count"]), match["suffix"])
            present.setdefault(series, set()).add(int(match["index"]))
    missing = [
        f"{stem}-{index:05d}-of-{count:05d}{suffix}"
        for (stem, count, suffix), indices in present.items()
        for index in sorted(set(range(count)) - indices)
    ]
    marked = {file.name for file in ledger.list_complete(folder)}
    unfinished = [file.name for file in files if file.name not in marked] if marked else []
    if missing or unfinished:
        names = missing + unfinished
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise FileNotFoundError(
            f"folder {str(folder)!r} is not finished: {len(missing)} shards are missing and"
            f" {len(unfinished)} not marked as complete ({shown}). Run the command that writes it"
            " again (it continues), or name the finished files by a pattern."
        )


def read_lines(file: epath.Path) -> Iterator[tuple[bytes, int]]:
    """Yields the lines of a file that are not blank, with their numbers from 1.

    A file with a completion marker (`data.ledger`) beside it is read whole and verified first. One
    whose name ends in .gz is unpacked.

    Raises:
        RecordError: it cannot be unpacked.
    """
    with _opened(file) as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if line.strip():
                yield line, number


@contextlib.contextmanager
def _opened(file: epath.Path) -> Iterator[Any]:
    is_marked = ledger.marker_path(file).exists()
    content = io.BytesIO(ledger.read_whole(file)) if is_marked else links.checked(file).open("rb")
    with content as stream:
        try:
            yield gzip.GzipFile(fileobj=stream) if file.name.endswith(GZIP) else stream
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise RecordError(f"{file}: not a whole gzip file ({error}).") from None


def read_rows(file: epath.PathLike) -> Iterator[Row]:
    """Reads the rows of a file one by one, by the kind that its name tells.

    Lines of JSON are not parsed here, so that what is malformed is met where rows are used. Rows
    of Parquet leave out what is null. Fields of CSV are texts; those that a line lacks are null,
    and those that it has too many stand in a list under `MORE_FIELDS`.

    Raises:
        RecordError: the file cannot be read as its name says.
    """
    file = epath.Path(file)
    readers = {".jsonl": _jsonl, ".parquet": _parquet, ".csv": _csv, ".json": _json}
    if not file.name.endswith(SUFFIXES):
        raise RecordError(
            f"{file}: the name ends in none of {', '.join(SUFFIXES)}, by which the kind of a file"
            " is known; rename it, or convert it to JSON lines."
        )
    return readers[epath.Path(file.name.removesuffix(GZIP)).suffix](file)


def _jsonl(file: epath.Path) -> Iterator[Row]:
    for line, number in read_lines(file):
        yield line, f"{file}:{number}"


def _parquet(file: epath.Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    with _opened(file) as stream:
        try:
            for batch in pyarrow.parquet.ParquetFile(stream).iter_batches(PARQUET_ROWS_AT_ONCE):
                if twice := arrow_values.repeated_name(batch.schema.names):
                    raise RecordError(f"{file}: two columns are called {twice!r}; rename one.")
                for values in arrow_values.rows(batch):
                    number += 1
                    where = f"{file}:{number}"
                    try:
                        row = _without_nulls(arrow_values.plain(values))
                    except arrow_values.NoJsonError as error:
                        raise RecordError(
                            f"{where}: a value which JSON lacks ({error}): write the file without"
                            " that column, or with it as text."
                        ) from None
                    yield json.dumps(row).encode(), where
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise RecordError(f"{file}: not a whole Parquet file ({error}).") from None


def _without_nulls(value: Any) -> Any:
    """The value without what is null: struct types have all fields of all rows."""
    if isinstance(value, dict):
        return {key: _without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [_without_nulls(entry) for entry in value] if isinstance(value, list) else value


def _csv(file: epath.Path) -> Iterator[Row]:
    csv.field_size_limit(_MAX_CSV_FIELD)
    with _opened(file) as stream:
        lines = io.TextIOWrapper(stream, "utf-8-sig", newline="")
        reader = csv.DictReader(lines, restkey=MORE_FIELDS, strict=True)
        first = 2
        try:
            if twice := arrow_values.repeated_name(reader.fieldnames or []):
                raise RecordError(f"{file}:1: two columns are called {twice!r}; rename one.")
            for values in reader:
                where, first = f"{file}:{first}", reader.line_num + 1
                yield json.dumps(values).encode(), where
        except (csv.Error, UnicodeDecodeError) as error:
            raise RecordError(f"{file}:{first}: not CSV in UTF-8 ({error}).") from None


def _json(file: epath.Path) -> Iterator[Row]:
    with _opened(file) as stream:
        content = stream.read()
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{file}: not valid JSON ({error}).") from None
    if not isinstance(rows, list):
        raise RecordError(f"{file}: holds {rows!r:.80}; a .json file must be one list of objects.")
    for number, row in enumerate(rows, start=1):
        yield json.dumps(row).encode(), f"{file}[{number}]"
