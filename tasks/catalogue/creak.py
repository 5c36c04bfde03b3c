"""CREAK: is a sentence about an entity true?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.lettered import letter_place
from teacherlm_jax.tasks.catalogue.reading import row_id, text, value

OPTIONS = ("True", "False")
_PREFIX = "Determine the correctness of the following sentence. "


def _read(row: Mapping[str, Any]) -> Sample | None:
    """A row of the release, or of the authors' copy, where the answer is a letter."""
    sentence = text(row, "sentence", "question").removeprefix(_PREFIX)
    if "label" in row:
        label = str(value(row, "label")).strip().capitalize()
        if label not in OPTIONS:
            raise RowError(f"field 'label' is {row['label']!r:.80}; it must be true or false.")
        place = OPTIONS.index(label)
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
