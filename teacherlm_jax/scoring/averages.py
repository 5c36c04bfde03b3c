"""Averages of accuracies over groups of tasks, such as MMLU's subjects."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence


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
