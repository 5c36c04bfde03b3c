"""MathQA: word problems with five options, which its rows hold in one text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.lettered import letter_place
from teacherlm_jax.tasks.catalogue.reading import text

# "a ) 38 , b ) 27.675 , …", and in some rows "['a ) 38', 'b ) 27.675', …]".
_NAME = re.compile(r"(?:^|,)[\s'\"]*([a-e]) ?\) ?")


def split_options(options: str) -> list[str]:
    """The texts of the options that one text lists.

    Raises:
      RowError: they are not called a, b, … in order.
    """
    listed = options.strip()
    around = " ,"
    if listed.startswith("["):
        listed, around = listed[1:].removesuffix("]"), " ,'\""
    first, *found = _NAME.split(listed)
    names, texts = "".join(found[::2]), found[1::2]
    if first.strip() or len(names) < 2 or names != "abcde"[: len(names)]:
        raise RowError(f"field 'options' is {options!r:.120}; it must list a ) … , b ) …")
    return [each.strip(around) for each in texts]


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
