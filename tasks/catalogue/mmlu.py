"""MMLU: questions of 57 subjects, each with four options.

Texts are cleaned as the authors of TeacherLM do, and are otherwise left as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.lettered import letter_place, number_place
from teacherlm_jax.tasks.catalogue.reading import as_whole_number, value

_LETTERS = "ABCD"
_ENDS = tuple('.,?!"')


def clean_question(question: str) -> str:
    """Ends in a full stop unless it ends in one of . , ? ! " already; then in one line."""
    return _one_line(question if question.endswith(_ENDS) else f"{question}.")


def _one_line(words: str) -> str:
    return words.replace("\n", " ")


def _read(row: Mapping[str, Any]) -> Sample:
    """A row of the hub's files, or of the authors' copy: there the options are fields A to D."""
    choices = value(row, "choices") if "choices" in row else [value(row, at) for at in _LETTERS]
    if not isinstance(choices, list) or len(choices) != len(_LETTERS):
        raise RowError(f"choices are {choices!r:.80}; they must be a list of four texts.")
    texts = (value(row, "question"), value(row, "subject", "task"), *choices)
    for words in texts:
        if not isinstance(words, str):
            raise RowError(f"question, subject and options must be texts, not {words!r:.80}.")
    question, subject, *options = texts
    is_number = as_whole_number(row.get("answer")) is not None
    place = (number_place if is_number else letter_place)(row, "answer", len(_LETTERS))
    options = [_one_line(option) for option in options]
    return Sample(
        {"question": clean_question(question), "subject": subject.strip().replace(" ", "_")},
        options[place],
        tuple(options),
        answer_index=place,
    )


MMLU = define(
    name="mmlu",
    hub="cais/mmlu/all",
    splits={"train": "dev", "validation": "validation", "test": "test"},
    counts={"dev": 285, "validation": 1_531, "test": 14_042},
    read=_read,
    question="{question}",
)
