"""A stage: resumed at any step it ends as if it had never stopped."""

import dataclasses
import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest
from etils import epath

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.data import batches as batches_lib
from teacherlm_jax.metrics.finite import NonFiniteError
from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training import stage_run, stages
from teacherlm_jax.training.stage import Stage
from tests.training import tiny
from tests.training.test_stages import FIRST, curriculum

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


# What watches a run


def test_a_run_is_saved_by_minutes_watched_and_keeps_its_best(tmp_path, monkeypatch):
    """Each part has tests of its own; here they are wired."""
    clock = [0.0]
    opened = manager.Checkpoints.__init__

    def with_clock(self, directory, policy=None):
        opened(self, directory, policy, clock=lambda: clock[0])

    give = batches_lib.MixtureBatches.__call__

    def ticking(self, step, rows=None):
        clock[0] += 10.0
        return give(self, step, rows)

    monkeypatch.setattr(manager.Checkpoints, "__init__", with_clock)
    monkeypatch.setattr(batches_lib.MixtureBatches, "__call__", ticking)
    stage = dataclasses.replace(FIRST, eval_period=2, eval_split="train", train_steps=8)
    settings = curriculum(
        tmp_path,
        stage,
        # A minute is six batches, those of evaluations too.
        save_policy=manager.SavePolicy(
            period=1000, minutes=1.0, keep=1, keep_best=1, best_metric="validation_loss"
        ),
        watch=stage_run.Watch(2, profile_steps=(2, 4), peak_flops=1e12),
    )
    entry = stages.train(settings)["first"]
    evaluations = [
        json.loads(line) for line in (tmp_path / "first/validation.jsonl").read_text().splitlines()
    ]
    assert [row["step"] for row in evaluations] == [2, 4, 6, 8]
    assert entry["best_checkpoint"] == str(tmp_path / "first/checkpoints/8")
    saved = sorted(int(path.name) for path in (tmp_path / "first/checkpoints").iterdir())
    assert saved[-1] == 8
    assert any((tmp_path / "first").glob("events.out.tfevents.*"))
    assert list((tmp_path / "first/profile").rglob("*.xplane.pb"))
    rows = [
        json.loads(line) for line in (tmp_path / "first/metrics.jsonl").read_text().splitlines()
    ]
    assert all(row["model_flops_utilization"] > 0 for row in rows[1:])
    marks = json.loads(next((tmp_path / "first/goodput").glob("*_?.json")).read_text())["marks"]
    # By minutes, and the last step.
    assert len(marks) >= 2 and marks[-1][0] == 8


def test_the_best_are_kept_by_what_will_be_measured(tmp_path):
    policy = manager.SavePolicy(keep_best=1, best_metric="validation_loss")
    with pytest.raises(ValueError, match=r"validation_\* needs Stage.eval_period"):
        stages.train(curriculum(tmp_path / "new", FIRST, save_policy=policy))
    assert not (tmp_path / "new").exists()


def test_updates_left_out_are_counted_over_a_restart(tmp_path, monkeypatch):
    # The first update makes the parameters so large that no loss after it is finite.
    huge = dataclasses.replace(FIRST, optimizer=optimizer_lib.SGD(1e15, clip_norm=None))
    settings = curriculum(tmp_path, huge, watch=stage_run.Watch(1, max_skipped_in_row=4))
    give = batches_lib.MixtureBatches.__call__

    def stopping(self, step, rows=None):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return give(self, step, rows)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(batches_lib.MixtureBatches, "__call__", stopping)
        stages.train(settings)
    message = r"at step 5 .*, the 4th update in a row; .*checkpoint is step [34]\."
    with pytest.raises(NonFiniteError, match=message):
        stages.train(settings)
