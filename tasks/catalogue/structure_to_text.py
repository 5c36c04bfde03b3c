"""Facts as data -> a sentence that tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import row_id, text, value


def _target(row: Mapping[str, Any], fields: dict[str, str]) -> Sample | None:
    """The fields with their sentence; None where test rows hide it."""
    answer = text(row, "target")
    if not answer:
        return None
    return Sample(fields, answer, id=row_id(row, "gem_id"))


def _texts(row: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts; parts of a list within it are joined by " | "."""
    entries = value(row, name)
    if not isinstance(entries, list) or not entries:
        raise RowError(f"field {name!r} is {entries!r:.80}; it must be a list that is not empty.")
    joined = [" | ".join(entry) if isinstance(entry, list) else entry for entry in entries]
    if not all(isinstance(entry, str) and entry.strip() for entry in joined):
        raise RowError(f"field {name!r} is {entries!r:.80}; it must hold texts, none empty.")
    return [entry.strip() for entry in joined]


def _web_nlg(row: Mapping[str, Any]) -> Sample | None:
    triples = [triple.replace("_", " ") for triple in _texts(row, "input")]
    return _target(row, {"triples": "\n".join(triples)})


def _common_gen(row: Mapping[str, Any]) -> Sample | None:
    return _target(row, {"concepts": ", ".join(_texts(row, "concepts"))})


def _e2e(row: Mapping[str, Any]) -> Sample | None:
    return _target(row, {"description": text(row, "meaning_representation")})


def _dart(row: Mapping[str, Any]) -> Sample | None:
    # TFDS joins the parts of a triple by a space; the hub's files keep them apart.
    return _target(row, {"triples": "\n".join(_texts(row, "tripleset"))})


SPLITS = {"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"}

WEB_NLG = define(
    name="web_nlg_en",
    tfds="gem/web_nlg_en:1.1.0",
    hub="GEM/web_nlg/en",
    splits=SPLITS,
    counts={"train": 35_426, "validation": 1_667, "test": 1_779},
    read=_web_nlg,
    question="What text tells these facts?\n{triples}",
)

COMMON_GEN = define(
    name="common_gen",
    tfds="gem/common_gen:1.1.0",
    hub="allenai/common_gen",
    splits=SPLITS,
    counts={"train": 67_389, "validation": 993, "test": 1_497},
    read=_common_gen,
    question="What sentence can be made of these words: {concepts}?",
)

E2E_NLG = define(
    name="e2e_nlg",
    tfds="gem/e2e_nlg:1.1.0",
    hub="GEM/e2e_nlg",
    splits=SPLITS,
    counts={"train": 33_525, "validation": 4_299, "test": 4_693},
    read=_e2e,
    question="How can a restaurant with these attributes be described? {description}",
)

DART = define(
    name="dart",
    tfds="gem/dart:1.1.0",
    hub="GEM/dart",
    splits=SPLITS,
    counts={"train": 62_659, "validation": 2_768, "test": 6_959},
    read=_dart,
    question="What sentence tells these facts?\n{triples}",
)
