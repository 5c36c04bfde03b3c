"""Human annotations become TeacherData: validated, marked as human, and compared.

A folder of an import:

    configuration.json                 what decides the content: files by SHA-256, layout, names
    human-00000-of-00003.jsonl         records, one a question
    human.rejects.jsonl                rows left out, with file, line and reason, if any
    alternatives/human-...jsonl        explanations of further annotators, if any
    agreement.json                     see `agreement.measure`
    manifest.json                      counts; written last

Each file has its completion marker (`data.ledger`) beside it; an import that was killed is run
again. Annotations are held in memory: they are people's work, and so not that many.

Several annotations of one question (the same text and options) become one record. Its answer is
the one that most annotators gave; where two are given equally often, the question is rejected. Each
explanation is that of the first annotator, by name, who gave that answer and wrote one.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import agreement, annotation_layouts, claim, ledger, record_files, records
from teacherlm_jax.data.agreement import Annotated
from teacherlm_jax.data.annotation_layouts import EXPLANATION_FIELDS
from teacherlm_jax.data.record_fields import RecordError
from teacherlm_jax.data.records import TeacherDataRecord

NO_JSON = "not valid JSON"
NO_RECORD = "not a valid record"
TWICE = "the annotator has annotated this question before"
DISAGREEMENT = "annotators disagree on the answer"

_FORMAT = 1
_STEM = "human"
_UNNAMED = "unnamed {number}"


@dataclasses.dataclass(frozen=True)
class ImportSettings:
    """How annotations are read and written.

    Attributes:
        layout: a key of `annotation_layouts.LAYOUTS`.
        columns: field -> columns that hold it, in the place of the layout's.
        annotator: who annotated rows that do not say so; None: nobody knows.
        task: name of the task of rows that do not say so.
        split: of rows that do not say so.
        rows_per_shard: records of a file.
    """

    layout: str = "teacherdata"
    columns: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    annotator: str | None = None
    task: str = ""
    split: str = ""
    rows_per_shard: int = 10_000

    def __post_init__(self) -> None:
        if self.layout not in annotation_layouts.LAYOUTS:
            raise ValueError(
                f"layout = {self.layout!r}, but it must be one of"
                f" {', '.join(annotation_layouts.LAYOUTS)}."
            )
        if self.rows_per_shard < 1:
            raise ValueError(f"rows_per_shard = {self.rows_per_shard}, but it must be 1 or more.")


@dataclasses.dataclass(frozen=True)
class _Reject:
    """A row that was left out; `row` is its text, `reason` in words that repeat."""

    where: str
    reason: str
    detail: str
    row: str


def import_annotations(
    paths: Sequence[str], target: epath.PathLike, settings: ImportSettings
) -> dict[str, Any]:
    """Imports files of annotations into a folder.

    Args:
        paths: files, patterns or folders, of the kinds of `record_files`.
        target: the folder; made if it is not there.
        settings: how.

    Returns:
        The manifest, with `agreement` and `folder`.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: no row is a record, or the folder belongs to another import.
    """
    files = record_files.list_files(list(paths))
    layout = annotation_layouts.LAYOUTS[settings.layout].with_columns(settings.columns)
    rejects: list[_Reject] = []
    questions: dict[Any, list[Annotated]] = {}
    rows = 0
    for file in files:
        for text, where in record_files.read_rows(file):
            rows += 1
            place = f"{file.name}{where.removeprefix(str(file))}"
            _take(text, place, layout, settings, questions, rejects)
    if not questions:
        first = (
            f"; the first: {rejects[0].where}: {rejects[0].detail.rstrip('.')}" if rejects else ""
        )
        raise ValueError(
            f"none of {rows} rows is an annotation{first}. Say by --layout or --column FIELD=COLUMN"
            " where the fields stand."
        )
    measured = agreement.measure(questions)
    kept: list[TeacherDataRecord] = []
    others: list[TeacherDataRecord] = []
    for of_question in questions.values():
        chosen = _agreed(of_question)
        if chosen:
            kept.append(_merged(chosen))
            others += _left_over(chosen)
        else:
            rejects += [
                _Reject(one.where, DISAGREEMENT, _answers(of_question), one.record.to_json_line())
                for one in of_question
            ]
    claim.claim_folder(target, _configuration(files, settings))
    return _write(epath.Path(target), settings, rows, kept, others, rejects, measured)


# Reading


def _take(
    text: bytes,
    place: str,
    layout: annotation_layouts.Layout,
    settings: ImportSettings,
    questions: dict[Any, list[Annotated]],
    rejects: list[_Reject],
) -> None:
    """Puts a row with its question, or among the rejects."""

    def reject(reason: str, detail: str) -> None:
        shown = text.decode("utf-8", "backslashreplace").rstrip("\r\n")
        rejects.append(_Reject(place, reason, detail, shown))

    try:
        row = records.parse_object(text, place)
    except RecordError as error:
        return reject(NO_JSON, str(error).removeprefix(f"{place}: "))
    try:
        values = annotation_layouts.read(row, layout)
        name = values.pop("annotator", settings.annotator)
        record = _record(values, name, place, settings)
    except RecordError as error:
        return reject(NO_RECORD, str(error))
    annotations = questions.setdefault((record.question, record.choices), [])
    known = [one.annotator for one in annotations]
    if name is None:
        if any(_content(one.record) == _content(record) for one in annotations):
            return reject(TWICE, "the same texts stand in an earlier row")
        name = next(
            unnamed
            for number in range(1, len(known) + 2)
            if (unnamed := _UNNAMED.format(number=number)) not in known
        )
    if name in known:
        return reject(TWICE, f"annotator {name!r}, question {record.question!r:.80}")
    annotations.append(Annotated(name, record, place))
    return None


def _record(
    values: dict[str, Any], annotator: str | None, place: str, settings: ImportSettings
) -> TeacherDataRecord:
    origin = {"annotator": "human", "source": place}
    if annotator is not None:
        origin["annotator_id"] = annotator
    if "source_id" in values:
        origin["source_id"] = values.pop("source_id")
    written = [field for field in EXPLANATION_FIELDS if field in values]
    defaults = {"task": settings.task, "split": settings.split}
    provenance = dict.fromkeys(("answer", *written), origin)
    return TeacherDataRecord.from_mapping({**defaults, **values, "provenance": provenance}, "")


def _content(record: TeacherDataRecord) -> tuple[str, ...]:
    return (record.answer, *(getattr(record, field) for field in EXPLANATION_FIELDS))


# Choosing


def _agreed(annotations: Sequence[Annotated]) -> list[Annotated]:
    """Those who gave the answer of most, by name; empty where no answer has most."""
    counts = collections.Counter(agreement.answer_key(one.record) for one in annotations)
    (most, votes), *others = counts.most_common(2)
    if others and others[0][1] == votes:
        return []
    chosen = [one for one in annotations if agreement.answer_key(one.record) == most]
    return sorted(chosen, key=lambda one: one.annotator)


def _merged(annotations: Sequence[Annotated]) -> TeacherDataRecord:
    """The first one's record, with what it lacks from those after it."""
    texts: dict[str, Any] = {}
    provenance = {"answer": annotations[0].record.provenance["answer"]}
    for field in EXPLANATION_FIELDS:
        for one in annotations:
            if getattr(one.record, field):
                texts[field] = getattr(one.record, field)
                provenance[field] = one.record.provenance[field]
                break
    return dataclasses.replace(annotations[0].record, **texts, provenance=provenance)


