"""Tables and charts of lengths."""

import numpy as np

from teacherlm_jax.data import length_statistics, statistics_view
from teacherlm_jax.data.examples import ExampleTable, TokenizedExample


def found(tasks: int, length: int = 24, **settings):
    random = np.random.default_rng(0)
    measured = []
    for number in range(tasks):
        name = f"a_task_with_a_name_that_is_far_too_long_for_a_table_{number}"
        examples = [
            TokenizedExample(f"{name}:{n}", np.ones(a, np.int32), np.ones(b, np.int32))
            for n, (a, b) in enumerate(random.integers(1, 20, (50, 2)))
        ]
        table = ExampleTable(name, examples)
        measured.append(length_statistics.Measured(table, settings.pop("examples", 50), True))
    rates = [1.0 + number for number in range(tasks)]
    statistics = length_statistics.statistics(
        "mix", "train", measured, rates, [length, 64], train_steps=10, batch_size=4, **settings
    )
    return statistics, measured


def test_tables():
    statistics, _ = found(3)
    text = statistics_view.as_text(statistics)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    names, heads = lines[2:4]
    assert names.index("inputs") == heads.index("mean")
    assert names.index("targets") == heads.index("mean", heads.index("mean") + 1)
    assert "TASK_FEATURE_LENGTHS = {'inputs': 24, 'targets': 24}  cuts nothing" in text
    assert "10 steps of 4 packed rows of 24" in text and "and 1 more" not in text
    (row,) = [line for line in lines if line.startswith("  64 ")]
    assert row.split()[1] == "0" and row.count("%") == 5
    assert "too long for 24: a_task_with" in text and "too long for 64" not in text


def test_many_tasks_are_folded():
    statistics, _ = found(40)
    folded = statistics_view.as_text(statistics).splitlines()
    shown = statistics_view.as_text(statistics, everything=True).splitlines()
    assert len(shown) - len(folded) == 9
    assert any("and 10 tasks with fewer tokens" in line for line in folded)


def test_a_part_is_said_to_be_one():
    statistics, _ = found(1, examples=700)
    text = statistics_view.as_text(statistics)
    assert "from the first 50 examples" in text and "700" in text


def test_charts():
    for tasks in (1, 3):
        png = statistics_view.chart(*found(tasks))
        assert png.startswith(b"\x89PNG") and len(png) > 5_000
