"""A few TeacherData records, in files."""

import json
import pathlib

import pyarrow
import pyarrow.parquet

from teacherlm_jax.data import records
from teacherlm_jax.data.records import TeacherDataRecord


def make(count: int, first: int = 0) -> list[TeacherDataRecord]:
    """Records of which every third has an open answer, and every fourth no common mistakes."""
    return [
        TeacherDataRecord.create(
            f"Is number {index} even?",
            [] if index % 3 == 2 else ["yes", "no"],
            ("Yes" if index % 2 == 0 else "No") if index % 3 == 2 else "AB"[index % 2],
            fundamentals="Even numbers are twice another.",
            chain_of_thought=f"Half of {index} is {index / 2}.",
            common_mistakes="" if index % 4 == 3 else "Taking odd for even.",
            task="parity",
            provenance={"fundamentals": {"annotator": "human", "annotator_id": "ann"}},
        )
        for index in range(first, first + count)
    ]


def write_jsonl(path: pathlib.Path, rows: list[TeacherDataRecord]) -> pathlib.Path:
    """Writes records as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(records.encode_jsonl(rows))
    return path


def write_parquet(path: pathlib.Path, rows: list[TeacherDataRecord]) -> pathlib.Path:
    """Writes records as Parquet, provenance as JSON text and what is empty as null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [
        {**row.to_mapping(), "provenance": json.dumps(row.provenance), "split": None}
        for row in rows
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(columns), path)
    return path
