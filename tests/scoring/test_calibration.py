"""Calibration and places against slow loops, and by hand."""

import math

import numpy as np
import pytest

from teacherlm_jax.scoring import calibration


def test_expected_error_is_that_of_a_slow_loop():
    random = np.random.default_rng(3)
    probability = np.concatenate([random.uniform(size=400), np.arange(11) / 10])
    right = random.uniform(size=len(probability)) < probability**2
    found = calibration.calibration(probability, right)
    error = 0.0
    for number in range(10):
        edges = (number / 10, (number + 1) / 10)
        own = [
            (p, r)
            for p, r in zip(probability.tolist(), right.tolist(), strict=True)
            if edges[0] <= p < edges[1] or (number == 9 and p == 1)
        ]
        mean, accuracy = (sum(values) / len(own) for values in zip(*own, strict=True))
        assert found.questions[number] == len(own)
        assert found.probability[number] == pytest.approx(100 * mean)
        assert found.accuracy[number] == pytest.approx(100 * accuracy)
        error += len(own) / len(probability) * abs(mean - accuracy)
    assert found.expected_error == pytest.approx(100 * error) and found.expected_error > 5
    assert found.mean_probability == pytest.approx(100 * probability.mean())


def test_perfect_and_worst_calibration():
    sure = calibration.calibration(np.ones(4), np.ones(4, bool))
    assert sure.expected_error == 0 and sure.questions == (0,) * 9 + (4,)
    assert all(math.isnan(value) for value in sure.accuracy[:9] + sure.probability[:9])
    assert calibration.calibration(np.ones(4), np.zeros(4, bool)).expected_error == 100
    # Over- and underconfidence in one bin cancel; in two they do not.
    values, right = np.array([0.55, 0.55]), np.array([True, False])
    assert calibration.calibration(values, right).expected_error == pytest.approx(5)
    values = np.array([0.55, 0.65])
    assert calibration.calibration(values, right).expected_error == pytest.approx((45 + 65) / 2)


@pytest.mark.parametrize(
    "values, message", [([], "no questions"), ([50.0], "from 50.0 to 50.0"), ([math.nan], "nan")]
)
def test_what_is_no_probability(values, message):
    with pytest.raises(ValueError, match=message):
        calibration.calibration(np.array(values), np.ones(len(values), bool))


def test_probability_of_the_best_survives_extreme_scores():
    scores = np.array([[-1e4, -1e4 - math.log(3)], [1e4, -1e4], [0.0, 0.0]])
    assert calibration.chosen_probability(scores).tolist() == pytest.approx([0.75, 1.0, 0.5])


def test_places_count_right_and_chosen_by_number_of_options():
    right = np.array([0, 0, 1, 1, 2, 0])
    chosen = np.array([0, 0, 0, 1, 0, 1])
    two, three = calibration.places(right, chosen, np.array([2, 2, 2, 2, 3, 3]))
    assert (two.options, two.counts) == (2, ((2, 0), (1, 1)))
    assert (two.right, two.chosen, two.bias) == ((2, 2), (3, 1), 25.0)
    assert (three.options, three.counts) == (3, ((0, 1, 0), (0, 0, 0), (1, 0, 0)))
    # Chosen are A and B, right are A and C: one of two would have to move.
    assert three.bias == 50.0


def test_an_unbiased_model_may_be_wrong():
    right = np.array([0, 1, 2])
    (found,) = calibration.places(right, np.array([1, 2, 0]), np.array([3, 3, 3]))
    assert found.bias == 0 and found.counts == ((0, 1, 0), (0, 0, 1), (1, 0, 0))


def test_places_beyond_the_letters_are_one():
    right, chosen = np.array([25, 26, 99]), np.array([0, 99, 27])
    (found,) = calibration.places(right, chosen, np.array([100, 100, 100]))
    assert found.options == 100 and len(found.counts) == 27
    assert found.counts[25][0] == 1 and found.counts[26][26] == 2
