"""Rows of files and tasks as named texts, for what compares texts: leaks and duplicates."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import seqio
from etils import epath

from teacherlm_jax.data import data_setup, generators, record_files
from teacherlm_jax.data.rejects import Rejects
from teacherlm_jax.data.row_rendering import RowError, parsed

_TSV = (".tsv", f".tsv{record_files.GZIP}")
SUFFIXES = (*record_files.SUFFIXES, *_TSV)
NO_TEXTS = ("id", "task", "split", "provenance")
"""Fields of rows of files that say where a row is from."""


@dataclasses.dataclass(frozen=True)
class TextRow:
    """A row and its texts.

    Attributes:
      source: the file or task.
      id: of the row, or "".
      where: file and line, or task, split and number.
      texts: by field; of a list, an entry for each.
      values: the row as JSON types.
      is_example: whether the source is a task.
    """

    source: str
    id: str
    where: str
    texts: Mapping[str, str]
    values: Mapping[str, Any]
    is_example: bool = False

    @property
    def key(self) -> str:
        """A hash of the texts, 20 hex digits: the same wherever the row stands."""
        return content_key(self.texts)


def content_key(texts: Mapping[str, str]) -> str:
    """A hash of named texts, 20 hex digits, whatever their order."""
    content = json.dumps(sorted(texts.items()), ensure_ascii=True)
    return hashlib.sha256(content.encode("ascii")).hexdigest()[:20]


def of_files(
    paths: Sequence[epath.PathLike], fields: Collection[str] | None = None
) -> Iterator[TextRow]:
    """Rows of files, of patterns of files or of folders, file by file.

    `data_setup` says whether a malformed row is an error or is left out.

    Args:
      paths: JSON lines, Parquet, JSON, CSV, or TSV without a header, whose fields are called
        column_0 and so on.
      fields: those to take; None: all that hold text, except `NO_TEXTS`.

    Raises:
      FileNotFoundError: there is no such file.
      RowError: a row cannot be read, or has none of the fields; or no row of a file can be used.
    """
    for path in paths:
        for file in record_files.list_files(path, SUFFIXES):
            yield from _of_file(file, fields)


def _of_file(file: epath.Path, fields: Collection[str] | None) -> Iterator[TextRow]:
    rejects: Rejects | None = None
    rows = 0
    for content, where in _read(file):
        rows += 1
        try:
            yield _row(content, str(file), where, fields)
        except RowError as error:
            if not data_setup.skips_malformed_rows():
                raise RowError(f"{where}: {error}") from None
            rejects = rejects or Rejects(data_setup.rejects_dir(), file.name)
            rejects.add(content, where, str(error))
    if rejects is not None:
        rejects.finish(rows)
        if rejects.count == rows:
            raise RowError(
                f"all {rows} rows of {str(file)!r} are malformed, so that nothing is left; the"
                f" first is {rejects.first}"
            )


def _read(file: epath.Path) -> Iterator[tuple[bytes, str]]:
    if file.name.endswith(_TSV):
        for line, number in record_files.read_lines(file):
            cells = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
            values = {f"column_{column}": cell for column, cell in enumerate(cells)}
            yield json.dumps(values).encode(), f"{file}:{number}"
        return
    yield from record_files.read_rows(file)


def _row(content: bytes, source: str, where: str, fields: Collection[str] | None) -> TextRow:
    values = parsed(content)
    if fields is None:
        chosen = {name: value for name, value in values.items() if name not in NO_TEXTS}
    else:
        chosen = {name: values[name] for name in fields if name in values}
        if not chosen:
            raise RowError(f"no field {', '.join(fields)}; there are {sorted(values)}.")
    identity = values.get("id")
    name = "" if identity is None else str(identity)
    return TextRow(source, name, where, dict(_texts(chosen)), values)


def _texts(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """All texts in JSON values, named by where they stand: "choices[0]"."""
    if isinstance(values, str):
        if values.strip():
            yield name, values
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _texts(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from _texts(value, f"{name}[{number}]")


def of_task(task: seqio.Task, split: str) -> Iterator[TextRow]:
    """Examples of a task before they are tokenized, in the order of its source.

    Raises:
      ValueError: the task has no such split.
    """
    if split not in task.splits:
        raise ValueError(f"task {task.name} has no split {split!r}; it has {list(task.splits)}.")
    dataset = task.source.get_dataset(split=split, shuffle=False)
    with seqio.utils.map_seed_manager(0):
        dataset = task._preprocess_dataset(dataset, before_tokens(task.preprocessors))
    with generators.surfaced():
        for number, example in enumerate(dataset.as_numpy_iterator()):
            values = {name: _plain(value) for name, value in example.items()}
            texts = example_texts(values, task.output_features)
            where = f"{task.name}/{split}:{number}"
            yield TextRow(task.name, str(values.get("id", "")), where, texts, values, True)


def before_tokens(preprocessors: Sequence[Any]) -> list[Any]:
    """The steps of a task before its texts become tokens."""
    steps = list(preprocessors)
    for number, step in enumerate(steps):
        function = getattr(step, "func", step)
        if function is seqio.preprocessors.tokenize or step is seqio.preprocessors.tokenize:
            return steps[:number]
    raise ValueError(
        "the task has no step seqio.preprocessors.tokenize, so it is not known where its texts"
        f" become tokens; its steps are {steps}."
    )


def example_texts(values: Mapping[str, Any], names: Collection[str]) -> dict[str, str]:
    """The texts of an example's features with these names."""
    return {name: values[name] for name in names if isinstance(values.get(name), str)}


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
