"""Does one sentence follow from another?

Options are FLAN's words for the labels, in its order.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Dataset, Sample, define
from teacherlm_jax.tasks.catalogue.reading import by_label, row_id, text

ANLI_OPTIONS = ("Yes", "It's impossible to say", "No")
CB_OPTIONS = ("Yes", "No", "It's impossible to say")
MNLI_OPTIONS = ("yes", "it is not possible to tell", "no")
TWO_WAY = ("yes", "no")
NO_OR_YES = ("no", "yes")

FOLLOWS = '{premise}\nDoes it follow that "{hypothesis}"?'


def _pair(
    row: Mapping[str, Any],
    options: Sequence[str],
    premise: tuple[str, ...] = ("premise",),
    hypothesis: tuple[str, ...] = ("hypothesis",),
) -> Sample | None:
    """A premise and a hypothesis; options are in the order of the labels."""
    answer = by_label(row, "label", options)
    if answer is None:
        return None
    fields = {"premise": text(row, *premise), "hypothesis": text(row, *hypothesis)}
    return Sample(fields, answer, tuple(options), row_id(row, "uid", "idx"))


def _qnli(row: Mapping[str, Any]) -> Sample | None:
    answer = by_label(row, "label", TWO_WAY)
    if answer is None:
        return None
    fields = {"question": text(row, "question"), "sentence": text(row, "sentence")}
    return Sample(fields, answer, TWO_WAY, row_id(row, "idx"))


def _anli(adversary: int, train: int, held_out: int) -> Dataset:
    return define(
        name=f"anli_r{adversary}",
        tfds=f"anli/r{adversary}:0.1.0",
        hub="facebook/anli",
        splits={"train": "train", "validation": "validation", "test": "test"},
        counts={"train": train, "validation": held_out, "test": held_out},
        read=functools.partial(_pair, options=ANLI_OPTIONS, premise=("context", "premise")),
        question=FOLLOWS,
    )


ANLI_R1 = _anli(1, 16_946, 1_000)
ANLI_R2 = _anli(2, 45_460, 1_000)
ANLI_R3 = _anli(3, 100_459, 1_200)

CB = define(
    name="super_glue_cb",
    tfds="super_glue/cb:1.0.2",
    hub="aps/super_glue/cb",
    splits={"train": "train[:-50]", "validation": "train[-50:]", "test": "validation"},
    counts={"train": 250, "validation": 56, "test": 250},
    read=functools.partial(_pair, options=CB_OPTIONS),
    question=FOLLOWS,
)

SUPER_GLUE_RTE = define(
    name="super_glue_rte",
    tfds="super_glue/rte:1.0.2",
    hub="aps/super_glue/rte",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 2_490, "validation": 277, "test": 3_000},
    read=functools.partial(_pair, options=TWO_WAY),
    question=FOLLOWS,
)

GLUE_RTE = define(
    name="glue_rte",
    tfds="glue/rte:2.0.0",
    hub="nyu-mll/glue/rte",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 2_490, "validation": 277, "test": 3_000},
    read=functools.partial(
        _pair, options=TWO_WAY, premise=("sentence1",), hypothesis=("sentence2",)
    ),
    question=FOLLOWS,
)

AXG = define(
    name="super_glue_axg",
    tfds="super_glue/axg:1.0.2",
    hub="aps/super_glue/axg",
    splits={"test": "test"},
    counts={"test": 356},
    read=functools.partial(_pair, options=TWO_WAY),
    question=FOLLOWS,
)

# FLAN's mnli_matched and mnli_mismatched train on the same rows, and differ in what they test on.
MNLI = define(
    name="glue_mnli",
    tfds="glue/mnli:2.0.0",
    hub="nyu-mll/glue/mnli",
    splits={
        "train": "train[:-200]",
        "validation": "train[-200:]",
        "test": "validation_matched",
        "test_mismatched": "validation_mismatched",
    },
    counts={
        "train": 392_702,
        "validation_matched": 9_815,
        "validation_mismatched": 9_832,
        "test_matched": 9_796,
        "test_mismatched": 9_847,
    },
    read=functools.partial(_pair, options=MNLI_OPTIONS),
    question=FOLLOWS,
)

QNLI = define(
    name="glue_qnli",
    tfds="glue/qnli:2.0.0",
    hub="nyu-mll/glue/qnli",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 104_743, "validation": 5_463, "test": 5_463},
    read=_qnli,
    question='{sentence}\nDoes this answer the question "{question}"?',
)

WNLI = define(
    name="glue_wnli",
    tfds="glue/wnli:2.0.0",
    hub="nyu-mll/glue/wnli",
    splits={"train": "train[:-30]", "validation": "train[-30:]", "test": "validation"},
    counts={"train": 635, "validation": 71, "test": 146},
    read=functools.partial(
        _pair, options=NO_OR_YES, premise=("sentence1",), hypothesis=("sentence2",)
    ),
    question=FOLLOWS,
)

SNLI = define(
    name="snli",
    tfds="snli:1.1.0",
    hub="stanfordnlp/snli",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 550_152, "validation": 10_000, "test": 10_000},
    read=functools.partial(_pair, options=MNLI_OPTIONS),
    question=FOLLOWS,
)
