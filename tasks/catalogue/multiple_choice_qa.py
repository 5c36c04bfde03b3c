"""Questions of P3 with options, about a text or about the world, that FLAN does not have."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Dataset, Sample, define
from teacherlm_jax.tasks.catalogue.lettered import key_place, letter_place
from teacherlm_jax.tasks.catalogue.reading import (
    chosen,
    known_texts,
    number,
    part,
    row_id,
    text,
    texts,
    value,
)

_TWO_OPTIONS = re.compile(r"(?P<question>.+?)\s*\(A\)\s*(?P<a>.+?)\s*\(B\)\s*(?P<b>.+)", re.DOTALL)


def _by_text(
    fields: Mapping[str, str], options: Sequence[str], answer: str, id: str
) -> Sample | None:
    """A sample whose answer is an option's text; None where any text is empty.

    Raises:
      RowError: the answer is no option.
    """
    if not answer or not all([*fields.values(), *options]):
        return None
    if answer not in options:
        raise RowError(f"answer {answer!r:.80} is not among the options {list(options)}.")
    return Sample(fields, answer, tuple(options), id, options.index(answer))


def _by_key(
    row: Mapping[str, Any], fields: Mapping[str, str], more: Mapping[str, str]
) -> Sample | None:
    """A row with AI2's `choices` and `answerKey`; the question does without the fields `more`."""
    if value(row, "answerKey") == "":
        return None  # hidden
    choices = part(row, "choices")
    options = texts(choices, "text")
    place = key_place(row, "answerKey", value(choices, "label"), len(options))
    if not all([*fields.values(), *options]):
        return None
    return chosen({**fields, **more}, options, place, id=row_id(row, "id"))


def _cos_e(row: Mapping[str, Any]) -> Sample | None:
    """Ids are CommonsenseQA's, and so ECQA's `q_no`."""
    explained = known_texts(row, explanation="abstractive_explanation")
    fields = {"question": text(row, "question"), **explained}
    return _by_text(fields, texts(row, "choices"), text(row, "answer"), row_id(row, "id"))


def _dream(row: Mapping[str, Any]) -> Sample | None:
    lines = [line for line in texts(row, "dialogue") if line]
    fields = {"dialogue": "\n".join(lines), "question": text(row, "question")}
    # Several questions share an id, which is their dialogue's place in its file.
    id_ = row_id(row, "dialogue_id")
    return _by_text(fields, texts(row, "choice"), text(row, "answer"), id_)


def _qasc(row: Mapping[str, Any]) -> Sample | None:
    facts = known_texts(row, fact1="fact1", fact2="fact2", fact="combinedfact")
    return _by_key(row, {"question": text(row, "question")}, facts)


def _quartz(row: Mapping[str, Any]) -> Sample | None:
    return _by_key(row, {"passage": text(row, "para"), "question": text(row, "question")}, {})


def _quail(row: Mapping[str, Any]) -> Sample | None:
    fields = {"context": text(row, "context"), "question": text(row, "question")}
    options = texts(row, "answers")
    if not all([*fields.values(), *options]):
        return None
    return chosen(
        fields, options, value(row, "correct_answer_id"), "correct_answer_id", row_id(row, "id")
    )


def _quarel(row: Mapping[str, Any]) -> Sample | None:
    match = _TWO_OPTIONS.fullmatch(text(row, "question"))
    if match is None:
        raise RowError(f"question {row['question']!r:.120} must end in two options, (A) and (B).")
    fields, place = {"question": match["question"]}, value(row, "answer_index")
    return chosen(fields, [match["a"], match["b"]], place, "answer_index", row_id(row, "id"))


def _race(row: Mapping[str, Any]) -> list[Sample]:
    """TFDS has a row an article, with lists of what is asked; the hub has a row a question."""
    if "questions" in row:
        questions, keys, options = texts(row, "questions"), texts(row, "answers"), row["options"]
    else:
        questions, keys, options = [text(row, "question")], [text(row, "answer")], [row["options"]]
    if not isinstance(options, list) or not len(questions) == len(keys) == len(options):
        raise RowError(
            f"{len(questions)} questions have answers {keys} and options {options!r:.80}."
        )
    article, found = text(row, "article"), []
    for question, key, of_question in zip(questions, keys, options):
        entry = {"answer": key, "options": of_question}
        listed = texts(entry, "options")
        place = letter_place(entry, "answer", len(listed))
        if all([article, question, *listed]):
            fields = {"article": article, "question": question}
            id_ = row_id(row, "example_id")
            found.append(Sample(fields, listed[place], tuple(listed), id_, place))
    return found


