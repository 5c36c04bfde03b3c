"""Rows of sets that are there to evaluate, by hand, and mirrors of them."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.data import ledger, mirror
from teacherlm_jax.tasks.catalogue.dataset import DATASETS, Sample
from tests.tasks.catalogue_rows import Case

TRUE_FALSE = ("True", "False")
COLOURS = ("{red}", "blue", "blue", "grey", "pink")
MARKS = ("one fact. ", "Two facts.")
DRINKS = ("milk", "tea", "juice", "soup")


def _mmlu() -> Case:
    fields = {"question": "Which drink is {white} and warm.", "subject": "college_physics"}
    row = {"question": "Which drink is\n{white} and warm", "choices": ["milk", "t\nea", "-", "-"]}
    sample = Sample(fields, "t ea", ("milk", "t ea", "-", "-"), answer_index=1)
    return Case(sample, hub={**row, "subject": "college_physics", "answer": 1})


def _ecqa() -> Case:
    row = {f"q_op{number}": colour for number, colour in enumerate(COLOURS, start=1)}
    asked = {"q_no": "e1", "q_concept": "sky", "q_text": "What  is the sky?", "q_ans": "blue"}
    # Where two options are equal, the authors take the last.
    sample = Sample({"question": "What  is the sky?"}, "blue", COLOURS, "e1", 2)
    return Case(sample, hub={**asked, **row, "taskA_pos": "", "taskA_neg": "", "taskB": ""})


def _strategyqa() -> Case:
    fields = {"question": "Could an {Ox} run?", "facts": "Fact 1: one fact.  Fact 2: Two facts."}
    row = {"qid": "s1", "term": "Ox", "question": "Could an {Ox} run? ", "answer": False}
    sample = Sample(fields, "False", TRUE_FALSE, "s1")
    return Case(sample, hub={**row, "facts": list(MARKS), "decomposition": ["What is an ox?"]})


def _commonsense_qa() -> Case:
    """TFDS has no ids, and the answer's text alone."""
    sample = Sample({"question": "What (of these) is {hot}?"}, "soup", DRINKS, answer_index=3)
    listed = "(A) milk (B) tea (C) juice (D) soup"
    row = {"input": f"What (of these) is {{hot}}? \\n {listed}", "output": "soup"}
    hub = {"question": "What (of these) is {hot}?", "question_concept": "hot", "answerKey": "D"}
    choices = {"label": ["A", "B", "C", "D"], "text": list(DRINKS)}
    return Case(sample, row, {**hub, "choices": choices})


def _logiqa(**more: Any) -> Case:
    fields = {"passage": "All {cats} sleep.", "question": "What follows?"}
    options = ("Cats sleep.", "Cats run.", "Dogs sleep.", "Cats run.")
    row = {"question": fields["question"], "options": list(options), **more}
    return Case(Sample(fields, options[2], options, str(more.get("id", "")), 2), hub=row)


def _math_qa() -> Case:
    options = ("1 , 200", "rs . 5", "1 : 2", "x ^ 2", "rs . 5")
    sample = Sample({"question": "what is {3} x 400 ?"}, options[0], options, answer_index=0)
    listed = " , ".join(f"{letter} ) {text}" for letter, text in zip("abcde", options))
    row = {"Problem": "what is {3} x 400 ?", "Rationale": "", "options": listed, "correct": "a"}
    formulas = {"annotated_formula": "", "linear_formula": "", "correct_option": "1 , 200"}
    return Case(sample, {**row, **formulas, "category": "general"})


CASES: dict[str, Case] = {
    "mmlu": _mmlu(),
    "creak": Case(
        Sample({"sentence": "{Soup} is wet."}, "True", TRUE_FALSE, "train_3"),
        hub={"ex_id": "train_3", "sentence": "{Soup} is wet.", "label": "true", "entity": "Soup"}
        | {"explanation": "It is a liquid.", "en_wiki_pageid": "1", "entity_mention_loc": [[0, 4]]},
    ),
    "ecqa": _ecqa(),
    "strategyqa": _strategyqa(),
    "commonsense_qa": _commonsense_qa(),
    "logiqa": _logiqa(context="All {cats} sleep.", label="c"),
    "logiqa2": _logiqa(text="All {cats} sleep.", answer=2, id=12),
    "math_qa": _math_qa(),
}
"""By name of the catalogue."""

OTHERS: dict[str, Case] = {
    "cos_e": Case(
        Sample(
            {"question": "What is {hot}?", "explanation": "It steams."},
            "soup",
            ("milk", "soup", "ice", "snow", "fog"),
            "c1",
            answer_index=1,
        ),
        {
            "id": "c1",
            "question": "What is {hot}?",
            "choices": ["milk", "soup", "ice", "snow", "fog"],
        }
        | {"answer": "soup", "abstractive_explanation": "It steams.", "extractive_explanation": ""},
    ),
    "qasc": Case(
        Sample({"question": "What {do} seeds need?", "fact": "f"}, "ink", ("rain", "ink"), "q1"),
        {"id": "q1", "question": "What {do} seeds need?", "answerKey": "B", "fact1": ""}
        | {"choices": {"text": ["rain", "ink"], "label": ["A", "B"]}, "fact2": ""}
        | {"combinedfact": "f", "formatted_question": "f"},
    ),
    "sciq": Case(
        Sample(
            {"question": "What {melts}?", "support": "Ice melts."}, "ice", ("ice", "a", "b", "c")
        ),
        hub={"question": "What {melts}?", "support": "Ice melts.", "correct_answer": "ice"}
        | {"distractor1": "a", "distractor2": "b", "distractor3": "c"},
    ),
    "social_i_qa": Case(
        Sample({"context": "Kim ran.", "question": "Why?"}, "late", ("fun", "late", "air")),
        hub={"context": "Kim ran.", "question": "Why?", "label": "2"}
        | {"answerA": "fun", "answerB": "late", "answerC": "air"},
    ),
}
"""Of sets that are others' to test."""


def changed(name: str, **fields: Any) -> dict[str, Any]:
    """The hub's row of a case with some fields changed; None takes one away."""
    row = {**(CASES[name].hub or {}), **fields}
    return {field: value for field, value in row.items() if value is not None}


def write_mirrors(folder: pathlib.Path, rows_of: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Writes mirrors of one file, whose splits all hold the same rows.

    Args:
      folder: the data directory.
      rows_of: name of the catalogue -> rows.
    """
    for name, rows in rows_of.items():
        text = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        (folder / name).mkdir()
        (folder / name / "rows.jsonl").write_bytes(text)
        shard = mirror.Shard("rows.jsonl", len(rows), len(text), hashlib.sha256(text).hexdigest())
        splits = {split: [shard] for split in ("train", "dev", "validation", "test")}
        manifest = mirror.manifest_text(mirror.JSONL, {}, splits)
        ledger.write_whole(folder / name / mirror.MANIFEST_NAME, manifest)


def without_tfds() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and rows of the cases that only a mirror has."""
    for name, case in {**CASES, **OTHERS}.items():
        if DATASETS[name].tfds is None and case.hub is not None:
            yield name, case.hub
