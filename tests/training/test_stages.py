"""A curriculum: its ledger, where stages start, kills at bad moments, and bad input."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from teacherlm_jax.checkpoints import fingerprint, manager, restore
from teacherlm_jax.data import pipeline, vocabularies
from teacherlm_jax.data.claim import ConfigurationMismatchError
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training import stage_run, stages
from teacherlm_jax.training.stage import Stage
from tests.data import tiny_tasks
from tests.source import ROOT
from tests.training import tiny

STEPS = 6
ONE = MeshConfig(device_count=1)
FIRST = Stage(
    name="first",
    mixture_or_task_name="teacherlm_test_mixture{n}",
    task_feature_lengths={"inputs": 8, "targets": 6},
    train_steps=STEPS,
    batch_size=4,
    optimizer=optimizer_lib.AdamW(1e-2),
)
SECOND = dataclasses.replace(FIRST, name="second", seed=1)
# The second stage again, from where that one started; then on from there.
FORK = dataclasses.replace(SECOND, name="fork", initialize_from="first")
LAST = dataclasses.replace(SECOND, name="last")


def curriculum(folder, *own_stages, **changes):
    settings = {
        "mesh": ONE,
        "save_policy": manager.SavePolicy(period=2),
        "watch": stage_run.Watch(4),
        "name_values": {"n": 1},
        **changes,
    }
    model = settings.pop("model", tiny.config())
    return stages.Curriculum(own_stages or (FIRST,), str(folder), model, **settings)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    """Stages of one shape compile once, in the processes that are killed as well."""
    names = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("cache")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in names.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield names["jax_compilation_cache_dir"]
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def trained(cache_dir, tmp_path_factory):
    """A finished curriculum: its folder and its ledger."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, stages.train(curriculum(folder, FIRST, SECOND, FORK, LAST))


@pytest.fixture
def no_training(monkeypatch):
    """What is wrong must be found before a stage begins, so before anything is compiled."""

    def run_stage(*_):
        raise AssertionError("a stage began")

    monkeypatch.setattr(stages, "_run_stage", run_stage)


# Ledger


def test_the_ledger_says_what_every_stage_left(trained):
    folder, ledger = trained
    assert list(ledger) == ["first", "second", "fork", "last"]
    tables, _ = pipeline.load_tables("teacherlm_test_mixture1")
    assert {len(example) for table in tables for example in table.examples} == {14}
    for name, entry in ledger.items():
        assert entry == json.loads((folder / name / "done.json").read_text())
        assert entry["stage"] == name and entry["step"] == STEPS
        assert entry["tokens"] == STEPS * 4 * 14
        rows = [
            json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()
        ]
        assert [row["step"] for row in rows] == [4, 6]
        assert entry["final"] == {key: rows[-1][key] for key in ("loss", "accuracy")}
        assert entry["seconds"] > 0
        loaded = restore.load(entry["checkpoint"], tiny.config(), make_mesh(ONE))
        assert loaded.step == STEPS
        assert fingerprint.digest(loaded.params) == entry["params_digest"]
    assert ledger["last"]["final"]["loss"] < ledger["first"]["final"]["loss"] - 0.3


def test_checkpoints_name_the_vocabulary_of_their_texts(trained):
    for stage in trained[1].values():
        name = restore.saved_vocabulary(stage["checkpoint"])
        assert name == vocabularies.identity(pipeline.vocabulary("teacherlm_test_mixture1"))


def test_a_stage_starts_from_the_one_before_or_from_the_one_that_it_names(trained):
    digests = {name: entry["params_digest"] for name, entry in trained[1].items()}
    # The fork repeats the second stage only if it starts where that one did.
    assert digests["fork"] == digests["second"]
    assert len({digests[name] for name in ("first", "second", "last")}) == 3


def test_a_curriculum_may_start_from_a_checkpoint(trained, tmp_path):
    start = str(trained[0] / "first" / "checkpoints")
    by_path = dataclasses.replace(SECOND, name="by path", initialize_from=start)
    ledger = stages.train(curriculum(tmp_path, SECOND, by_path, initial_checkpoint_path=start))
    assert ledger["second"]["params_digest"] == trained[1]["second"]["params_digest"]
    assert ledger["by path"]["params_digest"] == trained[1]["second"]["params_digest"]


def test_done_stages_are_passed_over(trained, monkeypatch, no_training):
    folder, ledger = trained
    monkeypatch.setattr(pipeline, "load_tables", None)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert stages.train(curriculum(folder, FIRST, SECOND, FORK, LAST)) == ledger
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_paths_mesh_and_saving_may_change(trained, tmp_path, no_training):
    folder, ledger = trained
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    changed = curriculum(
        moved, FIRST, SECOND, FORK, LAST,
        mesh=MeshConfig(data=4, device_count=4),
        save_policy=manager.SavePolicy(period=5, keep=1),
        watch=stage_run.Watch(3),
    )  # fmt: skip
    for name, entry in stages.train(changed).items():
        assert entry == {**ledger[name], "checkpoint": str(moved / name / "checkpoints")}


