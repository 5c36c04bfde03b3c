"""Results as the report shows them: sentences, rows of tables, and a few mistakes to read."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from teacherlm_jax.scoring import judged
from teacherlm_jax.scoring.plots import letter
from teacherlm_jax.scoring.receipts import Receipt
from teacherlm_jax.scoring.results import Results, Summary
from teacherlm_jax.scoring.scores import ScoringPolicy
from teacherlm_jax.scoring.words import counted

DASH = "\N{EN DASH}"  # stands for a number that is missing

NORMALISATION_WORDS = {
    "sum": "sum",
    "tokens": "per token",
    "bytes": "per byte",
    "characters": "per character",
    "unconditional": "less unconditional",
}
LM_EVAL_NAMES = {
    "sum": "acc",
    "bytes": "acc_bytes",
    "characters": "acc_norm",
    "unconditional": "acc_mutual_info",
}
# Mistakes shown, and of one task; the page is no place to read them all.
MISTAKES, OF_A_TASK = 6, 2
LONG_TEXT = 1200


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a mistake.

    Attributes:
      name: its letter and its text, unless this is the letter.
      log_likelihood: summed.
      probability: percent, by softmax over the options' headline scores.
      is_right: whether it is the answer.
      is_chosen: whether it scored best.
    """

    name: str
    log_likelihood: float
    probability: float
    is_right: bool
    is_chosen: bool


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A question that was answered wrong, with its options and the probability of the chosen."""

    where: str
    prompt: str
    options: tuple[Option, ...]
    probability: float


def percent(value: float) -> str:
    """With one decimal; a dash for NaN."""
    return f"{value:.1f}" if math.isfinite(value) else DASH


def with_error(value: float, error: float) -> str:
    """A value and its standard error, where there is one."""
    return f"{percent(value)} ± {percent(error)}" if math.isfinite(error) else percent(value)


def name_of(summary: Summary, results: Results) -> str:
    """A name for a row: with the split where there are several."""
    name = f"{summary.task}: {summary.name}" if summary.task else summary.name
    return name if len(results.overall) == 1 else f"{name} ({summary.split})"


def finding(results: Results) -> str:
    """The sentences that the report begins with: of several tasks the mean, each counting alike."""
    told = []
    for whole in results.overall:
        accuracy = whole.by_normalisation[results.headline]
        where = f" of {whole.split}" if len(results.overall) > 1 else ""
        questions = f"{counted(whole.questions, 'question')}{where}"
        over_questions = with_error(accuracy.accuracy, accuracy.standard_error)
        if len(whole.parts) > 1:
            told.append(
                f"{with_error(accuracy.macro, accuracy.macro_standard_error)} percent right, the"
                f" mean over {len(whole.parts)} tasks; of all {questions}"
                f" {over_questions} percent, by chance {percent(whole.chance)}."
            )
        else:
            over_subjects = ""
            task = only_task(whole, results)
            if task.parts:
                of_task = task.by_normalisation[results.headline]
                over_subjects = (
                    f", {with_error(of_task.macro, of_task.macro_standard_error)} the mean over"
                    f" {len(task.parts)} subjects"
                )
            told.append(
                f"{over_questions} percent of {questions} right{over_subjects}; chance is"
                f" {percent(whole.chance)}."
            )
    return " ".join(told)


def notes(results: Results) -> list[str]:
    """What to know before the figures are believed."""
    found = [
        f"Options are ranked by their log-likelihoods ({NORMALISATION_WORDS[results.headline]});"
        " ± is one standard error."
    ]
    for whole in results.overall:
        where = f"Split {whole.split}: " if len(results.overall) > 1 else ""
        accuracy = whole.by_normalisation[results.headline]
        if accuracy.near_ties:
            most = 100 * accuracy.near_ties / whole.questions
            found.append(
                f"{where}{counted(accuracy.near_ties, 'near-tie')}: the best two options are"
                f" within {results.near_tie:g} nats, so that rounding may decide; together they can"
                f" move the accuracy by {most:.2f} points at most."
            )
        if accuracy.ties:
            found.append(
                f"{where}{counted(accuracy.ties, 'exact tie')}: there the first of the best is"
                " chosen."
            )
        if whole.truncated:
            found.append(
                f"{where}{counted(whole.truncated, 'prompt')} cut on the left, being too long:"
                f" {counted(whole.truncated_tokens, 'token')} in all."
            )
        if whole.moved:
            found.append(
                f"{where}{counted(whole.moved, 'question')} whose prompt's last tokens are scored"
                " with the options, since these merge with them."
            )
    return found


def average_rows(results: Results) -> list[dict[str, Any]]:
    """Rows of the table of averages; none where a task stands for itself."""
    if len(results.tasks) == 1 and not results.groups:
        return []
    return [_row(summary, results) for summary in averages(results)]


def averages(results: Results) -> list[Summary]:
    """All tasks of a split, unless a group says the same, and the groups."""
    groups = {(group.split, frozenset(group.parts)) for group in results.groups}
    wholes = [
        whole for whole in results.overall if (whole.split, frozenset(whole.parts)) not in groups
    ]
    return [*wholes, *results.groups]


def only_task(whole: Summary, results: Results) -> Summary:
    """The first task of a split, which is all of it where there is one."""
    return next(
        task for task in results.tasks if (task.name, task.split) == (whole.parts[0], whole.split)
    )


def task_rows(results: Results) -> list[dict[str, Any]]:
    """Rows of the table of tasks; a task's subjects follow it."""
    rows = []
    for task in results.tasks:
        rows.append(_row(task, results))
        rows += [
            _row(subject, results)
            for subject in results.subjects
            if (subject.task, subject.split) == (task.name, task.split)
        ]
    return rows


