"""CommonsenseQA. TFDS has it in UnifiedQA's form alone: question and options in one text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.lettered import key_place, listed_options
from teacherlm_jax.tasks.catalogue.reading import part, row_id, text, texts, value

# UnifiedQA writes a line's end as a backslash and an n.
_LINE = re.compile(r"\s*(?:\\n|\n)\s*")


def _mark(letter: str) -> str:
    return rf"(?i:(?:^|\s+)\({letter}\)(?:\s+|$))"


def unified_parts(row: Mapping[str, Any]) -> tuple[list[str], list[str], str]:
    """A row of UnifiedQA: its lines other than the options, the options, and the answer.

    Raises:
      RowError: no line lists options in the order of the alphabet.
    """
    question, *rest = _LINE.split(text(row, "input"))
    for place, line in enumerate(rest):
        options = [option.strip() for option in listed_options(line, _mark, most=26)]
        if len(options) > 1:
            return [question, *rest[:place], *rest[place + 1 :]], options, text(row, "output")
    raise RowError(f"field 'input' is {row['input']!r:.120}; a line must list options (A), (B), …")


def _read(row: Mapping[str, Any]) -> Sample | None:
    if "input" not in row:
        return _hub_row(row)
    lines, options, answer = unified_parts(row)
    if answer not in options:
        raise RowError(f"field 'output' is {answer!r:.80}; it must be one of {options}.")
    place = options.index(answer)
    return Sample({"question": lines[0]}, answer, tuple(options), answer_index=place)


def _hub_row(row: Mapping[str, Any]) -> Sample | None:
    if row.get("answerKey") == "":
        return None  # test rows
    choices = part(row, "choices")
    options = tuple(texts(choices, "text"))
    place = key_place(row, "answerKey", value(choices, "label"), len(options))
    fields = {"question": text(row, "question")}
    return Sample(fields, options[place], options, row_id(row, "id"), answer_index=place)


COMMONSENSE_QA = define(
    name="commonsense_qa",
    tfds="unified_qa/commonsenseqa:1.0.0",
    hub="tau/commonsense_qa",
    splits={"train": "train", "validation": "validation"},
    counts={"train": 9_741, "validation": 1_221},
    read=_read,
    question="{question}",
    reconstructed="which of two equal options is right, where TFDS has the answer's text alone",
)
