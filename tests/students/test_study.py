"""The whole loop on pets of two worlds: teacher, annotation, students, report."""

import dataclasses
import functools
import json
import pathlib

import pytest
from jax import monitoring

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.data import claim, records
from teacherlm_jax.partitioning.mesh import MeshConfig
from teacherlm_jax.students import experiment, study
from teacherlm_jax.students.report_schema import check_results, plain_data
from teacherlm_jax.teacher import annotate
from teacherlm_jax.training import stage, stages
from teacherlm_jax.training.optimizer import AdamW
from tests.tiny_study import MODEL, TinyStudy

ARMS = ("plain", "fundamentals")
POLICY = manager.SavePolicy(asynchronous=False)
COMMAND = "teacherlm quickstart --gin.X=1"

compilations: list[str] = []
monitoring.register_event_duration_secs_listener(
    lambda name, _, **others: compilations.append(name) if "backend_compile" in name else None
)


def make_stage(name, mixture, steps):
    lengths = {"inputs": 32, "targets": 48}
    return stage.Stage(name, mixture, lengths, steps, 8, AdamW(0.006))


def make_study(folder, **changes):
    one_device = MeshConfig(device_count=1)
    students = functools.partial(
        experiment.Students,
        model=MODEL,
        optimizer=AdamW(0.01),
        train_steps=6,
        batch_size=4,
        seeds=changes.pop("seeds", (0, 1)),
        arms=changes.pop("arms", ARMS),
        length_multiple=64,
        save_policy=POLICY,
        score_batch_size=16,
    )
    values = {
        "output_dir": str(folder),
        "worlds": (0, 1),
        "subject": TinyStudy,
        "curriculum": functools.partial(
            stages.Curriculum,
            stages=[
                make_stage("first", "tiny{world}_base", 4),
                make_stage("last", "tiny{world}_gold", 240),
            ],
            model=MODEL,
            mesh=one_device,
            save_policy=POLICY,
        ),
        "annotation": functools.partial(
            annotate.Annotation,
            model=MODEL,
            max_new_tokens=14,
            max_length=64,
            batch_size=16,
            mesh=one_device,
        ),
        "students": students,
        "samples": 2,
    }
    return study.Study(**{**values, **changes})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished study and its results."""
    settings = make_study(tmp_path_factory.mktemp("study") / "out")
    return settings, study.run(settings, COMMAND)


def contents(folder):
    return {path: path.read_bytes() for path in pathlib.Path(folder).rglob("*") if path.is_file()}


def test_results_hold_a_run_for_each_world_and_seed(done):
    settings, results = done
    check_results(plain_data(results))
    assert (results["worlds"], results["seeds"]) == ([0, 1], [0, 1])
    assert list(results["arms"]) == list(ARMS)
    for arm in results["arms"].values():
        runs = [(run["world"], run["seed"]) for run in arm["runs"]]
        assert runs == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert arm["accuracy_per_seed"] == [run["accuracy"] for run in arm["runs"]]
        assert set(arm["by_type"]) == {"two", "three"}
    assert results["chance"] == TinyStudy(0).chance
    assert results["folder"] == settings.output_dir


def test_results_tell_of_the_teacher_and_show_samples(done):
    settings, results = done
    teacher = results["teacher"]
    # Means of worlds 0 and 1, which count their seeds.
    assert teacher["coverage"] == dict.fromkeys(ARMS, 5.0)
    assert set(teacher["dropped_held_out"].values()) == {0.5}
    assert set(teacher["base_accuracy"]) == {"two", "three", "mean"}
    truth = []
    for seed in (0, 1):
        folder = pathlib.Path(settings.output_dir) / f"tiny{seed}" / "annotations"
        rows = list(records.read_jsonl(folder))
        subject = TinyStudy(seed)
        truth.append(subject.quality(rows)["truth_rate"])
    means = {field: (truth[0][field] + truth[1][field]) / 2 for field in truth[0]}
    assert teacher["truth_rate"] == pytest.approx(means)
    assert max(means.values()) > 0
    assert len(results["samples"]) == 2
    first = TinyStudy(0).records()[0]
    assert results["samples"][0]["question"] == first.question


def test_results_tell_what_was_done_and_how_long_it_took(done):
    _, results = done
    assert results["steps"] == {"first": 4, "last": 240, "student": 6}
    assert results["command"] == COMMAND
    seconds = results["timings_s"]
    assert set(seconds) == {"first", "last", "annotate", "students", "evaluate", "total"}
    assert all(value > 0 for value in seconds.values())
    parts = sum(value for name, value in seconds.items() if name != "total")
    assert seconds["total"] >= parts - 0.5
    assert results["environment"]["platform"] == "cpu"


def test_the_report_lies_in_the_output_folder(done):
    settings, results = done
    folder = pathlib.Path(settings.output_dir)
    written = json.loads((folder / "results.json").read_text())
    assert written == plain_data({k: v for k, v in results.items() if k != "folder"})
    for name in ("report.md", "report.html", "arms.png", "learning_curves.png"):
        assert (folder / name).stat().st_size > 0
    assert COMMAND in (folder / "report.html").read_text()


@pytest.mark.slow
def test_the_same_study_again_trains_nothing_and_changes_nothing(done):
    settings, results = done
    before = contents(settings.output_dir)
    del compilations[:]
    assert study.run(settings, COMMAND) == results
    after = contents(settings.output_dir)
    assert after.keys() == before.keys()
    assert [path for path in after if after[path] != before[path]] == []
    assert not compilations


def test_students_alone_come_to_the_same_from_the_annotations(done, tmp_path):
    settings, results = done
    world = pathlib.Path(settings.output_dir) / "tiny1"
    students = dataclasses.replace(settings.plan(1).students, output_dir=str(tmp_path))
    alone = study.compare(TinyStudy(1), str(world / "annotations"), students, COMMAND)
    check_results(plain_data(alone))
    assert alone["worlds"] == [1]
    for arm in ARMS:
        runs = [run for run in results["arms"][arm]["runs"] if run["world"] == 1]
        assert alone["arms"][arm]["runs"] == runs
    assert (tmp_path / "report.html").is_file()


def test_another_configuration_is_refused_and_changes_nothing(done):
    settings, _ = done
    before = contents(settings.output_dir)
    for changes in ({"seeds": (0, 2)}, {"curriculum": settings.curriculum}):
        if "curriculum" in changes:
            stages_of = [make_stage("first", "tiny{world}_base", 5)]
            changes["curriculum"] = functools.partial(settings.curriculum, stages=stages_of)
        with pytest.raises(claim.ConfigurationMismatchError, match="belongs to another"):
            study.run(make_study(settings.output_dir, **changes), COMMAND)
    assert contents(settings.output_dir) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ("plain", "fundamental")}, "arm = 'fundamental'"),
        ({"worlds": ()}, r"worlds = \(\)"),
        ({"worlds": (0, 0)}, "each once"),
        ({"worlds": 1}, r"worlds = 1, but .* as in \(0, 1\)"),
        ({"seeds": 2}, r"seeds = 2, but"),
    ],
)
def test_mistakes_are_found_before_the_teacher_is_trained(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        study.run(make_study(tmp_path / "out", **changes), COMMAND)
    assert not (tmp_path / "out").exists()


def test_annotations_that_are_not_finished_are_refused(done, tmp_path):
    settings, _ = done
    unfinished = tmp_path / "annotations"
    unfinished.mkdir()
    (unfinished / "annotation-00000-of-00002.jsonl").write_text("")
    with pytest.raises(FileNotFoundError, match="is not finished"):
        study.compare(TinyStudy(0), str(unfinished), settings.plan(0).students, COMMAND)
