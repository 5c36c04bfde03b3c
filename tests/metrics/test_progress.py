import contextlib
import os
import re
import sys
import termios

import pytest

from teacherlm_jax.metrics.progress import Progress


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_lines_at_their_times_with_rate_and_eta(capsys):
    clock = Clock()
    with Progress("base", 100, clock=clock) as progress:
        assert not sys.stderr.isatty()
        clock.now += 14.9
        progress.update(10)
        assert capsys.readouterr().err == ""
        clock.now += 5.1
        progress.update(20, "loss 1.234")
        line = "base: 20/100 steps, 1.0/s, elapsed 00:20, ETA 01:20, loss 1.234\n"
        assert capsys.readouterr().err == line
        clock.now += 14.9
        progress.update(30)
        assert capsys.readouterr().err == ""
        clock.now += 45.1
        progress.update(100)
        # The note stands until there is another.
        line = "base: 100/100 steps, 1.2/s, elapsed 01:20, ETA 00:00, loss 1.234\n"
        assert capsys.readouterr().err == line
        assert capsys.readouterr().out == ""


def test_what_an_earlier_process_did_counts_as_done_but_not_for_the_rate(capsys):
    clock = Clock()
    progress = Progress("students", 110, done=90, unit="row", clock=clock)
    clock.now += 20
    progress.update(100)
    line = "students: 100/110 rows, 0.5/s, elapsed 00:20, ETA 00:20\n"
    assert capsys.readouterr().err == line


def test_the_last_line_comes_also_where_work_was_broken_off(capsys):
    clock = Clock()
    with pytest.raises(KeyboardInterrupt), Progress("base", 9000, clock=clock) as progress:
        clock.now += 2
        progress.update(1)
        raise KeyboardInterrupt
    line = "base: 1/9000 steps, 0.5/s, elapsed 00:02, ETA 4:59:58\n"
    assert capsys.readouterr().err == line


def test_no_rate_without_time_or_steps(capsys):
    with Progress("base", 10, clock=Clock()):
        pass
    assert capsys.readouterr().err == "base: 0/10 steps, 0.0/s, elapsed 00:00, ETA ?\n"


def test_a_shorter_time_between_lines(capsys):
    clock = Clock()
    progress = Progress("base", 10, seconds_between_lines=1, clock=clock)
    for step in range(1, 4):
        clock.now += 1
        progress.update(step)
    assert len(capsys.readouterr().err.splitlines()) == 3


def everything(reader):
    """What a terminal was given until it was closed; it comes in pieces, and ends in an error."""
    pieces = []
    with contextlib.suppress(OSError):
        while piece := os.read(reader, 65536):
            pieces.append(piece)
    os.close(reader)
    return b"".join(pieces).decode()


def test_a_terminal_gets_a_bar(monkeypatch):
    reader, writer = os.openpty()
    termios.tcsetwinsize(writer, (24, 100))
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress("base", 40, done=10) as progress:
            progress.update(25, "loss 1.5")
            progress.update(40)
    shown = everything(reader)
    assert "base:  25%" in shown and "10/40" in shown  # It starts where the last process ended.
    assert "100%" in shown and "40/40" in shown and "loss 1.5" in shown
    assert re.search(r"[\d.?]+\s?(step/s|s/step)", shown)
    assert "elapsed" not in shown
