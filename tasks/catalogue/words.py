"""Small tasks about words, sentences and questions themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import by_label, row_id, text

SENSES = ("different meanings", "the same meaning")
ACCEPTABLE = ("unacceptable", "acceptable")
ASKED_FOR = ("description", "entity", "abbreviation", "human", "numeric", "location")
# The hub's files number the labels in another order.
HUB_ASKED_FOR = ("abbreviation", "entity", "description", "human", "location", "numeric")


def _wic(row: Mapping[str, Any]) -> Sample | None:
    answer = by_label(row, "label", SENSES)
    if answer is None:
        return None
    fields = {name: text(row, name) for name in ("word", "sentence1", "sentence2")}
    return Sample(fields, answer, SENSES, row_id(row, "idx"))


def _cola(row: Mapping[str, Any]) -> Sample | None:
    answer = by_label(row, "label", ACCEPTABLE)
    if answer is None:
        return None
    return Sample({"sentence": text(row, "sentence")}, answer, ACCEPTABLE, row_id(row, "idx"))


def _trec(row: Mapping[str, Any]) -> Sample | None:
    if "coarse_label" in row:
        answer = by_label(row, "coarse_label", HUB_ASKED_FOR)
    else:
        answer = by_label(row, "label-coarse", ASKED_FOR)
    if answer is None:
        return None
    return Sample({"question": text(row, "text")}, answer, ASKED_FOR)


WIC = define(
    name="super_glue_wic",
    tfds="super_glue/wic:1.0.2",
    hub="aps/super_glue/wic",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 5_428, "validation": 638, "test": 1_400},
    read=_wic,
    question=(
        '{sentence1}\n{sentence2}\nDoes the word "{word}" have different meanings or the same'
        " meaning in these sentences?"
    ),
)

COLA = define(
    name="glue_cola",
    tfds="glue/cola:2.0.0",
    hub="nyu-mll/glue/cola",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 8_551, "validation": 1_043, "test": 1_063},
    read=_cola,
    question='Is "{sentence}" an acceptable English sentence?',
)

TREC = define(
    name="trec",
    tfds="trec:1.0.0",
    hub="CogComp/trec",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 5_452, "test": 500},
    read=_trec,
    question='What kind of thing does the question "{question}" ask for?',
)
