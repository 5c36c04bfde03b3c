"""The headline says what the numbers say, also when arms or numbers are missing."""

from __future__ import annotations

from typing import Any

from teacherlm_jax.students import report_view
from tests.students.report_example import example_results, two_arms


def told(results: dict[str, Any]) -> str:
    headline = report_view.headline(results, report_view.arms_of(results))
    return " ".join((headline.text, *headline.details))


def test_headline_gives_each_seed() -> None:
    text = told(two_arms([50.0, 52.0], [60.0, 70.0], "fundamentals"))
    assert "fundamentals score 65.0%, plain students 51.0%: a gain of 14.0 points." in text
    assert "Seed 0: 50.0 → 60.0 (+10.0); seed 1: 52.0 → 70.0 (+18.0)." in text


def test_headline_of_many_runs_counts_those_ahead() -> None:
    text = told(two_arms([50.0] * 6, [49.0, 60.0, 61.0, 62.0, 63.0, 64.0], "fundamentals"))
    assert f"Ahead of plain in 5 of 6 runs ({report_view.MINUS}1.0 to +14.0 points)." in text


def test_headline_says_a_loss_and_names_the_control() -> None:
    results = example_results()
    text = told(results)
    control = results["arms"]["scrambled_fundamentals"]
    gap = f"{abs(control['paired_difference']['mean']):.1f}"
    assert f"scores {control['accuracy_mean']:.1f}%: {report_view.MINUS}{gap} points" in text
    assert "a loss of 3.0 points" in told(two_arms([50.0], [47.0], "fundamentals"))


def test_headline_without_the_expected_arms_or_numbers() -> None:
    missing = told(two_arms([50.0, None], [60.0, 70.0], "fundamentals"))
    assert "plain students (not measured)" in missing
    assert "Seed 0: 50.0 → 60.0 (+10.0). 1 of 2 runs cannot be compared." in missing
    assert "no arm “fundamentals”; the arm shown is “cot”" in told(two_arms([50.0], [60.0], "cot"))
    results = two_arms([50.0], [60.0], "cot")
    assert "no other arm" in told({**results, "arms": {"plain": results["arms"]["plain"]}})
    alone = {**results, "arms": {"cot": results["arms"]["cot"]}}
    assert "No plain students to compare with." in told(alone)
