"""Do two sentences say the same?"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import by_label, row_id, text, value

NO_OR_YES = ("no", "yes")
SIMILARITIES = ("0", "1", "2", "3", "4", "5")


def _pair(row: Mapping[str, Any], first: str, second: str) -> Sample | None:
    answer = by_label(row, "label", NO_OR_YES)
    fields = {first: text(row, first), second: text(row, second)}
    # A few of the pairs that people typed in have a side that is empty.
    if answer is None or not all(fields.values()):
        return None
    return Sample(fields, answer, NO_OR_YES, row_id(row, "idx", "id"))


def _similarity(row: Mapping[str, Any]) -> Sample | None:
    label = value(row, "label")
    score = math.nan if isinstance(label, bool) else label
    if isinstance(label, str):
        with contextlib.suppress(ValueError):
            score = float(label)  # of a CSV file
    if score == -1:
        return None
    if not isinstance(score, int | float) or not 0 <= score <= 5:
        raise RowError(f"field 'label' is {label!r:.80}; it must be a number from 0 to 5.")
    fields = {"sentence1": text(row, "sentence1"), "sentence2": text(row, "sentence2")}
    return Sample(fields, f"{score:.0f}", SIMILARITIES, row_id(row, "idx"))


SENTENCES = functools.partial(_pair, first="sentence1", second="sentence2")

MRPC = define(
    name="glue_mrpc",
    tfds="glue/mrpc:2.0.0",
    hub="nyu-mll/glue/mrpc",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 3_668, "validation": 408, "test": 1_725},
    read=SENTENCES,
    question="{sentence1}\n{sentence2}\nDo these two sentences mean the same?",
)

QQP = define(
    name="glue_qqp",
    tfds="glue/qqp:2.0.0",
    hub="nyu-mll/glue/qqp",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 363_846, "validation": 40_430, "test": 390_965},
    read=functools.partial(_pair, first="question1", second="question2"),
    question="{question1}\n{question2}\nDo these two questions ask the same?",
)

PAWS = define(
    name="paws_wiki",
    tfds="paws_wiki:1.1.0",
    hub="google-research-datasets/paws/labeled_final",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 49_401, "validation": 8_000, "test": 8_000},
    read=SENTENCES,
    question="{sentence1}\n{sentence2}\nDo these two sentences mean the same?",
)

STSB = define(
    name="glue_stsb",
    tfds="glue/stsb:2.0.0",
    hub="nyu-mll/glue/stsb",
    splits={"train": "train[:-100]", "validation": "train[-100:]", "test": "validation"},
    counts={"train": 5_749, "validation": 1_500, "test": 1_379},
    read=_similarity,
    question=(
        "{sentence1}\n{sentence2}\nHow alike in meaning are these two sentences, from 0 (not at"
        " all) to 5 (the same)?"
    ),
)
