"""Progress of long work: a bar with rate and ETA on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Callable

from tqdm import tqdm


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


class Progress:
    """Counts steps of a known total; use as a context manager."""

    def __init__(
        self,
        description: str,
        total: int,
        *,
        done: int = 0,
        unit: str = "step",
        seconds_between_lines: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts to count.

        Args:
          description: what is being done, a few words.
          total: steps in all.
          done: steps that an earlier process did.
          unit: what a step is called.
          seconds_between_lines: least time between two lines where there is no terminal.
          clock: seconds.
        """
        self._description, self._total, self._unit = description, total, unit
        self._first = self._done = done
        self._clock = clock
        self._seconds_between_lines = seconds_between_lines
        self._start = self._last_line = clock()
        self._note = ""
        self._bar = (
            tqdm(
                total=total,
                initial=done,
                desc=description,
                unit=unit,
                dynamic_ncols=True,
                mininterval=0.2,
                file=sys.stderr,
            )
            if sys.stderr.isatty()
            else None
        )

    def update(self, done: int, note: str = "") -> None:
        """Reports that `done` steps of the total are done."""
        advance, self._done, self._note = done - self._done, done, note or self._note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(advance)
        elif self._clock() - self._last_line >= self._seconds_between_lines:
            self._line()

    def close(self) -> None:
        """Ends the bar, or prints the last line."""
        if self._bar is not None:
            self._bar.close()
        else:
            self._line()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _line(self) -> None:
        self._last_line = self._clock()
        elapsed = self._last_line - self._start
        rate = (self._done - self._first) / elapsed if elapsed > 0 else 0.0
        eta = _duration((self._total - self._done) / rate) if rate > 0 else "?"
        print(
            f"{self._description}: {self._done}/{self._total} {self._unit}s, {rate:.1f}/s, "
            f"elapsed {_duration(elapsed)}, ETA {eta}{', ' + self._note if self._note else ''}",
            file=sys.stderr,
            flush=True,
        )
