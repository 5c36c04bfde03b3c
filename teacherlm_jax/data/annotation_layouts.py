"""How a row of somebody's annotations is read as a TeacherData record: columns, known layouts."""

from __future__ import annotations

import dataclasses
import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.data.record_fields import RecordError
from teacherlm_jax.data.record_files import MORE_FIELDS

EXPLANATION_FIELDS = ("fundamentals", "chain_of_thought", "common_mistakes")
TEXT_FIELDS = ("question", "answer", *EXPLANATION_FIELDS, "task", "split", "annotator", "source_id")
FIELDS = (*TEXT_FIELDS, "choices")

Columns = tuple[tuple[str, ...], ...]
"""Alternatives, of which the first that a row has counts; each one column, or several that are
joined by a space (of `choices`: that are the options, in order)."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where fields of a record stand in a row.

    Attributes:
        columns: field -> alternatives. A field that is not among them has its own name.
        choices: the options of rows that have none of their own.
        question_prefix: begins every question that does not begin with it.
    """

    columns: Mapping[str, Columns] = dataclasses.field(default_factory=dict)
    choices: tuple[str, ...] = ()
    question_prefix: str = ""

    def with_columns(self, given: Mapping[str, Sequence[str]]) -> Layout:
        """The layout with these columns in the place of its own.

        Raises:
            ValueError: there is no such field.
        """
        for field in given:
            if field not in FIELDS:
                raise ValueError(f"there is no field {field!r}; there are {', '.join(FIELDS)}.")
        columns = {field: (tuple(names),) for field, names in given.items()}
        return dataclasses.replace(self, columns={**self.columns, **columns})


def _one(*alternatives: str) -> Columns:
    return tuple((name,) for name in alternatives)


LAYOUTS: Mapping[str, Layout] = {
    "teacherdata": Layout({"annotator": _one("annotator", "annotator_id", "worker_id")}),
    # A claim and why it is right or wrong. The authors' release asks for its correctness so.
    "creak": Layout(
        {
            "question": _one("question", "sentence"),
            "answer": _one("answer", "label"),
            "chain_of_thought": _one("explanation"),
            "source_id": _one("id", "ex_id"),
        },
        ("True", "False"),
        "Determine the correctness of the following sentence. ",
    ),
    # Properties of the right option, and of the wrong ones.
    "ecqa": Layout(
        {
            "question": _one("question", "q_text"),
            "choices": (("choices",), ("q_op1", "q_op2", "q_op3", "q_op4", "q_op5")),
            "answer": _one("answer", "q_ans"),
            "chain_of_thought": _one("why_right", "taskA_pos", "explanation", "taskB"),
            "common_mistakes": _one("why_others_wrong", "taskA_neg"),
            "source_id": _one("id", "q_no"),
        }
    ),
    # Facts, and the questions into which one is taken apart.
    "strategyqa": Layout(
        {
            "fundamentals": _one("facts"),
            "chain_of_thought": _one("decomposition", "explanation"),
            "source_id": _one("id", "qid"),
        },
        ("True", "False"),
    ),
}
"""By name. Which field an explanation belongs to is a reconstruction in each."""


def read(row: Any, layout: Layout) -> dict[str, Any]:
    """Fields of a record, and `annotator` and `source_id` where the row has them.

    Raises:
        RecordError: the row is no object, or its answer is not among its options.
    """
    if not isinstance(row, dict):
        raise RecordError(f"the row is {row!r:.80}; it must be an object with named fields.")
    if MORE_FIELDS in row:
        raise RecordError(
            f"the line has {len(row[MORE_FIELDS])} fields more than the head: texts with commas or"
            " line breaks need double quotes."
        )
    _check_written_by_people(row.get("provenance"))
    values: dict[str, Any] = {}
    for field in TEXT_FIELDS:
        text = _text(field, _found(row, layout, field))
        if text:
            values[field] = text
    values["choices"] = _choices(row, layout) or list(layout.choices)
    if "question" in values and not values["question"].startswith(layout.question_prefix):
        values["question"] = layout.question_prefix + values["question"]
    if "answer" in values and values["choices"]:
        values["answer"] = _letter(values["answer"], values["choices"])
    return values


def _found(row: Mapping[str, Any], layout: Layout, field: str) -> list[Any]:
    """The values of a field's columns, in order; none where the row has none of them."""
    for names in layout.columns.get(field, ((field,),)):
        found = [row[name] for name in names if row.get(name) not in (None, "", [])]
        if found:
            return found
    return []


def _text(field: str, found: Sequence[Any]) -> str:
    parts = [part for value in found for part in (value if isinstance(value, list) else [value])]
    for part in parts:
        if not isinstance(part, str | bool | int | float):
            raise RecordError(f"field {field!r} is {part!r:.80}; it must be a text.")
    return " ".join(str(part).strip() for part in parts).strip()


def _choices(row: Mapping[str, Any], layout: Layout) -> list[str]:
    """The options: a list, a list in JSON text, or a column each."""
    found = _found(row, layout, "choices")
    if len(found) == 1 and isinstance(found[0], str) and found[0].lstrip().startswith("["):
        try:
            found = [json.loads(found[0])]
        except ValueError as error:
            raise RecordError(f"field 'choices' is {found[0]!r:.80}: no JSON ({error}).") from None
    if len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    return [_text("choices", [choice]) for choice in found]


def _letter(answer: str, choices: Sequence[str]) -> str:
    """The letter of an answer that is an option's text, or its letter already."""
    letters = string.ascii_uppercase[: len(choices)]
    by_text = [
        letter for letter, choice in zip(letters, choices) if choice.lower() == answer.lower()
    ]
    by_letter = [answer.upper()] if len(answer) == 1 and answer.upper() in letters else []
    found = {*by_text, *by_letter}
    if len(found) != 1:
        what = "means several of them" if found else "is none of them, and no letter"
        raise RecordError(f"field 'answer' is {answer!r:.80}; of the options {choices} it {what}.")
    return found.pop()


def _check_written_by_people(provenance: Any) -> None:
    """Raises where a row says that a model wrote it: it would pass for a human's."""
    entries = provenance.values() if isinstance(provenance, dict) else ()
    for entry in entries:
        annotator = entry.get("annotator", "human") if isinstance(entry, dict) else "human"
        if annotator != "human":
            raise RecordError(f"the row's provenance says annotator {annotator!r}, not 'human'.")
