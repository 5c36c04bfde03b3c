"""Goodput: where the wall-clock time of a stage went, over all attempts to train it.

STAGE/goodput/attempt_NNNN_0.json, _1.json  what an attempt did: two copies that take turns
STAGE/goodput.json                          the summary over all attempts

An attempt is a process that trains the stage. It writes its record every half a minute and at every
save, onto the older of its two copies, so that a whole one stands while the other is being written.
Nobody changes the record of an earlier attempt: what was lost or stood still follows from all the
records together. The first host alone reads and writes.
"""

import contextlib
import dataclasses
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any

import jax
from absl import logging
from etils import epath

from teacherlm_jax.data import ledger

# "start" is what no other category covers: reading and restoring before the first step, and what
# comes after the last. "lost" are steps and their data that a later attempt did again, since it
# resumed from before them; "down" is the time from an attempt's last record to the next attempt.
CATEGORIES = ("start", "compile", "data", "step", "save", "evaluate", "lost", "down")
MEASURED = CATEGORIES[:6]

# What is lost with a step: doing it again takes this time again.
_OF_STEPS = ("data", "step")
_MOST_MARKS = 200

Seconds = dict[str, float]


@dataclasses.dataclass
class Attempt:
    """The record of an attempt.

    Attributes:
      first_step: updates done when it began.
      began: time of day at its beginning, in seconds since 1970.
      written: time of day of this record.
      step_done: updates done by then.
      step_saved: updates that its last save holds.
      seconds: by category of `MEASURED`.
      marks: (updates done, seconds in steps and their data until then), at every save.
      number: how often it was written; tells the newer copy.
    """

    first_step: int
    began: float
    written: float
    step_done: int
    step_saved: int
    seconds: Seconds = dataclasses.field(default_factory=lambda: dict.fromkeys(MEASURED, 0.0))
    marks: list[tuple[int, Seconds]] = dataclasses.field(default_factory=list)
    number: int = 0

    def lost_after(self, step: int) -> Seconds:
        """Seconds of steps and their data after `step`; between two marks, in proportion."""
        now = {name: self.seconds[name] for name in _OF_STEPS}
        points = [(self.first_step, dict.fromkeys(_OF_STEPS, 0.0)), *self.marks]
        points = [point for point in points if point[0] < self.step_done]
        points.append((self.step_done, now))
        if step >= self.step_done:
            return dict.fromkeys(_OF_STEPS, 0.0)
        if step <= points[0][0]:
            return now
        last = next(index for index, point in enumerate(points) if point[0] > step)
        (low, before), (high, after) = points[last - 1], points[last]
        share = (step - low) / (high - low)
        return {
            name: now[name] - before[name] - share * (after[name] - before[name])
            for name in _OF_STEPS
        }


def summarize(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """What became of the time of all attempts.

    Args:
      attempts: in the order in which they ran.

    Returns:
      {"seconds": category -> seconds, "total": their sum, "goodput": the share of "step" in it, 0
      where there is no time yet, "attempts": how many}.
    """
    seconds = dict.fromkeys(CATEGORIES, 0.0)
    for index, attempt in enumerate(attempts):
        for name in MEASURED:
            seconds[name] += attempt.seconds[name]
        resumed = [later.first_step for later in attempts[index + 1 :]]
        if resumed:
            seconds["down"] += max(0.0, attempts[index + 1].began - attempt.written)
            for name, lost in attempt.lost_after(min(resumed)).items():
                seconds[name] -= lost
                seconds["lost"] += lost
    seconds = {name: round(max(0.0, value), 3) for name, value in seconds.items()}
    total = sum(seconds.values())
    return {
        "seconds": seconds,
        "total": round(total, 3),
        "goodput": round(seconds["step"] / total, 4) if total else 0.0,
        "attempts": len(attempts),
    }


def table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """Summaries of stages as text, a line a stage; categories without time are left out."""
    shown = [name for name in CATEGORIES if any(one["seconds"][name] for one in summaries.values())]
    rows = [["stage", *shown, "total", "goodput", "attempts"]]
    for stage, one in summaries.items():
        seconds = [f"{one['seconds'][name]:.1f} s" for name in shown]
        share = f"{100 * one['goodput']:.0f}%"
        rows.append([stage, *seconds, f"{one['total']:.1f} s", share, str(one["attempts"])])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        + "\n"
        for row in rows
    )


