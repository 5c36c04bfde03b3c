"""ECQA: questions of CommonsenseQA, explained by people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.lettered import letter_place
from teacherlm_jax.tasks.catalogue.reading import row_id, text, texts

_OPTION_FIELDS = tuple(f"q_op{number}" for number in range(1, 6))


def _read(row: Mapping[str, Any]) -> Sample:
    """A row of the release, or of the authors' copies, where the answer is a letter too."""
    question = text(row, "q_text", "question").removeprefix("Q: ")
    if "choices" in row:
        options = tuple(texts(row, "choices"))
    else:
        options = tuple(text(row, name) for name in _OPTION_FIELDS)
    place = _place(row, options)
    name = row_id(row, "q_no", "id")
    return Sample({"question": question}, options[place], options, name, answer_index=place)


def _place(row: Mapping[str, Any], options: tuple[str, ...]) -> int:
    if "answer" in row:
        return letter_place(row, "answer", len(options))
    answer = text(row, "q_ans")
    if answer not in options:
        raise RowError(f"field 'q_ans' is {answer!r:.80}; it must be one of {list(options)}.")
    # Where two options are equal, the authors of TeacherLM take the last for the right one.
    return max(place for place, option in enumerate(options) if option == answer)


ECQA = define(
    name="ecqa",
    hub="tasksource/ecqa",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 7_598, "validation": 1_090, "test": 2_194},
    read=_read,
    question="{question}",
)
