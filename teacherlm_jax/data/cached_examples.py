"""Reading examples out of the shards of a token cache, where they lie and only those asked for.

Shape legend: N examples; 2 (inputs, targets).
"""

import dataclasses
import hashlib
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from array_record.python import array_record_data_source
from etils import epath

from teacherlm_jax.data import ledger
from teacherlm_jax.data.examples import TokenizedExample


class DamagedCacheError(ValueError):
    """A file of a token cache is missing, or not what was written."""


class TemporaryFolder:
    """A local folder that goes with the object that holds it, or with the process."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="teacherlm_tokens_")
        self.path = epath.Path(self._folder.name)


class NumberedIds(Sequence[str]):
    """Ids that end in a number: "task/train:0" and so on; none is held."""

    def __init__(self, prefix: str, count: int) -> None:
        self._prefix, self._count = prefix, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._count))]
        place = index + self._count if index < 0 else index
        if not 0 <= place < self._count:
            raise IndexError(f"{self._prefix} has {self._count} examples, none of number {index}.")
        return f"{self._prefix}:{place}"


@dataclasses.dataclass(frozen=True)
class _WholeFile:
    """A file as ArrayRecord's data source takes it, so that it opens none to count records."""

    filename: str
    take: int
    skip: int = 0

    @property
    def examples_in_shard(self) -> int:
        return self.take


class CachedExamples(Sequence[Any]):
    """The examples of a token cache. May be read by several threads."""

    def __init__(
        self,
        folder: epath.Path,
        shards: Sequence[Mapping[str, Any]],
        dtype: np.dtype,
        lengths_N2: np.ndarray,
        ids: Sequence[str],
    ) -> None:
        """Checks that all shards are there, and opens none.

        Args:
          folder: of the cache.
          shards: {"name", "examples", "size", "sha256"} of each.
          dtype: of the tokens.
          lengths_N2: tokens of inputs and targets.
          ids: of the examples.

        Raises:
          DamagedCacheError: a shard is missing, or of another size than was written.
        """
        self._folder, self._shards, self._dtype = folder, shards, dtype
        self._lengths_N2, self._ids = lengths_N2, ids
        self._lock = threading.Lock()
        self._source: Any = None
        self._copies: TemporaryFolder | None = None
        for shard in shards:
            path = folder / shard["name"]
            size = path.stat().length if path.exists() else None
            if size != shard["size"]:
                state = "is missing" if size is None else f"has {size} bytes"
                raise _damaged(path, f"{state}, but {shard['size']} bytes were written")
        count = sum(shard["examples"] for shard in shards)
        if not count == len(lengths_N2) == len(ids):
            raise _damaged(folder, f"shards hold {count} examples, not {len(lengths_N2)}")

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: Any) -> Any:
        places = range(len(self))[index]
        if isinstance(places, range):
            return self.__getitems__(places)
        return self.__getitems__([places])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[TokenizedExample]:
        places = [int(index) for index in indices]
        if not places:
            return []
        try:
            records = self._opened().__getitems__(places)
        except RuntimeError as error:  # ArrayRecord's, which names no file.
            raise self._find_damage() from error
        return [self._example(place, record) for place, record in zip(places, records, strict=True)]

    def _example(self, place: int, record: bytes) -> TokenizedExample:
        inputs, targets = self._lengths_N2[place].tolist()
        tokens = np.frombuffer(record, self._dtype).astype(np.int32)
        if len(tokens) != inputs + targets:
            raise _damaged(
                self._folder,
                f"{self._ids[place]} has {len(tokens)} tokens, not {inputs + targets}",
            )
        return TokenizedExample(self._ids[place], tokens[:inputs], tokens[inputs:])

    def _opened(self) -> Any:
        with self._lock:
            if self._source is None:
                self._source = array_record_data_source.ArrayRecordDataSource(
                    [_WholeFile(path, count) for path, count in self._local_files()]
                )
            return self._source

    def _local_files(self) -> list[tuple[str, int]]:
        """(path, examples) of the shards; ArrayRecord's own package opens local files alone."""
        paths = [self._folder / shard["name"] for shard in self._shards]
        if "://" in str(self._folder):
            self._copies = TemporaryFolder()
            for path in paths:
                try:
                    (self._copies.path / path.name).write_bytes(ledger.read_whole(path))
                except (FileNotFoundError, ledger.TornFileError) as error:
                    raise _damaged(path, str(error)) from error
            paths = [self._copies.path / path.name for path in paths]
        return [
            (str(path), shard["examples"]) for path, shard in zip(paths, self._shards, strict=True)
        ]

    def _find_damage(self) -> DamagedCacheError:
        for shard in self._shards:
            path = self._folder / shard["name"]
            data = path.read_bytes() if path.exists() else b""
            if hashlib.sha256(data).hexdigest() != shard["sha256"]:
                return _damaged(path, "its content is not what was written")
        return _damaged(self._folder, "its shards cannot be read")


def _damaged(path: epath.Path, reason: str) -> DamagedCacheError:
    return DamagedCacheError(
        f"the token cache is damaged at {str(path)!r}: {reason}. Delete the folder that it lies in "
        "to have it written again."
    )
