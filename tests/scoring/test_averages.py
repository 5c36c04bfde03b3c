"""Averages over tasks and over questions."""

import pytest

from teacherlm_jax.scoring import averages

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
