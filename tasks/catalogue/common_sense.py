"""What comes next, and what does a thing that people do?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import chosen, number, row_id, text, texts, value

ASKED = {
    "cause": "What was the cause of this?",
    "effect": "What happened as a result?",
}
CONNECTIVES = {"cause": "because", "effect": "so"}


def _copa(row: Mapping[str, Any]) -> Sample | None:
    relation = text(row, "question")
    if relation not in ASKED:
        raise RowError(f"field 'question' is {relation!r:.80}; it must be one of {list(ASKED)}.")
    fields = {
        "premise": text(row, "premise"),
        "relation": relation,
        "asked": ASKED[relation],
        "connective": CONNECTIVES[relation],
    }
    options = [text(row, "choice1"), text(row, "choice2")]
    return chosen(fields, options, value(row, "label"), id=row_id(row, "idx"))


def _hellaswag(row: Mapping[str, Any]) -> Sample | None:
    fields = {
        "activity": _without_marks(text(row, "activity_label")),
        "context": _without_marks(text(row, "context", "ctx")),
    }
    options = [_without_marks(ending) for ending in texts(row, "endings")]
    place = value(row, "label")
    # The hub's files hold labels as text, and nothing where they are hidden.
    return chosen(fields, options, -1 if place == "" else place)


def _without_marks(words: str) -> str:
    """Without WikiHow's marks such as [title] and [step]: a title ends the sentence before it."""
    words = re.sub(r"\[(header|title|step|substeps)\]", "", words.replace(" [title]", "."))
    return " ".join(words.split())


def _story_cloze(row: Mapping[str, Any]) -> Sample | None:
    if "context" in row:
        context, endings = text(row, "context"), texts(row, "endings")
    else:
        sentences = [text(row, f"input_sentence_{number}") for number in (1, 2, 3, 4)]
        context = " ".join(sentences)
        endings = [text(row, "sentence_quiz1"), text(row, "sentence_quiz2")]
    place = number(row, "label", "answer_right_ending", least=1, most=2, hidden=-1)
    return chosen({"context": context}, endings, place if place == -1 else place - 1)


def _piqa(row: Mapping[str, Any]) -> Sample | None:
    options = [text(row, "sol1"), text(row, "sol2")]
    fields = {"goal": text(row, "goal")}
    return chosen(fields, options, value(row, "label"), id=row_id(row, "id"))


COPA = define(
    name="super_glue_copa",
    tfds="super_glue/copa:1.0.2",
    hub="aps/super_glue/copa",
    splits={"train": "train[:-50]", "validation": "train[-50:]", "test": "validation"},
    counts={"train": 400, "validation": 100, "test": 500},
    read=_copa,
    question="{premise} {asked}",
)

HELLASWAG = define(
    name="hellaswag",
    tfds="hellaswag:1.1.0",
    hub="Rowan/hellaswag",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 39_905, "validation": 10_042, "test": 10_003},
    read=_hellaswag,
    question="{activity}: {context}\nHow does this go on?",
)

STORY_CLOZE = define(
    name="story_cloze_2016",
    tfds="story_cloze/2016:1.0.0",
    hub="LSDSem/story_cloze/2016",
    splits={"train": "validation[:-200]", "validation": "validation[-200:]", "test": "test"},
    counts={"validation": 1_871, "test": 1_871},
    read=_story_cloze,
    question="{context}\nHow does this story end?",
    manual=(
        "the CSV files of the 2016 story cloze test, which https://cs.rochester.edu/nlp/rocstories/"
        " gives after registration, go into the manual folder"
    ),
    reconstructed="there are no rows to train on: FLAN trains on most of the validation split",
)

PIQA = define(
    name="piqa",
    tfds="piqa:1.0.0",
    hub="baber/piqa",
    splits={"train": "train[:-100]", "validation": "train[-100:]", "test": "validation"},
    counts={"train": 16_113, "validation": 1_838},
    read=_piqa,
    question="How is this done? {goal}",
)
