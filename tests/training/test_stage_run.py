"""A stage: resumed at any step it ends as if it had never stopped."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest
from etils import epath

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training import stage_run
from teacherlm_jax.training.stage import Stage
from tests.training import tiny

STEPS = 7
OPTIMIZER = optimizer_lib.Muon(optimizer_lib.warmup_cosine(5e-3, STEPS, 2), 2e-2)
STAGE = Stage(
    name="tiny",
    mixture_or_task_name="unused",
    task_feature_lengths={"inputs": 6, "targets": 6},
    train_steps=STEPS,
    batch_size=8,
    optimizer=OPTIMIZER,
    seed=3,
)


@pytest.fixture(scope="module")
def placement():
    # Dropout: its noise must go on where it was, too.
    return tiny.placement(OPTIMIZER, dropout_rate=0.2)


@pytest.fixture(scope="module")
def start(placement):
    return tiny.params(placement.model.config)


def train(placement, folder, start_params, *, batches=None, period=100, keep=None):
    policy = manager.SavePolicy(period=period, keep=keep)
    run = stage_run.StageRun(
        STAGE, placement, epath.Path(folder), policy, {"note": "kept"}, stage_run.Watch(3)
    )
    return stage_run.run(run, batches or tiny.batches(8, STAGE.seed), start_params)


@pytest.fixture(scope="module")
def uninterrupted(placement, start, tmp_path_factory):
    """A run that keeps every checkpoint."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(placement, folder, lambda: start, period=1)


def not_called():
    raise AssertionError("a resume needs no parameters to start from")


def state_at(folder, step, placement):
    abstract = placement.abstract_state
    with manager.Checkpoints(folder / "checkpoints") as checkpoints:
        assert checkpoints.steps()[-1] == step
        return checkpoints.restore_newest(
            abstract.params, {"step": abstract.step, "opt_state": abstract.opt_state}
        )


def without_rates(rows):
    return [{name: row[name] for name in row if name != "tokens_per_second"} for row in rows]


def assert_same_end(folder, result, uninterrupted, placement):
    whole_folder, whole = uninterrupted
    jax.tree.map(np.testing.assert_array_equal, result.params, whole.params)
    assert without_rates(result.rows) == without_rates(whole.rows)
    found, expected = (state_at(place, STEPS, placement) for place in (folder, whole_folder))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == result.rows


# Resume


def test_the_uninterrupted_run_learns_and_logs(uninterrupted, placement, start):
    folder, result = uninterrupted
    assert [row["step"] for row in result.rows] == [3, 6, 7]
    assert result.rows[-1]["loss"] < result.rows[0]["loss"]
    arrays = [tiny.batches(8, STAGE.seed)(step)[1] for step in range(STEPS)]
    tokens = sum(int((batch["decoder_segment_ids"] != 0).sum()) for batch in arrays)
    targets = sum(float(batch["decoder_loss_weights"].sum()) for batch in arrays)
    assert sum(row["tokens"] for row in result.rows) == tokens
    assert sum(row["target_tokens"] for row in result.rows) == targets
    rates = [row["learning_rate"] for row in result.rows]
    schedule = OPTIMIZER.learning_rate
    assert rates == [float(schedule(step)) for step in (2, 5, 6)]
    assert result.seconds > 0
    step, _, rest = state_at(folder, STEPS, placement)
    assert step == rest["step"] == STEPS


def test_every_checkpoint_holds_the_rows_up_to_it(uninterrupted):
    folder, result = uninterrupted
    with manager.Checkpoints(folder / "checkpoints") as checkpoints:
        assert checkpoints.steps() == list(range(1, STEPS + 1))
        for step in checkpoints.steps():
            metadata = checkpoints.metadata(step)
            assert metadata["note"] == "kept"
            assert metadata["rows"] == [row for row in result.rows if row["step"] <= step]


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_run_resumed_at_any_step_ends_bitwise_as_one_without_a_break(
    step, uninterrupted, placement, tmp_path
):
    shutil.copytree(uninterrupted[0] / "checkpoints" / str(step), tmp_path / f"checkpoints/{step}")
    result = train(placement, tmp_path, not_called)
    assert_same_end(tmp_path, result, uninterrupted, placement)


def test_a_stopped_run_goes_on(uninterrupted, placement, start, tmp_path):
    inner, made = tiny.batches(8, STAGE.seed), []

    def stopping(step, rows):
        made.append(step)
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return inner(step, rows)

    with pytest.raises(KeyboardInterrupt):
        train(placement, tmp_path, lambda: start, batches=stopping)
    with manager.Checkpoints(tmp_path / "checkpoints") as checkpoints:
        (step,) = checkpoints.steps()
    assert 4 <= step <= 5
    made.clear()
    result = train(
        placement, tmp_path, not_called, batches=lambda i, rows: (made.append(i), inner(i))[1]
    )
    assert made == list(range(step, STEPS))
    assert_same_end(tmp_path, result, uninterrupted, placement)


def damage(folder):
    """Turns over every byte of the arrays of a checkpoint, but leaves what describes them."""
    paths = [path for path in (folder / "d").rglob("*") if path.is_file()]
    assert paths
    for path in paths:
        path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))


@pytest.mark.parametrize("newest", [5, STEPS])
def test_a_damaged_newest_checkpoint_is_passed_over_and_written_anew(
    newest, uninterrupted, placement, tmp_path
):
    for step in (3, newest):
        shutil.copytree(
            uninterrupted[0] / "checkpoints" / str(step), tmp_path / f"checkpoints/{step}"
        )
    damage(tmp_path / "checkpoints" / str(newest) / "params")
    result = train(placement, tmp_path, not_called, period=4)
    assert_same_end(tmp_path, result, uninterrupted, placement)
    with manager.Checkpoints(tmp_path / "checkpoints") as checkpoints:
        # A damaged 5 is in the way of a save at 4, which must not be lost.
        assert set(checkpoints.steps()) >= {3, 4, STEPS}
        for step in checkpoints.steps():
            checkpoints.restore_params(step, placement.abstract_params)


def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_over(
    uninterrupted, placement, tmp_path
):
    shutil.copytree(uninterrupted[0] / "checkpoints" / "3", tmp_path / "checkpoints" / "3")
    damage(tmp_path / "checkpoints" / "3" / "params")
    with pytest.raises(manager.CheckpointError, match="checkpoints/3 cannot be read"):
        train(placement, tmp_path, not_called)
