"""A folder is finished or gone."""

import json
import socket
import subprocess
import sys

import pytest
from etils import epath

from teacherlm_jax.weights import output
from teacherlm_jax.weights.tensors import WeightsError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_folder_holds_a_marker_until_it_is_finished(tmp_path):
    folder = epath.Path(tmp_path) / "deep" / "out"
    with output.new_folder(folder):
        (folder / "file").write_text("x")
        with pytest.raises(WeightsError, match=r"out was never finished \(it holds UNFINISHED\)"):
            output.check_finished(folder)
    assert names(folder) == ["file"]
    output.check_finished(folder)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("was_there", [True, False])
def test_an_error_leaves_nothing(error, was_there, tmp_path):
    folder = epath.Path(tmp_path) / "out"
    if was_there:
        folder.mkdir()
    with pytest.raises(error, match="midway"), output.new_folder(folder):
        (folder / "part" / "deep").mkdir(parents=True)
        (folder / "part" / "deep" / "file").write_text("x")
        raise error("midway")
    assert folder.exists() == was_there
    assert not was_there or not names(folder)


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    folder = epath.Path(tmp_path)
    (folder / "checkpoints" / "0").mkdir(parents=True)
    (folder / "half").write_text("x")
    (folder / output.UNFINISHED).write_text("")
    with output.new_folder(folder):
        assert names(folder) == [output.UNFINISHED]
        (folder / "whole").write_text("y")
    assert names(folder) == ["whole"]


def test_a_process_killed_while_it_clears_away_leaves_the_marker(tmp_path, monkeypatch):
    folder = epath.Path(tmp_path)
    for name in ("A", "Z", output.UNFINISHED):
        (folder / name).write_text("")
    removed = []

    def unlink(path, missing_ok=False):
        removed.append(path.name)
        raise SystemExit

    monkeypatch.setattr(type(folder), "unlink", unlink)
    with pytest.raises(SystemExit), output.new_folder(folder):
        pass
    assert removed and output.UNFINISHED not in removed
    assert output.UNFINISHED in names(folder)


def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path):
    folder = epath.Path(tmp_path)
    (folder / "thesis.tex").write_text("months")
    for check in (output.check_new, lambda folder: output.new_folder(folder).__enter__()):
        with pytest.raises(WeightsError, match=r"not empty \(it holds thesis.tex\): give a new"):
            check(folder)
    with pytest.raises(WeightsError, match="is a file, but the output is a folder"):
        output.check_new(folder / "thesis.tex")
    assert (folder / "thesis.tex").read_text() == "months"


def test_an_empty_folder_or_none_will_do(tmp_path):
    output.check_new(epath.Path(tmp_path))
    output.check_new(epath.Path(tmp_path) / "none")


def test_two_runs_do_not_write_one_folder(tmp_path):
    """What a process that lives is writing is refused; what a killed one left is taken over."""
    folder = epath.Path(tmp_path / "out")
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        folder.mkdir()
        marker = {"host": socket.gethostname(), "process": other.pid, "run": "1"}
        (folder / output.UNFINISHED).write_text(json.dumps(marker))
        with pytest.raises(WeightsError, match=f"is being written by process {other.pid}"):
            output.check_new(folder)
    finally:
        other.kill()
        other.wait()
    with output.new_folder(folder):
        (folder / "file").write_text("ours")
    assert [path.name for path in folder.iterdir()] == ["file"]


@pytest.mark.parametrize("fails", [True, False])
def test_a_run_whose_folder_another_one_took_over_touches_nothing(tmp_path, fails):
    folder = epath.Path(tmp_path / "out")
    theirs = json.dumps({"host": "another", "process": 1, "run": "2"})
    message = "own failure" if fails else "another run has begun to write"
    with pytest.raises(ValueError, match=message), output.new_folder(folder):
        (folder / output.UNFINISHED).write_text(theirs)
        (folder / "file").write_text("theirs")
        if fails:
            raise ValueError("own failure")
    assert (folder / "file").read_text() == "theirs"
    assert (folder / output.UNFINISHED).read_text() == theirs
