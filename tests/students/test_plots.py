"""The charts as drawings: what stands in them, in which colours."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from teacherlm_jax.students import plots, report_view
from tests.students.report_example import example_results, small

SVG = "{http://www.w3.org/2000/svg}"
VARIANTS = ("wide_light", "wide_dark", "narrow_light", "narrow_dark")


@pytest.fixture(scope="module")
def chart() -> plots.Chart:
    """The chart of seven arms with two runs each."""
    (chart,) = plots.charts(report_view.arms_of(example_results(curves=False)), 44.4)
    return chart


def words(svg: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def run_marks(svg: bytes) -> list[list[float]]:
    """For each row of dots their places from left to right, in points."""
    groups = ElementTree.fromstring(svg).iter(f"{SVG}g")
    rows = [group for group in groups if group.get("id", "").startswith("PathCollection")]
    return [[float(use.get("x", "")) for use in row.iter(f"{SVG}use")] for row in rows]


@pytest.mark.parametrize("variant", VARIANTS)
def test_chart_of_arms_shows_every_run_twice(chart: plots.Chart, variant: str) -> None:
    marks = run_marks(chart.svg[variant])
    # Two runs of seven arms, and their differences for the six that are not plain.
    assert [len(row) for row in marks] == [2] * (7 + 6)
    shown = words(chart.svg[variant])
    for arm in example_results(curves=False)["arms"].values():
        assert f"{arm['accuracy_mean']:.1f}" in shown
        if "paired_difference" in arm:
            assert report_view.signed(arm["paired_difference"]["mean"]) in shown
            assert report_view.signed(arm["paired_difference"]["mean"]) in chart.alt
    assert "chance 44.4" in shown
    assert set(report_view.GROUP_NAMES.values()) <= set(shown)


def test_runs_stand_where_their_accuracies_are() -> None:
    results = small(chance=None)
    results["arms"] = {"plain": results["arms"]["plain"]}
    results["arms"]["plain"].update(accuracy_per_seed=[40.0, 60.0], accuracy_mean=50.0)
    (chart,) = plots.charts(report_view.arms_of(results), math.nan)
    ticks = {
        element.text: float(re.findall(r"[\d.]+", element.get("transform", ""))[-2])
        if element.get("x") is None
        else float(element.get("x", ""))
        for element in ElementTree.fromstring(chart.svg["wide_light"]).iter(f"{SVG}text")
    }
    assert run_marks(chart.svg["wide_light"]) == [
        [pytest.approx(ticks["40"], abs=0.1), pytest.approx(ticks["60"], abs=0.1)]
    ]


def test_dark_charts_have_no_light_colours(chart: plots.Chart) -> None:
    for variant in VARIANTS:
        colours = set(re.findall(r"#[0-9a-f]{6}", chart.svg[variant].decode()))
        expected = plots.DARK.values() if "dark" in variant else plots.DARK.keys()
        assert colours <= set(expected), variant
        assert len(colours) > 5


def test_dollar_signs_in_names_are_no_formulas() -> None:
    results = small()
    results["arms"]["$x_$"] = results["arms"]["fundamentals"]
    (chart,) = plots.charts(report_view.arms_of(results), math.nan)
    assert "$x $" in words(chart.svg["wide_light"])


def test_curves_of_one_point_with_gaps_and_long_ones() -> None:
    results = small()
    results["arms"]["plain"]["learning_curve"] = [{"step": 800, "loss": 0.5}]
    results["arms"]["fundamentals"]["learning_curve"] = [
        {"step": step, "loss": None if step == 7 else 2.0} for step in range(500)
    ]
    arms, curves = plots.charts(report_view.arms_of(results), 44.4)
    assert (arms.name, curves.name) == ("arms", "learning_curves")
    assert "running mean" in curves.caption and "2.00 to 2.00 at step 499" in curves.alt
