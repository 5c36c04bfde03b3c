"""Which bars stand where, and that they are as long as they should be."""

from __future__ import annotations

import pytest

from teacherlm_jax.metrics import drawing
from teacherlm_jax.scoring import bars, results
from tests.scoring.receipt_example import GROUPS, example, receipt


def summarized(count: int, **groups: list[str]) -> results.Results:
    receipts = [
        receipt(task=f"task {number}", question_id=str(which), answer=int(which > number % 4))
        for number in range(count)
        for which in range(4)
    ]
    return results.summarize(receipts, "sum", groups)


def test_tasks_stand_in_their_smallest_group_the_best_first():
    found = results.summarize(example(), "sum", GROUPS)
    both, stem = bars.blocks(found)
    assert (both.heading, [bar.label for bar in both.bars]) == ("both", ["other"])
    # "both" is the average of more than what stands under it.
    assert both.figures == ""
    assert [bar.label for bar in stem.bars] in (
        ["small stem", "large stem"],
        ["large stem", "small stem"],
    )
    values = [bar.summary.by_normalisation["sum"].accuracy for bar in stem.bars]
    assert values == sorted(values, reverse=True)
    accuracy = found.groups[1].by_normalisation["sum"]
    assert stem.figures == f"{accuracy.accuracy:.1f}, mean of 2: {accuracy.macro:.1f}"


def test_tasks_without_a_group_and_subjects_of_a_task():
    questions = [
        receipt(task="mixed", question_id=subject, subject=subject) for subject in ("a_b", "c")
    ]
    found = results.summarize(
        [*questions, receipt(task="alone"), receipt(task="in", split="dev")], "sum", {"g": ["in"]}
    )
    told = [(block.heading, [bar.label for bar in block.bars]) for block in bars.blocks(found)]
    assert told == [
        ("g, dev", ["in"]),
        ("test", ["alone", "mixed"]),
        ("mixed, test", ["a b", "c"]),
    ]


@pytest.mark.parametrize("count, charts, columns", [(2, 1, 1), (30, 1, 1), (60, 1, 2), (200, 3, 6)])
def test_every_task_stands_once_in_charts_that_fit_a_screen(count, charts, columns):
    laid_out = bars.charts(bars.blocks(summarized(count)))
    assert len(laid_out) == charts and sum(map(len, laid_out)) == columns
    labels = [
        bar.label
        for chart in laid_out
        for column in chart
        for block in column
        for bar in block.bars
    ]
    assert sorted(labels) == sorted(f"task {number}" for number in range(count))
    for chart in laid_out:
        assert len(chart) <= 2
        for column in chart:
            assert sum(block.rows for block in column) <= bars.MOST_ROWS


def test_groups_of_the_size_of_mmlu_fit_one_chart_evenly():
    sizes, names = (18, 13, 12, 14), iter(range(57))
    groups = {f"g{size}": [f"task {next(names)}" for _ in range(size)] for size in sizes}
    (chart,) = bars.charts(bars.blocks(summarized(57, **groups)))
    told = [[block.heading for block in column] for column in chart]
    assert told == [["g18", "g13"], ["g12", "g14"]]


def test_bars_whiskers_and_chance_are_where_they_should_be():
    found = summarized(2)
    chart = bars.charts(bars.blocks(found))[0]
    with drawing.settings("test"):
        (axes,) = bars.figure(chart, "sum").axes
    assert [patch.get_width() for patch in axes.patches] == [50.0, 25.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["task 1", "task 0"]
    assert [text.get_text() for text in axes.texts] == ["50.0", "25.0"]
    error = found.tasks[0].by_normalisation["sum"].standard_error
    lines = [line.get_xdata().tolist() for line in axes.lines]
    assert [0.0, 25 + error] in lines or [25 - error, 25 + error] in lines
    assert lines.count([50.0, 50.0]) == 2
    assert axes.get_xlim() == (0, 100)


def test_long_names_keep_both_ends():
    name = "a_long_name_of_many_" * 4 + "end"
    questions = [receipt(task=name), receipt(task="b", answer=1)]
    chart = bars.charts(bars.blocks(results.summarize(questions, "sum", {})))[0]
    with drawing.settings("test"):
        (axes,) = bars.figure(chart, "sum").axes
    label = axes.get_yticklabels()[0].get_text()
    assert len(label) == bars.LONGEST_LABEL
    assert label.startswith("a_long_name") and label.endswith("many_end")
