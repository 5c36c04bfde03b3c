"""Students of all arms differ in their samples alone, however they were run."""

import dataclasses
import gc
import json
import os
import pathlib
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import monitoring

from teacherlm_jax.checkpoints import manager, restore
from teacherlm_jax.data import batches, claim, ledger, vocabularies
from teacherlm_jax.evaluation import evaluate
from teacherlm_jax.students import experiment
from teacherlm_jax.training import stage_run
from teacherlm_jax.training.optimizer import AdamW
from tests import tiny_study
from tests.tiny_study import MODEL, TinyStudy, random_params

STEPS, BATCH, SEEDS = 20, 5, (0, 1)
ARMS = ("plain", "all")

compilations: list[str] = []
monitoring.register_event_duration_secs_listener(
    lambda name, _, **others: compilations.append(name) if "backend_compile" in name else None
)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return tiny_study.save_checkpoint(tmp_path_factory.mktemp("start"), random_params())


def students(start, folder, **changes):
    values = {
        "batch_size": BATCH,
        "seeds": SEEDS,
        "arms": ARMS,
        # One length, so that the arms share a compilation.
        "length_multiple": 64,
        "save_policy": manager.SavePolicy(period=6, asynchronous=False),
        "log_period": 4,
        "score_batch_size": 16,
    }
    return experiment.Students(
        MODEL, start, str(folder), AdamW(0.01), STEPS, **{**values, **changes}
    )


def gold_records():
    study = TinyStudy(0)
    return [dataclasses.replace(record, **study.gold(record)) for record in study.records()]


def run(settings):
    return experiment.run(settings, TinyStudy(0), gold_records())


@dataclasses.dataclass
class Seen:
    """What an experiment fed its students, arm by arm."""

    settings: experiment.Students
    results: dict
    starts: list
    ids: list  # arm -> step -> ids of all replicas
    arrays: list


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """An experiment that nothing interrupts, watched."""
    settings = students(start, tmp_path_factory.mktemp("whole"))
    seen = Seen(settings, {}, [], [], [])
    give, train = batches.ReplicaBatches.__call__, stage_run.run

    def watched_batches(self, step, rows=None):
        ids, arrays = give(self, step)
        if step == 0:
            seen.ids.append([])
            seen.arrays.append([])
        seen.ids[-1].append(ids)
        seen.arrays[-1].append(arrays)
        return ids, arrays

    def watched_training(run, data, start_params):
        seen.starts.append(jax.device_get(start_params()))
        return train(run, data, start_params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches.ReplicaBatches, "__call__", watched_batches)
        patch.setattr(stage_run, "run", watched_training)
        seen.results = run(settings)
    return seen


def test_all_arms_start_from_the_same_checkpoint(whole):
    assert len(whole.starts) == len(ARMS)
    for params in whole.starts:
        jax.tree.map(np.testing.assert_array_equal, params, random_params())
    digests = {
        json.loads(ledger.read_text(folder(whole.settings, arm) / "configuration.json"))["start"]
        for arm in ARMS
    }
    assert len(digests) == 1


def test_students_name_their_vocabulary(whole):
    names = [restore.saved_vocabulary(folder(whole.settings, arm) / "checkpoints") for arm in ARMS]
    assert names == [vocabularies.identity(tiny_study.vocabulary())] * len(ARMS)


def test_all_arms_take_the_same_steps_on_as_many_rows(whole):
    for ids, arrays in zip(whole.ids, whole.arrays, strict=True):
        assert len(ids) == STEPS
        for step_ids, step_arrays in zip(ids, arrays, strict=True):
            assert len(step_ids) == len(SEEDS) * BATCH
            assert step_arrays["decoder_target_tokens"].shape[:2] == (len(SEEDS), BATCH)


def replay(ids, arrays, step):
    """(place, id, tokens) of a step's rows that every arm shares."""
    length = arrays[step]["decoder_segment_ids"].shape[-1]
    segments = arrays[step]["decoder_segment_ids"].reshape(-1, length)
    tokens = arrays[step]["decoder_target_tokens"].reshape(-1, length)
    return [
        (place, example_id, tokens[place][segments[place] > 0].tolist())
        for place, example_id in enumerate(ids[step])
        if "_base_plain_" in example_id
    ]


def test_the_replay_rows_are_the_same_in_every_arm_at_every_step(whole):
    count = 0
    for step in range(STEPS):
        plain, *others = [
            replay(ids, arrays, step) for ids, arrays in zip(whole.ids, whole.arrays, strict=True)
        ]
        assert all(other == plain for other in others)
        count += len(plain)
    assert count == pytest.approx(0.4 * STEPS * len(SEEDS) * BATCH, rel=0.1)


