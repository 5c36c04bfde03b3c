"""Rows written as JSON lines in shards of bounded size: whole, then marked (`data.ledger`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.data import ledger

_BYTES_A_SHARD = 16 << 20
_ROWS_A_SHARD = 20_000


def _nothing() -> None: ...


class RowShards:
    """Writes FOLDER/NAME-00000.jsonl and so on; what an earlier run left there is removed.

    At least one shard is written, so that a folder without rows says so.
    """

    def __init__(
        self,
        folder: epath.PathLike,
        name: str,
        bytes_a_shard: int = _BYTES_A_SHARD,
        *,
        check: Callable[[], None] = _nothing,
    ) -> None:
        """See the class.

        Args:
          folder: of the shards.
          name: that theirs begin with.
          bytes_a_shard: what one grows to before it is written.
          check: called before each is written, and before earlier ones are removed.
        """
        check()
        self._check = check
        self._folder, self._name, self._limit = epath.Path(folder), name, bytes_a_shard
        self._lines: list[bytes] = []
        self._size = 0
        self.rows = 0
        self.shards = 0
        _remove(self._folder, name)

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row of JSON values."""
        line = _line(row)
        self._lines.append(line)
        self._size += len(line)
        self.rows += 1
        if self._size >= self._limit:
            self._flush()

    def finish(self) -> None:
        """Writes what is left."""
        if self._lines or not self.shards:
            self._flush()

    def _flush(self) -> None:
        self._check()
        path = self._folder / f"{self._name}-{self.shards:05d}.jsonl"
        ledger.write_whole(path, b"".join(self._lines))
        self._lines, self._size, self.shards = [], 0, self.shards + 1


class CountedShards:
    """Writes FOLDER/NAME-00000-of-00012.jsonl and so on, of a number of rows that is known.

    Readers refuse a folder that lacks one of them. What an earlier run left there is removed.
    """

    def __init__(
        self,
        folder: epath.PathLike,
        name: str,
        rows: int,
        rows_a_shard: int = _ROWS_A_SHARD,
        *,
        check: Callable[[], None] = _nothing,
    ) -> None:
        """See the class; `rows` are in all, and `check` is as in `RowShards`."""
        check()
        self._check = check
        self._folder, self._name, self._rows_a_shard = epath.Path(folder), name, rows_a_shard
        self.shards = max(1, -(-rows // rows_a_shard))
        self._written = 0
        self._lines: list[bytes] = []
        _remove(self._folder, name)

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row of JSON values."""
        self._lines.append(_line(row))
        if len(self._lines) == self._rows_a_shard:
            self._flush()

    def finish(self) -> None:
        """Writes what is left."""
        if self._lines or not self._written:
            self._flush()

    def _flush(self) -> None:
        self._check()
        name = f"{self._name}-{self._written:05d}-of-{self.shards:05d}.jsonl"
        ledger.write_whole(self._folder / name, b"".join(self._lines))
        self._lines, self._written = [], self._written + 1


def _line(row: Mapping[str, Any]) -> bytes:
    # As ASCII no character is a line's end to some readers and not to others.
    return (json.dumps(row, allow_nan=False) + "\n").encode("ascii")


def _remove(folder: epath.Path, name: str) -> None:
    if folder.is_dir():
        for path in folder.glob(f"{name}-*.jsonl"):
            ledger.remove(path)
