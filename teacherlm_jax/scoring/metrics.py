"""Metrics over scores of options. numpy only, so that they run wherever scoring runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Shape suffixes: N rows (one per question and option).


def rank_classification(
    targets: Sequence[tuple[Any, Any]], scores: Sequence[float] | np.ndarray
) -> dict[str, float]:
    """Accuracy of choosing the option with the highest score; a seqio metric function.

    Where options tie for the best score, exactly, the first of them is chosen, and the question is
    counted in `ties`: many ties mean that the scores, not the model, decide too coarsely.

    Args:
        targets: a row per question and option: (idx, is_correct), with idx the numbers of question
            and option, both from 0, in any order.
        scores: the score of each row, for example the log-likelihood of its option.

    Returns:
        accuracy: percent of the questions whose chosen option is the correct one.
        questions: number of questions.
        ties: number of questions where more than one option has the best score.

    Raises:
        ValueError: rows are missing or doubled, a question has not exactly one correct option or
            fewer than two options, or the scores do not fit the rows or are not numbers.
    """
    scores_N = np.asarray(scores, dtype=np.float64)
    questions_N, options_N, correct_N = _columns(targets)
    if scores_N.shape != questions_N.shape:
        raise ValueError(
            f"scores have shape {scores_N.shape}, but there are {len(questions_N)} rows: give one"
            " score a row."
        )
    if np.isnan(scores_N).any():
        row = int(np.flatnonzero(np.isnan(scores_N))[0])
        raise ValueError(
            f"the score of row {row} (question {questions_N[row]}, option {options_N[row]}) is not"
            " a number, so options cannot be ranked: look for infinities in the model's logits."
        )
    order = np.lexsort((options_N, questions_N))
    questions_N, options_N = questions_N[order], options_N[order]
    correct_N, scores_N = correct_N[order], scores_N[order]
    _, starts = np.unique(questions_N, return_index=True)
    _check_rows(questions_N, options_N, correct_N, starts)
    right = ties = 0
    for begin, end in zip(starts, [*starts[1:], len(questions_N)]):
        group = scores_N[begin:end]
        best = group.max()
        right += bool(correct_N[begin + int(np.argmax(group))])
        ties += int(np.count_nonzero(group == best) > 1)
    return {
        "accuracy": 100.0 * right / len(starts),
        "questions": len(starts),
        "ties": ties,
    }


def index_and_correctness(
    output: Any, example: Mapping[str, Any], is_target: bool = False
) -> tuple[Any, bool]:
    """A row as `rank_classification` takes it for a target; a seqio postprocess function.

    Args:
        output: what the model wrote, which is not used.
        example: with `idx` and `is_correct`.
        is_target: seqio's, not used.
    """
    return example["idx"], bool(example["is_correct"])


def _columns(targets: Sequence[tuple[Any, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns question numbers, option numbers and correctness, each [N]."""
    if not len(targets):
        raise ValueError("there are no rows, so there is no accuracy: check the task's split.")
    idx_N2 = np.asarray([idx for idx, _ in targets])
    if idx_N2.shape != (len(targets), 2) or not np.issubdtype(idx_N2.dtype, np.integer):
        raise ValueError(
            f"idx of the rows has shape {idx_N2.shape} and type {idx_N2.dtype}, but it must be two"
            " integers a row: the numbers of question and option."
        )
    return idx_N2[:, 0], idx_N2[:, 1], np.asarray([bool(correct) for _, correct in targets])


def _check_rows(
    questions_N: np.ndarray, options_N: np.ndarray, correct_N: np.ndarray, starts: np.ndarray
) -> None:
    """Raises unless the sorted rows hold each question and each of its options exactly once.

    An option that is missing at a question's end leaves no gap in the numbers, so it shows only if
    it was the correct one or if fewer than two are left.
    """
    numbers = questions_N[starts]
    if not np.array_equal(numbers, np.arange(len(numbers))):
        present = set(numbers.tolist())
        absent = [n for n in range(max(present) + 1) if n not in present]
        raise ValueError(
            f"questions {absent[:5] or sorted(present)[:1]} are missing or negative among"
            f" {len(numbers)} questions, but questions are numbered from 0 without gaps: score all"
            " rows of the split."
        )
    for begin, end in zip(starts, [*starts[1:], len(questions_N)]):
        question, options = int(questions_N[begin]), options_N[begin:end]
        if not np.array_equal(options, np.arange(len(options))) or len(options) < 2:
            raise ValueError(
                f"question {question} has rows for the options {options.tolist()}, but it needs"
                " each option from 0 on exactly once, and at least two: a row is missing or stands"
                " twice."
            )
        count = int(np.count_nonzero(correct_N[begin:end]))
        if count != 1:
            raise ValueError(
                f"question {question} has {count} correct options, but rank classification needs"
                " exactly one: check the task's is_correct, or whether rows were cut off."
            )
