"""Writing mirrors: from what TFDS has prepared, or from files that a user has.

`source.json` is written first and says what the mirror is made from; files of rows follow, then the
manifest. Each is written whole and marked (`data.ledger`), so that a killed process leaves nothing
that looks finished; the next one reads the source again and writes what is missing.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import ledger, mirror, prepared_tfds, raw_files, row_rendering
from teacherlm_jax.data.cached_examples import TemporaryFolder
from teacherlm_jax.data.raw_files import RawFileRow
from teacherlm_jax.data.rejects import Rejects

SOURCE_NAME = "source.json"
REJECTS_FOLDER = "rejects"
SHARD_BYTES = 32 * 2**20

_SPLIT_NAME = re.compile(r"\w[\w.-]*")

_HASHED_AT_ONCE = 2**22


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a mirror is made from.

    Attributes:
      description: JSON values that are the same for the same rows, on any machine.
      splits: split -> what begins its rows.
    """

    description: Mapping[str, Any]
    splits: Mapping[str, Callable[[], Iterator[RawFileRow]]]


def of_tfds(name: str, splits: Sequence[str]) -> Origin:
    """Whole splits of a data set that TFDS has prepared.

    Args:
      name: of the data set.
      splits: which.

    Raises:
      prepared_tfds.NotPreparedError: TFDS has not prepared it.
      ValueError: it has no such split.
    """
    parts = {split: prepared_tfds.PreparedRows(name, split) for split in splits}

    def rows(split: str) -> Iterator[RawFileRow]:
        for text, place in parts[split].read():
            yield RawFileRow(text, f"{name} {split}:{place}")

    begin = {split: functools.partial(rows, split) for split in splits}
    return Origin({"kind": "tfds", "name": name, "splits": list(splits)}, begin)


def of_files(
    splits: Mapping[str, Sequence[epath.Path]], reading: raw_files.Reading = raw_files.AS_THEY_ARE
) -> Origin:
    """Files that a user has; hashes them.

    Args:
      splits: split -> files in order.
      reading: how they are read.
    """

    def rows(split: str) -> Iterator[RawFileRow]:
        for file in splits[split]:
            yield from raw_files.rows(file, reading)

    description = {
        "kind": "files",
        "reading": dataclasses.asdict(reading),
        "splits": {split: [_described(file) for file in splits[split]] for split in splits},
    }
    return Origin(description, {split: functools.partial(rows, split) for split in splits})


