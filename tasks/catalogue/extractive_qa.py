"""Questions that words of a text answer: those of P3 that FLAN does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Dataset, Sample, define
from teacherlm_jax.tasks.catalogue.reading import part, row_id, text, texts, truth
from teacherlm_jax.tasks.catalogue.reading_comprehension import UNANSWERABLE


def _spans(row: Mapping[str, Any]) -> list[str]:
    """The texts of the field `answers`, without those that are empty; hidden answers are none."""
    return [answer for answer in texts(part(row, "answers"), "text") if answer]


def _adversarial(row: Mapping[str, Any]) -> Sample | None:
    answers = _spans(row)
    fields = {
        "title": text(row, "title").replace("_", " "),
        "context": text(row, "context"),
        "question": text(row, "question"),
    }
    if not answers or not all(fields.values()):
        return None
    return Sample(fields, answers[0], id=row_id(row, "id"))


def _duorc(row: Mapping[str, Any]) -> Sample | None:
    missing, answers = truth(row, "no_answer"), [each for each in texts(row, "answers") if each]
    fields = {name: text(row, name) for name in ("title", "plot", "question")}
    if not all(fields.values()) or not (missing or answers):
        return None
    answer = UNANSWERABLE if missing else answers[0]
    return Sample(fields, answer, id=row_id(row, "question_id"))


def _ropes(row: Mapping[str, Any]) -> Sample | None:
    answers = _spans(row)
    fields = {name: text(row, name) for name in ("background", "situation", "question")}
    if not answers or not all(fields.values()):
        return None
    return Sample(fields, answers[0], id=row_id(row, "id"))


def _quoref(row: Mapping[str, Any]) -> Sample | None:
    """A question asks for one thing, or for several, whose words all belong to the answer."""
    answers = list(dict.fromkeys(_spans(row)))
    fields = {name: text(row, name) for name in ("title", "context", "question")}
    if not answers or not all(fields.values()):
        return None
    return Sample(fields, ", ".join(answers), id=row_id(row, "id"))


def _define_adversarial(config: str) -> Dataset:
    return define(
        name=f"adversarial_qa_{config}",
        hub=f"UCLNLP/adversarial_qa/{config}",
        splits={"train": "train", "validation": "validation"},
        counts={"train": 10_000, "validation": 1_000, "test": 1_000},
        read=_adversarial,
        question="{context}\n{question}",
    )


def _define_duorc(config: str, train: int, validation: int, test: int) -> Dataset:
    return define(
        name=f"duorc_{config.lower()}",
        hub=f"ibm-research/duorc/{config}",
        splits={"train": "train", "validation": "validation", "test": "test"},
        counts={"train": train, "validation": validation, "test": test},
        read=_duorc,
        question='{plot}\n{question} (It may be "unanswerable" from the plot.)',
    )


ADVERSARIAL_QA_DBIDAF = _define_adversarial("dbidaf")
ADVERSARIAL_QA_DBERT = _define_adversarial("dbert")
ADVERSARIAL_QA_DROBERTA = _define_adversarial("droberta")

DUORC_SELF_RC = _define_duorc("SelfRC", 60_721, 12_961, 12_559)
# TFDS's mrqa/duo_rc has test rows alone.
DUORC_PARAPHRASE_RC = _define_duorc("ParaphraseRC", 69_524, 15_591, 15_857)

# UnifiedQA's forms of the next two, which TFDS has, join passage and question in one text.
ROPES = define(
    name="ropes",
    hub="allenai/ropes",
    splits={"train": "train", "validation": "validation"},
    counts={"train": 10_924, "validation": 1_688},
    read=_ropes,
    question="{background}\n{situation}\n{question}",
)

QUOREF = define(
    name="quoref",
    hub="allenai/quoref",
    splits={"train": "train", "validation": "validation"},
    counts={"train": 19_399, "validation": 2_418},
    read=_quoref,
    question="{context}\n{question}",
    reconstructed="an answer of several spans is all of them, with commas between",
)
