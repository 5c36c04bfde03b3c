"""De-duplication from rows to the files that it writes.

kept/part-*.jsonl         rows that are kept, as they were read, in their order
duplicates/part-*.jsonl   the others, with the fields of `DUPLICATE_FIELDS`
report.json               counts, and the settings of the run; written last
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.data import ledger, run_claim
from teacherlm_jax.data.deduplication import Deduplication, Duplicate, DuplicateRule
from teacherlm_jax.data.row_shards import CountedShards
from teacherlm_jax.data.text_rows import TextRow

REPORT, KEPT, DUPLICATES = "report.json", "kept", "duplicates"
DUPLICATE_FIELDS = (
    "duplicate_of",
    "duplicate_of_where",
    "similarity",
    "estimated_similarity",
    "where",
)


def write(
    read: Callable[[], Iterable[TextRow]],
    folder: epath.PathLike,
    rule: DuplicateRule,
    claimed: run_claim.RunClaim | None = None,
) -> dict[str, Any]:
    """Reads rows twice, finds duplicates, and writes both kinds; the report last.

    Args:
      read: gives the rows, the same at each call.
      folder: where to write; what an earlier run wrote there is replaced.
      rule: what counts as a duplicate.
      claimed: the folder, as this run took it; None: nobody else writes there.

    Returns:
      The report.

    Raises:
      ValueError: there are no rows, or they are others at the second reading.
      FolderTakenError: another run took the folder.
    """
    folder = epath.Path(folder)
    check = claimed.check if claimed is not None else lambda: None
    check()
    ledger.remove(folder / REPORT)
    seen = Deduplication(rule)
    names: list[tuple[str, str]] = []
    seen.add(_noted(read(), names))
    if not names:
        raise ValueError("there are no rows to compare.")
    found = seen.find()
    kept = CountedShards(folder / KEPT, "part", len(names) - len(found), check=check)
    duplicates = CountedShards(folder / DUPLICATES, "part", len(found), check=check)
    for row, duplicate in _compared(read(), seen, found, len(names)):
        if duplicate is None:
            kept.add(row.values)
        else:
            duplicates.add({**row.values, **_fields(duplicate, row, names)})
    kept.finish()
    duplicates.finish()
    report = {
        run_claim.SETTINGS: {} if claimed is None else dict(claimed.settings),
        "rule": dataclasses.asdict(rule),
        "rows": len(names),
        "kept": len(names) - len(found),
        "duplicates": len(found),
        "exact": sum(duplicate.similarity == 1 for duplicate in found.values()),
    }
    check()
    ledger.write_whole(folder / REPORT, json.dumps(report, indent=2) + "\n")
    return report


def _noted(rows: Iterable[TextRow], names: list[tuple[str, str]]) -> Iterable[TextRow]:
    for row in rows:
        names.append((row.id or row.where, row.where))
        yield row


def _compared(
    rows: Iterable[TextRow], seen: Deduplication, found: Mapping[int, Duplicate], count: int
) -> Iterator[tuple[TextRow, Duplicate | None]]:
    """Rows at their second reading, each with the one that stands for it."""
    number = -1
    for number, row in enumerate(rows):
        if not seen.is_row(number, row):
            break
        yield row, found.get(number)
    else:
        number += 1
    if number != count:
        raise ValueError(
            f"row {number} is another than when it was read a moment ago: the data changes while it"
            " is read. Wait until it is written, and run this again."
        )


def _fields(duplicate: Duplicate, row: TextRow, names: list[tuple[str, str]]) -> dict[str, Any]:
    identity, where = names[duplicate.of]
    values = (identity, where, duplicate.similarity, duplicate.estimated, row.where)
    return dict(zip(DUPLICATE_FIELDS, values))
