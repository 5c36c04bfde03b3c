"""Mirrors: a data set's rows on disk or gs://, as they came, with the hash of every file.

A mirror is a folder with files of rows (JSON lines, or ArrayRecord with a JSON object a record)
and a `manifest.json`, written last, that names them in order with their rows, bytes and SHA-256.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from teacherlm_jax.data import data_setup, ledger, split_slices
from teacherlm_jax.data.cached_examples import TemporaryFolder
from teacherlm_jax.data.row_rendering import Row

MANIFEST_NAME = "manifest.json"
VERSION = 1
JSONL, ARRAY_RECORD = "jsonl", "array_record"
FORMATS = (JSONL, ARRAY_RECORD)

# Files whose hash this process has found right.
_verified: set[tuple[str, str]] = set()


class MirrorError(ValueError):
    """A mirror is damaged, unfinished, or not what is asked for."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of rows.

    Attributes:
      file: its name in the mirror's folder.
      rows: how many it holds.
      bytes: its size.
      sha256: of its bytes.
    """

    file: str
    rows: int
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.file, str) or "/" in self.file or not self.file.strip("."):
            raise TypeError(f"file = {self.file!r}, but it must name a file of the folder")
        for name, value in (("rows", self.rows), ("bytes", self.bytes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise TypeError(f"{name} = {value!r}, but it must be a number from 0 on")
        if not isinstance(self.sha256, str):
            raise TypeError(f"sha256 = {self.sha256!r}, but it must be a text")


@dataclasses.dataclass(frozen=True)
class Mirror:
    """A finished mirror.

    Attributes:
      folder: where it is.
      format: of its files, one of FORMATS.
      source: what it was made from, as `mirror_writing` describes it.
      splits: split -> its files in order.
    """

    folder: epath.Path
    format: str
    source: Mapping[str, Any]
    splits: Mapping[str, Sequence[Shard]]

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """Rows of every split."""
        return {split: sum(shard.rows for shard in self.splits[split]) for split in self.splits}

    def count(self, spec: str) -> int:
        """Rows of a slice.

        Raises:
          MirrorError: it is of a split that the mirror lacks.
        """
        return sum(last - first for _, first, last in self._ranges(spec))

    def rows(self, spec: str, chosen: np.ndarray | None = None) -> Iterator[Row]:
        """Rows of a slice in order; holds a file at a time.

        Args:
          spec: a split or a slice in TFDS's words.
          chosen: places in the slice, rising, int64 [N]; None: all.

        Raises:
          MirrorError: a file is not there or differs from the manifest, or there is no such split.
        """
        place = 0
        for split, first, last in self._ranges(spec):
            start = 0
            for shard in self.splits[split]:
                low, high = max(first - start, 0), min(last - start, shard.rows)
                if low < high:
                    numbers = _numbers(low, high, place, chosen)
                    if len(numbers):
                        texts = self._read(shard, numbers)
                        places = (number - low + place for number in numbers)
                        yield from zip(texts, places, (self._where(shard, n) for n in numbers))
                    place += high - low
                start += shard.rows

    def _ranges(self, spec: str) -> list[split_slices.Range]:
        try:
            return split_slices.ranges(spec, self.counts)
        except ValueError as error:
            raise MirrorError(
                f"{spec!r} cannot be read from the mirror {self.folder}: {error} Make it anew with"
                " that split (`teacherlm data mirror --help`), in an empty folder."
            ) from None

    def _where(self, shard: Shard, number: int) -> str:
        return f"{self.folder / shard.file}:{number + 1}"

    def _read(self, shard: Shard, numbers: Sequence[int]) -> Sequence[bytes]:
        """Rows of a file by their numbers in it."""
        path = self.folder / shard.file
        data = read_verified(path, shard.bytes, shard.sha256)
        if self.format == JSONL:
            # After the end of the last line comes nothing.
            lines = data.split(b"\n")[:-1]
            texts, count = [lines[number] for number in numbers if number < len(lines)], len(lines)
        else:
            texts, count = _records(data, numbers)
        if count != shard.rows:
            raise MirrorError(f"{path} holds {count} rows, its manifest says {shard.rows}.")
        return texts


def _numbers(low: int, high: int, place: int, chosen: np.ndarray | None) -> Sequence[int]:
    """Which of a file's rows from low to high are wanted; the first of them has that place."""
    if chosen is None:
        return range(low, high)
    first, last = np.searchsorted(chosen, [place, place + high - low])
    return (chosen[first:last] - place + low).tolist()


