"""The results of an evaluation, out of its receipts: accuracies with errors, averages, warnings.

Accuracies, their standard errors and probabilities are in percent. The standard error of an
accuracy is that of a mean over questions, with n - 1 under the sample variance, as lm-eval has it.

Shape legend: N questions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from teacherlm_jax.scoring import calibration, judged
from teacherlm_jax.scoring.calibration import Calibration, Places
from teacherlm_jax.scoring.judged import Judged
from teacherlm_jax.scoring.receipts import Receipt
from teacherlm_jax.scoring.scores import NORMALISATIONS, ScoringPolicy

OVERALL, GROUP, TASK, SUBJECT = "overall", "group", "task", "subject"


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """How often one normalisation chooses the right option.

    Attributes:
      right: questions.
      accuracy: percent of all questions: each counts the same (micro, where there are parts).
      standard_error: of it; NaN for one question.
      macro: mean of the parts' accuracies: each part counts the same; NaN without parts.
      macro_standard_error: of it, the parts being independent; NaN where a part has none.
      ties: questions where another option scores exactly as much as the chosen one.
      near_ties: where rounding could decide between the best two, ties included.
    """

    right: int
    accuracy: float
    standard_error: float
    macro: float
    macro_standard_error: float
    ties: int
    near_ties: int


@dataclasses.dataclass(frozen=True)
class Summary:
    """The results of a task, of one of its subjects, of a group of tasks, or of all tasks.

    Attributes:
      kind: "overall", "group", "task" or "subject".
      name: of the task or group; a subject's is the subject.
      split: averages never mix splits.
      subject: that of all its questions; "" where they have none, or several.
      parts: the tasks that a group averages, or a task's subjects where it has several.
      task: whose subject it is; "" otherwise.
      questions: how many.
      chance: the accuracy of guessing: the mean of 1 / options.
      truncated: questions whose prompt was cut.
      truncated_tokens: what was cut from them in all.
      moved: questions whose boundary was moved; see `boundary.Cut`.
      by_normalisation: for each normalisation that all of its questions have.
      calibration: of the headline.
      places: of the headline, by number of options.
    """

    kind: str
    name: str
    split: str
    subject: str
    parts: tuple[str, ...]
    task: str
    questions: int
    chance: float
    truncated: int
    truncated_tokens: int
    moved: int
    by_normalisation: Mapping[str, Accuracy]
    calibration: Calibration
    places: tuple[Places, ...]


@dataclasses.dataclass(frozen=True)
class Results:
    """All results of one model.

    Attributes:
      headline: the normalisation that counts.
      near_tie: see `ScoringPolicy`.
      checkpoint_digest: of the model.
      overall: all tasks of a split, for each split.
      groups: in the order given, for each split.
      tasks: by name and split.
      subjects: of the tasks that have several.
    """

    headline: str
    near_tie: float
    checkpoint_digest: str
    overall: tuple[Summary, ...]
    groups: tuple[Summary, ...]
    tasks: tuple[Summary, ...]
    subjects: tuple[Summary, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as mappings, lists and numbers, with null for NaN."""
        plain = _plain(dataclasses.asdict(self))
        assert isinstance(plain, dict)
        return {"unit": "percent", **plain}


def summarize(
    receipts: Sequence[Receipt],
    headline: str,
    groups: Mapping[str, Sequence[str]],
    *,
    near_tie: float = ScoringPolicy.near_tie,
) -> Results:
    """The results of one model; the order of receipts makes no difference.

    Args:
      receipts: of all questions of some tasks, each once.
      headline: the normalisation that counts, one of `NORMALISATIONS`.
      groups: name -> tasks to average over.
      near_tie: see `ScoringPolicy`.

    Raises:
      ValueError: there are no receipts, one is malformed or stands twice, some lack what the
        headline needs, or a group has no tasks, one of them twice, or one that was not scored.
    """
    if headline not in NORMALISATIONS:
        raise ValueError(f"headline = {headline!r}, but it must be one of {NORMALISATIONS}.")
    whole = judged.judge(receipts, near_tie)
    lacking = np.flatnonzero(~whole.choices[headline].has_N)
    if len(lacking):
        one = whole.receipts[lacking[0]]
        raise ValueError(
            f"{len(lacking)} questions, such as {one.question_id!r} of {one.task}, have no"
            f" {headline} scores, but that is the headline: score with an unconditional_prompt, or"
            " choose another headline."
        )
    summaries = _Summaries(whole, headline)
    for group, tasks in groups.items():
        summaries.check_group(group, tasks)
    return Results(
        headline=headline,
        near_tie=near_tie,
        checkpoint_digest=whole.receipts[0].checkpoint_digest,
        overall=tuple(summaries.overall(split) for split in summaries.splits),
        groups=tuple(
            summaries.average(GROUP, group, tasks, split)
            for split in summaries.splits
            for group, tasks in groups.items()
            if (tasks[0], split) in summaries.tasks
        ),
        tasks=tuple(summary for summary, _ in summaries.tasks.values()),
        subjects=tuple(summaries.subjects),
    )


