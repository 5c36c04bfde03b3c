"""Receipts judged: which option is chosen, under every normalisation, as columns of numbers.

Shape legend: N questions, O options.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from teacherlm_jax.scoring import calibration
from teacherlm_jax.scoring.receipts import Receipt
from teacherlm_jax.scoring.scores import NORMALISATIONS, ScoringPolicy


@dataclasses.dataclass(frozen=True)
class Choice:
    """What one normalisation chooses; questions that lack it count for nothing.

    Attributes:
      has_N: whether the question has what it needs.
      chosen_N: number of the best option; of equals, the lowest.
      tied_N: whether another option scores exactly as much.
      near_N: whether the margin to the second is within the near-tie, exact ties included.
      probability_N: of the chosen option, by softmax over the options' scores.
    """

    has_N: np.ndarray
    chosen_N: np.ndarray
    tied_N: np.ndarray
    near_N: np.ndarray
    probability_N: np.ndarray


@dataclasses.dataclass(frozen=True)
class Judged:
    """Questions in the order of (task, split, id), whatever the order in which they came."""

    receipts: tuple[Receipt, ...]
    answer_N: np.ndarray
    options_N: np.ndarray
    truncated_N: np.ndarray
    moved_N: np.ndarray
    choices: Mapping[str, Choice]


def judge(receipts: Sequence[Receipt], near_tie: float) -> Judged:
    """Judges the receipts of one model.

    Args:
      receipts: each question once.
      near_tie: see `ScoringPolicy`.

    Raises:
      ValueError: there are none, a question stands twice, receipts are of several checkpoints, or
        one is malformed.
    """
    if not receipts:
        raise ValueError("there are no receipts, so there are no results: score a task first.")
    receipts = sorted(receipts, key=lambda one: (one.task, one.split, one.question_id))
    for one in receipts:
        _check(one)
    _check_together(receipts)
    by_options: dict[int, list[int]] = collections.defaultdict(list)
    for number, one in enumerate(receipts):
        by_options[len(one.log_likelihoods)].append(number)
    return Judged(
        receipts=tuple(receipts),
        answer_N=np.array([one.answer for one in receipts]),
        options_N=np.array([len(one.log_likelihoods) for one in receipts]),
        truncated_N=np.array([one.truncated for one in receipts]),
        moved_N=np.array([one.moved for one in receipts]),
        choices={name: _choose(receipts, by_options, name, near_tie) for name in NORMALISATIONS},
    )


def _choose(
    receipts: Sequence[Receipt],
    by_options: Mapping[int, Sequence[int]],
    normalisation: str,
    near_tie: float,
) -> Choice:
    policy = ScoringPolicy(max_length=2)  # Only `normalised` is asked, which needs none of it.
    size = len(receipts)
    has_N, tied_N, near_N = (np.zeros(size, bool) for _ in range(3))
    chosen_N, probability_N = np.zeros(size, int), np.full(size, np.nan)
    for options, numbers in by_options.items():
        scores = [(number, receipts[number].score(policy)) for number in numbers]
        scores = [(n, score) for n, score in scores if normalisation in score.normalisations]
        if not scores:
            continue
        own = np.array([number for number, _ in scores])
        scores_NO = np.array([score.normalised(normalisation) for _, score in scores])
        sorted_NO = np.sort(scores_NO, axis=1)
        has_N[own] = True
        chosen_N[own] = scores_NO.argmax(axis=1)
        probability_N[own] = calibration.chosen_probability(scores_NO)
        if options > 1:
            tied_N[own] = sorted_NO[:, -1] == sorted_NO[:, -2]
            near_N[own] = sorted_NO[:, -1] - sorted_NO[:, -2] <= near_tie
    return Choice(has_N, chosen_N, tied_N, near_N, probability_N)


def _check(one: Receipt) -> None:
    where = f"question {one.question_id!r} of {one.task}, split {one.split!r}"
    options = len(one.options)
    lengths = {"log_likelihoods": len(one.log_likelihoods), "option_texts": len(one.option_texts)}
    if one.unconditional is not None:
        lengths["unconditional"] = len(one.unconditional)
    for name, length in lengths.items():
        if length != options or not options:
            raise ValueError(
                f"{where}: {options} options but {length} {name}: there must be one of each, and"
                " one option at least. Score the question again."
            )
    if not 0 <= one.answer < options:
        raise ValueError(
            f"{where}: the answer is option {one.answer}, but there are {options}, numbered from"
            " 0: mend the task's answers."
        )
    if not np.isfinite([*one.log_likelihoods, *(one.unconditional or ())]).all():
        raise ValueError(
            f"{where}: log-likelihoods are {list(one.log_likelihoods)}, which cannot be ranked:"
            " they must be finite. Look at the model's parameters."
        )


def _check_together(receipts: Sequence[Receipt]) -> None:
    """Receipts are sorted."""
    for one, other in itertools.pairwise(receipts):
        if (one.task, one.split, one.question_id) == (other.task, other.split, other.question_id):
            raise ValueError(
                f"question {one.question_id!r} of {one.task}, split {one.split!r}, stands twice, so"
                " it would count twice: give each receipt once, and those of one model only."
            )
    digests = sorted({one.checkpoint_digest for one in receipts})
    if len(digests) > 1:
        raise ValueError(
            f"receipts are of {len(digests)} checkpoints, such as {digests[0]!r} and"
            f" {digests[1]!r}, whose results must not be averaged: give those of one."
        )