def test_the_other_rows_are_the_arms_own_and_questions_come_in_one_order(whole):
    own = []
    for arm, ids in zip(ARMS, whole.ids, strict=True):
        rows = [id_ for step in ids for id_ in step if "_base_plain_" not in id_]
        prefix = f"tiny0_student_{arm}_"
        assert all(row.startswith(prefix) for row in rows)
        own.append([row.removeprefix(prefix) for row in rows])
    assert own[0] == own[1]


def test_students_of_different_seeds_see_different_orders(whole):
    for ids in whole.ids:
        first, second = ([row for step in ids for row in step[part]] for part in halves())
        assert first != second
        assert set(first) == set(second)


def halves():
    return slice(0, BATCH), slice(BATCH, None)


def folder(settings, arm):
    return pathlib.Path(settings.output_dir) / arm


@pytest.mark.parametrize("arm", ARMS)
def test_what_is_kept_is_what_the_checkpoint_scores(whole, tmp_path, arm):
    result = whole.results[arm]
    written = json.loads(ledger.read_text(folder(whole.settings, arm) / "evaluation.json"))
    assert written == result
    for split, key in (("test", "accuracy"), ("validation", "validation")):
        checked = evaluate.evaluate_checkpoint(
            evaluate.CheckpointEvaluation(
                str(folder(whole.settings, arm) / "checkpoints"),
                "tiny0_eval",
                str(tmp_path / split),
                MODEL,
                split=split,
                max_length=64,
            )
        )
        assert [run[key] for run in result["runs"]] == [m["accuracy"] for m in checked["models"]]
    assert [run["seed"] for run in result["runs"]] == list(SEEDS)
    for one in result["runs"]:
        assert set(one["by_type"]) == {"two", "three"}
        assert one["accuracy"] == pytest.approx(np.mean(list(one["by_type"].values())))


@pytest.mark.parametrize("arm", ARMS)
def test_tokens_and_losses_are_of_what_was_seen(whole, arm):
    result, arrays = whole.results[arm], whole.arrays[ARMS.index(arm)]
    tokens = sum(int((step["decoder_segment_ids"] > 0).sum()) for step in arrays)
    assert result["tokens"] == tokens / len(SEEDS)
    assert [row["step"] for row in result["rows"]] == [4, 8, 12, 16, 20]
    losses = np.asarray([row["loss"] for row in result["rows"]])
    assert losses.shape == (5, len(SEEDS))
    assert (losses[-1] < losses[0]).all()


@pytest.mark.slow
def test_seeds_together_are_as_seeds_apart_for_20_steps(start, tmp_path):
    """Data order and losses, whether students share a program or run alone."""

    def losses_and_runs(seeds):
        settings = students(start, tmp_path / str(seeds), seeds=seeds, log_period=1, arms=("all",))
        result = run(settings)["all"]
        return np.asarray([row["loss"] for row in result["rows"]]), result["runs"]

    together, runs = losses_and_runs((0, 1))
    assert together.shape == (20, 2)
    for place, seed in enumerate(SEEDS):
        apart, run_apart = losses_and_runs((seed,))
        np.testing.assert_allclose(together[:, place], apart[:, 0], atol=1e-5, rtol=0)
        assert run_apart == [runs[place]]
    assert np.abs(together[:, 0] - together[:, 1]).max() > 0.01


def stopping(monkeypatch, arm, step):
    """Ctrl-C comes while the batch of a step of the given number of an arm is made."""
    instances: list[object] = []  # Kept alive: a freed one's id may be the next one's.
    give = batches.ReplicaBatches.__call__

    def stop(self, number, rows=None):
        if not any(one is self for one in instances):
            instances.append(self)
        if len(instances) == arm and number == step:
            # Where Python is collecting garbage, it swallows the exception that Ctrl-C raises.
            gc.disable()
            try:
                os.kill(os.getpid(), signal.SIGINT)
            finally:
                gc.enable()
        return give(self, number, rows)

    monkeypatch.setattr(batches.ReplicaBatches, "__call__", stop)


def timeless(result):
    """A result without what a clock says."""
    rows = [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in result["rows"]]
    return {**{k: v for k, v in result.items() if not k.endswith("seconds")}, "rows": rows}


