"""Averages of accuracies over groups of tasks, and over the subjects of one task."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence

from teacherlm_jax.scoring.receipts import Receipt
from teacherlm_jax.scoring.results import summarize


@dataclasses.dataclass(frozen=True)
class Average:
    """The accuracy of a group of tasks.

    Attributes:
      macro: percent, the mean over tasks: each counts the same.
      micro: percent, the mean over questions: each counts the same.
      tasks: how many.
      questions: of all tasks together.
    """

    macro: float
    micro: float
    tasks: int
    questions: int


@dataclasses.dataclass(frozen=True)
class SubjectAverage:
    """The accuracy of a task whose questions have several subjects, such as a file's.

    Attributes:
      macro: percent, the mean over subjects: each counts the same.
      macro_standard_error: of it; None where a subject has one question alone.
      micro: percent, the mean over questions: each counts the same.
      micro_standard_error: of it.
      subjects: how many.
      questions: of all subjects together.
    """

    macro: float
    macro_standard_error: float | None
    micro: float
    micro_standard_error: float | None
    subjects: int
    questions: int


def average(metrics: Mapping[str, Mapping[str, float]], tasks: Sequence[str]) -> Average:
    """The average over some of the tasks that were evaluated.

    Args:
      metrics: task -> metric -> value, with `accuracy` in percent and `questions`, as
        `metrics.rank_classification` gives them and an evaluator hands them on.
      tasks: the group's, each once.

    Raises:
      ValueError: there are none, one stands twice, or one was not evaluated.
    """
    if not tasks:
        raise ValueError("a group has no tasks, so there is no average: name one at least.")
    if len(set(tasks)) < len(tasks):
        raise ValueError(f"a group has a task twice, which would count twice: {sorted(tasks)}.")
    absent = sorted(set(tasks) - metrics.keys())
    if absent:
        raise ValueError(
            f"there are no metrics of {absent[:5]}, but the group has {len(tasks)} tasks: evaluate"
            " all of them, or leave the group out."
        )
    accuracies = [metrics[task]["accuracy"] for task in tasks]
    questions = [metrics[task]["questions"] for task in tasks]
    right = sum(accuracy * count for accuracy, count in zip(accuracies, questions, strict=True))
    return Average(
        macro=sum(accuracies) / len(tasks),
        micro=right / sum(questions),
        tasks=len(tasks),
        questions=round(sum(questions)),
    )


def averages(
    metrics: Mapping[str, Mapping[str, float]], groups: Mapping[str, Sequence[str]]
) -> dict[str, Average]:
    """The average of each group of tasks, by the group's name."""
    return {name: average(metrics, tasks) for name, tasks in groups.items()}


def over_subjects(receipts: Sequence[Receipt], normalisation: str) -> dict[str, SubjectAverage]:
    """The average of each task whose questions have several subjects, by the task's name.

    Args:
      receipts: of one model and one split, each question once.
      normalisation: what ranks options.
    """
    subjects: dict[str, set[str]] = collections.defaultdict(set)
    for one in receipts:
        subjects[one.task].add(one.subject)
    # Most tasks have none, or one: theirs need not be judged for this.
    mixed = [one for one in receipts if len(subjects[one.task]) > 1]
    if not mixed:
        return {}
    found = {}
    for task in summarize(mixed, normalisation, {}).tasks:
        accuracy = task.by_normalisation[normalisation]
        found[task.name] = SubjectAverage(
            macro=accuracy.macro,
            macro_standard_error=_or_none(accuracy.macro_standard_error),
            micro=accuracy.accuracy,
            micro_standard_error=_or_none(accuracy.standard_error),
            subjects=len(task.parts),
            questions=task.questions,
        )
    return found


def _or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
