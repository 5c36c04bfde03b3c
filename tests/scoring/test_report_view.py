"""What the report says in words, and which mistakes it shows."""

from __future__ import annotations

import math

import pytest

from teacherlm_jax.scoring import report_view, results
from tests.scoring.receipt_example import GROUPS, example, mixed, receipt


def test_finding_and_notes_of_two_questions():
    questions = [
        receipt((-1.0, -1.0), 1, truncated=4, moved=2),
        receipt(question_id="1", truncated=3),
    ]
    found = results.summarize(questions, "sum", {})
    assert report_view.finding(found) == (
        "50.0 ± 50.0 percent of 2 questions right; chance is 50.0."
    )
    near, tie, cut, moved = report_view.notes(found)[1:]
    assert near.startswith("1 near-tie:") and "0.0001 nats" in near and "50.00 points" in near
    assert tie.startswith("1 exact tie:")
    assert cut == "2 prompts cut on the left, being too long: 7 tokens in all."
    assert moved.startswith("1 question whose prompt's last tokens")


def test_of_several_tasks_the_mean_comes_first():
    few = [receipt((-1.0, -2.0), 0)]
    many = [receipt((-1.0, -2.0), 1, task="other", question_id=str(n)) for n in range(3)]
    assert report_view.finding(results.summarize([*few, *many], "sum", {})) == (
        "50.0 percent right, the mean over 2 tasks; of all 4 questions 25.0 ± 25.0 percent, by"
        " chance 50.0."
    )


def test_of_several_subjects_the_mean_stands_beside_that_of_all_questions():
    found = results.summarize(mixed(), "sum", {})
    assert report_view.finding(found) == (
        "50.0 ± 22.4 percent of 6 questions right, 62.5 ± 12.5 the mean over 2 subjects; chance is"
        " 50.0."
    )
    row = report_view.normalisation_rows(found)[0]
    # The mean over one task would be its accuracy again.
    assert (row["over_tasks"], row["over_subjects"]) == (report_view.DASH, "62.5 ± 12.5")
    found = results.summarize([*mixed(), receipt()], "sum", {})
    row = report_view.normalisation_rows(found)[0]
    assert (row["over_tasks"], row["over_subjects"]) == ("75.0", report_view.DASH)
    assert report_view.normalisation_rows(results.summarize([receipt()], "sum", {}))[0].items() >= {
        ("over_tasks", report_view.DASH),
        ("over_subjects", report_view.DASH),
    }


def test_what_did_not_happen_is_not_told_and_one_question_has_no_error():
    found = results.summarize([receipt()], "sum", {})
    assert len(report_view.notes(found)) == 1
    assert report_view.finding(found).startswith("100.0 percent of 1 question right")
    assert report_view.with_error(math.nan, math.nan) == report_view.DASH


def test_splits_are_named_where_there_are_several():
    found = results.summarize([receipt(), receipt(split="dev", truncated=1)], "sum", {})
    assert "1 question of dev right" in report_view.finding(found)
    assert report_view.notes(found)[1].startswith("Split dev: 1 prompt cut")
    assert [row["name"] for row in report_view.task_rows(found)] == ["task (dev)", "task (test)"]


def test_rows_hold_the_figures_of_the_results():
    found = results.summarize(example(), "tokens", GROUPS)
    # "both" is all there is, so that there is no row of all.
    assert [row["name"] for row in report_view.average_rows(found)] == ["both", "stem"]
    row, group = report_view.average_rows(found)[1], found.groups[1]
    accuracy = group.by_normalisation["tokens"]
    assert row["accuracy"] == f"{accuracy.accuracy:.1f} ± {accuracy.standard_error:.1f}"
    assert row["macro"] == f"{accuracy.macro:.1f} ± {accuracy.macro_standard_error:.1f}"
    assert (row["parts"], row["questions"], row["chance"]) == ("2", "49", "25.0")
    assert report_view.others(found) == ["sum", "bytes", "characters", "unconditional"]
    assert row["others"][1] == f"{group.by_normalisation['bytes'].accuracy:.1f}"
    assert [row["name"] for row in report_view.task_rows(found)] == [
        "large_stem",
        "other",
        "small_stem",
    ]
    (headline,) = [row for row in report_view.normalisation_rows(found) if row["headline"]]
    assert headline["name"] == "per token" and headline["lm_eval"] == report_view.DASH
    names = {row["name"]: row["lm_eval"] for row in report_view.normalisation_rows(found)}
    assert (names["sum"], names["per character"]) == ("acc", "acc_norm")


def test_a_task_alone_has_no_averages_and_subjects_follow_their_task():
    questions = [receipt(question_id=name, subject=name) for name in ("a", "b")]
    found = results.summarize(questions, "sum", {})
    assert report_view.average_rows(found) == []
    rows = report_view.task_rows(found)
    assert [row["name"] for row in rows] == ["task", "task: a", "task: b"]
    assert [row["macro"] for row in rows] == ["100.0", report_view.DASH, report_view.DASH]


def test_the_most_confident_mistakes_come_first_few_of_a_task():
    questions = [
        receipt((-1.0, -1.0 - gap), 1, task=task, question_id=str(gap))
        for task in ("a", "b", "c", "d")
        for gap in (1.0, 2.0, 3.0)
    ]
    questions.append(receipt((0.0, -9.0), 0, task="right", question_id="9"))
    found = results.summarize(questions, "sum", {})
    shown = report_view.mistakes(found, questions)
    assert [mistake.where for mistake in shown] == [
        f"{task}, test, question {gap}" for gap in ("3.0", "2.0") for task in ("a", "b", "c", "d")
    ][: report_view.MISTAKES]
    probabilities = [mistake.probability for mistake in shown]
    assert probabilities == sorted(probabilities, reverse=True)
    chosen, right = shown[0].options
    assert chosen.is_chosen and not chosen.is_right and right.is_right and not right.is_chosen
    assert chosen.probability == pytest.approx(100 / (1 + math.exp(-3)))
    assert right.log_likelihood == -4.0
    assert (chosen.name, right.name) == ("A", "B")


def test_options_have_letters_unless_they_are_letters_and_long_texts_are_cut():
    long = "start " + "word " * 400 + "end"
    questions = [receipt(answer=1, option_texts=(" yes", long))]
    (mistake,) = report_view.mistakes(results.summarize(questions, "sum", {}), questions)
    assert mistake.options[0].name == "A: yes"
    name = mistake.options[1].name
    assert name.startswith("B: (2,009 characters) start word") and name.endswith("word end")
    assert len(name) < report_view.LONG_TEXT + 40


def test_details_become_texts():
    told = report_view.pairs({"bos_id": None, "buckets": [1, 2], "policy": {"é": 1}, "n": 3})
    assert told == [
        ("bos id", report_view.DASH),
        ("buckets", "1, 2"),
        ("policy", '{"é": 1}'),
        ("n", "3"),
    ]