# Kills


_KILLS = """
    import json, os, signal, sys, traceback

    from teacherlm_jax.data import pipeline, vocabularies
    from teacherlm_jax.training import loop, stages
    from tests.data import tiny_tasks
    from tests.training import test_stages

    folder, kills = sys.argv[1], json.loads(sys.argv[2])
    train = loop.Loop.run
    # Loaded once for all, since a child may not use TensorFlow after its parent did.
    tables = pipeline.load_tables(tiny_tasks.MIXTURE)
    pipeline.load_tables = lambda *_: tables

    def child(kill):
        def run(self, state, batches, first, last, rng):
            def killing(step, rows):
                if [self.description, step] == kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                return batches(step, rows)
            return train(self, state, killing, first, last, rng)
        loop.Loop.run = run
        stages.train(test_stages.curriculum(folder, test_stages.FIRST, test_stages.SECOND))

    # A child begins here, before JAX has any thread.
    for kill in [*kills, None]:
        pid = os.fork()
        if pid == 0:
            try:
                child(kill)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def test_a_curriculum_killed_in_every_stage_ends_with_the_same_digest(trained, cache_dir, tmp_path):
    kills = [["first", 5], ["second", 3]]
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_KILLS), str(tmp_path), json.dumps(kills)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAX_COMPILATION_CACHE_DIR": cache_dir,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            # As in this process: another program rounds otherwise.
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.stdout.split() == [str(-signal.SIGKILL)] * 2 + ["0"], finished.stderr
    for name in ("first", "second"):
        entry = json.loads((tmp_path / name / "done.json").read_text())
        expected = {**trained[1][name], "checkpoint": entry["checkpoint"]}
        assert entry == {**expected, "seconds": entry["seconds"]}
        rows, others = (
            (place / name / "metrics.jsonl").read_text().splitlines()
            for place in (tmp_path, trained[0])
        )
        for row, other in zip(map(json.loads, rows), map(json.loads, others), strict=True):
            assert {**row, "tokens_per_second": 0} == {**other, "tokens_per_second": 0}
    # What a kill left half-written is gone.
    assert not [path for path in tmp_path.rglob("*") if "tmp" in path.name]


# Folders


def test_a_folder_of_another_configuration_is_refused_with_what_differs(trained, no_training):
    folder, _ = trained
    before = sorted(path for path in folder.rglob("*"))
    steeper = dataclasses.replace(FIRST, optimizer=optimizer_lib.AdamW(2e-2), batch_size=2)
    with pytest.raises(ConfigurationMismatchError) as caught:
        stages.train(curriculum(folder, steeper, SECOND, FORK, LAST, bos_id=None))
    message = str(caught.value)
    assert f"output folder {str(folder)!r} belongs to another configuration" in message
    for line in (
        "  bos_id: folder has 0, this run has None\n",
        "  stages.first.batch_size: folder has 4, this run has 2\n",
        "  stages.first.optimizer.learning_rate: folder has 0.01, this run has 0.02\n",
    ):
        assert line in message
    assert message.count("folder has") == 3
    assert sorted(path for path in folder.rglob("*")) == before


def test_a_stage_whose_data_has_changed_is_refused(trained, tmp_path, monkeypatch, no_training):
    folder = tmp_path / "model"
    shutil.copytree(trained[0], folder)
    (folder / "last" / "done.json").unlink()
    (folder / "last" / "done.json.complete").unlink()
    load = pipeline.load_table

    def changed(task, split):
        table = load(task, split)
        return dataclasses.replace(table, examples=table.examples[:-1])

    with pytest.raises(AssertionError, match="a stage began"):
        stages.train(curriculum(folder, FIRST, SECOND, FORK, LAST))
    monkeypatch.setattr(pipeline, "load_table", changed)
    with pytest.raises(ConfigurationMismatchError, match=r"/last' .*\n  data_digest: folder has"):
        stages.train(curriculum(folder, FIRST, SECOND, FORK, LAST))


def test_the_order_of_stages_belongs_to_the_configuration(trained, no_training):
    with pytest.raises(ConfigurationMismatchError, match=r"second.*fork.*fork.*second"):
        stages.train(curriculum(trained[0], FIRST, FORK, SECOND, LAST))


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path, no_training):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PermissionError, match=r"cannot write into the output folder .*file/run"):
        stages.train(curriculum(tmp_path / "file" / "run"))


def test_a_damaged_start_is_named_and_nothing_is_lost(trained, tmp_path):
    for name in ("configuration.json", "configuration.json.complete"):
        shutil.copy(trained[0] / name, tmp_path / name)
    shutil.copytree(trained[0] / "first", tmp_path / "first")
    checkpoint = tmp_path / "first" / "checkpoints" / str(STEPS)
    for path in (checkpoint / "params").rglob("*"):
        if path.is_file():
            path.write_bytes(bytes(len(path.read_bytes())))
    with pytest.raises(manager.CheckpointError, match=f"first/checkpoints/{STEPS} cannot be read"):
        stages.train(curriculum(tmp_path, FIRST, SECOND, FORK, LAST))
    assert (tmp_path / "first" / "done.json").exists() and checkpoint.exists()
    assert not (tmp_path / "second" / "done.json").exists()


@pytest.mark.parametrize("kind", ["initial", "stage"])
def test_a_start_that_is_not_there_is_found_before_the_first_stage(kind, tmp_path, no_training):
    missing = str(tmp_path / "nowhere" / "checkpoints")
    later = dataclasses.replace(SECOND, initialize_from=missing)
    wrong = (
        curriculum(tmp_path / "run", initial_checkpoint_path=missing)
        if kind == "initial"
        else curriculum(tmp_path / "run", FIRST, later)
    )
    with pytest.raises(FileNotFoundError, match=r"no checkpoint directory .*nowhere"):
        stages.train(wrong)
    assert not (tmp_path / "run").exists()


def test_a_start_of_another_model_is_found_before_the_first_stage(trained, tmp_path, no_training):
    start = str(trained[0] / "first" / "checkpoints")
    wider = curriculum(tmp_path, model=tiny.config(mlp_dim=64), initial_checkpoint_path=start)
    with pytest.raises(manager.CheckpointError, match=r"another model: mlp_dim 32 \(asked: 64\)"):
        stages.train(wider)


def test_replicas_are_no_start(trained, tmp_path):
    start = tmp_path / "checkpoints"
    abstract = restore.load(trained[1]["first"]["checkpoint"], tiny.config(), make_mesh(ONE)).params
    stacked = jax.tree.map(lambda leaf: leaf[None], abstract)
    metadata = {"model": dataclasses.asdict(tiny.config()), "replicas": 1}
    with manager.Checkpoints(start, manager.SavePolicy(asynchronous=False)) as checkpoints:
        checkpoints.save(1, stacked, {"step": 1}, metadata)
    with pytest.raises(ValueError, match=r"holds 1 replicas.*a stage starts from one model"):
        stages.train(curriculum(tmp_path / "run", initial_checkpoint_path=str(start)))


# Bad input


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        ({}, {"model": tiny.config(vocab_size=16)}, r"vocabulary of 21, .* vocab_size 16"),
        (
            {"task_feature_lengths": {"inputs": 8, "targets": 5}},
            {},
            r"has 14 tokens \(inputs 8, targets 6\), but a row holds 13",
        ),
        ({"task_feature_lengths": {}}, {}, "row length 0"),
        ({"split": "test"}, {}, r"has no split 'test'; it has \['train'\]"),
        ({"loss_on": "target"}, {}, r"loss_on = 'target', .*'targets', 'all'"),
        (
            {},
            {"name_values": {"n": 7}},
            "no task or mixture 'teacherlm_test_mixture7' .*'teacherlm_test_mixture1'",
        ),
        ({"batch_size": 6}, {"mesh": MeshConfig(data=4, device_count=4)}, "nearest .* 4 and 8"),
        ({}, {"mesh": MeshConfig(data=3, device_count=8)}, r"needs 3 devices, but there are 8"),
        ({}, {"mesh": MeshConfig(device_count=9999)}, r"device_count = 9999"),
        (
            {},
            {"mesh": MeshConfig(data=1, tensor=4, device_count=4)},
            r"dimension heads of 2 does not divide over mesh axes tensor of 4 devices",
        ),
    ],
)
def test_bad_input_is_an_error_before_anything_is_written(
    stage, settings, message, tmp_path, no_training
):
    wrong = curriculum(tmp_path / "run", dataclasses.replace(FIRST, **stage), **settings)
    with pytest.raises(ValueError, match=message):
        stages.train(wrong)
    assert not (tmp_path / "run").exists()


def test_bad_input_of_a_later_stage_does_not_wait_for_it(tmp_path, no_training):
    wrong = curriculum(tmp_path / "run", FIRST, dataclasses.replace(SECOND, split="test"))
    with pytest.raises(ValueError, match="has no split 'test'"):
        stages.train(wrong)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("own_stages", "settings", "message"),
    [
        ([FIRST], {"name_values": {"m": 1}}, r"'teacherlm_test_mixture\{n\}' has braces .*'m': 1"),
        ([FIRST, FIRST], {}, "two stages are named 'first'"),
        ([dataclasses.replace(FIRST, name="previous")], {}, "two stages are named 'previous'"),
        ([FORK, FIRST], {}, "stage 'fork' starts from 'first', which is no earlier stage"),
    ],
)
def test_a_curriculum_that_cannot_be_is_an_error(own_stages, settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        curriculum(tmp_path, *own_stages, **settings)


def test_a_curriculum_has_stages(tmp_path):
    with pytest.raises(ValueError, match="at least one stage"):
        stages.Curriculum((), str(tmp_path), tiny.config())


def test_the_mixture_is_the_one_of_the_tests():
    assert curriculum("unused").mixture_name(FIRST) == tiny_tasks.MIXTURE
