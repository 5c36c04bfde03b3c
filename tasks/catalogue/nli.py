"""Does one sentence follow from another?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import by_label, text

THREE_WAY = ("Yes", "It's impossible to say", "No")


def _premise_and_hypothesis(row: Mapping[str, Any]) -> Sample | None:
    fields = {"premise": text(row, "premise"), "hypothesis": text(row, "hypothesis")}
    answer = by_label(row, "label", ("Yes", "No", "It's impossible to say"))
    if answer is None:
        return None
    return Sample(fields, answer, THREE_WAY)


CB = define(
    name="super_glue_cb",
    tfds="super_glue/cb:1.0.2",
    hub="aps/super_glue/cb",
    splits={"train": "train[:-50]", "validation": "train[-50:]", "test": "validation"},
    counts={"train": 250, "validation": 56, "test": 250},
    read=_premise_and_hypothesis,
    question='{premise} Does it follow that "{hypothesis}"?',
)
