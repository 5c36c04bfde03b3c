"""Questions to be answered from memory: no passage is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import text, value

HIDDEN = "<unk>"
"""What TriviaQA's test rows have for an answer."""


def trivia_qa(row: Mapping[str, Any]) -> Sample | None:
    """A row of any of TriviaQA's configs; its passages are not read."""
    answer = value(row, "answer")
    if not isinstance(answer, Mapping):
        raise RowError(f"field 'answer' is {answer!r:.80}; it must be an object.")
    found = text(answer, "normalized_value")
    if found in ("", HIDDEN):
        return None
    return Sample({"question": text(row, "question")}, found, id=text(row, "question_id"))


def _natural_questions(row: Mapping[str, Any]) -> Sample | None:
    answers = value(row, "answer")
    if not isinstance(answers, list) or not answers or not isinstance(answers[0], str):
        raise RowError(f"field 'answer' is {answers!r:.80}; it must be a list of texts.")
    question = text(row, "question")
    if question and not question.endswith("?"):
        question += "?"
    return Sample({"question": question}, answers[0].strip())


def arc(row: Mapping[str, Any]) -> Sample | None:
    """A row of ARC: 3 to 5 options, named by letters, by digits, or in TFDS by numbers from 0."""
    choices = value(row, "choices")
    if not isinstance(choices, Mapping):
        raise RowError(f"field 'choices' is {choices!r:.80}; it must be an object.")
    texts, labels = value(choices, "text"), value(choices, "label")
    key = value(row, "answerKey")
    if key in (-1, ""):
        return None
    if not isinstance(texts, list) or not isinstance(labels, list) or len(texts) != len(labels):
        raise RowError(f"choices are {choices!r:.80}; text and label must be lists of one length.")
    if key not in labels:
        raise RowError(f"field 'answerKey' is {key!r:.80}; it must be one of {labels}.")
    options = tuple(entry.strip() if isinstance(entry, str) else entry for entry in texts)
    return Sample(
        {"question": text(row, "question")},
        options[labels.index(key)],
        options,
        id=text(row, "id"),
    )


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
