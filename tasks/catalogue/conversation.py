"""Questions of a conversation about a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import part, text, texts
from teacherlm_jax.tasks.catalogue.reading_comprehension import UNANSWERABLE

NO_ANSWER = "CANNOTANSWER"
"""What QuAC has for an answer, and at the end of its texts, where a text leaves a question open."""


def _quac(row: Mapping[str, Any]) -> Sample | None:
    fields = {
        "title": text(row, "title"),
        "section": text(row, "section_title"),
        "background": text(row, "background"),
        "context": text(row, "context").removesuffix(NO_ANSWER).rstrip(),
        "question": text(row, "question"),
    }
    answer = text(part(row, "orig_answer"), "text")
    # A few pages have no introduction.
    if not all([*fields.values(), answer]):
        return None
    return Sample(fields, UNANSWERABLE if answer == NO_ANSWER else answer)


def _coqa(row: Mapping[str, Any]) -> Sample | None:
    questions, answers = texts(row, "questions"), texts(part(row, "answers"), "input_text")
    if not questions or len(questions) != len(answers):
        raise RowError(f"{len(questions)} questions have {len(answers)} answers; each needs one.")
    fields = {"story": text(row, "story"), "questions": _numbered(questions)}
    return Sample(fields, _numbered(answers))


def _numbered(lines: Sequence[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


QUAC = define(
    name="quac",
    tfds="quac:1.0.0",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 83_568, "validation": 7_354},
    read=_quac,
    question='{context}\n{question} (It may be "unanswerable" from the text.)',
    reconstructed="questions stand alone, without those asked before, as TFDS has them",
)

COQA = define(
    name="coqa",
    tfds="coqa:1.0.0",
    hub="stanfordnlp/coqa",
    splits={"train": "train[:-100]", "validation": "train[-100:]", "test": "test"},
    counts={"train": 7_199, "test": 500},
    read=_coqa,
    question="{story}\nAnswer each of these questions:\n{questions}",
)