class Goodput:
    """Measures this attempt, and knows the earlier ones; use as a context manager.

    Every moment from `open` on belongs to one category: that of the innermost `measure` that is
    running, else "start". Steps are dispatched before they are done: so the loop runs inside of
    `measure("step")`, and what is not a step is measured inside of that: waiting for a batch is
    "data", the first call of the step function is "compile", a save is "save".

    Only one thread may measure. A record that cannot be written costs a warning and no training.
    """

    @classmethod
    def open(
        cls,
        directory: epath.PathLike,
        first_step: int,
        *,
        seconds_between_writes: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> "Goodput":
        """Begins an attempt.

        Args:
          directory: the stage's folder.
          first_step: updates in the checkpoint from which training goes on; 0 without one.
          seconds_between_writes: least time between two records, but for saves.
          clock: seconds that never go back.
          time_of_day: seconds since 1970.
        """
        folder = epath.Path(directory)
        is_first_host = jax.process_index() == 0
        earlier, number = _read(folder / "goodput") if is_first_host else ([], 0)
        now = time_of_day()
        attempt = Attempt(first_step, now, now, first_step, first_step)
        return cls(
            folder if is_first_host else None,
            number,
            earlier,
            attempt,
            seconds_between_writes,
            clock,
            time_of_day,
        )

    def __init__(
        self,
        folder: epath.Path | None,
        number: int,
        earlier: list[Attempt],
        attempt: Attempt,
        seconds_between_writes: float,
        clock: Callable[[], float],
        time_of_day: Callable[[], float],
    ) -> None:
        """See `open`; without a folder nothing is written."""
        self._folder, self._number, self._earlier = folder, number, earlier
        self._attempt = attempt
        self._seconds_between_writes = seconds_between_writes
        self._clock, self._time_of_day = clock, time_of_day
        self._since = self._written = clock()
        self._category = "start"
        # Records are written in the background: on an object store that takes many requests.
        self._writer = futures.ThreadPoolExecutor(1, "goodput")
        self._writing: futures.Future[None] | None = None
        self._write()  # An attempt that dies while it compiles is one as well.

    @contextlib.contextmanager
    def measure(self, category: str) -> Iterator[None]:
        """What runs inside belongs to a category of `MEASURED`, and not to the one around it.

        Raises:
          ValueError: there is no such category.
        """
        _check_category(category)
        around = self._category
        self._switch(category)
        try:
            yield
        finally:
            self._switch(around)

    def add(self, category: str, seconds: float) -> None:
        """Adds time that passed just before `open`, and moves the beginning there.

        Raises:
          ValueError: there is no such category, or the seconds are negative or not finite.
        """
        _check_category(category)
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"goodput: {seconds} seconds of {category}; they must be 0 or more.")
        self._attempt.seconds[category] += seconds
        self._attempt.began -= seconds  # Otherwise it would count as down as well.

    def heartbeat(self, step_done: int, step_saved: int) -> None:
        """Tells how far the attempt is; writes the record where it is time for it.

        To be called after every step, and right after a save.

        Args:
          step_done: updates done.
          step_saved: updates that the newest checkpoint holds.
        """
        attempt = self._attempt
        self._switch(self._category)
        attempt.step_done = max(attempt.step_done, step_done)
        is_saved = step_saved > attempt.step_saved
        if is_saved:
            attempt.step_saved = step_saved
            attempt.marks.append((step_saved, {name: attempt.seconds[name] for name in _OF_STEPS}))
            if len(attempt.marks) > _MOST_MARKS:
                del attempt.marks[: _MOST_MARKS // 2 : 2]  # Old checkpoints are deleted as well.
        if is_saved or self._clock() - self._written >= self._seconds_between_writes:
            self._write()

    def summary(self) -> dict[str, Any]:
        """`summarize` of all attempts, this one up to now; on other hosts of this one alone."""
        self._switch(self._category)
        return summarize([*self._earlier, self._attempt])

    def close(self) -> dict[str, Any]:
        """Writes the last record and `goodput.json`.

        Returns:
          The summary.
        """
        summary = self.summary()
        self._write(wait=True)
        self._writer.shutdown()
        if self._folder is not None:
            text = json.dumps(summary, indent=2) + "\n"
            _written_over(self._folder / "goodput.json", text)
        return summary

    def __enter__(self) -> "Goodput":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _switch(self, category: str) -> None:
        now = self._clock()
        self._attempt.seconds[self._category] += max(0.0, now - self._since)
        self._since, self._category = now, category

    def _write(self, wait: bool = False) -> None:
        if self._folder is None:
            return
        if self._writing is not None and (wait or self._writing.done()):
            self._writing.result()
            self._writing = None
        if self._writing is not None:
            self._written = -math.inf  # The storage is slow: the next heartbeat tries again.
            return
        attempt = self._attempt
        attempt.number += 1
        attempt.written = self._time_of_day()
        self._written = self._clock()
        name = f"attempt_{self._number:04d}_{attempt.number % 2}.json"
        text = json.dumps(dataclasses.asdict(attempt)) + "\n"
        self._writing = self._writer.submit(_written_over, self._folder / "goodput" / name, text)
        if wait:
            self._writing.result()


def _check_category(category: str) -> None:
    if category not in MEASURED:
        raise ValueError(f"goodput: {category!r} is no category; it must be one of {MEASURED}.")


def _written_over(path: epath.Path, text: str) -> None:
    try:
        ledger.remove(path)
        ledger.write_whole(path, text)
    except Exception as error:
        logging.warning(
            "%s cannot be written (%s): training goes on, the time since the last record will count"
            " as down. Look at the storage's space and permissions.",
            path,
            error,
        )


def _read(folder: epath.Path) -> tuple[list[Attempt], int]:
    """The newest whole record of every attempt in order, and the next attempt's number."""
    newest: dict[int, Attempt] = {}
    following = 0
    for path in sorted(folder.iterdir(), key=str) if folder.is_dir() else ():
        found = re.fullmatch(r"attempt_(\d+)_[01]\.json", path.name)
        if found is None:
            continue
        number = int(found[1])
        following = max(following, number + 1)
        try:
            attempt = _parse(json.loads(ledger.read_text(path)))
        except (OSError, ValueError, TypeError, KeyError) as error:
            logging.warning("%s is passed over: %s", path, error)
            continue
        if number not in newest or newest[number].number < attempt.number:
            newest[number] = attempt
    return [newest[number] for number in sorted(newest)], following


def _parse(values: Mapping[str, Any]) -> Attempt:
    """An attempt from JSON; raises ValueError, TypeError or KeyError if it is none."""

    def seconds(of: Mapping[str, Any], names: Sequence[str]) -> Seconds:
        found = {name: float(of[name]) for name in names}
        if not all(math.isfinite(value) and value >= 0 for value in found.values()):
            raise ValueError(f"it holds {found}; seconds must be 0 or more.")
        return found

    return Attempt(
        first_step=int(values["first_step"]),
        began=float(values["began"]),
        written=float(values["written"]),
        step_done=int(values["step_done"]),
        step_saved=int(values["step_saved"]),
        seconds=seconds(values["seconds"], MEASURED),
        marks=[(int(step), seconds(of, _OF_STEPS)) for step, of in values["marks"]],
        number=int(values["number"]),
    )
