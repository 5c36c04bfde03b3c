"""Published files of rendered examples in a local mirror: which sub-data-sets, and their rows.

Nothing is known of the mirror but its folder. A file's sub-data-set is what its path says besides
split, shard and words such as "data", so that a folder a prompt (P3) and a file a task (FLAN) both
are found:

    adversarial_qa_dbert_based_on/train.tfrecord-00000-of-00001     adversarial_qa_dbert_based_on
    cb_can_we_infer/train/0000.parquet                              cb_can_we_infer
    train/arc_challenge_10templates_train.jsonl                     arc_challenge_10templates
"""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import raw_files, raw_folders, row_rendering
from teacherlm_jax.data.row_rendering import Row
from teacherlm_jax.data.row_source import RowSource

DEFAULT_SPLIT = "train"

_RECORDS = re.compile(r"\.tfrecords?(?:-(?P<index>\d{5})-of-(?P<count>\d{5}))?$")
# Of a name that is a number alone nothing is left; "anli_r1" and "v1.11" stay.
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?:-[0-9a-f]+)?$|^(?:part|shard)?[-_.]?\d+$")
_SPLIT = re.compile(r"[-_.](?:train|training|validation|valid|val|dev|test)$")
_SAY_NOTHING = re.compile(
    r"(?:partial-)?(?:train|training|validation|valid|val|dev|test|testing|data|part|default|shard)"
)
_NO_ROWS = re.compile(r"(?:info|stats|dataset_infos?|dataset_dict|state|manifest|README)\b.*")


@dataclasses.dataclass(frozen=True)
class SubDataset:
    """Files of one sub-data-set.

    Attributes:
      name: what its path says.
      files: split -> files in order.
    """

    name: str
    files: Mapping[str, tuple[epath.Path, ...]]

    def rows(self, split: str) -> Iterator[Row]:
        """Rows of a split in the order of its files."""
        number = 0
        for file in self.files[split]:
            for text, where in _rows(file):
                yield text, number, where
                number += 1

    def count(self, split: str, most: int) -> int:
        """Rows of a split, or `most` where it has more; reads as few as that takes."""
        told = sum(_told(file) or 0 for file in self.files[split])
        if told >= most:
            return most
        return sum(1 for _ in itertools.islice(self.rows(split), most))


def find(path: epath.PathLike, include: str | Sequence[str] = "*") -> dict[str, SubDataset]:
    """The sub-data-sets of a mirror, by name, sorted.

    Args:
      path: the mirror's folder.
      include: shell patterns of names; a name that matches one is taken.

    Raises:
      FileNotFoundError: no file of rows is there, shards are missing, or no name matches.
    """
    root = epath.Path(path)
    found: dict[str, dict[str, list[epath.Path]]] = {}
    for file in raw_folders.walk(root, _may_hold_rows) if root.is_dir() else ():
        split = _split_of(file, root)
        found.setdefault(_name(file, root), {}).setdefault(split, []).append(file)
    if not found:
        raise FileNotFoundError(
            f"{str(path)!r} holds no files of rows: put the published files there, TFRecord or"
            f" {', '.join(raw_files.SUFFIXES)}, as they lie in their repository."
        )
    patterns = [include] if isinstance(include, str) else list(include)
    names = [name for name in sorted(found) if any(fnmatch.fnmatch(name, p) for p in patterns)]
    if not names:
        raise FileNotFoundError(
            f"none of the {len(found)} sub-data-sets of {str(path)!r} matches {patterns}; they are"
            f" called {', '.join(sorted(found)[:5])}."
        )
    return {name: SubDataset(name, _whole(found[name])) for name in names}


class RenderedSource(RowSource):
    """Rows of a sub-data-set; a split's files are read whole, in order."""

    def __init__(self, dataset: SubDataset) -> None:
        """See the class."""
        super().__init__(splits=tuple(dataset.files))
        self.dataset = dataset

    def reader(self, split: str) -> Callable[[], Iterator[Row]]:
        """What reads the rows of a split."""
        return lambda: self.dataset.rows(split)


def _may_hold_rows(file: epath.Path) -> bool:
    return _end_of(file) is not None and not _NO_ROWS.fullmatch(file.name)


def _end_of(file: epath.Path) -> str | None:
    """The end of a file's name that tells its kind; None: it holds no rows."""
    records = _RECORDS.search(file.name)
    return records[0] if records else raw_files.kind_of(file)


def _split_of(file: epath.Path, root: epath.Path) -> str:
    stem = file.name.removesuffix(_end_of(file) or "")
    # The hub's own Parquet files of what is too large lie in "partial-train".
    parts = [part.removeprefix("partial-") for part in file.relative_to(root).parent.parts]
    # As a .jsonl, since only the name counts, and those of records are not known there.
    known = raw_folders.split_of(root.joinpath(*parts, f"{stem}.jsonl"), root)
    return known or DEFAULT_SPLIT


def _name(file: epath.Path, root: epath.Path) -> str:
    stem = _SHARD.sub("", file.name.removesuffix(_end_of(file) or ""))
    words = [part for part in (*file.relative_to(root).parent.parts, stem) if part]
    told = [_SPLIT.sub("", word) for word in words if not _SAY_NOTHING.fullmatch(word.lower())]
    return re.sub(r"[^\w.]+", "_", "_".join(told) or root.name)


def _whole(files: Mapping[str, list[epath.Path]]) -> dict[str, tuple[epath.Path, ...]]:
    """Files of splits, of which no shard is missing."""
    for members in files.values():
        shards = [found for file in members if (found := _RECORDS.search(file.name))]
        numbered = [found for found in shards if found["index"]]
        if numbered and len(numbered) < int(numbered[0]["count"]):
            raise FileNotFoundError(
                f"{members[0]}: {len(numbered)} of {numbered[0]['count']} shards are here; fetch"
                " them all."
            )
    return {split: tuple(members) for split, members in sorted(files.items())}


def _told(file: epath.Path) -> int | None:
    """How many rows a file says that it has."""
    if file.suffix != ".parquet":
        return None
    import pyarrow.parquet

    with file.open("rb") as stream:
        return int(pyarrow.parquet.ParquetFile(stream).metadata.num_rows)


def _rows(file: epath.Path) -> Iterator[tuple[bytes, str]]:
    if _RECORDS.search(file.name):
        yield from _records(file)
        return
    for row in raw_files.rows(file):
        # What is no JSON is met where rows are rendered, and treated by policy there.
        yield row.text, row.where


def _records(file: epath.Path) -> Iterator[tuple[bytes, str]]:
    import tensorflow as tf

    for number, record in enumerate(tf.data.TFRecordDataset(str(file)).as_numpy_iterator(), 1):
        features = tf.train.Example.FromString(record).features.feature
        values = {name: _values(feature) for name, feature in sorted(features.items())}
        # JSON by this function keeps bytes that are not UTF-8, for the policy on malformed rows.
        yield row_rendering.row_text(values), f"{file}:{number}"


def _values(feature: Any) -> Any:
    """The value of a feature, or their list where it has several."""
    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value) if kind else []
    if kind == "bytes_list":
        values = [value.decode("utf-8", "surrogateescape") for value in values]
    return values[0] if len(values) == 1 else values
