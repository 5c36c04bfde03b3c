"""Questions about a text that is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.lettered import key_place
from teacherlm_jax.tasks.catalogue.reading import (
    by_label,
    chosen,
    known_texts,
    part,
    row_id,
    text,
    texts,
    truth,
    value,
)

NO_OR_YES = ("no", "yes")
UNANSWERABLE = "unanswerable"
"""The answer to what a text leaves open."""


def squad(row: Mapping[str, Any]) -> Sample | None:
    """A row of SQuAD, either version, or of a data set with its fields: the first answer."""
    answers = texts(part(row, "answers"), "text")
    fields = {
        **{name: of.replace("_", " ") for name, of in known_texts(row, title="title").items()},
        "context": text(row, "context"),
        "question": text(row, "question"),
    }
    # The hub's files say it by having no answers, TFDS by a field.
    impossible = truth(row, "is_impossible") if "is_impossible" in row else not answers
    if not impossible and not answers:
        raise RowError("field 'answers' has no text; a question with an answer must have one.")
    return Sample(fields, UNANSWERABLE if impossible else answers[0], id=row_id(row, "id"))


def _drop(row: Mapping[str, Any]) -> Sample | None:
    if "answer" in row:
        answer = text(row, "answer")
    else:
        answer = next(iter(texts(part(row, "answers_spans"), "spans")), "")
    # TFDS has nothing for dates without a day.
    if not answer:
        return None
    fields = {"passage": text(row, "passage"), "question": text(row, "question")}
    return Sample(fields, answer, id=row_id(row, "query_id"))


def _multirc(row: Mapping[str, Any]) -> Sample | None:
    answer = by_label(row, "label", NO_OR_YES)
    fields = {
        "paragraph": text(row, "paragraph"),
        "question": text(row, "question"),
        "candidate": text(row, "answer"),
    }
    if answer is None or not all(fields.values()):
        return None
    return Sample(fields, answer, NO_OR_YES, row_id(row, "idx"))


def _openbookqa(row: Mapping[str, Any]) -> Sample | None:
    if "question_stem" in row:
        question, choices = text(row, "question_stem"), part(row, "choices")
        options = texts(choices, "text")
        place: Any = key_place(row, "answerKey", value(choices, "label"), len(options))
    else:
        asked = part(row, "question")
        question, place = text(asked, "stem"), value(row, "answerKey")
        options = [text(asked, f"choice_{letter}") for letter in "ABCD"]
    # The hub's config "main" has no facts, for a closed book; "additional" has them.
    fields = {"question": question, **known_texts(row, fact="fact1")}
    return chosen(fields, options, place, "answerKey", row_id(row, "id"))


def _bool_q(row: Mapping[str, Any]) -> Sample | None:
    if "label" in row:
        answer = by_label(row, "label", NO_OR_YES)
    else:
        answer = NO_OR_YES[truth(row, "answer")]
    if answer is None:
        return None
    question, passage = text(row, "question"), text(row, "passage")
    if not question.endswith("?"):
        question += "?"
    # As SuperGLUE joins them; the hub's google/boolq has no titles.
    for title in known_texts(row, title="title").values():
        passage = f"{title} -- {passage}"
    fields = {"question": question[:1].upper() + question[1:], "passage": passage}
    return Sample(fields, answer, NO_OR_YES, row_id(row, "idx"))


def _record(row: Mapping[str, Any]) -> Sample | None:
    answers = texts(row, "answers")
    if not answers:
        return None
    options = tuple(dict.fromkeys(texts(row, "entities")))
    lines = [line.strip() for line in text(row, "passage").split("@highlight")]
    fields = {
        "passage": "\n".join(line for line in lines if line),
        "query": text(row, "query"),
    }
    return Sample(fields, answers[0], options, row_id(row, "idx"))


def _cosmos_qa(row: Mapping[str, Any]) -> Sample | None:
    fields = {"context": text(row, "context"), "question": text(row, "question")}
    options = [text(row, f"answer{number}") for number in range(4)]
    return chosen(fields, options, value(row, "label"), id=row_id(row, "id"))


SQUAD_V1 = define(
    name="squad_v1",
    tfds="squad/v1.1:3.0.0",
    hub="rajpurkar/squad",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 87_599, "validation": 10_570},
    read=squad,
    question="{context}\n{question}",
)

SQUAD_V2 = define(
    name="squad_v2",
    tfds="squad/v2.0:3.0.0",
    hub="rajpurkar/squad_v2",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 130_319, "validation": 11_873},
    read=squad,
    question='{context}\n{question} (It may be "unanswerable" from the text.)',
)

DROP = define(
    name="drop",
    tfds="drop:2.0.0",
    hub="ucinlp/drop",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "dev"},
    counts={"train": 77_409, "dev": 9_536},
    read=_drop,
    question="{passage}\n{question}",
    reconstructed="of an answer of several parts only the first, as TFDS has it",
)

MULTIRC = define(
    name="super_glue_multirc",
    tfds="super_glue/multirc:1.0.2",
    hub="aps/super_glue/multirc",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 27_243, "validation": 4_848, "test": 9_693},
    read=_multirc,
    question='{paragraph}\n{question} Is "{candidate}" a right answer?',
)

OPENBOOKQA = define(
    name="openbookqa",
    tfds="openbookqa:0.1.0",
    hub="allenai/openbookqa/additional",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 4_957, "validation": 500, "test": 500},
    read=_openbookqa,
    question="{question}",
)

BOOL_Q = define(
    name="bool_q",
    tfds="bool_q:1.0.0",
    hub="google/boolq",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 9_427, "validation": 3_270},
    read=_bool_q,
    question="{passage}\n{question}",
)

SUPER_GLUE_BOOLQ = define(
    name="super_glue_boolq",
    tfds="super_glue/boolq:1.0.2",
    hub="aps/super_glue/boolq",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 9_427, "validation": 3_270, "test": 3_245},
    read=_bool_q,
    question="{passage}\n{question}",
)

# More than one of the entities may be right; the first that the row names is the answer.
RECORD = define(
    name="super_glue_record",
    tfds="super_glue/record:1.0.2",
    hub="aps/super_glue/record",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 100_730, "validation": 10_000, "test": 10_000},
    read=_record,
    question="{passage}\n{query}\nWhat does @placeholder stand for?",
)

COSMOS_QA = define(
    name="cosmos_qa",
    tfds="cosmos_qa:1.0.0",
    hub="allenai/cosmos_qa",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 25_262, "validation": 2_985, "test": 6_963},
    read=_cosmos_qa,
    question="{context}\n{question}",
)
