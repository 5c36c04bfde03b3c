"""Questions of P3 that FLAN does not have, to be answered from memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.closed_book_qa import trivia_qa
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import by_label, row_id, text, texts, value

NO_OR_YES = ("no", "yes")


def _hotpot_qa(row: Mapping[str, Any]) -> Sample | None:
    """KILT's rows: the first output with an answer; others are passages that it rests on."""
    outputs = value(row, "output")
    if isinstance(outputs, Mapping):
        answers = texts(outputs, "answer")  # as older files have a list of objects
    elif isinstance(outputs, list) and all(isinstance(entry, Mapping) for entry in outputs):
        answers = [text(entry, "answer") for entry in outputs if entry.get("answer") is not None]
    else:
        raise RowError(f"field 'output' is {outputs!r:.80}; it must be a list of objects.")
    found = [answer for answer in answers if answer]
    question = text(row, "input")
    if not found or not question:
        return None
    return Sample({"question": question}, found[0], id=row_id(row, "id"))


def _web_questions(row: Mapping[str, Any]) -> Sample | None:
    answers = [answer for answer in texts(row, "answers") if answer]
    question = text(row, "question")
    if not answers or not question:
        return None
    return Sample({"question": question}, answers[0])


def _wiki_qa(row: Mapping[str, Any]) -> Sample | None:
    """Does a sentence answer a question? Where it does, it is the field `answer_sentence` too."""
    verdict = by_label(row, "label", NO_OR_YES)
    fields = {
        "question": text(row, "question"),
        "title": text(row, "document_title"),
        "sentence": text(row, "answer"),
    }
    if verdict is None or not all(fields.values()):
        return None
    if verdict == "yes":
        fields["answer_sentence"] = fields["sentence"]
    return Sample(fields, verdict, NO_OR_YES)


# TFDS's mrqa/hotpot_qa is another task: its questions come with the passages that answer them.
KILT_HOTPOT_QA = define(
    name="kilt_tasks_hotpotqa",
    hub="facebook/kilt_tasks/hotpotqa",
    splits={"train": "train", "validation": "validation"},
    counts={"train": 88_869, "validation": 5_600},
    read=_hotpot_qa,
    question="{question}",
)

TRIVIA_QA_UNFILTERED = define(
    name="trivia_qa_unfiltered",
    tfds="trivia_qa/unfiltered.nocontext:1.1.0",
    hub="mandarjoshi/trivia_qa/unfiltered.nocontext",
    splits={"train": "train", "validation": "validation"},
    counts={"train": 87_622, "validation": 11_313, "test": 10_832},
    read=trivia_qa,
    question="{question}",
    reconstructed="P3 reads the config with passages, whose questions and answers are the same",
)

WEB_QUESTIONS = define(
    name="web_questions",
    tfds="web_questions:1.0.0",
    hub="stanfordnlp/web_questions",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 3_778, "test": 2_032},
    read=_web_questions,
    question="{question}",
    reconstructed="of several answers the first; P3 takes one by chance",
)

WIKI_QA = define(
    name="wiki_qa",
    hub="microsoft/wiki_qa",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 20_360, "validation": 2_733, "test": 6_165},
    read=_wiki_qa,
    question='{sentence}\nDoes this answer the question "{question}"?',
)
