"""The report of an evaluation: results.json, report.md, report.html and the charts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import ledger
from teacherlm_jax.scoring.receipts import Receipt
from teacherlm_jax.scoring.results import Results


def write(
    results: Results,
    receipts: Sequence[Receipt],
    folder: epath.PathLike,
    title: str = "Evaluation",
    details: Mapping[str, Any] | None = None,
) -> epath.Path:
    """Writes the report of one model; files of an earlier report are written over.

    Args:
      results: of `results.summarize`.
      receipts: what it summarized; the page shows some of them.
      folder: to write into, local or gs://; made if it is missing.
      title: of the page.
      details: names and values that say what was run, such as the checkpoint and BOS.

    Returns:
      The path of report.html.
    """
    folder = epath.Path(folder)
    told = {"title": title, "details": dict(details or {}), **results.as_json()}
    _write(folder / "results.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return folder / "report.html"


def _write(path: epath.Path, content: bytes | str) -> None:
    # A report follows from its receipts: a new one takes the place of an old one.
    ledger.remove(path)
    ledger.write_whole(path, content)
