"""Runs of worlds and seeds are put together as the report's schema has them."""

import json
import math
import statistics

import pytest

from teacherlm_jax.students import report, results
from teacherlm_jax.students.experiment import Students
from teacherlm_jax.students.report_schema import check_results, plain_data
from teacherlm_jax.training.optimizer import AdamW
from tests.tiny_study import MODEL

FIELDS = ("fundamentals", "chain_of_thought", "common_mistakes")
# (world, seed) -> accuracy.
PLAIN = {(3, 5): 40.0, (3, 8): 46.0, (4, 5): 50.0, (4, 8): 44.0}
OTHER = {(3, 5): 60.0, (3, 8): 62.0, (4, 5): 49.0, (4, 8): 69.0}


def students(seeds=(5, 8), arms=("plain", "fundamentals")):
    return Students(MODEL, "start", "out", AdamW(1e-3), train_steps=20, seeds=seeds, arms=arms)


def arm(accuracies, world, seeds):
    """An arm as `experiment.run` returns it, of one world."""
    runs = [
        {
            "seed": seed,
            "accuracy": accuracies[world, seed],
            "by_type": {"tf": accuracies[world, seed] + 2, "mc": accuracies[world, seed] - 2},
            "validation": accuracies[world, seed] + 1,
        }
        for seed in seeds
    ]
    rows = [
        {"step": step, "loss": [world + 10.0 / step] * len(seeds), "tokens": 5.0}
        for step in (10, 20)
    ]
    return {"runs": runs, "tokens": 100.0 * world, "rows": rows, "seconds": 3.0}


def world(seed, seeds=(5, 8), arms=("plain", "fundamentals")):
    return results.WorldResult(
        seed=seed,
        arms={name: arm(PLAIN if name == "plain" else OTHER, seed, seeds) for name in arms},
        meanings={name: f"what {name} means." for name in arms},
        chance=44.0,
        teacher={
            "truth_rate": dict.fromkeys(FIELDS, 90.0 + seed),
            "coverage": dict.fromkeys(arms, 10.0 * seed),
            "dropped_held_out": dict.fromkeys(FIELDS, seed),
            "base_accuracy": {"tf": 80.0, "mean": 70.0 + seed},
        },
        samples=[{"question": f"of world {seed}?", "choices": ["a", "b"], "answer": "A"}],
        seconds={"base": 10.0 + seed, "students": 6.04},
    )


@pytest.fixture
def merged():
    return results.merge([students(), students()], [world(3), world(4)])


def test_every_run_is_kept_with_its_world_and_seed(merged):
    assert merged["worlds"] == [3, 4] and merged["seeds"] == [5, 8]
    for name, accuracies in (("plain", PLAIN), ("fundamentals", OTHER)):
        runs = merged["arms"][name]["runs"]
        assert {(run["world"], run["seed"]): run["accuracy"] for run in runs} == accuracies
        assert merged["arms"][name]["accuracy_per_seed"] == [run["accuracy"] for run in runs]
    assert merged["arms"]["fundamentals"]["meaning"] == "what fundamentals means."


def test_means_and_spreads_are_over_all_runs(merged):
    for name, accuracies in (("plain", PLAIN), ("fundamentals", OTHER)):
        values, found = list(accuracies.values()), merged["arms"][name]
        assert found["accuracy_mean"] == pytest.approx(statistics.mean(values))
        assert found["accuracy_std"] == pytest.approx(statistics.stdev(values))
        assert found["validation_mean"] == pytest.approx(statistics.mean(values) + 1)
        assert found["by_type"]["tf"] == pytest.approx(statistics.mean(values) + 2)
        assert found["by_type"]["mc"] == pytest.approx(statistics.mean(values) - 2)
        assert found["trained_tokens"] == 350


def test_differences_are_paired_by_world_and_seed(merged):
    # Paired, the worst run loses a point; by means alone none would show.
    assert merged["arms"]["fundamentals"]["paired_difference"] == {
        "mean": pytest.approx(15.0),
        "min": -1.0,
        "max": 25.0,
        "per_run": [20.0, 16.0, -1.0, 25.0],
    }
    assert "paired_difference" not in merged["arms"]["plain"]


def test_learning_curves_are_means_over_worlds_and_seeds(merged):
    assert merged["arms"]["plain"]["learning_curve"] == [
        {"step": 10, "loss": pytest.approx(4.5)},
        {"step": 20, "loss": pytest.approx(4.0)},
    ]


def test_the_teacher_is_a_mean_and_times_are_sums(merged):
    assert merged["teacher"]["truth_rate"] == dict.fromkeys(FIELDS, 93.5)
    assert merged["teacher"]["coverage"] == {"plain": 35.0, "fundamentals": 35.0}
    assert merged["teacher"]["dropped_held_out"] == dict.fromkeys(FIELDS, 3.5)
    assert merged["teacher"]["base_accuracy"] == {"tf": 80.0, "mean": 73.5}
    assert merged["timings_s"] == {"base": pytest.approx(27.0), "students": pytest.approx(12.1)}
    assert [sample["question"] for sample in merged["samples"]] == ["of world 3?"]
    assert merged["steps"] == {"student": 20}


def test_the_report_takes_what_comes_out(merged):
    check_results(plain_data(merged))
    assert json.loads(json.dumps(plain_data(merged), allow_nan=False)) == plain_data(merged)
    shown = report.table(merged)
    assert "60.0" in shown and "+15.0 (-1.0 to +25.0)" in shown


def test_a_single_run_has_no_spread():
    single = students(seeds=(5,))
    merged = results.merge([single], [world(3, seeds=(5,))])
    assert math.isnan(merged["arms"]["plain"]["accuracy_std"])
    check_results(plain_data(merged))
    assert "±" not in report.table(merged)


def test_without_the_plain_arm_there_is_no_difference():
    only = ("fundamentals",)
    merged = results.merge([students(arms=only)], [world(3, arms=only)])
    assert list(merged["arms"]) == ["fundamentals"]
    assert "paired_difference" not in merged["arms"]["fundamentals"]
    check_results(plain_data(merged))


def test_the_order_of_arms_is_that_of_the_settings():
    turned = students(arms=("fundamentals", "plain"))
    merged = results.merge([turned], [world(3)])
    assert list(merged["arms"]) == ["fundamentals", "plain"]
