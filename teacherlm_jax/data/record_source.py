"""A seqio data source of TeacherData: JSON lines or Parquet on disk or gs://, or the TFDS builder.

Elements are those of `row_rendering`; `record_of` makes a record of one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from etils import epath

from teacherlm_jax.data import data_setup, record_files
from teacherlm_jax.data.prepared_tfds import plain
from teacherlm_jax.data.record_fields import RecordError
from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.data.row_rendering import RawRow, Row, RowError, parsed
from teacherlm_jax.data.row_source import RowSource

FOLDER = "teacherdata"
"""Of the folder of data (`data_setup.data_dir`), where a source that names no path looks."""

TFDS_NAME = "teacher_data"
TFDS_PREFIX = "tfds:"
SPLITS = ("train", "validation")
SUFFIXES = (".jsonl", ".parquet")

Path = str | Sequence[str] | Mapping[str, str | Sequence[str]] | None


class TeacherDataSource(RowSource):
    """Rows of TeacherData, in the order of the files' names and of the lines in them.

    Where they are is looked up whenever they are read, and never before.
    """

    def __init__(self, path: Path = None, splits: Sequence[str] = SPLITS) -> None:
        """Makes a source; looks at no file.

        Args:
            path: a folder with `train.jsonl`, `train.parquet`, `train-*.jsonl` or a folder
                `train/`, and the like for other splits; a folder whose files name no split, which
                are of the first split; a file, a pattern, or several, likewise; a mapping from
                split to those; "tfds:teacher_data" for the prepared builder. None: the folder
                `teacherdata` of the folder of data where it is there, else the builder.
            splits: of the source; those of a mapping are its own.
        """
        super().__init__(splits=tuple(path) if isinstance(path, Mapping) else tuple(splits))
        self.path = path

    def reader(self, split: str) -> Callable[[], Iterator[Row]]:
        """What reads the rows of a split.

        Raises:
            FileNotFoundError: the rows are not there; says how to get them.
        """
        self.find(split)
        return lambda: ((row, index, where) for index, (row, where) in enumerate(self.rows(split)))

    def rows(self, split: str) -> Iterator[record_files.Row]:
        """The rows of a split, one by one.

        Raises:
            FileNotFoundError: they are not there; says how to get them.
        """
        found = self.find(split)
        if isinstance(found, str):
            yield from _tfds_rows(found, split)
            return
        for file in found:
            yield from record_files.read_rows(file)

    def records(self, split: str) -> Iterator[TeacherDataRecord]:
        """The records of a split, one by one.

        Raises:
            RowError: a row is no record; names file and line.
        """
        for index, (row, where) in enumerate(self.rows(split)):
            try:
                yield record_of(RawRow(parsed(row), index, where))
            except RowError as error:
                raise RowError(f"{where}: {error}") from None

    def find(self, split: str) -> str | list[epath.Path]:
        """The files of a split, or the name of the prepared builder.

        Raises:
            FileNotFoundError: the files are not there; where no path was given, the builder's name
                is returned unseen.
        """
        if split not in self.splits:
            raise ValueError(f"split = {split!r}, but this source has {', '.join(self.splits)}.")
        path = self.path
        if isinstance(path, Mapping):
            return record_files.list_files(path[split], SUFFIXES)
        if isinstance(path, str) and path.startswith(TFDS_PREFIX):
            return path.removeprefix(TFDS_PREFIX)
        is_first = split == self.splits[0]
        if path is None:
            folder = epath.Path(data_setup.data_dir()) / FOLDER
            return TFDS_NAME if not folder.exists() else self._in_folder(folder, split, is_first)
        if isinstance(path, str) and epath.Path(path).is_dir():
            return self._in_folder(epath.Path(path), split, is_first)
        if not is_first:
            raise FileNotFoundError(
                f"TeacherData at {path!r} has no split {split!r}: files that name no split are of"
                f" {self.splits[0]!r}. Give a mapping from split to files, or a folder with"
                f" {split}.jsonl."
            )
        return record_files.list_files(path, SUFFIXES)

    def _in_folder(self, folder: epath.Path, split: str, is_first: bool) -> list[epath.Path]:
        names = [f"{split}{suffix}" for suffix in SUFFIXES]
        files = [folder / name for name in names if (folder / name).exists()]
        for suffix in SUFFIXES:
            files += folder.glob(f"{split}-*{suffix}")
        files = [file for file in files if not file.name.endswith(".rejects.jsonl")]
        inner = [folder / split] if (folder / split).is_dir() else []
        others = [one for one in self.splits if (folder / one).exists()] or [
            file for one in self.splits for file in folder.glob(f"{one}[-.]*")
        ]
        if files and inner or len({file.suffix for file in files}) > 1:
            raise ValueError(
                f"folder {str(folder)!r} has split {split!r} in several forms"
                f" ({', '.join(path.name for path in [*files, *inner])}), which may be the same"
                " rows: keep one."
            )
        if files:
            return sorted(files, key=str)
        if inner:
            return record_files.list_files(inner[0], SUFFIXES)
        if others or not is_first:
            raise FileNotFoundError(
                f"folder {str(folder)!r} has no split {split!r}: it needs {split}.jsonl,"
                f" {split}.parquet, {split}-*.jsonl or a folder {split}/. `teacherlm data import`"
                " makes such files of human annotations, `teacherlm annotate` of a teacher's."
            )
        return record_files.list_files(folder, SUFFIXES)


def record_of(row: RawRow) -> TeacherDataRecord:
    """The record of a source's row.

    Fields that are null are taken as not given; provenance may be JSON text.

    Raises:
        RowError: a field is missing, unknown, of a wrong type, or breaks a constraint.
    """
    values = {name: value for name, value in row.values.items() if value is not None}
    provenance = values.get("provenance")
    try:
        if isinstance(provenance, str):
            values["provenance"] = parsed((provenance or "{}").encode())
        return TeacherDataRecord.from_mapping(values, where="")
    except RecordError as error:
        raise RowError(str(error)) from None
    except RowError as error:
        raise RowError(f"field 'provenance': {error}") from None


def _tfds_rows(name: str, split: str) -> Iterator[record_files.Row]:
    import tensorflow_datasets as tfds

    from teacherlm_jax.data import teacher_data_builder  # Registers the builder with TFDS.

    try:
        builder = tfds.builder(name, try_gcs=False)
        # Shard by shard, in the order in which the rows were prepared.
        in_order = tfds.ReadConfig(interleave_cycle_length=1)
        dataset = builder.as_dataset(split=split, read_config=in_order)
    except (AssertionError, tfds.core.DatasetNotFoundError) as error:
        raise FileNotFoundError(
            f"there is no TeacherData: no folder {FOLDER!r} in {data_setup.data_dir()!r}, and the"
            f" TFDS builder {name!r} is not prepared ({str(error).splitlines()[0]}). Put"
            f" train.jsonl there, or see {teacher_data_builder.__name__} for how to prepare it."
        ) from None
    except ValueError as error:
        raise RowError(f"TFDS {name!r}: {error}") from None
    for index, element in enumerate(tfds.as_numpy(dataset)):
        values = {key: plain(value) for key, value in element.items()}
        yield json.dumps(values).encode(), f"{TFDS_PREFIX}{name}/{split}:{index}"
