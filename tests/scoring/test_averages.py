"""Averages over tasks, over subjects and over questions."""

import math

import pytest

from teacherlm_jax.scoring import averages
from tests.scoring.receipt_example import mixed, receipt

METRICS = {
    "small": {"accuracy": 100.0, "questions": 1.0},
    "large": {"accuracy": 25.0, "questions": 8.0},
    "other": {"accuracy": 50.0, "questions": 2.0},
}


def test_tasks_or_questions_count_the_same():
    found = averages.averages(METRICS, {"two": ["small", "large"], "all": list(METRICS)})
    # 1 of 1 and 2 of 8 are right, and of the third task 1 of 2.
    assert found["two"] == averages.Average(62.5, 100 * 3 / 9, 2, 9)
    assert found["all"].macro == pytest.approx(175 / 3)
    assert found["all"].micro == pytest.approx(100 * 4 / 11)
    assert (found["all"].tasks, found["all"].questions) == (3, 11)


@pytest.mark.parametrize(
    "tasks, message",
    [([], "no tasks"), (["small", "small"], "twice"), (["small", "absent"], "no metrics of")],
)
def test_groups_that_have_no_average(tasks, message):
    with pytest.raises(ValueError, match=message):
        averages.average(METRICS, tasks)


def test_subjects_of_a_task_count_the_same():
    alone = [receipt(task="of one subject", subject="art"), receipt(task="of none")]
    found = averages.over_subjects([*mixed(), *alone], "sum")
    assert found.keys() == {"mixed"}
    # 2 of 2 and 1 of 4 are right: errors of 0 and 25, half of their root of squares.
    assert found["mixed"] == averages.SubjectAverage(
        62.5, pytest.approx(12.5), 50.0, pytest.approx(100 * math.sqrt(0.3 / 6)), 2, 6
    )
    assert averages.over_subjects(alone, "sum") == {}


def test_a_subject_of_one_question_leaves_the_mean_without_an_error():
    questions = [*mixed(), receipt(task="mixed", question_id="lonely", subject="zoo")]
    found = averages.over_subjects(questions, "sum")["mixed"]
    assert (found.macro, found.macro_standard_error, found.subjects) == (75.0, None, 3)
    assert found.micro_standard_error is not None
