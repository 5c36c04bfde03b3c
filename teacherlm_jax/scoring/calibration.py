"""Whether the probability of what is chosen says how often it is right, and who is chosen by place.

Shape legend: N questions, O options, B bins.
"""

from __future__ import annotations

import dataclasses

import numpy as np

BINS = 10
MOST_PLACES = 26
"""Options after these are counted together, as one more."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The reliability of probabilities; all but counts in percent.

    Attributes:
      questions: how many fell in each of the bins, which have equal widths from 0 to 100; a
        probability on an edge is in the upper one, and 100 in the last.
      probability: mean in each bin; NaN where there is none.
      accuracy: of each bin; NaN where there is none.
      mean_probability: over all questions.
      expected_error: mean over questions of the distance between the accuracy and the mean
        probability of their bin: ECE (Naeini et al. 2015; Guo et al. 2017, section 2).
    """

    questions: tuple[int, ...]
    probability: tuple[float, ...]
    accuracy: tuple[float, ...]
    mean_probability: float
    expected_error: float


@dataclasses.dataclass(frozen=True)
class Places:
    """Where right and chosen options stand, over the questions with one number of options.

    Attributes:
      options: of each of these questions.
      counts: questions by place of the right option and then of the chosen one; options after
        `MOST_PLACES` share the last place.
      bias: percent of the questions that would have to be answered otherwise for every place to
        be chosen as often as it is right: half the sum of the differences of the shares.
    """

    options: int
    counts: tuple[tuple[int, ...], ...]
    bias: float

    @property
    def right(self) -> tuple[int, ...]:
        """How often each place is right."""
        return tuple(sum(row) for row in self.counts)

    @property
    def chosen(self) -> tuple[int, ...]:
        """How often each place is chosen."""
        return tuple(sum(column) for column in zip(*self.counts, strict=True))


def chosen_probability(scores_NO: np.ndarray) -> np.ndarray:
    """Probability of the best option of each question: the softmax over its options' scores."""
    return 1.0 / np.exp(scores_NO - scores_NO.max(axis=1, keepdims=True)).sum(axis=1)


def calibration(probability_N: np.ndarray, right_N: np.ndarray, bins: int = BINS) -> Calibration:
    """The reliability of the probabilities of chosen options.

    Args:
      probability_N: of each question's chosen option, from 0 to 1.
      right_N: whether it is the right one.
      bins: how many.

    Raises:
      ValueError: there are no questions, or a probability is none.
    """
    if not len(probability_N):
        raise ValueError("there are no questions, so there is no calibration: give one at least.")
    if not ((probability_N >= 0) & (probability_N <= 1)).all():
        raise ValueError(
            f"probabilities go from {probability_N.min()} to {probability_N.max()}, but they must"
            " lie in [0, 1]: give them as shares, not in percent."
        )
    bin_N = np.minimum((probability_N * bins).astype(int), bins - 1)
    questions_B = np.bincount(bin_N, minlength=bins)
    with np.errstate(invalid="ignore"):
        probability_B = np.bincount(bin_N, probability_N, minlength=bins) / questions_B
        accuracy_B = np.bincount(bin_N, right_N, minlength=bins) / questions_B
    gaps_B = np.nan_to_num(np.abs(accuracy_B - probability_B))
    return Calibration(
        questions=tuple(questions_B.tolist()),
        probability=tuple((100 * probability_B).tolist()),
        accuracy=tuple((100 * accuracy_B).tolist()),
        mean_probability=100 * float(probability_N.mean()),
        expected_error=100 * float((questions_B * gaps_B).sum()) / len(probability_N),
    )


def places(right_N: np.ndarray, chosen_N: np.ndarray, options_N: np.ndarray) -> tuple[Places, ...]:
    """Where right and chosen options stand, for each number of options that there is.

    Args:
      right_N: number of each question's right option.
      chosen_N: of its chosen one.
      options_N: how many it has.
    """
    found = []
    for options in np.unique(options_N).tolist():
        of_these = options_N == options
        size = min(options, MOST_PLACES + 1)
        right = np.minimum(right_N[of_these], size - 1)
        chosen = np.minimum(chosen_N[of_these], size - 1)
        counts = np.bincount(right * size + chosen, minlength=size * size).reshape(size, size)
        moved = np.abs(counts.sum(axis=0) - counts.sum(axis=1)).sum() / 2
        found.append(
            Places(
                options=options,
                counts=tuple(map(tuple, counts.tolist())),
                bias=100 * float(moved) / int(counts.sum()),
            )
        )
    return tuple(found)
