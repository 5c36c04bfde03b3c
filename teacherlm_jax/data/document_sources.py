"""seqio data sources of whole documents: prepared TFDS corpora, and files of text.

Files give rows as `row_rendering` says, so that what is malformed is treated as elsewhere.
"""

from __future__ import annotations

import codecs
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import seqio
from absl import logging
from etils import epath

from teacherlm_jax.data import links, row_source
from teacherlm_jax.data.cached_examples import TemporaryFolder
from teacherlm_jax.data.row_rendering import Row, row_text
from teacherlm_jax.data.tfds_preparation import how_to_prepare

FORMATS = ("text", "jsonl", "array_record")
DOCUMENTS = ("file", "paragraph", "line")

_Row = tuple[bytes, str]

# Rows cross into TensorFlow many at once; documents may be long, so not too many.
_ROWS_AT_ONCE = 32


class CorpusSource(seqio.TfdsDataSource):
    """A corpus that TFDS has prepared on this machine or a bucket; downloads nothing."""

    def __init__(self, tfds: str, splits: Mapping[str, str]) -> None:
        """Makes a source; looks at no file.

        Args:
          tfds: name with config and version.
          splits: seqio's split -> TFDS's split, or a slice of it.
        """
        super().__init__(tfds, splits=dict(splits), read_only=True)
        self.tfds = tfds

    def num_input_examples(self, split: str) -> int | None:
        """Rows of a split; None: they are not known before TFDS has prepared it."""
        try:
            return super().num_input_examples(split)
        except KeyError:  # seqio asks for the count first; reading says what is missing.
            return None

    def get_dataset(self, split: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """TFDS's rows.

        Raises:
          FileNotFoundError: TFDS has not prepared the corpus.
        """
        try:
            return super().get_dataset(split, *args, **kwargs)
        except AssertionError as error:  # TFDS's, for data that is not there.
            raise FileNotFoundError(
                f"TFDS has not prepared {self.tfds!r} here. Set TFDS_DATA_DIR to where it lies, or"
                f" prepare it:\n{textwrap.indent(how_to_prepare(self.tfds), ' ' * 4)}\n(a large"
                " corpus needs Beam on many machines: TFDS's guide to Beam tells how)"
            ) from error


class TextFilesSource(seqio.FileDataSource):
    """Documents in local files or those of a bucket, file by file in the order of their names."""

    def __init__(
        self,
        patterns: Mapping[str, str | Iterable[str]],
        format: str = "text",
        documents: str = "file",
    ) -> None:
        """Makes a source; looks at no file.

        Args:
          patterns: split -> glob pattern or patterns of its files.
          format: "text": UTF-8; "jsonl": an object a line; "array_record": an object as JSON a
            record.
          documents: of "text": each "file" is one, or each "paragraph" (up to blank lines), or
            each "line".

        Raises:
          ValueError: no splits, or a format or kind of documents that there is not.
        """
        if not patterns:
            raise ValueError("patterns = {}, but a split needs files: {'train': '/texts/*.txt'}.")
        for name, value, known in (
            ("format", format, FORMATS),
            ("documents", documents, DOCUMENTS),
        ):
            if value not in known:
                raise ValueError(f"{name} = {value!r}, but it must be one of {known}.")
        super().__init__(self._rows, patterns)
        self.patterns = {
            split: [pattern] if isinstance(pattern, str) else list(pattern)
            for split, pattern in patterns.items()
        }
        self._format, self._documents = format, documents

    def list_shards(self, split: str) -> list[str]:
        """The files.

        Raises:
          FileNotFoundError: a pattern matches none, or a link to what is not there.
        """
        found: set[str] = set()
        for pattern in self.patterns[split]:
            matches = seqio.utils.list_files(pattern)
            if not matches:
                raise FileNotFoundError(
                    f"split {split!r}: no file matches {pattern!r}; mend the pattern, or put the"
                    " files there."
                )
            found.update(matches)
        return [str(links.checked(epath.Path(file))) for file in sorted(found)]

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: Any,
    ) -> Any:
        """Elements with `row`, `index` (within the shard) and `where`, in order."""
        files = self.list_shards(split)
        if shard_info is not None:
            files = files[shard_info.index :: shard_info.num_shards]

        def rows() -> Iterator[Row]:
            found = (row for file in files for row in self._rows(file))
            return ((text, index, where) for index, (text, where) in enumerate(found))

        return row_source.dataset_of(rows, _ROWS_AT_ONCE)

    def _rows(self, file: str) -> Iterator[_Row]:
        if self._format == "array_record":
            return _records(file)
        if self._format == "jsonl":
            return ((line, where) for line, where in _lines(file) if line.strip())
        return _texts(file, self._documents)


def _lines(file: str) -> Iterator[_Row]:
    with epath.Path(file).open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            yield text, f"{file}:{number}"


def _texts(file: str, documents: str) -> Iterator[_Row]:
    """The documents of a plain file as rows; what is blank is none."""
    if documents == "file":
        whole = epath.Path(file).read_bytes().removeprefix(codecs.BOM_UTF8)
        if whole.strip():
            yield _row(whole), f"{file}:1"
        return
    lines: list[bytes] = []
    first = ""
    for line, where in _lines(file):
        if line.strip():
            first = first or where
            lines.append(line)
        if lines and (documents == "line" or not line.strip()):
            yield _row(b"".join(lines)), first
            lines, first = [], ""
    if lines:
        yield _row(b"".join(lines)), first


def _row(text: bytes) -> bytes:
    # What is not UTF-8 stays as it is; whoever reads the row treats it as malformed.
    return row_text({"text": text.decode("utf-8", "surrogateescape").strip("\r\n")})


def _records(file: str) -> Iterator[_Row]:
    from array_record.python import array_record_module

    path, copies = epath.Path(file), TemporaryFolder()
    if "://" in file:  # ArrayRecord's own package reads local files alone.
        logging.info("Copying %s to read it.", file)
        local = copies.path / "copy.array_record"
        path.copy(local)
        path = local
    reader = array_record_module.ArrayRecordReader(str(path))
    try:
        for number in range(reader.num_records()):
            yield reader.read([number])[0], f"{file}:{number}"
    finally:
        reader.close()
