"""MathQA: word problems with five options, which its rows hold in one text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.lettered import letter_place, listed_options
from teacherlm_jax.tasks.catalogue.reading import text

_MOST = 5


def _mark(letter: str) -> str:
    return rf"(?:^|,)\s*{letter} ?\) ?"


def _quoted_mark(letter: str) -> str:
    return rf"(?:^|['\"]\s*,)\s*['\"]\s*{letter} ?\) ?"


def split_options(options: str) -> list[str]:
    """The texts of the options that one text lists.

    They are "a ) 38 , b ) 27.675 , …", and in some rows "['a ) 38', 'b ) 27.675', …]".

    Raises:
      RowError: they are not called a, b, … in order.
    """
    listed = options.strip()
    if listed.startswith("["):
        listed = listed[1:].removesuffix("]").strip()
    if listed.startswith(("'", '"')):
        found = listed_options(re.sub(r"\s*['\"]$", "", listed), _quoted_mark, _MOST)
    else:
        found = listed_options(listed, _mark, _MOST)
    if len(found) < 2:
        raise RowError(f"field 'options' is {options!r:.120}; it must list a ) … , b ) …")
    return [each.strip(" ,") for each in found]


def _read(row: Mapping[str, Any]) -> Sample:
    options = split_options(text(row, "options"))
    place = letter_place(row, "correct", len(options))
    question = text(row, "Problem")
    return Sample({"question": question}, options[place], tuple(options), answer_index=place)


MATH_QA = define(
    name="math_qa",
    tfds="math_qa:1.0.0",
    hub="regisss/math_qa",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 29_837, "validation": 4_475, "test": 2_985},
    read=_read,
    question="{question}",
)