def test_an_experiment_stopped_within_and_between_arms_comes_to_the_same(
    whole, start, tmp_path, monkeypatch
):
    settings = students(start, tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stopping(patch, arm=1, step=9)
        run(settings)
    saved = sorted(int(path.name) for path in (tmp_path / "plain" / "checkpoints").iterdir())
    # Saved where Ctrl-C came, between two saves that were due.
    assert 9 <= saved[-1] <= 11 and saved[-1] % 4
    assert not (tmp_path / "plain" / "evaluation.json").exists()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stopping(patch, arm=2, step=0)
        run(settings)
    plain = tmp_path / "plain" / "evaluation.json"
    finished = plain.stat().st_mtime_ns
    assert not (tmp_path / "all" / "evaluation.json").exists()

    results = run(settings)
    assert plain.stat().st_mtime_ns == finished
    for arm in ARMS:
        assert timeless(results[arm]) == timeless(whole.results[arm])


def files(folder):
    paths = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in paths}


def test_a_finished_experiment_is_read_and_not_run_again(whole):
    before = files(whole.settings.output_dir)
    del compilations[:]
    assert run(whole.settings) == whole.results
    assert files(whole.settings.output_dir) == before
    assert not compilations


@pytest.mark.parametrize(
    ("changes", "differences"),
    [
        ({"seeds": (0, 2)}, ["seeds: folder has [0, 1], this run has [0, 2]"]),
        (
            {"train_steps": 21, "batch_size": 4, "bos_id": None, "optimizer": AdamW(0.02)},
            [
                "train_steps: folder has 20, this run has 21",
                "batch_size: folder has 5, this run has 4",
                "bos_id: folder has 0, this run has None",
                "optimizer.learning_rate: folder has 0.01, this run has 0.02",
            ],
        ),
    ],
)
def test_a_folder_of_other_settings_is_refused_before_anything_compiles(
    whole, changes, differences
):
    before = files(whole.settings.output_dir)
    changed = dataclasses.replace(whole.settings, arms=("all",), **changes)
    del compilations[:]
    with pytest.raises(claim.ConfigurationMismatchError) as error:
        run(changed)
    assert not compilations
    found = [line for line in str(error.value).splitlines() if line.startswith("  ")]
    assert sorted(line.strip() for line in found) == sorted(differences)
    assert files(whole.settings.output_dir) == before


def test_other_annotations_and_another_start_are_other_settings(whole, tmp_path):
    changed = [dataclasses.replace(r, fundamentals="the cat is not red.") for r in gold_records()]
    settings = dataclasses.replace(whole.settings, arms=("all",))
    with pytest.raises(claim.ConfigurationMismatchError, match="data: folder has"):
        experiment.run(settings, TinyStudy(0), changed)
    other = tiny_study.save_checkpoint(tmp_path, random_params(1))
    with pytest.raises(claim.ConfigurationMismatchError, match="start: folder has"):
        run(dataclasses.replace(settings, start_checkpoint_dir=other))


def test_arms_that_are_new_are_not_claimed_beside_one_that_is_refused(whole, tmp_path):
    """Else the folder would belong to nobody: neither to these settings nor to the others."""
    settings = dataclasses.replace(whole.settings, output_dir=str(tmp_path))
    claim.claim_folder(tmp_path / "all", {"seeds": "others"})
    with pytest.raises(claim.ConfigurationMismatchError):
        run(settings)
    assert not (tmp_path / "plain").exists()


def test_a_start_of_several_replicas_is_refused(tmp_path):
    params = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), random_params())
    several = tiny_study.save_checkpoint(tmp_path, params, replicas=2)
    with pytest.raises(ValueError, match="holds 2 replicas"):
        run(students(several, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"arms": ("plain", "fundamental")}, ValueError, "arm = 'fundamental'"),
        ({"start_checkpoint_dir": "/none"}, FileNotFoundError, "no checkpoint directory /none"),
        (
            {"model": dataclasses.replace(MODEL, mlp_dim=16)},
            manager.CheckpointError,
            r"mlp_dim 32 \(asked: 16\)",
        ),
    ],
)
def test_mistakes_are_found_before_any_folder_is_made(start, tmp_path, changes, error, message):
    wrong = dataclasses.replace(students(start, tmp_path / "out"), **changes)
    with pytest.raises(error, match=message):
        run(wrong)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": ()}, r"seeds = \(\): give one or more, each once"),
        ({"seeds": (0, 0)}, "each once"),
        ({"seeds": 3}, r"seeds = 3, but .* as in \(0, 1\)"),
        ({"seeds": (0, -1)}, r"seeds = \(0, -1\), but"),
        ({"arms": ()}, r"arms = \(\)"),
        ({"arms": "plain"}, r"arms = 'plain', but .* as in \('plain', 'fundamentals'\)"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        students("start", "out", **changes)