def _described(file: epath.Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while data := stream.read(_HASHED_AT_ONCE):
            digest.update(data)
            size += len(data)
    return {"file": file.name, "bytes": size, "sha256": digest.hexdigest()}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a mirror is written.

    Attributes:
      format: of its files, one of `mirror.FORMATS`.
      limit: most rows of a split; None: all.
      skip_malformed: rows that are no JSON object in UTF-8 are left out, and kept in the folder
        `rejects`, rather than an error.
      shard_bytes: a file is closed when it has as many.
    """

    format: str = mirror.JSONL
    limit: int | None = None
    skip_malformed: bool = False
    shard_bytes: int = SHARD_BYTES

    def __post_init__(self) -> None:
        if self.format not in mirror.FORMATS:
            raise ValueError(f"format = {self.format!r}; it must be one of {mirror.FORMATS}.")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit = {self.limit}; it must be at least 1.")


def write(
    folder: epath.PathLike,
    origin: Origin,
    settings: Settings = Settings(),
    tell: Callable[[str], None] = lambda text: None,
) -> mirror.Mirror:
    """Writes a mirror, or goes on with one that was begun, or finds it finished.

    Args:
      folder: an empty one, one that is not there, or one that this has begun.
      origin: what it is made from.
      settings: how.
      tell: is told what is done, a line at a time.

    Raises:
      mirror.MirrorError: the folder holds something else, a split has no rows, or its name cannot
        be that of a file.
      row_rendering.RowError: a row is malformed, unless those are left out.
    """
    folder = epath.Path(folder)
    source = {**origin.description, **dataclasses.asdict(settings)}
    _check_names(origin.splits)
    _begin(folder, source)
    finished = mirror.read(folder) if ledger.is_complete(folder / mirror.MANIFEST_NAME) else None
    if finished is not None:
        tell(f"{folder} is complete.")
        return finished
    for split in origin.splits:
        if next(iter(origin.splits[split]()), None) is None:  # Before the others are written.
            raise _no_rows(origin, split)
    splits = {}
    for split in origin.splits:
        splits[split] = _write_split(folder, split, origin.splits[split], settings, tell)
    text = mirror.manifest_text(settings.format, source, splits)
    ledger.write_whole(folder / mirror.MANIFEST_NAME, text)
    written = mirror.read(folder)
    assert written is not None
    return written


def _check_names(splits: Iterable[str]) -> None:
    """Split names become names of files, and stand in slices."""
    for split in splits:
        if not _SPLIT_NAME.fullmatch(split):
            raise mirror.MirrorError(
                f"a split cannot be called {split!r}: its name may hold letters, digits, '_', '-'"
                " and '.', and begins with a letter or digit. Name its files with"
                " --split NAME=FILES."
            )


def _no_rows(origin: Origin, split: str) -> mirror.MirrorError:
    files = origin.description.get("splits", {})
    names = [file["file"] for file in files[split]] if isinstance(files, Mapping) else []
    where = f" ({', '.join(names[:3])})" if names else ""
    return mirror.MirrorError(
        f"split {split!r} of the source has no rows{where}: mend the source, or leave the split out"
        " by naming the others with --split."
    )


def _begin(folder: epath.Path, source: Mapping[str, Any]) -> None:
    if folder.exists() and not folder.is_dir():
        raise mirror.MirrorError(f"{folder} is a file: give a folder with --to.")
    path = folder / SOURCE_NAME
    ours = (SOURCE_NAME, ledger.marker_path(path).name)
    if not ledger.is_complete(path) and folder.exists():
        others = sorted(entry.name for entry in folder.iterdir() if entry.name not in ours)
        if others:
            raise mirror.MirrorError(
                f"{folder} holds {others[0]!r} and is no mirror: give an empty folder with --to."
            )
    try:
        ledger.write_whole(path, json.dumps(source, indent=2) + "\n")
    except ledger.AlreadyWrittenError:
        raise mirror.MirrorError(
            f"{folder} is a mirror of another source, or was begun with other settings"
            f" ({_difference(json.loads(ledger.read_text(path)), source)}): give another folder"
            " with --to, or delete this one."
        ) from None
    except OSError as error:
        raise mirror.MirrorError(
            f"cannot write into the folder {folder} ({error}): give another with --to."
        ) from None


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    now = json.loads(json.dumps(now))
    for name in [*now, *before]:
        old, new = before.get(name), now.get(name)
        if old != new:
            return f"{name}: {json.dumps(old)[:200]} before, {json.dumps(new)[:200]} now"
    return "in the order of its parts"


def _write_split(
    folder: epath.Path,
    split: str,
    begin: Callable[[], Iterator[RawFileRow]],
    settings: Settings,
    tell: Callable[[str], None],
) -> list[mirror.Shard]:
    shards = _finished_shards(folder, split, settings.format)
    done = sum(shard.rows for shard in shards)
    if done:
        tell(f"{split}: {done:,} rows are written already.")
    for lines in _shard_lines(_checked(folder, split, begin, settings), settings, done):
        name = _shard_name(split, len(shards), settings.format)
        data = _encoded(lines, settings.format)
        ledger.write_whole(folder / name, data)
        shards.append(_shard(name, data, len(lines)))
        tell(f"{split}: {sum(shard.rows for shard in shards):,} rows, {name} written")
    if not shards:
        raise mirror.MirrorError(f"all rows of split {split!r} of the source are malformed.")
    return shards


def _checked(
    folder: epath.Path, split: str, begin: Callable[[], Iterator[RawFileRow]], settings: Settings
) -> Iterator[bytes]:
    """The rows of a split that are JSON objects, up to the limit."""
    rejects = Rejects(folder / REJECTS_FOLDER, split)
    good, seen = 0, 0
    for row in begin():
        if good == settings.limit:
            break
        seen += 1
        try:
            if row.reason:
                raise row_rendering.RowError(row.reason)
            row_rendering.parsed(row.text)
        except row_rendering.RowError as error:
            if not settings.skip_malformed:
                raise row_rendering.RowError(
                    f"{row.where}: {error} Mend the row, or leave out such rows with"
                    " --malformed_rows skip."
                ) from None
            rejects.add(row.text, row.where, str(error))
            continue
        good += 1
        yield row.text
    rejects.finish(seen)


def _shard_lines(rows: Iterator[bytes], settings: Settings, done: int) -> Iterator[list[bytes]]:
    """The rows of each file that is still to be written."""
    lines: list[bytes] = []
    size = 0
    for number, row in enumerate(rows):
        if number < done:
            continue
        lines.append(row)
        size += len(row) + 1
        if size >= settings.shard_bytes:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _finished_shards(folder: epath.Path, split: str, format: str) -> list[mirror.Shard]:
    shards: list[mirror.Shard] = []
    while ledger.is_complete(folder / (name := _shard_name(split, len(shards), format))):
        data = ledger.read_whole(folder / name)
        shards.append(_shard(name, data, mirror.count_rows(data, format)))
    return shards


def _shard_name(split: str, number: int, format: str) -> str:
    return f"{split}-{number:05d}.{format}"


def _shard(name: str, data: bytes, rows: int) -> mirror.Shard:
    return mirror.Shard(name, rows, len(data), hashlib.sha256(data).hexdigest())


def _encoded(lines: Sequence[bytes], format: str) -> bytes:
    if format == mirror.JSONL:
        return b"".join(line + b"\n" for line in lines)
    from array_record.python import array_record_module

    folder = TemporaryFolder()
    path = folder.path / "shard"
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:64,zstd")
    for line in lines:
        writer.write(line)
    writer.close()
    return path.read_bytes()
