import json
import pathlib
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from absl import logging

from teacherlm_jax.data import ledger
from teacherlm_jax.training import goodput as goodput_lib
from teacherlm_jax.training.goodput import Goodput


class Clocks:
    """A clock that never goes back, and a time of day that may."""

    def __init__(self):
        self.seconds, self.day = 50.0, 1_700_000_000.0

    def run(self, seconds):
        self.seconds += seconds
        self.day += seconds

    def open(self, folder, first_step=0, **arguments):
        return Goodput.open(
            folder,
            first_step,
            clock=lambda: self.seconds,
            time_of_day=lambda: self.day,
            **arguments,
        )


@pytest.fixture
def clocks():
    return Clocks()


def steps(goodput, clocks, first, last, save_every=None, seconds=2.0):
    """Steps of `seconds` with half a second of waiting for data, and saves of 3 seconds."""
    saved = first
    with goodput.measure("step"):
        for done in range(first + 1, last + 1):
            with goodput.measure("data"):
                clocks.run(0.5)
            clocks.run(seconds)
            if save_every and done % save_every == 0:
                with goodput.measure("save"):
                    clocks.run(3.0)
                saved = done
            settle(goodput)
            goodput.heartbeat(done, saved)


def settle(goodput):
    """Waits for the record that is being written: no real time passes between these steps."""
    if goodput._writing is not None:
        goodput._writing.result()


def seconds_of(summary):
    return {name: value for name, value in summary["seconds"].items() if value}


def test_every_second_belongs_to_one_category(tmp_path, clocks):
    goodput = clocks.open(tmp_path)
    goodput.add("start", 7.0)  # Restoring came before.
    clocks.run(1.0)
    with goodput.measure("step"):
        with goodput.measure("compile"):
            clocks.run(20.0)
        clocks.run(4.0)
        with goodput.measure("save"), goodput.measure("evaluate"):
            clocks.run(5.0)
        with pytest.raises(KeyError), goodput.measure("data"):
            clocks.run(0.5)
            raise KeyError
        clocks.run(0.25)
    clocks.run(2.0)
    expected = {"start": 10.0, "compile": 20.0, "step": 4.25, "evaluate": 5.0, "data": 0.5}
    summary = goodput.close()
    assert seconds_of(summary) == expected
    assert summary["total"] == sum(expected.values()) == 39.75
    assert summary["goodput"] == pytest.approx(4.25 / 39.75, abs=1e-4)
    assert summary["attempts"] == 1
    assert json.loads(ledger.read_text(tmp_path / "goodput.json")) == summary


def test_the_real_clock_loses_nothing(tmp_path):
    began = time.monotonic()
    with Goodput.open(tmp_path, 0) as goodput, goodput.measure("step"):
        time.sleep(0.05)
        with goodput.measure("data"):
            time.sleep(0.05)
        summary = goodput.summary()
    assert summary["seconds"]["step"] >= 0.05 <= summary["seconds"]["data"]
    assert 0.1 <= summary["total"] <= time.monotonic() - began + 0.01


def test_steps_after_the_checkpoint_become_lost_and_the_gap_down(tmp_path, clocks):
    goodput = clocks.open(tmp_path)
    steps(goodput, clocks, 0, 25, save_every=10)
    settle(goodput)
    del goodput  # Killed: no close.
    clocks.run(1000.0)
    goodput = clocks.open(tmp_path, 20)
    summary = goodput.summary()
    # The last record is that of step 20: steps 21 to 25 took less than 30 seconds.
    assert summary["seconds"]["down"] == 1000.0 + 5 * 2.5
    assert seconds_of(summary)["step"] == 40.0 and "lost" not in seconds_of(summary)
    steps(goodput, clocks, 20, 33, save_every=1000)  # 12 steps are on record: 30 seconds.
    settle(goodput)
    clocks.run(50.0)
    third = clocks.open(tmp_path, 20)
    summary = third.summary()
    assert summary["attempts"] == 3
    assert summary["seconds"]["lost"] == 12 * 2.5
    assert summary["seconds"]["step"] == 40.0 and summary["seconds"]["data"] == 10.0
    assert summary["seconds"]["down"] == 1012.5 + 50.0 + 2.5
    assert summary["total"] == pytest.approx(clocks.seconds - 50.0)


