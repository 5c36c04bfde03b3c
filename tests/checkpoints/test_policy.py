"""When a checkpoint is due, which are kept, and which is the best."""

import datetime
import math

import numpy as np
import pytest
from orbax.checkpoint import checkpoint_managers

from teacherlm_jax.checkpoints import policy as policy_lib
from teacherlm_jax.checkpoints.policy import SavePolicy

NAN = math.nan


@pytest.mark.parametrize("numbers", [{"period": 0}, {"keep": 0}, {"period": -5}])
def test_policies_that_save_or_keep_nothing_are_refused(numbers):
    with pytest.raises(ValueError, match=r"SavePolicy\(period=.*at least 1"):
        SavePolicy(**numbers)


@pytest.mark.parametrize("minutes", [0, -1.5, math.inf, NAN])
def test_minutes_that_never_pass_are_refused(minutes):
    with pytest.raises(ValueError, match=r"SavePolicy\(minutes=.*above 0, or None"):
        SavePolicy(minutes=minutes)


@pytest.mark.parametrize("best", [{"keep_best": -1}, {"best_mode": "least"}, {"best_metric": ""}])
def test_what_is_no_best_is_refused(best):
    with pytest.raises(ValueError, match=r"SavePolicy\(keep_best=.*best_mode 'min' or 'max'"):
        SavePolicy(**best)


def test_metrics_that_are_not_finite_are_none():
    given = {"a": np.float32(0.5), "b": NAN, "c": -math.inf, "d": 3}
    assert policy_lib.finite_metrics(given) == {"a": 0.5, "b": None, "c": None, "d": 3.0}


def test_the_best_is_the_latest_among_equals_and_has_a_value():
    history = {1: {"loss": 0.5}, 2: {"loss": None}, 3: {"loss": 0.5}, 4: {"loss": 0.7}, 5: {}}
    assert policy_lib.best(history, "loss", "min") == 3
    assert policy_lib.best(history, "loss", "max") == 4
    assert policy_lib.best(history, "accuracy", "max") is None
    assert policy_lib.best({}, "loss", "min") is None


def kept(policy, values):
    """Steps left after saving at steps 1, 2, ..., as Orbax goes about it."""
    history, steps = {}, []
    keeping = policy_lib.preservation(policy, lambda step: history.get(step, {}))
    context = checkpoint_managers.PreservationContext()
    for step, value in enumerate(values, start=1):
        history[step] = policy_lib.finite_metrics({policy.best_metric: value})
        steps.append(step)
        there = [policy_lib._Checkpoint(s, None, datetime.datetime.min) for s in steps]
        wanted = keeping.should_preserve(there, context=context)
        steps = [s for s, is_kept in zip(steps, wanted) if is_kept]
    return steps


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("keep", "keep_best"), [(1, 1), (2, 1), (2, 3), (None, 2), (3, 0)])
def test_the_newest_and_the_best_are_kept(mode, keep, keep_best):
    values = np.random.default_rng(7).permutation(20) / 20
    policy = SavePolicy(keep=keep, keep_best=keep_best, best_metric="value", best_mode=mode)
    order = np.argsort(values if mode == "max" else -values)
    best = {int(index) + 1 for index in order[len(values) - keep_best :]}
    newest = set(range(1, 21)) if keep is None else set(range(21 - keep, 21))
    assert set(kept(policy, values)) == newest | best


def test_a_value_that_is_not_finite_is_kept_while_it_is_new_alone():
    policy = SavePolicy(keep=2, keep_best=2)
    assert kept(policy, [3.0, NAN, -math.inf, 5.0, 4.0, 6.0, 7.0]) == [1, 5, 6, 7]
    assert kept(policy, [NAN] * 6) == [5, 6]


def test_a_metric_that_will_not_be_measured_is_refused_before_the_run():
    policy = SavePolicy(keep_best=1, best_metric="validation_los")
    with pytest.raises(ValueError, match=r"'validation_los'.*nearest are \['validation_loss'\]"):
        policy_lib.check_best_metric(policy, ["loss", "validation_loss"])
    policy_lib.check_best_metric(policy, ["validation_los"])
    policy_lib.check_best_metric(SavePolicy(best_metric="nothing"), ["loss"])
