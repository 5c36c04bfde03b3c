"""CREAK: is a sentence about an entity true?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.lettered import letter_place
from teacherlm_jax.tasks.catalogue.reading import row_id, text, truth

OPTIONS = ("True", "False")
_PREFIX = "Determine the correctness of the following sentence. "


def _read(row: Mapping[str, Any]) -> Sample | None:
    """A row of the release, or of the authors' copy, where the answer is a letter."""
    sentence = text(row, "sentence", "question").removeprefix(_PREFIX)
    if "label" in row:
        place = OPTIONS.index(str(truth(row, "label")))
    elif "answer" in row:
        place = letter_place(row, "answer", len(OPTIONS))
    else:
        return None  # the release's test rows
    return Sample({"sentence": sentence}, OPTIONS[place], OPTIONS, row_id(row, "ex_id", "id"))


CREAK = define(
    name="creak",
    hub="amydeng2000/CREAK",
    splits={"train": "train", "validation": "validation"},
    counts={"train": 10_176, "validation": 1_371},
    read=_read,
    question=_PREFIX + "{sentence}",
    reconstructed="the fields of the hub's files: those of the release are read",
)
