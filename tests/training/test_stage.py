"""Settings of a stage: what is refused, and what tells two apart."""

import dataclasses
import json

import optax
import pytest

from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training import stage as stage_lib
from tests.training.test_stage_run import OPTIMIZER, STAGE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_steps": 0}, "stage 'tiny': train_steps = 0"),
        ({"train_steps": 1.5}, "train_steps = 1.5"),
        ({"batch_size": True}, "batch_size = True"),
        ({"name": "a/b"}, "stage name 'a/b'"),
        ({"name": ""}, "stage name ''"),
        ({"optimizer": optax.adam}, "bind one of training.optimizer"),
        ({"train_steps": None}, "would never end"),
        ({"num_epochs": 0}, "num_epochs = 0"),
        ({"microbatches": 0}, "microbatches = 0"),
        ({"eval_period": 0.5}, "eval_period = 0.5"),
    ],
)
def test_a_stage_that_cannot_be_trained_is_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(STAGE, **changes)


def test_a_row_is_as_long_as_inputs_and_targets():
    assert STAGE.row_length == 12


def description(**changes):
    return dataclasses.replace(STAGE, **changes).configuration()


def test_a_description_is_json_and_tells_settings_apart():
    described = description()
    assert json.loads(json.dumps(described)) == json.loads(json.dumps(description()))
    assert described["type"] == "Stage" and described["optimizer"]["type"] == "Muon"
    assert described["task_feature_lengths"] == {"inputs": 6, "targets": 6}
    others = [
        {"optimizer": optimizer_lib.AdamW(1e-3)},
        {"optimizer": optimizer_lib.Muon(5e-3, 2e-2)},
        {"optimizer": dataclasses.replace(OPTIMIZER, momentum=0.9)},
        {"seed": 4},
        {"loss_on": "all"},
        {"task_feature_lengths": {"inputs": 5, "targets": 7}},
        {"pack": True},
        {"num_epochs": 3},
        {"max_examples": {"task": 5}},
        {"train_steps": None, "num_epochs": 2},
    ]
    assert all(description(**changes) != described for changes in others)


@pytest.mark.parametrize("changes", [{"microbatches": 2}, {"eval_period": 3, "eval_steps": 1}])
def test_what_changes_rounding_or_is_only_looked_at_is_not_described(changes):
    assert description(**changes) == description()


@pytest.mark.parametrize(
    "other",
    [
        optimizer_lib.warmup_cosine(6e-3, 100, 20),
        optimizer_lib.warmup_cosine(5e-3, 100, 21),
        optimizer_lib.warmup_cosine(5e-3, 101, 20),
        optimizer_lib.warmup_cosine(5e-3, 100, 20, end_fraction=0.1),
        optax.linear_schedule(0.0, 5e-3, 20),
    ],
)
def test_schedules_are_told_apart_by_what_they_give(other):
    schedule = optimizer_lib.warmup_cosine(5e-3, 100, 20)
    again = optimizer_lib.warmup_cosine(5e-3, 100, 20)
    described = stage_lib.describe(schedule, 100)
    assert described == stage_lib.describe(again, 100) != stage_lib.describe(other, 100)
    assert all(value == float(f"{value:.6g}") for value in described.values())
    assert described["0"] == 0 and described["100"] == pytest.approx(0.05 * 5e-3, rel=1e-4)
    assert json.loads(json.dumps(described)) == described
