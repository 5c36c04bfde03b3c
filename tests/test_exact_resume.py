"""Killed with -9 and started again, a run ends bit for bit as one that nobody touched.

On several hosts, one of which is killed, and on another number of hosts after that, it sees the
same examples, and its losses differ by rounding alone.
"""

import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

from launch import local_launch
from teacherlm_jax.checkpoints import manager
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.training.placement import Placement
from tests import exact_run
from tests.source import ROOT

DEVICES = 8


def start(folder: pathlib.Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.exact_run", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> None:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def wait_for(path: pathlib.Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while not path.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def stage_folder(folder: pathlib.Path) -> pathlib.Path:
    return folder / "model" / "stage"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    finish(start(folder))
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Killed at step 100 or a little later, and again before the end."""
    folder = tmp_path_factory.mktemp("killed")
    for step in (100, 160):
        process = start(folder)
        wait_for(stage_folder(folder) / "checkpoints" / str(step), process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (stage_folder(folder) / "done.json").exists()
    finish(start(folder))
    return folder


def state(folder):
    """The last checkpoint's, on this process' devices."""
    curriculum = exact_run.settings(str(folder))
    model = Decoder(curriculum.model)
    optimizer = curriculum.stages[0].optimizer.build(boxed_params(model))
    abstract = Placement(model, optimizer, mesh_lib.make_mesh(curriculum.mesh)).abstract_state
    with manager.Checkpoints(stage_folder(folder) / "checkpoints") as checkpoints:
        assert checkpoints.steps()[-1] == exact_run.STEPS
        return checkpoints.restore_newest(
            abstract.params, {"step": abstract.step, "opt_state": abstract.opt_state}
        )


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def attempts(folder):
    """(first step, step -> ids) of every process, in their order."""
    paths = sorted((folder / "ids").iterdir(), key=lambda path: path.stat().st_mtime)
    found = [dict(lines(path)) for path in paths]
    return [(min(ids), ids) for ids in found]


def test_parameters_and_optimizer_end_bit_for_bit_alike(uninterrupted, killed):
    jax.tree.map(np.testing.assert_array_equal, state(killed), state(uninterrupted))


def test_metrics_are_the_same_but_for_time(uninterrupted, killed):
    for name in ("metrics.jsonl", "validation.jsonl"):
        rows, expected = (lines(stage_folder(folder) / name) for folder in (killed, uninterrupted))
        for row in [*rows, *expected]:
            row.pop("tokens_per_second", None)
        assert rows == expected and len(rows) >= 4
    assert set(rows[0]["validation_component_loss"]) == {
        "teacherlm_test_colors",
        "teacherlm_test_shapes",
    }


def test_examples_come_in_the_same_order_and_none_is_gone_through_again(uninterrupted, killed):
    ((first, expected),) = attempts(uninterrupted)
    assert first == 0 and list(expected) == list(range(exact_run.STEPS))
    starts = []
    for first, ids in attempts(killed):
        starts.append(first)
        assert list(ids) == list(range(first, max(ids) + 1))
        assert all(ids[step] == expected[step] for step in ids)
    # Each goes on from a checkpoint, and asks for no step before it.
    assert starts[0] == 0 and starts[1] >= 100 and starts[2] >= 160
    assert all(first % exact_run.PERIOD == 0 for first in starts)
    # The cap holds in every epoch.
    shapes = {name for ids in expected.values() for name in ids if "shapes" in name}
    assert len(shapes) == 7


def test_the_ledger_of_time_knows_what_was_lost(killed):
    summary = json.loads((stage_folder(killed) / "goodput.json").read_text())
    assert summary["attempts"] == 3
    assert summary["seconds"]["step"] > 0 and summary["seconds"]["compile"] > 0
    assert summary["seconds"]["save"] > 0 and summary["seconds"]["evaluate"] > 0


@pytest.fixture(scope="module")
def elastic(tmp_path_factory):
    """Two hosts, of which one is killed; then four; then this machine alone."""
    folder = tmp_path_factory.mktemp("elastic")
    results = []

    def launch(processes, devices):
        results.append(
            local_launch.launch(
                ["python", "-m", "tests.exact_run", str(folder)],
                processes=processes,
                devices_per_process=devices,
                output=io.StringIO(),
                timeout_seconds=400,
                grace_seconds=1,
            )
        )

    for step, processes, devices in ((60, 2, 2), (120, 4, 1)):
        before = {path.stem for path in (folder / "ids").glob("*")}
        running = threading.Thread(target=launch, args=(processes, devices))
        running.start()
        checkpoint = stage_folder(folder) / "checkpoints" / str(step)
        while running.is_alive() and not checkpoint.exists():
            time.sleep(0.02)
        pids = sorted({path.stem for path in (folder / "ids").glob("*")} - before)
        assert checkpoint.exists(), results[-1].outputs
        assert len(pids) == processes
        os.kill(int(pids[-1]), signal.SIGKILL)
        running.join()
        assert -signal.SIGKILL in results[-1].exit_codes
    finish(start(folder))
    return folder


@pytest.mark.slow
def test_hosts_that_come_and_go_see_the_same_examples(uninterrupted, elastic):
    ((_, expected),) = attempts(uninterrupted)
    found = attempts(elastic)
    assert len(found) == 2 + 4 + 1
    for _, ids in found:
        assert all(ids[step] == expected[step] for step in ids)
    assert {first for first, _ in found[:2]} == {0}
    assert {first for first, _ in found[2:6]} != {0}
    assert found[6][0] >= 120


@pytest.mark.slow
def test_hosts_that_come_and_go_change_losses_by_rounding_alone(uninterrupted, elastic):
    rows, expected = (
        lines(stage_folder(folder) / "metrics.jsonl") for folder in (elastic, uninterrupted)
    )
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row["tokens"] == other["tokens"]
        assert row["target_tokens"] == other["target_tokens"]
        np.testing.assert_allclose(row["loss"], other["loss"], rtol=1e-3)
    np.testing.assert_allclose(rows[0]["loss"], expected[0]["loss"], atol=1e-5)
