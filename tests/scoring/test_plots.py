"""The charts of a report: which there are, what their words say, and that they are pictures."""

from __future__ import annotations

import struct

import pytest

from teacherlm_jax.metrics import drawing
from teacherlm_jax.scoring import plots, results
from tests.scoring.receipt_example import GROUPS, example, receipt


def test_one_task_has_no_bars():
    alone = results.summarize([receipt()], "sum", {})
    assert plots.accuracies(alone) == []
    (chart,) = plots.accuracies(results.summarize([receipt(), receipt(task="b")], "sum", {}))
    assert "2 tasks or subjects" in chart.alt and "chance" in chart.caption


def test_charts_are_pictures_and_say_what_they_show():
    found = results.summarize(example(), "sum", GROUPS)
    (reliability,) = plots.reliabilities(found)
    error = found.overall[0].calibration.expected_error
    assert f"expected calibration error {error:.1f} percent" in reliability.alt
    (letters,) = plots.confusions(found)
    for place in found.overall[0].places:
        assert f"of {place.options} options, {sum(place.right)} questions" in letters.alt
    for chart in (reliability, letters):
        assert chart.png.startswith(b"\x89PNG")
        width, _ = struct.unpack(">II", chart.png[16:24])
        assert width == round(200 * chart.width)


def test_every_split_has_its_own():
    found = results.summarize([receipt(), receipt(split="dev")], "sum", {})
    assert [chart.name for chart in plots.reliabilities(found)] == ["reliability", "reliability_2"]
    assert [chart.name for chart in plots.confusions(found)] == ["letters", "letters_2"]


def test_reliability_stands_where_the_bins_are():
    questions = [receipt((0.0, -1.0), question_id=str(n), answer=int(n > 2)) for n in range(4)]
    measured = results.summarize(questions, "sum", {}).overall[0].calibration
    with drawing.settings("test"):
        above, below = plots.reliability_figure(measured).axes
    ((x, y),) = [tuple(each.get_offsets()[0]) for each in above.collections]
    assert (round(x, 4), y) == (73.1059, 75.0)
    assert [patch.get_height() for patch in below.patches] == [0.0] * 7 + [100.0] + [0.0] * 2


def test_matrices_show_counts_and_shares():
    questions = [
        receipt((-1.0, -2.0), question_id="a"),
        receipt((-2.0, -1.0), question_id="b"),
        receipt((-2.0, -1.0), 1, question_id="c"),
        receipt((-2.0, -1.0), 1, question_id="d"),
    ]
    whole = results.summarize(questions, "sum", {}).overall[0]
    with drawing.settings("test"):
        (axes,) = plots.matrices_figure(plots.most_asked(whole)).axes
    assert [text.get_text() for text in axes.texts] == ["1", "1", "0", "2"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A  50%", "B  50%"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["A\n25%", "B\n75%"]
    assert "bias 25.0" in axes.get_title(loc="left")


def test_at_most_four_numbers_of_options_are_drawn():
    questions = [
        receipt((-1.0,) * options, task="t", question_id=f"{options} {number}")
        for options in (2, 3, 4, 5, 30)
        for number in range(1 if options == 4 else 2)
    ]
    shown = plots.most_asked(results.summarize(questions, "sum", {}).overall[0])
    assert [place.options for place in shown] == [2, 3, 5, 30]
    with drawing.settings("test"):
        figure = plots.matrices_figure(shown)
    assert [len(axes.texts) for axes in figure.axes] == [4, 9, 25, 0]
    assert figure.axes[2].get_xlabel() == "chosen, of 2 questions"
    # Shares stand beside every place, as the caption says.
    assert figure.axes[-1].get_yticklabels()[0].get_text() == "A  100%"
    assert figure.axes[-1].get_xticklabels()[-1].get_text() == "+  0%"


@pytest.mark.parametrize(
    "asked, told",
    [
        ((2, 2, 3, 3, 5, 5, 12, 12, 4, 26), "2 questions with 4 and 26 options are not drawn;"),
        ((2, 2, 3, 3, 5, 5, 30, 30, 4), "1 question with 4 options is not drawn;"),
        ((2, 3, 12, 4), None),
    ],
)
def test_the_caption_says_what_is_not_in_the_matrices(asked, told):
    questions = [
        receipt((-1.0,) * options, question_id=f"{number}") for number, options in enumerate(asked)
    ]
    (chart,) = plots.confusions(results.summarize(questions, "sum", {}))
    assert told in chart.caption if told else "drawn" not in chart.caption
    assert "Above 10 options, counts are not written." in chart.caption
    assert ("Options after Z" in chart.caption) == (30 in asked)
    assert ("of 2 options, 1 question," in chart.alt) == (asked.count(2) == 1)
