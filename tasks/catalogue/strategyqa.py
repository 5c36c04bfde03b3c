"""StrategyQA: yes-or-no questions whose steps are left unsaid, with the facts that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.lettered import letter_place
from teacherlm_jax.tasks.catalogue.reading import row_id, text, truth

OPTIONS = ("True", "False")


def numbered_facts(facts: Sequence[str]) -> str:
    """Facts in one text: "Fact 1: … Fact 2: …"."""
    return " ".join(f"Fact {number}: {fact}" for number, fact in enumerate(facts, start=1))


def _read(row: Mapping[str, Any]) -> Sample | None:
    """A row of the release, the hub's copy, or the authors', where the answer is a letter.

    The field `facts` is there where the row has facts; in the hub's copy they are one text.
    """
    answer = row.get("answer")
    if answer is None:
        return None  # the release's test rows
    if isinstance(answer, bool) or str(answer).strip().capitalize() in OPTIONS:
        place = OPTIONS.index(str(truth(row, "answer")))
    else:
        place = letter_place(row, "answer", len(OPTIONS))
    fields = {"question": text(row, "origin_question", "question")}
    facts = row.get("facts") or []
    facts = [facts] if isinstance(facts, str) else facts
    if not isinstance(facts, list) or not all(isinstance(fact, str) for fact in facts):
        raise RowError(f"field 'facts' is {facts!r:.80}; it must be a list of texts.")
    if facts:
        fields["facts"] = numbered_facts(facts)
    return Sample(fields, OPTIONS[place], OPTIONS, row_id(row, "qid", "id"))


STRATEGYQA = define(
    name="strategyqa",
    hub="ChilleD/StrategyQA",
    splits={"train": "train", "validation": "validation", "test": "test"},
    read=_read,
    question="{question}",
    reconstructed="which questions are in a split: releases differ, so there are no counts",
)
