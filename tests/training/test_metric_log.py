"""Rows of metrics: exact over restarts, for one run and for replicas."""

import json
import time

import numpy as np
import pytest

from teacherlm_jax.metrics.sums import WeightedSum
from teacherlm_jax.training import metric_log
from teacherlm_jax.training.metric_log import MetricLog
from tests.training.test_loop import metrics_of


def test_rows_of_replicas_hold_a_list_and_count_all_tokens():
    both = np.array([1.0, 2.0], np.float32)
    log = MetricLog(2, lambda step: 0.1)
    for step in (1, 2):
        row = log.add(
            step,
            {
                "loss": WeightedSum(step * both, np.array([1.0, 4.0], np.float32)),
                "accuracy": WeightedSum(0 * both, np.array([1.0, 4.0], np.float32)),
                "tokens": np.array([3.0, 5.0], np.float32),
                "gradient_norm": both,
                "parameter_norm": both,
            },
            is_last=False,
        )
    assert row["loss"] == [1.5, 0.75]
    assert row["gradient_norm"] == [1.0, 2.0]
    assert (row["target_tokens"], row["tokens"]) == (10, 16)
    assert json.loads(json.dumps(row)) == row


@pytest.mark.parametrize("stop", [1, 3, 4, 6, 9])
def test_a_row_under_way_goes_on_in_a_later_process(stop):
    whole, first, second = (MetricLog(4, lambda step: 0.1) for _ in range(3))
    for step in range(1, 11):
        whole.add(step, metrics_of(step), step == 10)
    for step in range(1, stop + 1):
        first.add(step, metrics_of(step), False)
    second.rows, second.sums = json.loads(json.dumps([first.rows, first.sums]))
    for step in range(stop + 1, 11):
        second.add(step, metrics_of(step), step == 10)
    assert len(second.rows) == 3
    for row, expected in zip(second.rows, whole.rows, strict=True):
        # None where the row holds a process' first step alone, which compiles.
        assert expected.pop("tokens_per_second") > 0
        rate = row.pop("tokens_per_second")
        assert rate is None if row["step"] == stop + 1 else rate > 0
        assert row == expected


def test_a_row_without_weight_has_no_loss():
    """A loss of 0 would be the best of all."""
    log = MetricLog(1, lambda step: 0.1)
    nothing = WeightedSum(np.float32(0), np.float32(0))
    row = log.add(1, metrics_of(1) | {"loss": nothing, "accuracy": nothing}, False)
    assert row["loss"] is row["accuracy"] is None and row["target_tokens"] == 0
    assert "loss" not in metric_log.at_checkpoint(log, 1)


def test_what_is_no_step_counts_in_no_rate():
    log = MetricLog(2, lambda step: 0.1)
    log.add(1, metrics_of(1), False)
    with log.paused():
        time.sleep(0.5)
    row = log.add(2, metrics_of(2), False)
    assert row["tokens_per_second"] > 5 / 0.4


def with_components(step, totals, weights, **changes):
    found = metrics_of(step, **changes)
    found["component_loss"] = WeightedSum(
        np.array(totals, np.float32), np.array(weights, np.float32)
    )
    return found


def test_losses_of_components_are_means_over_their_own_tokens():
    log = MetricLog(2, lambda step: 0.1, components=("one", "two", "three"))
    assert log.add(1, with_components(1, [2, 0, 0], [1, 0, 0]), False) is None
    log.sums = json.loads(json.dumps(log.sums))
    row = log.add(2, with_components(2, [4, 9, 0], [3, 2, 0]), False)
    assert row["component_loss"] == {"one": 1.5, "two": 4.5}
    assert json.loads(json.dumps(row)) == row


def test_an_update_that_was_left_out_counts_for_nothing_but_its_tokens():
    log = MetricLog(2, lambda step: 0.1 * step, components=("one", "two"))
    log.add(1, with_components(1, [2, 3], [1, 1]), False)
    nan = np.float32(np.nan)
    row = log.add(2, with_components(2, [nan, 3], [1, 1], loss=nan, gradient_norm=nan), False)
    first = MetricLog(1, lambda step: 0.1, components=("one", "two"))
    alone = first.add(1, with_components(1, [2, 3], [1, 1]), False)
    for name in ("loss", "accuracy", "component_loss", "target_tokens"):
        assert row[name] == alone[name]
    assert row["tokens"] == 3 + 5 and row["skipped"] == 1
    assert row["gradient_norm"] is None
    assert row["learning_rate"] == 0
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_utilization_is_of_the_rate_of_tokens():
    log = MetricLog(1, lambda step: 0.1, utilization=lambda rate: rate / 1e6)
    first = log.add(1, metrics_of(1), False)
    assert first["tokens_per_second"] is None and "model_flops_utilization" not in first
    row = log.add(2, metrics_of(2), False)
    assert row["model_flops_utilization"] == row["tokens_per_second"] / 1e6


def test_a_row_as_scalars():
    log = MetricLog(1, lambda step: 0.1, components=("task", "other"))
    row = log.add(1, with_components(1, [2, 3], [1, 1]), False)
    flat = metric_log.scalars(row)
    assert flat["loss/task"] == 2 and flat["loss/other"] == 3 and flat["loss"] == row["loss"]
    assert "step" not in flat and all(isinstance(value, float) for value in flat.values())
    assert metric_log.scalars({"step": 1, "loss": [1.0, 2.0], "gradient_norm": None}) == {
        "loss": 1.5
    }


def test_a_checkpoint_is_known_by_its_own_evaluation_and_the_last_row():
    log = MetricLog(4, lambda step: 0.1)
    assert metric_log.at_checkpoint(log, 2) is None
    for step in range(1, 7):
        log.add(step, metrics_of(step), False)
    log.evaluations.append({"step": 5, "validation_loss": 2.0})
    assert metric_log.at_checkpoint(log, 6)["loss"] == log.rows[0]["loss"]
    assert "validation_loss" not in metric_log.at_checkpoint(log, 6)
    assert metric_log.at_checkpoint(log, 5)["validation_loss"] == 2.0
