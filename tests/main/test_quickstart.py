"""`teacherlm quickstart` as a user runs it: to the end, again, and stopped on the way."""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import pytest

from teacherlm_jax.students.report_schema import check_results
from tests.object_store import REPOSITORY

# Few steps of a small model: enough that the teacher ends its sentences.
FLAGS = [
    "--gin.OUTPUT_DIR=out",
    "--gin.BASE_STEPS=60",
    "--gin.CORPUS_STEPS=60",
    "--gin.TEACHER_STEPS=150",
    "--gin.STUDENT_STEPS=60",
    "--gin.config.DecoderConfig.num_layers=1",
    "--gin.config.DecoderConfig.emb_dim=32",
    "--gin.config.DecoderConfig.mlp_dim=64",
    "--gin.experiment.Students.arms=('plain', 'fundamentals', 'scrambled_fundamentals')",
]
ARMS = ["plain", "fundamentals", "scrambled_fundamentals"]


def start(folder, *flags):
    """The command in a process of its own, as from a shell."""
    return subprocess.Popen(
        [sys.executable, "-m", "teacherlm_jax.main.command_line", "quickstart", *FLAGS, *flags],
        cwd=folder,
        env={
            **{
                key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS", "NPROC")
            },
            "PYTHONPATH": str(REPOSITORY),
            "JAX_PLATFORMS": "cpu",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    return out


def interrupt(process, when):
    """Presses Ctrl-C as soon as a file is there; returns what was said."""
    deadline = time.monotonic() + 200
    while not when.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=100)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def stopped(folder):
    """What Ctrl-C in the second stage says, and when the first stage was done."""
    world = folder / "out" / "world0" / "teacher"
    process = start(folder)
    out, err = interrupt(process, world / "base" / "done.json.complete")
    done = (world / "base" / "done.json").stat().st_mtime_ns
    return process.returncode, out, err, done


@pytest.fixture(scope="module")
def output(folder, stopped):
    """What the same command says when it has come to the end."""
    return finish(start(folder))


def test_ctrl_c_says_how_to_continue(stopped):
    status, out, err, _ = stopped
    assert status == 130
    assert out == ""
    assert "interrupted. What is finished is kept; to continue:" in err
    assert shlex.join(["teacherlm", "quickstart", *FLAGS]) in err
    assert "Traceback" not in err


def test_the_same_command_goes_on_and_repeats_no_stage(folder, stopped, output):
    *_, done = stopped
    assert (folder / "out/world0/teacher/base/done.json").stat().st_mtime_ns == done
    for name in ("base", "corpus", "teacher"):
        assert (folder / f"out/world0/teacher/{name}/done.json.complete").exists()


def test_the_report_is_written_and_its_results_are_whole(folder, output):
    out = folder / "out"
    results = json.loads((out / "results.json").read_text())
    check_results(results)
    assert list(results["arms"]) == ARMS
    for arm in results["arms"].values():
        assert len(arm["accuracy_per_seed"]) == 2
        assert set(arm["by_type"]) == {"tf", "mc", "both"}
    assert results["steps"] == {"base": 60, "corpus": 60, "teacher": 150, "student": 60}
    assert set(results["teacher"]["truth_rate"]) == {
        "fundamentals",
        "chain_of_thought",
        "common_mistakes",
    }
    assert set(results["teacher"]["coverage"]) == set(ARMS)
    assert results["teacher"]["coverage"]["plain"] == 0.0
    assert len(results["samples"]) == 6
    assert shlex.split(results["command"]) == ["teacherlm", "quickstart", *FLAGS]
    for name in ("report.md", "report.html", "arms.png", "learning_curves.png"):
        assert (out / name).stat().st_size > 0


def test_the_table_and_the_places_are_printed(output):
    for arm in ARMS:
        assert f"\n{arm} " in output
    for line in ("Report:", "Teacher:", "Texts:", "Students:", "Next, try:"):
        assert f"  {line}" in output


def test_the_places_that_are_printed_are_there(folder, output):
    for line in output.splitlines():
        label, _, place = line.strip().partition(": ")
        if label in ("Report", "Teacher", "Texts", "Students"):
            place = place.split()[0].replace("ARM", "plain")
            assert (folder / place).exists(), line


def test_the_same_command_again_changes_nothing(folder, output):
    before = contents(folder)
    again = finish(start(folder))
    assert again == output
    after = contents(folder)
    assert after.keys() == before.keys()
    assert [path for path in after if after[path] != before[path]] == []


@pytest.mark.slow
def test_stopped_in_every_phase_it_comes_to_the_same_students(folder, output, tmp_path):
    """Ctrl-C in the teacher's stage, while it annotates, and among the students."""
    world = tmp_path / "out" / "world0"
    for sign in (
        world / "teacher" / "corpus" / "done.json.complete",
        world / "annotations" / "configuration.json",
        world / "students" / "plain" / "evaluation.json.complete",
    ):
        process = start(tmp_path)
        _, err = interrupt(process, sign)
        assert process.returncode == 130, err
    finish(start(tmp_path))
    expected = json.loads((folder / "out" / "results.json").read_text())
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    for key in ("timings_s",):
        expected.pop(key), found.pop(key)
    assert found == expected
    assert pathlib.Path(tmp_path / "out" / "report.html").is_file()
