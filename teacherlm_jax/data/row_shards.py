"""Rows written as JSON lines in shards of bounded size: whole, then marked (`data.ledger`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from teacherlm_jax.data import ledger

_BYTES_A_SHARD = 16 << 20


class RowShards:
    """Writes FOLDER/NAME-00000.jsonl and so on; what an unfinished run left there is removed.

    At least one shard is written, so that a folder without rows says so.
    """

    def __init__(
        self, folder: epath.PathLike, name: str, bytes_a_shard: int = _BYTES_A_SHARD
    ) -> None:
        """See the class; `bytes_a_shard` is what a shard grows to before it is written."""
        self._folder, self._name, self._limit = epath.Path(folder), name, bytes_a_shard
        self._lines: list[bytes] = []
        self._size = 0
        self.rows = 0
        self.shards = 0
        if self._folder.is_dir():
            for path in self._folder.glob(f"{name}-*.jsonl"):
                ledger.remove(path)

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row of JSON values."""
        # As ASCII no character is a line's end to some readers and not to others.
        line = (json.dumps(row, allow_nan=False) + "\n").encode("ascii")
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
        path = self._folder / f"{self._name}-{self.shards:05d}.jsonl"
        ledger.write_whole(path, b"".join(self._lines))
        self._lines, self._size, self.shards = [], 0, self.shards + 1
