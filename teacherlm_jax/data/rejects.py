"""Rows that were left out because they cannot be used: counted, told of once, and kept.

Files of rejects are named by their content and never changed. A row that one of them holds is not
written again, whatever part of the data a pass covers and however often it is made.
"""

from __future__ import annotations

import hashlib
import json
import re

from absl import logging
from etils import epath

from teacherlm_jax.data import ledger

SUFFIX = ".rejects.jsonl"

_KEPT_AT_ONCE = 10_000
_told: set[str] = set()


class Rejects:
    """Those of one pass over the rows of a task."""

    def __init__(self, folder: epath.PathLike | None, name: str) -> None:
        """Starts a pass.

        Args:
          folder: where they are kept, in a folder of this name; None: nowhere.
          name: of the task.
        """
        self.count = 0
        self.first = ""
        self._name = name
        self._folder = None if folder is None else epath.Path(folder) / _file_name(name)
        self._lines: list[str] = []

    def add(self, row: bytes, where: str, reason: str) -> None:
        """Takes a row that is left out."""
        self.count += 1
        self.first = self.first or f"{where}: {reason}"
        if self._folder is not None:
            text = row.decode("utf-8", "backslashreplace")
            self._lines.append(json.dumps({"where": where, "reason": reason, "row": text}) + "\n")
            if len(self._lines) >= _KEPT_AT_ONCE:
                self._keep()

    def finish(self, rows: int) -> None:
        """Ends the pass: keeps what is not kept yet, and tells of it once a process.

        Args:
          rows: how many there were, with those left out.
        """
        self._keep()
        if not self.count:
            return
        kept = "" if self._folder is None else f" They are kept in {self._folder}."
        text = (
            f"{self._name}: {self.count} of {rows} rows are malformed and were left out; the first"
            f" is {self.first}{kept}"
        )
        if text not in _told:
            _told.add(text)
            logging.warning("%s", text)

    def _keep(self) -> None:
        if self._folder is None or not self._lines:
            return
        known: set[str] = set()
        for file in ledger.list_complete(self._folder, f"*{SUFFIX}"):
            known.update(ledger.read_text(file).splitlines(keepends=True))
        text = "".join(line for line in dict.fromkeys(self._lines) if line not in known)
        self._lines = []
        if text:
            digest = hashlib.sha256(text.encode()).hexdigest()[:16]
            ledger.write_whole(self._folder / f"{digest}{SUFFIX}", text)


def _file_name(name: str) -> str:
    """A name with what a file system may not take replaced."""
    return re.sub(r"[^\w.=-]+", "-", name).strip("-.") or "rows"
