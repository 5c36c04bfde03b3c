"""De-duplication from rows to the files that it writes.

kept/part-*.jsonl         rows that are kept, as they were read, in their order
duplicates/part-*.jsonl   the others, with the fields of `DUPLICATE_FIELDS`
report.json               counts; written last
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any

from etils import epath

from teacherlm_jax.data import ledger
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
    read: Callable[[], Iterable[TextRow]], folder: epath.PathLike, rule: DuplicateRule
) -> dict[str, Any]:
    """Reads rows twice, finds duplicates, and writes both kinds; the report last.

    Args:
      read: gives the rows, the same at each call.
      folder: where to write; what an earlier run wrote there is replaced.
      rule: what counts as a duplicate.

    Returns:
      The report.

    Raises:
      ValueError: there are no rows, or they are others at the second reading.
    """
    folder = epath.Path(folder)
    ledger.remove(folder / REPORT)
    seen = Deduplication(rule)
    names: list[tuple[str, str]] = []
    seen.add(_noted(read(), names))
    if not names:
        raise ValueError("there are no rows to compare.")
    found = seen.find()
    kept = CountedShards(folder / KEPT, "part", len(names) - len(found))
    duplicates = CountedShards(folder / DUPLICATES, "part", len(found))
    number = -1
    for number, row in enumerate(read()):
        if not seen.is_row(number, row):
            break
        duplicate = found.get(number)
        if duplicate is None:
            kept.add(row.values)
        else:
            duplicates.add({**row.values, **_fields(duplicate, row, names)})
    else:
        number += 1
    if number != len(names):
        raise ValueError(
            f"row {number} is another than when it was read a moment ago: the data changes while it"
            " is read. Wait until it is written, and run this again."
        )
    kept.finish()
    duplicates.finish()
    report = {
        "rule": dataclasses.asdict(rule),
        "rows": len(names),
        "kept": len(names) - len(found),
        "duplicates": len(found),
        "exact": sum(duplicate.similarity == 1 for duplicate in found.values()),
    }
    ledger.write_whole(folder / REPORT, json.dumps(report, indent=2) + "\n")
    return report


def _noted(rows: Iterable[TextRow], names: list[tuple[str, str]]) -> Iterable[TextRow]:
    for row in rows:
        names.append((row.id or row.where, row.where))
        yield row


def _fields(duplicate: Duplicate, row: TextRow, names: list[tuple[str, str]]) -> dict[str, Any]:
    identity, where = names[duplicate.of]
    values = (identity, where, duplicate.similarity, duplicate.estimated, row.where)
    return dict(zip(DUPLICATE_FIELDS, values))
