"""TeacherData records: one question with its answer and up to three explanations, as JSON lines.

A record is what annotation reads and writes and what students train on: a question, with options or
with an open answer, and the three kinds of explanation of TeacherLM (He et al. 2023, arXiv
2310.19019). Everything that enters is validated here, once, with errors that name the file, the
line, the field, the value and the constraint.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from teacherlm_jax.data import record_fields as fields
from teacherlm_jax.data import record_files
from teacherlm_jax.data.record_fields import RecordError

_REQUIRED_FIELDS = ("question", "choices", "answer")
_TEXT_FIELDS = ("fundamentals", "chain_of_thought", "common_mistakes", "task", "split")
# Line separators that JSON leaves alone but str.splitlines breaks at; inside a JSON text they can
# only stand in strings, where the escaped form means the same.
_ESCAPED_SEPARATORS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def content_id(question: str, choices: Sequence[str], answer: str) -> str:
    """Returns the id of a question: 20 hex digits (80 bits) of a SHA-256 over its content.

    Args:
        question: the question's text.
        choices: the texts of the options, in order; none where the answer is open.
        answer: the letter of the right option; an open answer's text.
    """
    content = json.dumps([question, list(choices), answer], ensure_ascii=True)
    return hashlib.sha256(content.encode("ascii")).hexdigest()[:20]


@dataclasses.dataclass(frozen=True)
class TeacherDataRecord:
    """One question, its answer, and the explanations that exist for it.

    Attributes:
        id: identifies the question; `content_id` of it unless the data set has ids of its own.
        question: the question's text, not empty.
        choices: 2 to 26 option texts, none empty; option 0 has the letter A. Empty: the answer is
            open.
        answer: the letter of the right option; an open answer's text.
        fundamentals: the knowledge that the question rests on, or "".
        chain_of_thought: the steps from the question to the answer, or "".
        common_mistakes: the wrong turns that people take, or "".
        task: name of the task that the question comes from, or "".
        split: name of the task's split, or "".
        provenance: for each explanation how it came to be: annotator (human, star, teacher),
            checkpoint digest, prompt id, seed, sampling parameters, commit. JSON values only.

    Raises:
        RecordError: a field breaks a constraint.
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: str
    fundamentals: str = ""
    chain_of_thought: str = ""
    common_mistakes: str = ""
    task: str = ""
    split: str = ""
    provenance: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict, hash=False
    )

    content_id = staticmethod(content_id)

    def __post_init__(self) -> None:
        # Lists, as JSON has them, are welcome.
        choices: Any = self.choices
        if isinstance(choices, list):
            object.__setattr__(self, "choices", tuple(choices))
        fields.check_text("id", self.id, required=True)
        fields.check_text("question", self.question, required=True)
        fields.check_choices(self.choices)
        fields.check_answer(self.answer, len(self.choices))
        for name in _TEXT_FIELDS:
            fields.check_text(name, getattr(self, name), required=False)
        fields.check_provenance(self.provenance)

    @classmethod
    def create(
        cls, question: str, choices: Sequence[str], answer: str, **others: Any
    ) -> TeacherDataRecord:
        """Makes a record whose id is its `content_id`; `others` are the remaining attributes."""
        return cls.from_mapping(
            {"question": question, "choices": list(choices), "answer": answer, **others}
        )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "record") -> TeacherDataRecord:
        """Makes a record from named values; without `id` it gets its `content_id`.

        Args:
            values: attribute names to values of Python's JSON types.
            where: what to name in an error, such as "questions.jsonl:12"; "": nothing.

        Raises:
            RecordError: a field is missing, unknown, of a wrong type, or breaks a constraint.
        """
        try:
            fields.check_field_names(values, _field_names(), _REQUIRED_FIELDS)
            values = dict(values)
            if "id" not in values:
                # Checked before they are hashed, so that a wrong type is reported as such.
                fields.check_text("question", values["question"], required=True)
                fields.check_choices(values["choices"])
                fields.check_answer(values["answer"], len(values["choices"]))
                values["id"] = content_id(values["question"], values["choices"], values["answer"])
            return cls(**values)
        except RecordError as error:
            raise RecordError(f"{where}: {error}" if where else str(error)) from None

    @classmethod
    def from_json(cls, line: str | bytes, where: str = "record") -> TeacherDataRecord:
        """Parses one JSON line.

        Args:
            line: a JSON object; bytes must be UTF-8. A line break at its end is ignored.
            where: what to name in an error, such as "questions.jsonl:12".

        Raises:
            RecordError: the line is not UTF-8, not a JSON object, or not a valid record.
        """
        return cls.from_mapping(parse_object(line, where), where)

    @classmethod
    def from_features(cls, features: Mapping[str, Any], where: str = "record") -> TeacherDataRecord:
        """Makes a record from an example of a seqio task, as `tfds.as_numpy` gives it.

        Args:
            features: as `to_features` makes them; texts may be bytes, choices a numpy array.
            where: what to name in an error.

        Raises:
            RecordError: as `from_mapping`.
        """
        values = {name: _plain_value(value, name, where) for name, value in features.items()}
        if isinstance(values.get("provenance"), str):
            values["provenance"] = parse_object(values["provenance"] or "{}", where)
        return cls.from_mapping(values, where)

    def to_mapping(self) -> dict[str, Any]:
        """Returns all attributes as JSON types, in the order of their definition."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["choices"] = list(self.choices)
        return values

    def to_json_line(self) -> str:
        """Returns the record as one line of JSON, without a line break at its end."""
        values = self.to_mapping()
        # Sorted, so that equal records give equal bytes whatever order a provenance was built in.
        values["provenance"] = json.loads(json.dumps(self.provenance, sort_keys=True))
        line = json.dumps(values, ensure_ascii=False, allow_nan=False)
        return line.translate(_ESCAPED_SEPARATORS)

    def to_features(self) -> dict[str, Any]:
        """Returns the record as features of a seqio example: texts, and choices as a list.

        `provenance` becomes JSON text, because tensors have no mappings.
        """
        values = self.to_mapping()
        values["provenance"] = json.dumps(self.provenance, sort_keys=True)
        return values


def encode_jsonl(records: Iterable[TeacherDataRecord]) -> bytes:
    """Returns the content of a JSON lines file with these records, in UTF-8."""
    return "".join(record.to_json_line() + "\n" for record in records).encode("utf-8")


def read_jsonl(path: epath.PathLike, *, unique_ids: bool = True) -> Iterator[TeacherDataRecord]:
    """Reads records from files of JSON lines, as `record_files.list_files` finds them.

    Args:
        path: a file, a pattern, or a folder of shards.
        unique_ids: whether an id that stands twice in one file is an error.

    Yields:
        The records.

    Raises:
        RecordError: a line is not a valid record, or an id stands twice.
        FileNotFoundError: no file matches, or shards of a folder are missing or unfinished.
        ledger.TornFileError: a marked file differs from its marker.
    """
    for file in record_files.list_files(path, (".jsonl",)):
        first_line_of_id: dict[str, int] = {}
        for line, number in record_files.read_lines(file):
            record = TeacherDataRecord.from_json(line, f"{file}:{number}")
            if unique_ids and record.id in first_line_of_id:
                raise RecordError(
                    f"{file}:{number}: field 'id' is {record.id!r}; ids must be unique in a file,"
                    f" and line {first_line_of_id[record.id]} has it already. Remove one of the"
                    " two rows."
                )
            first_line_of_id[record.id] = number
            yield record


def parse_object(line: str | bytes, where: str) -> dict[str, Any]:
    """Parses a JSON object, strictly: UTF-8, no name twice, no NaN.

    Args:
        line: its text.
        where: names it in an error.

    Raises:
        RecordError: it is none.
    """
    try:
        text = line.decode("utf-8") if isinstance(line, bytes) else line
    except UnicodeDecodeError as error:
        raise RecordError(
            f"{where}: byte {error.start} of the line is not UTF-8 ({error.reason}). Save the file"
            " as UTF-8."
        ) from None
    try:
        values = json.loads(
            text, object_pairs_hook=_unique_pairs(where), parse_constant=_no_constant(where)
        )
    except RecordError:
        raise
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{where}: not valid JSON ({error}); the line reads {fields.short(text.rstrip())}. Each"
            " line must be one JSON object; a line that breaks off means that the file was not"
            " written to its end."
        ) from None
    if not isinstance(values, dict):
        raise RecordError(f"{where}: the line is {fields.short(values)}; it must be a JSON object.")
    return values


def _unique_pairs(where: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise RecordError(f"{where}: field {twice[0]!r} stands twice in one JSON object.")
        return values

    return build


def _no_constant(where: str) -> Callable[[str], Any]:
    def refuse(constant: str) -> Any:
        raise RecordError(f"{where}: {constant} is not a JSON number; leave the field out.")

    return refuse


def _field_names() -> list[str]:
    return [field.name for field in dataclasses.fields(TeacherDataRecord)]


def _plain_value(value: Any, name: str, where: str) -> Any:
    """Turns bytes and numpy values into str, int, float, bool and list."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain_value(entry, name, where) for entry in value]
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise RecordError(
            f"{where}: field {name!r} is {fields.short(value)}; it must be UTF-8."
        ) from None
