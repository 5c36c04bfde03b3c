"""Results against the definitions, question by question, and against figures by hand."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics

import numpy as np
import pytest

from teacherlm_jax.scoring import judged, results
from teacherlm_jax.scoring.scores import NORMALISATIONS, ScoringPolicy
from tests.scoring.receipt_example import GROUPS, example, receipt


@pytest.fixture(scope="module")
def found() -> results.Results:
    return results.summarize(example(), "sum", GROUPS)


def by_name(found: results.Results) -> dict[str, results.Summary]:
    return {summary.name: summary for summary in (*found.overall, *found.groups, *found.tasks)}


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_every_normalisation_is_that_of_the_scores(found, normalisation):
    policy = ScoringPolicy(
        max_length=9, normalisation=normalisation, unconditional_prompt=(), near_tie=found.near_tie
    )
    for task in ("small_stem", "large_stem", "other"):
        scores = [(one.score(policy), one.answer) for one in example() if one.task == task]
        right = [float(score.prediction == answer) for score, answer in scores]
        accuracy = by_name(found)[task].by_normalisation[normalisation]
        assert accuracy.right == sum(right)
        assert accuracy.accuracy == pytest.approx(100 * statistics.fmean(right), rel=1e-14)
        # The standard error of a mean, as lm-eval's mean_stderr has it.
        error = 100 * statistics.stdev(right) / math.sqrt(len(right))
        assert accuracy.standard_error == pytest.approx(error, rel=1e-14)
        assert accuracy.near_ties == sum(score.is_near_tie for score, _ in scores)
        assert math.isnan(accuracy.macro)


def test_normalisations_differ_in_the_example():
    whole = judged.judge(example(), ScoringPolicy.near_tie)
    chosen = {tuple(choice.chosen_N.tolist()) for choice in whole.choices.values()}
    assert len(chosen) == len(NORMALISATIONS)


def test_averages_by_hand():
    # 2 of 2 and 1 of 4 are right.
    ones = [receipt(task="a", question_id=str(n)) for n in range(2)]
    fours = [receipt(task="b", question_id=str(n), answer=int(n > 0)) for n in range(4)]
    found = results.summarize([*ones, *fours], "sum", {"ab": ["a", "b"]})
    (group,) = found.groups
    accuracy = group.by_normalisation["sum"]
    assert (accuracy.right, group.questions, group.parts) == (3, 6, ("a", "b"))
    assert accuracy.accuracy == 50.0
    assert accuracy.standard_error == pytest.approx(100 * math.sqrt(0.3 / 6))  # 6 / 4 / 5 = 0.3
    assert accuracy.macro == 62.5
    # Errors of the parts are 0 and sqrt(3 * 1 / (4 * 3) / 4) = 0.25; half of their root of squares.
    assert accuracy.macro_standard_error == pytest.approx(12.5)
    assert found.overall[0].by_normalisation["sum"] == accuracy


def test_one_question_has_no_standard_error():
    alone = results.summarize([receipt(), receipt(task="t", question_id="1")], "sum", {})
    assert math.isnan(alone.tasks[0].by_normalisation["sum"].standard_error)
    assert math.isnan(alone.overall[0].by_normalisation["sum"].macro_standard_error)
    assert alone.overall[0].by_normalisation["sum"].standard_error == 0.0


def test_ties_near_ties_and_what_was_cut():
    near = ScoringPolicy.near_tie
    questions = [
        receipt((-1.0, -1.0), 1, question_id="tie", truncated=5, moved=1),
        receipt((-1.0, -1.0 - near / 2), question_id="near", truncated=2),
        receipt((-1.0, -1.0 - near * 2), question_id="apart"),
        receipt((-1.0, -2.0, -2.0, -2.0), question_id="others tie"),
    ]
    (task,) = results.summarize(questions, "sum", {}).tasks
    accuracy = task.by_normalisation["sum"]
    # Of equals the first is chosen, which is wrong here.
    assert (accuracy.right, accuracy.ties, accuracy.near_ties) == (3, 1, 2)
    assert (task.truncated, task.truncated_tokens, task.moved) == (2, 7, 1)
    assert task.chance == pytest.approx(100 * (3 * 0.5 + 0.25) / 4)
    (wider,) = results.summarize(questions, "sum", {}, near_tie=1.0).tasks
    assert wider.by_normalisation["sum"].near_ties == 4


def test_order_of_questions_makes_no_difference(found):
    shuffled = example()
    np.random.default_rng(1).shuffle(shuffled)  # type: ignore[arg-type]
    assert [one.question_id for one in shuffled] != [one.question_id for one in example()]
    again = results.summarize(shuffled, "sum", GROUPS)
    # As JSON, where NaN equals NaN.
    assert again.as_json() == found.as_json()


def test_a_constant_on_a_questions_log_likelihoods_makes_no_difference(found):
    moved = [
        dataclasses.replace(
            one, log_likelihoods=tuple(value - number for value in one.log_likelihoods)
        )
        for number, one in enumerate(example())
    ]
    again = results.summarize(moved, "sum", GROUPS).overall[0]
    before = found.overall[0]
    assert again.places == before.places
    for name in ("sum", "unconditional"):
        assert again.by_normalisation[name] == before.by_normalisation[name]
    assert again.calibration.questions == before.calibration.questions
    assert again.calibration.expected_error == pytest.approx(before.calibration.expected_error)


def test_headline_decides_calibration_and_places():
    headlines = {
        name: results.summarize(example(), name, {}).overall[0] for name in ("sum", "bytes")
    }
    assert headlines["sum"].by_normalisation == headlines["bytes"].by_normalisation
    assert headlines["sum"].calibration != headlines["bytes"].calibration
    for name, summary in headlines.items():
        diagonal = sum(
            row[place] for each in summary.places for place, row in enumerate(each.counts)
        )
        assert diagonal == summary.by_normalisation[name].right
        assert sum(summary.calibration.questions) == summary.questions == 70


def test_subjects_of_one_task_are_its_parts():
    questions = [
        receipt(answer=int(number > 1), question_id=str(number), subject="art" if number else "zoo")
        for number in range(4)
    ]
    found = results.summarize(questions, "sum", {})
    (task,) = found.tasks
    assert (task.parts, task.subject) == (("art", "zoo"), "")
    assert [(s.name, s.task, s.kind, s.questions) for s in found.subjects] == [
        ("art", "task", "subject", 3),
        ("zoo", "task", "subject", 1),
    ]
    assert task.by_normalisation["sum"].macro == pytest.approx((100 / 3 + 100) / 2)
    assert task.by_normalisation["sum"].accuracy == 50.0


def test_splits_are_never_averaged_together():
    questions = [
        receipt(answer=answer, task=task, split=split)
        for task, split, answer in (("a", "test", 0), ("b", "test", 0), ("a", "dev", 1))
    ]
    found = results.summarize(questions, "sum", {"a": ["a"], "only": ["b"]})
    assert [(whole.split, whole.questions) for whole in found.overall] == [("dev", 1), ("test", 2)]
    accuracies = [
        (group.name, group.split, group.by_normalisation["sum"].accuracy) for group in found.groups
    ]
    assert accuracies == [("a", "dev", 0.0), ("a", "test", 100.0), ("only", "test", 100.0)]


def test_a_normalisation_that_some_questions_lack_is_left_out_of_averages():
    with_it = receipt(task="with", unconditional=(-1.0, -3.0), unconditional_prompt=())
    found = results.summarize([with_it, receipt(task="without")], "sum", {})
    assert "unconditional" not in found.overall[0].by_normalisation
    tasks = {task.name: set(task.by_normalisation) for task in found.tasks}
    assert tasks["with"] - tasks["without"] == {"unconditional"}
    with pytest.raises(ValueError, match=r"1 questions, such as '0' of without, have no uncond"):
        results.summarize([with_it, receipt(task="without")], "unconditional", {})


def test_json_has_everything_and_no_nan(found):
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (told["unit"], told["headline"], told["checkpoint_digest"]) == ("percent", "sum", "1234")
    assert [task["name"] for task in told["tasks"]] == ["large_stem", "other", "small_stem"]
    whole = told["overall"][0]
    assert whole["by_normalisation"].keys() == set(NORMALISATIONS)
    assert told["tasks"][0]["by_normalisation"]["sum"]["macro"] is None
    assert (whole["truncated"], whole["truncated_tokens"], whole["moved"]) == (8, 24, 4)


@pytest.mark.parametrize(
    "groups, message",
    [
        ({"g": []}, "group g has no tasks"),
        ({"g": ["task", "task"]}, "twice"),
        ({"g": ["task", "absent"]}, r"no receipts of \['absent'\]"),
        ({"g": ["absent"]}, r"no receipts of \['absent'\]"),
    ],
)
def test_groups_that_have_no_average(groups, message):
    with pytest.raises(ValueError, match=message):
        results.summarize([receipt()], "sum", groups)


def test_a_headline_that_is_none():
    with pytest.raises(ValueError, match="headline = 'acc', but it must be one of"):
        results.summarize([receipt()], "acc", {})