@pytest.mark.parametrize(("first_step", "lost"), [(0, 30), (4, 26), (10, 20), (17, 13), (30, 0)])
def test_lost_for_any_step_that_is_resumed(tmp_path, clocks, first_step, lost):
    with clocks.open(tmp_path) as goodput:
        steps(goodput, clocks, 0, 30, save_every=10)
    goodput = clocks.open(tmp_path, first_step)
    assert goodput.summary()["seconds"]["lost"] == pytest.approx(2.5 * lost)
    # A later attempt that goes on from further on brings nothing back.
    goodput.close()
    summary = clocks.open(tmp_path, 30).summary()
    assert summary["seconds"]["lost"] == pytest.approx(2.5 * lost)
    assert summary["total"] == pytest.approx(clocks.seconds - 50.0)


def test_marks_make_lost_exact_where_steps_differ(tmp_path, clocks):
    with clocks.open(tmp_path) as goodput:
        steps(goodput, clocks, 0, 10, save_every=10, seconds=100.0)
        steps(goodput, clocks, 10, 20, save_every=10, seconds=1.0)
    assert clocks.open(tmp_path, 10).summary()["seconds"]["lost"] == pytest.approx(15.0)


def test_marks_stay_few(tmp_path, clocks, monkeypatch):
    monkeypatch.setattr(goodput_lib, "_MOST_MARKS", 8)
    with clocks.open(tmp_path) as goodput:
        steps(goodput, clocks, 0, 60, save_every=1)
    [attempt] = goodput_lib._read(tmp_path / "goodput")[0]
    kept = [step for step, _ in attempt.marks]
    assert len(kept) <= 8 and kept == sorted(kept) and kept[-3:] == [58, 59, 60]
    lost = clocks.open(tmp_path, 3).summary()["seconds"]["lost"]
    assert lost == pytest.approx(57 * 2.5)


def test_records_come_at_their_times_and_at_saves(tmp_path, clocks):
    goodput = clocks.open(tmp_path, seconds_between_writes=30.0)

    def written():
        settle(goodput)
        return goodput_lib._read(tmp_path / "goodput")[0][0].step_done

    assert written() == 0
    for done, expected in [(1, 0), (2, 0), (3, 3), (4, 3)]:
        clocks.run(10.0)
        goodput.heartbeat(done, 0)
        assert written() == expected
    goodput.heartbeat(4, 4)
    assert written() == 4
    names = sorted(path.name for path in (tmp_path / "goodput").iterdir())
    copies = ["attempt_0000_0.json", "attempt_0000_1.json"]
    assert names == sorted([*copies, *(f"{name}.complete" for name in copies)])


def test_the_time_of_day_may_jump(tmp_path, clocks):
    with clocks.open(tmp_path) as goodput:
        with goodput.measure("step"):
            clocks.run(10.0)
            clocks.day -= 1e9
        goodput.heartbeat(5, 5)
    clocks.day -= 5000.0
    summary = clocks.open(tmp_path, 5).summary()
    assert seconds_of(summary) == {"step": 10.0}


TORN = {
    "no marker": lambda path: ledger.marker_path(path).unlink(),
    "half": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "other bytes": lambda path: path.write_bytes(b"x" * len(path.read_bytes())),
    "no JSON": lambda path: rewrite(path, "{"),
    "a list": lambda path: rewrite(path, "[]"),
    "a field less": lambda path: rewrite(path, '{"first_step": 3}'),
    "negative": lambda path: rewrite(path, path.read_text().replace('"save": 3.0', '"save": -3.0')),
    "not a number": lambda path: rewrite(
        path, path.read_text().replace('"save": 3.0', '"save": NaN')
    ),
}


def rewrite(path, text):
    ledger.remove(path)
    ledger.write_whole(path, text)


@pytest.mark.parametrize("torn", TORN)
def test_a_torn_copy_leaves_the_other_one(tmp_path, clocks, torn):
    goodput = clocks.open(tmp_path)
    steps(goodput, clocks, 0, 9, save_every=10)
    steps(goodput, clocks, 9, 10, save_every=10)
    settle(goodput)
    clocks.run(100.0)
    goodput.heartbeat(11, 10)
    settle(goodput)
    copies = [tmp_path / "goodput" / f"attempt_0000_{copy}.json" for copy in (0, 1)]
    newer = max(copies, key=lambda path: json.loads(path.read_text())["number"])
    TORN[torn](newer)
    resumed = clocks.open(tmp_path, 10)
    assert resumed.summary()["attempts"] == 2
    assert resumed.summary()["seconds"]["save"] == 3.0
    assert resumed.summary()["seconds"]["down"] == 100.0
    # With both torn the attempt is unknown, but its number is not given again.
    for path in copies:
        path.write_bytes(b"")
    steps(resumed, clocks, 10, 11)
    resumed.close()
    with clocks.open(tmp_path, 11) as last:
        assert last.summary()["attempts"] == 2
    assert (tmp_path / "goodput" / "attempt_0002_1.json").is_file()


