"""Questions to be answered from memory: no passage is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.lettered import key_place
from teacherlm_jax.tasks.catalogue.reading import chosen, part, row_id, text, texts, value

HIDDEN = "<unk>"
"""What TriviaQA's test rows have for an answer."""


def trivia_qa(row: Mapping[str, Any]) -> Sample | None:
    """A row of any of TriviaQA's configs; its passages are not read."""
    found = text(part(row, "answer"), "normalized_value")
    if found in ("", HIDDEN):
        return None
    return Sample({"question": text(row, "question")}, found, id=row_id(row, "question_id"))


def _natural_questions(row: Mapping[str, Any]) -> Sample | None:
    answers = texts(row, "answer")
    if not answers:
        raise RowError("field 'answer' is []; it must hold a text.")
    question = text(row, "question")
    if question and not question.endswith("?"):
        question += "?"
    return Sample({"question": question}, answers[0])


def arc(row: Mapping[str, Any]) -> Sample | None:
    """A row of ARC: 3 to 5 options, named by letters, by digits, or in TFDS by numbers from 0."""
    choices = part(row, "choices")
    if value(row, "answerKey") in (-1, ""):
        return None
    options = texts(choices, "text")
    place = key_place(row, "answerKey", value(choices, "label"), len(options))
    fields = {"question": text(row, "question")}
    return chosen(fields, options, place, id=row_id(row, "id"))


TRIVIA_QA = define(
    name="trivia_qa",
    tfds="trivia_qa/rc:1.1.0",
    hub="mandarjoshi/trivia_qa/rc",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 138_384, "validation": 18_669, "test": 17_210},
    read=trivia_qa,
    question="{question}",
    reconstructed="FLAN v2 counts 87,420 training cases, TFDS 138,384: one for each passage",
)

NATURAL_QUESTIONS = define(
    name="natural_questions",
    tfds="natural_questions_open:1.0.0",
    hub="google-research-datasets/nq_open",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 87_925, "validation": 3_610},
    read=_natural_questions,
    question="{question}",
)

ARC_CHALLENGE = define(
    name="arc_challenge",
    tfds="ai2_arc/ARC-Challenge:1.0.0",
    hub="allenai/ai2_arc/ARC-Challenge",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 1_119, "validation": 299, "test": 1_172},
    read=arc,
    question="{question}",
)

ARC_EASY = define(
    name="arc_easy",
    tfds="ai2_arc/ARC-Easy:1.0.0",
    hub="allenai/ai2_arc/ARC-Easy",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 2_251, "validation": 570, "test": 2_376},
    read=arc,
    question="{question}",
)