def _row(summary: Summary, results: Results) -> dict[str, Any]:
    accuracy = summary.by_normalisation[results.headline]
    return {
        "name": name_of(summary, results),
        "parts": f"{len(summary.parts):,}" if summary.parts else "",
        "questions": f"{summary.questions:,}",
        "accuracy": with_error(accuracy.accuracy, accuracy.standard_error),
        "macro": with_error(accuracy.macro, accuracy.macro_standard_error)
        if summary.parts
        else DASH,
        "chance": percent(summary.chance),
        "calibration": percent(summary.calibration.expected_error),
        "near_ties": f"{accuracy.near_ties:,}",
        "truncated": f"{summary.truncated:,}",
        "others": [
            percent(summary.by_normalisation[name].accuracy)
            if name in summary.by_normalisation
            else DASH
            for name in others(results)
        ],
    }


def others(results: Results) -> list[str]:
    """The normalisations beside the headline that any task has."""
    found = {name for task in results.tasks for name in task.by_normalisation}
    return [name for name in NORMALISATION_WORDS if name in found - {results.headline}]


def normalisation_rows(results: Results) -> list[dict[str, str]]:
    """Every normalisation that all questions of a split have."""
    rows = []
    for whole in results.overall:
        where = f" ({whole.split})" if len(results.overall) > 1 else ""
        several = len(whole.parts) > 1
        # The mean over one task is its accuracy: what can differ is that over its subjects.
        averaged = whole if several else only_task(whole, results)
        for name, accuracy in whole.by_normalisation.items():
            mean = DASH
            if averaged.parts:
                macro = averaged.by_normalisation[name]
                mean = with_error(macro.macro, macro.macro_standard_error)
            rows.append(
                {
                    "name": NORMALISATION_WORDS[name] + where,
                    "headline": "headline" if name == results.headline else "",
                    "lm_eval": LM_EVAL_NAMES.get(name, DASH),
                    "accuracy": with_error(accuracy.accuracy, accuracy.standard_error),
                    "over_tasks": mean if several else DASH,
                    "over_subjects": DASH if several else mean,
                    "ties": f"{accuracy.ties:,}",
                    "near_ties": f"{accuracy.near_ties:,}",
                }
            )
    return rows


def mistakes(results: Results, receipts: Sequence[Receipt]) -> list[Mistake]:
    """The most confident mistakes, the most confident first, few of one task."""
    whole = judged.judge(receipts, results.near_tie)
    choice = whole.choices[results.headline]
    wrong = np.flatnonzero(choice.chosen_N != whole.answer_N)
    of_task: collections.Counter[str] = collections.Counter()
    found = []
    for number in wrong[np.argsort(-choice.probability_N[wrong], kind="stable")]:
        one = whole.receipts[number]
        of_task[one.task] += 1
        if of_task[one.task] <= OF_A_TASK:
            found.append(_mistake(one, results.headline))
        if len(found) == MISTAKES:
            break
    return found


def _mistake(one: Receipt, headline: str) -> Mistake:
    scores = np.array(one.score(ScoringPolicy(max_length=2)).normalised(headline))
    probabilities = np.exp(scores - scores.max())
    probabilities *= 100 / probabilities.sum()
    chosen = int(scores.argmax())
    return Mistake(
        where=f"{one.task}, {one.split}, question {one.question_id}",
        prompt=one.prompt,
        options=tuple(
            Option(
                _option_name(place, text), value, float(share), place == one.answer, place == chosen
            )
            for place, (text, value, share) in enumerate(
                zip(one.option_texts, one.log_likelihoods, probabilities, strict=True)
            )
        ),
        probability=float(probabilities[chosen]),
    )


def _option_name(place: int, text: str) -> str:
    text = text.strip()
    return text if text == letter(place) else f"{letter(place)}: {shortened(text)}"


def shortened(text: str) -> str:
    """The text, or both ends of a long one: what is asked stands at one or the other."""
    if len(text) <= LONG_TEXT:
        return text
    begin = LONG_TEXT // 3
    return f"({len(text):,} characters) {text[:begin]} … {text[begin - LONG_TEXT :]}"


def pairs(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as texts; lists are joined, mappings written as JSON."""
    found = []
    for name, value in details.items():
        if isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        elif isinstance(value, Mapping):
            value = json.dumps(value, ensure_ascii=False)
        found.append((str(name).replace("_", " "), DASH if value is None else str(value)))
    return found