class _Summaries:
    """Tasks and their subjects summarized, with what averages over them need."""

    def __init__(self, whole: Judged, headline: str) -> None:
        self._whole, self._headline = whole, headline
        numbers: dict[tuple[str, str], list[int]] = {}
        for number, one in enumerate(whole.receipts):
            numbers.setdefault((one.task, one.split), []).append(number)
        self.splits = sorted({split for _, split in numbers})
        self.subjects: list[Summary] = []
        self.tasks: dict[tuple[str, str], tuple[Summary, np.ndarray]] = {}
        for (task, split), own in numbers.items():
            self.tasks[task, split] = self._task(task, split, np.array(own)), np.array(own)

    def _task(self, task: str, split: str, own: np.ndarray) -> Summary:
        of_subject: dict[str, list[int]] = {}
        for number in own:
            of_subject.setdefault(self._whole.receipts[number].subject, []).append(number)
        if len(of_subject) == 1:
            (subject,) = of_subject
            return self._summary(TASK, task, split, own, subject=subject)
        parts = [
            self._summary(SUBJECT, name, split, np.array(of_subject[name]), subject=name, task=task)
            for name in sorted(of_subject)
        ]
        self.subjects += parts
        return self._summary(TASK, task, split, own, parts)

    def check_group(self, name: str, tasks: Sequence[str]) -> None:
        """Raises ValueError where a group cannot be averaged."""
        if not tasks:
            raise ValueError(f"group {name} has no tasks to average: name one at least.")
        if len(set(tasks)) < len(tasks):
            raise ValueError(
                f"group {name} has a task twice, which would count twice: {sorted(tasks)}."
            )
        found = [{task for task in tasks if (task, split) in self.tasks} for split in self.splits]
        partly = [part for part in found if part] or [set()]
        for part in partly:
            absent = sorted(set(tasks) - part)
            if absent:
                raise ValueError(
                    f"group {name} has {len(tasks)} tasks, but there are no receipts of"
                    f" {absent[:5]}: score all of them in a split, or leave the group out."
                )

    def overall(self, split: str) -> Summary:
        """All tasks of a split."""
        return self.average(OVERALL, "all", [task for task, of in self.tasks if of == split], split)

    def average(self, kind: str, name: str, tasks: Sequence[str], split: str) -> Summary:
        """Some tasks of a split."""
        parts = [self.tasks[task, split] for task in tasks]
        own = np.concatenate([numbers for _, numbers in parts])
        return self._summary(kind, name, split, np.sort(own), [part for part, _ in parts])

    def _summary(
        self,
        kind: str,
        name: str,
        split: str,
        own: np.ndarray,
        parts: Sequence[Summary] = (),
        subject: str = "",
        task: str = "",
    ) -> Summary:
        whole, head = self._whole, self._whole.choices[self._headline]
        answer, chosen = whole.answer_N[own], head.chosen_N[own]
        return Summary(
            kind=kind,
            name=name,
            split=split,
            subject=subject,
            parts=tuple(part.name for part in parts),
            task=task,
            questions=len(own),
            chance=100 * float((1 / whole.options_N[own]).mean()),
            truncated=int(np.count_nonzero(whole.truncated_N[own])),
            truncated_tokens=int(whole.truncated_N[own].sum()),
            moved=int(np.count_nonzero(whole.moved_N[own])),
            by_normalisation={
                normalisation: _accuracy(whole, own, normalisation, parts)
                for normalisation, choice in whole.choices.items()
                if choice.has_N[own].all()
            },
            calibration=calibration.calibration(head.probability_N[own], chosen == answer),
            places=calibration.places(answer, chosen, whole.options_N[own]),
        )


def _accuracy(
    whole: Judged, own: np.ndarray, normalisation: str, parts: Sequence[Summary]
) -> Accuracy:
    choice = whole.choices[normalisation]
    right = int(np.count_nonzero(choice.chosen_N[own] == whole.answer_N[own]))
    of_parts = [part.by_normalisation[normalisation] for part in parts]
    macro, macro_error = math.nan, math.nan
    if of_parts:
        macro = math.fsum(part.accuracy for part in of_parts) / len(of_parts)
        macro_error = math.hypot(*(part.standard_error for part in of_parts)) / len(of_parts)
    return Accuracy(
        right=right,
        accuracy=100 * right / len(own),
        standard_error=100 * standard_error(right, len(own)),
        macro=macro,
        macro_standard_error=macro_error,
        ties=int(np.count_nonzero(choice.tied_N[own])),
        near_ties=int(np.count_nonzero(choice.near_N[own])),
    )


def standard_error(right: int, questions: int) -> float:
    """Of the mean of `right` ones and otherwise zeros, as a share; NaN for one question.

    The sample variance of such numbers is right * wrong / (n * (n - 1)).
    """
    if questions < 2:
        return math.nan
    return math.sqrt(right * (questions - right) / (questions * (questions - 1)) / questions)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
