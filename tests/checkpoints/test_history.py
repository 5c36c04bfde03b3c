"""The best checkpoints, over restarts and past damaged ones."""

import json
import math

import pytest

from teacherlm_jax.checkpoints import history
from teacherlm_jax.checkpoints.manager import Checkpoints, SavePolicy, StorageError
from tests.checkpoints.states import ONE, content, flip, on_mesh, restore_newest

POLICY = SavePolicy(keep=1, keep_best=2)
STATE = content(0)


def run(directory, losses, policy=POLICY, name="loss"):
    """Saves step -> metric in one process' life."""
    with Checkpoints(directory, policy) as checkpoints:
        for step, loss in losses.items():
            metrics = {} if loss is None else {name: loss}
            checkpoints.save(step, *on_mesh(STATE, **ONE), {"note": step}, metrics)


def steps_and_best(directory, policy=None):
    with Checkpoints(directory, policy) as checkpoints:
        return checkpoints.steps(), checkpoints.best_step()


def test_the_best_are_kept_over_restarts(tmp_path):
    run(tmp_path, {1: 3.0, 2: 1.0, 3: 2.0, 4: math.nan})
    assert steps_and_best(tmp_path) == ([2, 3, 4], 2)
    run(tmp_path, {5: 4.0, 6: 1.5})
    assert steps_and_best(tmp_path) == ([2, 6], 2)
    run(tmp_path, {7: None, 8: 1.0})
    assert steps_and_best(tmp_path) == ([2, 8], 8)  # The latest among equals.
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.metadata(2)["metrics"] == {"loss": 1.0}
        assert checkpoints.metadata(2)["note"] == 2


def test_a_reader_goes_by_what_the_run_went_by_or_its_own_policy(tmp_path):
    policy = SavePolicy(keep=None, keep_best=1, best_metric="accuracy", best_mode="max")
    run(tmp_path, {1: 0.5, 2: 0.9, 3: 0.1}, policy, "accuracy")
    assert steps_and_best(tmp_path)[1] == 2
    least = SavePolicy(best_metric="accuracy", best_mode="min")
    assert steps_and_best(tmp_path, least)[1] == 3
    assert steps_and_best(tmp_path, SavePolicy())[1] is None
    assert steps_and_best(tmp_path / "new", SavePolicy()) == ([], None)


def test_one_that_is_damaged_is_not_the_best(tmp_path):
    policy = SavePolicy(keep=None, keep_best=1)
    run(tmp_path, {1: 3.0, 2: 2.0, 3: 1.0, 4: 4.0})
    run(tmp_path, {5: 0.5}, policy)
    (tmp_path / "3" / "metadata" / "metadata").write_text("{")
    flip(tmp_path / "5")
    with Checkpoints(tmp_path, policy) as checkpoints:
        assert restore_newest(checkpoints)[0] == 4
        assert checkpoints.best_step() == 2
        checkpoints.save(5, *on_mesh(STATE, **ONE), {}, {"loss": 9.0})
        assert checkpoints.best_step() == 2
    assert steps_and_best(tmp_path) == ([2, 3, 4, 5], 2)


def test_foreign_metadata_is_no_history(tmp_path):
    run(tmp_path, {1: 3.0})
    path = tmp_path / "1" / "metadata" / "metadata"
    whole = json.loads(path.read_text())
    for foreign in ({"metrics": [1], "best_by": 7}, {"metrics": {"loss": "low"}}, {"best_by": [1]}):
        path.write_text(json.dumps({**whole, "metrics": None, **foreign}))
        assert steps_and_best(tmp_path) == ([1], None)
    found = history.read(tmp_path, [1])
    assert (found.metrics, found.metric, found.mode) == ({1: {}}, "loss", "min")


def test_storage_that_fails_is_not_taken_for_no_history(tmp_path, monkeypatch):
    run(tmp_path, {1: 3.0})

    def values(folder):
        raise PermissionError("no access")

    monkeypatch.setattr(history.reading, "values", values)
    with pytest.raises(StorageError, match=r"cannot be read now .*no access.*mend the access"):
        steps_and_best(tmp_path)
