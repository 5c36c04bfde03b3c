"""LogiQA, the first edition and the second: what follows from a text?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.lettered import letter_place, number_place
from teacherlm_jax.tasks.catalogue.reading import row_id, text, texts


def _read(row: Mapping[str, Any]) -> Sample:
    """A row of either edition: the answer is the letter `label` or the place `answer`."""
    options = tuple(texts(row, "options"))
    if "label" in row:
        place = letter_place(row, "label", len(options))
    else:
        place = number_place(row, "answer", len(options))
    fields = {"passage": text(row, "context", "text"), "question": text(row, "question")}
    return Sample(fields, options[place], options, row_id(row, "id"), answer_index=place)


LOGIQA = define(
    name="logiqa",
    hub="EleutherAI/logiqa/logiqa",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 7_376, "validation": 651, "test": 651},
    read=_read,
    question="{passage} {question}",
    reconstructed="counts of its splits",
)

LOGIQA2 = define(
    name="logiqa2",
    hub="baber/logiqa2/logiqa2",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 12_567, "validation": 1_569, "test": 1_572},
    read=_read,
    question="{passage} {question}",
    reconstructed="counts of its splits",
)
