import itertools
import subprocess
import sys

import numpy as np
import pytest

from teacherlm_jax.scoring.metrics import rank_classification


def make_targets(counts, correct):
    """Rows of questions with `counts` options each, of which number `correct[q]` is right."""
    return [
        (np.array([question, option], np.int32), option == correct[question])
        for question, count in enumerate(counts)
        for option in range(count)
    ]


def test_highest_score_is_the_choice():
    targets = make_targets([2, 3, 2], [0, 2, 1])
    scores = [-1.0, -2.0, -9.0, -8.0, -7.5, -3.0, -4.0]
    result = rank_classification(targets, scores)
    assert result == {"accuracy": pytest.approx(200 / 3), "questions": 3, "ties": 0}


def test_first_of_tied_options_is_the_choice():
    result = rank_classification(make_targets([2, 2], [0, 1]), [-1.0, -1.0, -1.0, -1.0])
    assert result == {"accuracy": 50.0, "questions": 2, "ties": 2}


def test_ties_below_the_best_do_not_count():
    result = rank_classification(make_targets([3], [1]), [-2.0, -1.0, -2.0])
    assert result == {"accuracy": 100.0, "questions": 1, "ties": 0}


def test_agrees_with_counting_by_hand_in_any_order_of_rows():
    rng = np.random.default_rng(0)
    counts = rng.integers(2, 6, size=200)
    correct = [int(rng.integers(count)) for count in counts]
    targets = make_targets(counts, correct)
    scores = rng.normal(size=len(targets))
    groups = itertools.groupby(zip(targets, scores), key=lambda row: int(row[0][0][0]))
    right = 0
    for _, rows in groups:
        best = max(rows, key=lambda row: row[1])
        right += best[0][1]
    order = rng.permutation(len(targets))
    result = rank_classification([targets[i] for i in order], scores[order])
    assert result == {"accuracy": pytest.approx(right / 2), "questions": 200, "ties": 0}


def test_impossible_options_may_score_minus_infinity():
    result = rank_classification(make_targets([2], [1]), [-np.inf, -5.0])
    assert result["accuracy"] == 100.0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows"),
        ([((0, 0), True), ((0, 0), False), ((0, 1), False)], "question 0 .*stands twice"),
        ([((0, 0), True), ((0, 2), False)], r"question 0 .*\[0, 2\].*missing"),
        ([((0, 0), True)], "question 0 .*at least two"),
        ([((0, 0), True), ((0, 1), False), ((2, 0), True), ((2, 1), False)], r"\[1\] are missing"),
        ([((-1, 0), True), ((-1, 1), False)], "negative"),
        ([((0, 0), False), ((0, 1), False)], "question 0 has 0 correct"),
        ([((0, 0), True), ((0, 1), True)], "question 0 has 2 correct"),
        ([((0, 0, 0), True), ((0, 1, 0), False)], r"shape \(2, 3\)"),
        ([((0.0, 0.0), True), ((0.0, 1.0), False)], "float64"),
    ],
)
def test_wrong_rows_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        rank_classification(rows, [0.0] * len(rows))


def test_wrong_scores_are_refused():
    targets = make_targets([2], [0])
    with pytest.raises(ValueError, match=r"shape \(3,\).*2 rows"):
        rank_classification(targets, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"shape \(2, 1\)"):
        rank_classification(targets, [[1.0], [2.0]])
    with pytest.raises(ValueError, match=r"row 1 .question 0, option 1. is not a number"):
        rank_classification(targets, [1.0, float("nan")])


def test_needs_numpy_alone():
    code = (
        "import sys; import teacherlm_jax.scoring.metrics; "
        "print({'seqio', 'tensorflow', 'jax', 'clu', 'gin'} & set(sys.modules))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "set()"