def _records(data: bytes, numbers: Sequence[int]) -> tuple[list[bytes], int]:
    """Records of an ArrayRecord file by number, and how many there are in all."""
    from array_record.python import array_record_module

    folder = TemporaryFolder()  # ArrayRecord's own package reads local files alone.
    path = folder.path / "shard"
    path.write_bytes(data)
    reader = array_record_module.ArrayRecordReader(str(path))
    try:
        count = reader.num_records()
        within = [number for number in numbers if number < count]
        return reader.read(within) if within else [], count
    finally:
        reader.close()


def count_rows(data: bytes, format: str) -> int:
    """How many rows a file's bytes hold."""
    return data.count(b"\n") if format == JSONL else _records(data, [])[1]


def read_verified(path: epath.Path, size: int, sha256: str) -> bytes:
    """Reads a file that must be what a manifest says; hashes it the first time in a process.

    Raises:
      MirrorError: it is not there, or differs.
    """
    remedy = (
        f"Fetch it again from where the mirror came from, or delete the folder {path.parent} and"
        " run `teacherlm data mirror` again."
    )
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MirrorError(f"{path} is not there, but its manifest names it. {remedy}") from None
    except OSError as error:
        raise MirrorError(f"{path} cannot be read ({error}). {remedy}") from None
    known = (str(path), sha256)
    if len(data) == size and known in _verified:
        return data
    digest = hashlib.sha256(data).hexdigest()
    if (len(data), digest) != (size, sha256):
        raise MirrorError(
            f"{path} was damaged or changed: it has {len(data)} bytes with SHA-256"
            f" {digest[:12]}..., its manifest says {size} bytes with {sha256[:12]}.... {remedy}"
        )
    _verified.add(known)
    return data


def folder_of(name: str) -> epath.Path:
    """Where the mirror of this name is looked for.

    Raises:
      MirrorError: the name leads out of the folder of mirrors.
    """
    if not all(part.strip(".") for part in name.split("/")):
        raise MirrorError(
            f"{name!r} cannot name a mirror, which is a folder in {data_setup.data_dir()!r}: give"
            " a name without empty parts and '..'."
        )
    return epath.Path(data_setup.data_dir()) / name


def find(name: str) -> Mirror | None:
    """The mirror of this name; None where there is none.

    Raises:
      MirrorError: it is unfinished, or its manifest cannot be read.
    """
    return read(folder_of(name))


def read(folder: epath.PathLike) -> Mirror | None:
    """The mirror in a folder; None where there is none.

    Raises:
      MirrorError: it is unfinished, or its manifest cannot be read.
    """
    folder = epath.Path(folder)
    path = folder / MANIFEST_NAME
    if not path.exists():
        return None
    try:
        values = json.loads(ledger.read_text(path))
        if values["version"] != VERSION or values["format"] not in FORMATS:
            raise MirrorError(
                f"{path} is of version {values['version']!r} and format {values['format']!r}; this"
                f" program reads version {VERSION} and {' or '.join(FORMATS)}."
            )
        splits = {
            split: [Shard(**shard) for shard in entry["shards"]]
            for split, entry in values["splits"].items()
        }
        return Mirror(folder, values["format"], values["source"], splits)
    except FileNotFoundError:
        raise MirrorError(
            f"the mirror {folder} is not finished: {path.name} has no sound marker"
            f" {ledger.marker_path(path).name} beside it. Copy the markers too, or run"
            " `teacherlm data mirror` again."
        ) from None
    except MirrorError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as bad:
        raise MirrorError(
            f"the manifest {path} cannot be read ({type(bad).__name__}: {bad}): delete the folder"
            " and make the mirror again."
        ) from None


def manifest_text(
    format: str, source: Mapping[str, Any], splits: Mapping[str, Sequence[Shard]]
) -> str:
    """The manifest of such a mirror; the same for the same rows, whenever it is made."""
    entries = collections.OrderedDict()
    for split, shards in splits.items():
        listed = [dataclasses.asdict(shard) for shard in shards]
        entries[split] = {"rows": sum(shard.rows for shard in shards), "shards": listed}
    values = {"version": VERSION, "format": format, "source": source, "splits": entries}
    return json.dumps(values, indent=2) + "\n"
