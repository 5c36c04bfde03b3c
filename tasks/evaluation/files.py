"""Questions of a file as an evaluation task: JSON lines with question, choices and answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import seqio

from teacherlm_jax.data.record_source import TeacherDataSource
from teacherlm_jax.data.records import content_id
from teacherlm_jax.data.row_rendering import RawRow, RowError
from teacherlm_jax.tasks.evaluation import forms
from teacherlm_jax.tasks.evaluation.questions import REPORTED, Question
from teacherlm_jax.teacher.prompts import option_letters

TRAIN = "train"
"""The split of solved examples, if there are any."""


def task_name(path: str, name: str = "", form: str = "letters", train: str = "") -> str:
    """Registers the questions of a file, and returns the task's name.

    A row has `question`, `choices` (two texts or more) and `answer` (a letter, a number from 0, or
    the text of a choice), and may have `id` and `subject`. Its split is called "evaluation".

    Args:
      path: a JSON lines or Parquet file, a pattern, or a folder; local or gs://.
      name: of the task, before "_FORM"; "": from the file's name.
      form: a key of `forms.FORMS`.
      train: likewise with solved questions, the split "train", of which `few_shot` takes examples;
        "": there are none.

    Raises:
      ValueError: there is no such form, or the name stands for something else.
    """
    if form not in forms.FORMS:
        raise ValueError(f"form = {form!r}, but it must be one of {tuple(forms.FORMS)}.")
    stem = re.sub(r"\W+", "_", path.rstrip("/").rpartition("/")[2].partition(".")[0])
    task = f"{name or stem}_{form}"
    paths = {REPORTED: path, **({TRAIN: train} if train else {})}
    if task in seqio.TaskRegistry.names():
        found = getattr(seqio.TaskRegistry.get(task).source, "path", None)
        if found == paths:
            return task
        of_files = f", of {found}" if found else ""
        raise ValueError(
            f"there is a task {task!r} already{of_files}: give the file's another name."
        )
    return forms.add(task, form, TeacherDataSource(paths), _File()).name


class _File:
    """The questions of a file, each with a subject of its own or none."""

    prefix = subject = ""

    def questions(self, row: RawRow) -> list[Question]:
        """The one of a row."""
        return _questions(row)


def _questions(row: RawRow) -> list[Question]:
    values = row.values
    question = values.get("question")
    if not isinstance(question, str) or not question.strip():
        raise RowError(f"question is {question!r:.80}; it must be a text that is not empty.")
    choices = _choices(values)
    answer = _answer(values, choices)
    subject = values.get("subject", "")
    if not isinstance(subject, str):
        raise RowError(f"subject is {subject!r:.80}; it must be a text.")
    identity = values.get("id")
    if identity in (None, ""):
        identity = content_id(question, choices, answer)
    if not isinstance(identity, (str, int)) or isinstance(identity, bool):
        raise RowError(f"id is {identity!r:.80}; it must be a text or a whole number.")
    return [Question(str(identity), question, tuple(choices), answer, {"subject": subject})]


def _choices(values: Mapping[str, Any]) -> Sequence[str]:
    found = values.get("choices")
    choices: list[str] = found if isinstance(found, list) else []
    are_texts = all(isinstance(choice, str) and choice.strip() for choice in choices)
    if not are_texts or not 2 <= len(choices) <= 26:
        raise RowError(f"choices is {found!r:.80}; it must be a list of 2 to 26 texts.")
    if len(set(choices)) < len(choices):
        raise RowError(f"choices {choices} hold a text twice: they must differ.")
    return choices


def _answer(values: Mapping[str, Any], choices: Sequence[str]) -> str:
    """The letter of the right choice."""
    letters = option_letters(len(choices))
    answer = values.get("answer")
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        return letters[answer]
    if isinstance(answer, str):
        # A text of a choice counts before a letter: choices may be single letters.
        if answer in choices:
            return letters[list(choices).index(answer)]
        if (letter := answer.strip("() .").upper()) in letters:
            return letter
    raise RowError(
        f"answer is {answer!r:.80}; it must be a letter of {''.join(letters)}, a number from 0 to"
        f" {len(choices) - 1}, or the text of a choice."
    )