def _left_over(annotations: Sequence[Annotated]) -> Iterator[TeacherDataRecord]:
    """A record for each further annotator, with the explanations that `_merged` did not take."""
    taken = _merged(annotations).provenance
    for one in annotations[1:]:
        provenance = {
            field: entry
            for field, entry in one.record.provenance.items()
            if field == "answer" or taken.get(field) != entry
        }
        unused = dict.fromkeys(field for field in EXPLANATION_FIELDS if field not in provenance)
        if len(provenance) > 1:
            texts: dict[str, Any] = dict.fromkeys(unused, "")
            yield dataclasses.replace(one.record, **texts, provenance=provenance)


def _answers(annotations: Sequence[Annotated]) -> str:
    return ", ".join(f"{one.annotator}: {one.record.answer}" for one in annotations)


# Writing


def _configuration(files: Sequence[epath.Path], settings: ImportSettings) -> dict[str, Any]:
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    if len(digests) < len(files):
        raise ValueError(
            "two of the files have one name, by which their rows' provenance would name both:"
            f" {sorted(str(file) for file in files)}. Rename one."
        )
    columns = {field: list(names) for field, names in settings.columns.items()}
    return {
        "format": _FORMAT,
        "files": digests,
        **dataclasses.asdict(settings),
        "columns": columns,
    }


def _write(
    folder: epath.Path,
    settings: ImportSettings,
    rows: int,
    kept: Sequence[TeacherDataRecord],
    others: Sequence[TeacherDataRecord],
    rejects: Sequence[_Reject],
    measured: Mapping[str, Any],
) -> dict[str, Any]:
    shards = _write_shards(folder, kept, settings.rows_per_shard)
    _write_shards(folder / "alternatives", others, settings.rows_per_shard)
    if rejects:
        lines = "".join(json.dumps(dataclasses.asdict(reject)) + "\n" for reject in rejects)
        ledger.write_whole(folder / f"{_STEM}.rejects.jsonl", lines)
    ledger.write_whole(folder / "agreement.json", _json(measured))
    manifest = {
        "format": _FORMAT,
        "rows": rows,
        "records": len(kept),
        "alternatives": len(others),
        "explanations": {
            field: sum(bool(getattr(record, field)) for record in kept)
            for field in EXPLANATION_FIELDS
        },
        "rejects": len(rejects),
        "reject_reasons": dict(sorted(collections.Counter(r.reason for r in rejects).items())),
        "shards": shards,
    }
    ledger.write_whole(folder / "manifest.json", _json(manifest))
    return {**manifest, "agreement": measured, "folder": str(folder)}


def _write_shards(
    folder: epath.Path, rows: Sequence[TeacherDataRecord], rows_per_shard: int
) -> list[str]:
    count = -(-len(rows) // rows_per_shard)
    names = [f"{_STEM}-{index:05d}-of-{count:05d}.jsonl" for index in range(count)]
    for index, name in enumerate(names):
        shard = rows[index * rows_per_shard : (index + 1) * rows_per_shard]
        ledger.write_whole(folder / name, records.encode_jsonl(shard))
    return names


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, sort_keys=True) + "\n"