_KILLED = """
    import sys
    from teacherlm_jax.training.goodput import Goodput

    goodput = Goodput.open(sys.argv[1], 0, seconds_between_writes=0.0)
    for step in range(10**9):
        with goodput.measure("step"):
            goodput.heartbeat(step, 0)
        if goodput._attempt.number == 3:  # Two are written.
            print("running", flush=True)
"""


def test_killed_at_any_moment(tmp_path):
    """A real process, killed while it does nothing but write records."""
    command = [sys.executable, "-c", textwrap.dedent(_KILLED)]
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        with subprocess.Popen([*command, str(folder)], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"running\n"
            time.sleep(random.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
    for folder in folders:
        with Goodput.open(folder, 10) as resumed:
            summary = resumed.summary()
        assert summary["attempts"] == 2 and min(summary["seconds"].values()) >= 0
        [attempt, _], following = goodput_lib._read(resumed._folder / "goodput")
        assert following == 2 and attempt.number > 0


def test_storage_that_fails_costs_a_warning_alone(tmp_path, clocks, caplog):
    pathlib.Path(tmp_path / "goodput").write_text("not a folder")
    logging.get_absl_logger().propagate = True
    with clocks.open(tmp_path) as goodput:
        steps(goodput, clocks, 0, 4, save_every=2)
    assert goodput.summary()["seconds"]["step"] == 8.0
    assert "goodput/attempt_0000_1.json cannot be written" in caplog.text


def test_other_hosts_write_nothing(tmp_path, clocks, monkeypatch):
    monkeypatch.setattr("jax.process_index", lambda: 1)
    with clocks.open(tmp_path) as goodput:
        steps(goodput, clocks, 0, 4, save_every=2)
    assert not list(tmp_path.iterdir())
    assert goodput.summary()["seconds"]["save"] == 6.0


@pytest.mark.parametrize("category", ["lost", "down", "training", ""])
def test_unknown_categories(tmp_path, clocks, category):
    goodput = clocks.open(tmp_path)
    with pytest.raises(ValueError, match=r"is no category; it must be one of .*'evaluate'"):
        goodput.add(category, 1.0)
    with pytest.raises(ValueError, match="is no category"), goodput.measure(category):
        pass


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_impossible_seconds(tmp_path, clocks, seconds):
    with pytest.raises(ValueError, match="must be 0 or more"):
        clocks.open(tmp_path).add("start", seconds)


def test_time_before_open_is_not_down_as_well(tmp_path, clocks):
    with clocks.open(tmp_path) as goodput:
        steps(goodput, clocks, 0, 2)
    clocks.run(40.0)
    goodput = clocks.open(tmp_path, 2)
    goodput.add("start", 15.0)
    summary = goodput.summary()
    assert summary["seconds"]["down"] == 25.0 and summary["seconds"]["start"] == 15.0


def test_a_table_of_stages(tmp_path, clocks):
    with clocks.open(tmp_path / "base") as base:
        steps(base, clocks, 0, 30, save_every=10)
        base_summary = base.summary()
    with clocks.open(tmp_path / "teacher") as teacher, teacher.measure("compile"):
        clocks.run(20.0)
    summaries = {"base": base_summary, "teacher": teacher.summary()}
    assert goodput_lib.table(summaries) == (
        "stage    compile    data    step   save   total  goodput  attempts\n"
        "base       0.0 s  15.0 s  60.0 s  9.0 s  84.0 s      71%         1\n"
        "teacher   20.0 s   0.0 s   0.0 s  0.0 s  20.0 s       0%         1\n"
    )
    assert goodput_lib.table({}) == "stage  total  goodput  attempts\n"


def test_no_time_is_no_goodput(tmp_path, clocks):
    assert clocks.open(tmp_path).summary()["goodput"] == 0.0
