"""Linear equations with one unknown, out of DeepMind's mathematics data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import text


def _read(row: Mapping[str, Any]) -> Sample:
    return Sample({"question": _plain(text(row, "question"))}, _plain(text(row, "answer")))


def _plain(found: str) -> str:
    """Without what the hub's files have around texts: they spell out Python's bytes."""
    if found.startswith("b'") and found.endswith("'"):
        found = found[2:-1].removesuffix("\\n")
    return found.strip()


MATH_DATASET = define(
    name="math_dataset",
    tfds="math_dataset/algebra__linear_1d:1.0.0",
    hub="deepmind/math_dataset/algebra__linear_1d",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 1_999_998, "test": 10_000},
    read=_read,
    question="{question}",
)
