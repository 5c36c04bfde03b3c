"""Event files are read back as TensorBoard reads them."""

import logging as standard_logging
import math
import subprocess
import sys
import time

import numpy as np
import pytest
from absl import logging
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from teacherlm_jax.metrics.writers import MetricWriter
from tests.object_store import run_on_object_store


def read(folder):
    """Tag -> [(step, value)], in the order in which TensorBoard draws them."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})  # All of them.
    events.Reload()
    tags = events.Tags()["tensors"]
    return {
        tag: [
            (event.step, tensor_util.make_ndarray(event.tensor_proto).item())
            for event in events.Tensors(tag)
        ]
        for tag in tags
    }


def write(folder, first, last, value):
    with MetricWriter(folder, first) as writer:
        for step in range(first + 10, last + 1, 10):
            writer.write(step, {"step": step, "loss": value})


@pytest.fixture
def log(caplog, monkeypatch):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    caplog.set_level(standard_logging.INFO)
    return caplog


def test_rows_are_read_back_and_logged(tmp_path, log):
    task = "loss/world1_base:train (x)"
    with MetricWriter(tmp_path, 0) as writer:
        writer.write(10, {"step": 10, "loss": np.float32(1.5), task: 2.0, "mfu": None})
        writer.write(20, {"step": 20, "loss": math.nan, task: math.inf, "accuracy": [0.25, 0.5]})
    found = read(tmp_path)
    assert found.keys() == {"loss", task, "accuracy/replica_0", "accuracy/replica_1"}
    assert found["loss"][0] == (10, 1.5) and math.isnan(found["loss"][1][1])
    assert found[task] == [(10, 2.0), (20, math.inf)]
    assert found["accuracy/replica_1"] == [(20, 0.5)]
    assert f"[10] loss=1.5, {task}=2" in log.text
    assert "[20] accuracy/replica_0=0.25, accuracy/replica_1=0.5, loss=nan" in log.text


def test_steps_that_are_done_again_are_shown_once(tmp_path):
    for first, last, value in [(0, 100, 1.0), (50, 80, 2.0), (60, 90, 3.0)]:
        write(tmp_path, first, last, value)
    steps = [(10, 1.0), (20, 1.0), (30, 1.0), (40, 1.0), (50, 1.0), (60, 2.0)]
    assert read(tmp_path)["loss"] == [*steps, (70, 3.0), (80, 3.0), (90, 3.0)]


def test_without_a_checkpoint_nothing_stays(tmp_path):
    write(tmp_path, 0, 30, 1.0)
    write(tmp_path, 0, 20, 2.0)
    assert read(tmp_path)["loss"] == [(10, 2.0), (20, 2.0)]


def test_resumed_past_the_last_row_everything_stays(tmp_path):
    write(tmp_path, 0, 30, 1.0)
    MetricWriter(tmp_path, 35).close()
    assert read(tmp_path)["loss"] == [(10, 1.0), (20, 1.0), (30, 1.0)]


def test_what_is_flushed_is_stored(tmp_path):
    writer = MetricWriter(tmp_path, 0)
    for step in range(1, 40):
        writer.write(step, {"loss": float(step)})
    writer.flush()
    assert read(tmp_path)["loss"] == [(step, float(step)) for step in range(1, 40)]
    writer.close()
    writer.close()


def test_a_slow_disk_does_not_stall_the_loop(tmp_path, monkeypatch):
    from clu.metric_writers import summary_writer

    fast = summary_writer.SummaryWriter.write_scalars

    def slow(*arguments, **words):
        time.sleep(0.1)
        fast(*arguments, **words)

    monkeypatch.setattr(summary_writer.SummaryWriter, "write_scalars", slow)
    with MetricWriter(tmp_path, 0) as writer:
        writer.write(1, {"loss": 1.0})  # It may wait for the next second.
        began = time.monotonic()
        for step in range(2, 7):
            writer.write(step, {"loss": 1.0})
        assert time.monotonic() - began < 0.25
    assert len(read(tmp_path)["loss"]) == 6


def test_storage_that_fails_costs_a_warning_alone(tmp_path, log):
    (tmp_path / "file").write_text("no folder")
    with MetricWriter(tmp_path / "file" / "base", 0) as writer:
        writer.write(10, {"loss": 1.0})
        writer.flush()
        writer.write(20, {"loss": 2.0})
    assert log.text.count("cannot be written") == 1
    assert "[20] loss=2" in log.text


def test_an_error_in_the_background_costs_a_warning_alone(tmp_path, log, monkeypatch):
    from clu.metric_writers import summary_writer

    def fail(*arguments, **words):
        raise OSError("No space left on device")

    monkeypatch.setattr(summary_writer.SummaryWriter, "write_scalars", fail)
    with MetricWriter(tmp_path, 0) as writer:
        writer.write(10, {"loss": 1.0})
        writer.flush()
        writer.write(20, {"loss": 2.0})
    assert log.text.count("cannot be written (No space left on device)") == 1


def test_other_hosts_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("jax.process_index", lambda: 1)
    write(tmp_path, 0, 30, 1.0)
    assert not list(tmp_path.iterdir())


def test_the_import_is_light():
    code = (
        "import sys, teacherlm_jax.metrics.writers\n"
        "print([name for name in ('tensorflow', 'clu', 'tensorboard') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


_ON_OBJECT_STORE = """
from teacherlm_jax.metrics.writers import MetricWriter

for first, value in (0, 1.0), (20, 2.0):
    with MetricWriter("gs://bucket/base/tensorboard", first) as writer:
        for step in (first + 10, first + 20, first + 30):
            writer.write(step, {"loss": value})
            if step == 20:
                writer.flush()
        writer.flush()
        writer.flush()
"""


def test_on_an_object_store_files_are_written_once_and_whole(object_store, tmp_path):
    run_on_object_store(object_store, ["-c", _ON_OBJECT_STORE])
    stored = object_store.buckets["bucket"]
    for name, item in stored.items():
        folder, _, file = name.rpartition("/")
        assert folder == "base/tensorboard"
        (tmp_path / file).write_bytes(item.content)
    assert len(stored) == 5  # Two beginnings, two parts of the first process, one of the second.
    assert read(tmp_path)["loss"] == [(10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0), (50, 2.0)]
    assert not object_store.refused and not object_store.overwritten