def _sciq(row: Mapping[str, Any]) -> Sample | None:
    question, answer = text(row, "question"), text(row, "correct_answer")
    support = known_texts(row, support="support")
    options = [answer, *(text(row, f"distractor{number}") for number in (1, 2, 3))]
    # The files name the answer apart; an order by content gives it no place of its own.
    options.sort(key=lambda option: hashlib.sha256(f"{question}/{option}".encode()).digest())
    sample = _by_text({"question": question}, options, answer, "")
    if sample is None:
        return None
    return dataclasses.replace(sample, fields={**sample.fields, **support})


def _social_i_qa(row: Mapping[str, Any]) -> Sample | None:
    options = [text(row, f"answer{letter}") for letter in "ABC"]
    fields = {"context": text(row, "context"), "question": text(row, "question")}
    place = number(row, "label", least=1, most=3) - 1
    return chosen(fields, options, place) if all([*fields.values(), *options]) else None


def _wiki_hop(row: Mapping[str, Any]) -> Sample | None:
    relation, _, subject = text(row, "query").partition(" ")
    fields = {
        "supports": "\n".join(support for support in texts(row, "supports") if support),
        "relation": relation.replace("_", " "),
        "subject": subject.strip(),
    }
    options = [option for option in texts(row, "candidates") if option]
    return _by_text(fields, options, text(row, "answer"), row_id(row, "id"))


def _wiqa(row: Mapping[str, Any]) -> Sample | None:
    steps = [step for step in texts(row, "question_para_step") if step]
    fields = {
        "process": "\n".join(f"{place}. {step}" for place, step in enumerate(steps, start=1)),
        "question": text(row, "question_stem"),
    }
    choices = part(row, "choices")
    options = texts(choices, "text")
    place = key_place(row, "answer_label_as_choice", value(choices, "label"), len(options))
    if not all([*fields.values(), *options]):
        return None
    return chosen(fields, options, place, id=row_id(row, "metadata_question_id"))


def _define_race(level: str, articles: tuple[int, int, int]) -> Dataset:
    return define(
        name=f"race_{level}",
        tfds=f"race/{level}:2.0.0",
        hub=f"ehovy/race/{level}",
        splits={"train": "train", "validation": "dev", "test": "test"},
        counts=dict(zip(("train", "dev", "test"), articles)),
        read=_race,
        question="{article}\n{question}",
    )


COS_E = define(
    name="cos_e",
    tfds="cos_e:0.0.1",
    hub="Salesforce/cos_e/v1.11",
    splits={"train": "train", "validation": "validation"},
    counts={"train": 9_741, "validation": 1_221},
    read=_cos_e,
    question="{question}",
)

DREAM = define(
    name="dream",
    hub="dataset-org/dream",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 6_116, "validation": 2_040, "test": 2_041},
    read=_dream,
    question="{dialogue}\n{question}",
)

QASC = define(
    name="qasc",
    tfds="qasc:0.1.0",
    hub="allenai/qasc",
    splits={"train": "train", "validation": "validation"},
    counts={"train": 8_134, "validation": 926, "test": 920},
    read=_qasc,
    question="{question}",
)

QUAIL = define(
    name="quail",
    hub="textmachinelab/quail",
    splits={"train": "train", "validation": "validation"},
    counts={"train": 10_246, "validation": 2_164},
    read=_quail,
    question="{context}\n{question}",
)

QUAREL = define(
    name="quarel",
    hub="community-datasets/quarel",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 1_941, "validation": 278, "test": 552},
    read=_quarel,
    question="{question}",
)

QUARTZ = define(
    name="quartz",
    hub="allenai/quartz",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 2_696, "validation": 384, "test": 784},
    read=_quartz,
    question="{passage}\n{question}",
)

# Counts are TFDS's rows, articles, of which the training ones have 62,445 and 25,421 questions.
RACE_HIGH = _define_race("high", (18_728, 1_021, 1_045))
RACE_MIDDLE = _define_race("middle", (6_409, 368, 362))

SCIQ = define(
    name="sciq",
    hub="allenai/sciq",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 11_679, "validation": 1_000, "test": 1_000},
    read=_sciq,
    question="{question}",
    reconstructed="the order of the options, which the files do not give",
)

# TFDS has it in UnifiedQA's form alone, context and question in one text.
SOCIAL_I_QA = define(
    name="social_i_qa",
    hub="allenai/social_i_qa",
    splits={"train": "train", "validation": "validation"},
    counts={"train": 33_410, "validation": 1_954},
    read=_social_i_qa,
    question="{context} {question}",
)

WIKI_HOP = define(
    name="wiki_hop_original",
    hub="community-datasets/wiki_hop/original",
    splits={"train": "train", "validation": "validation"},
    counts={"train": 43_738, "validation": 5_129},
    read=_wiki_hop,
    question="{supports}\nWhat is the {relation} of {subject}?",
)

WIQA = define(
    name="wiqa",
    hub="allenai/wiqa",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 29_808, "validation": 6_894, "test": 3_003},
    read=_wiqa,
    question="{process}\n{question}",
)
