"""What all hosts of a run must do at the same step: stop, save, or give up.

Signals, clocks and disks differ from host to host. A host that stopped, saved or failed alone would
leave the others waiting in a collective, so they ask each other.
"""

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from teacherlm_jax.partitioning import hosts

_SECONDS_BETWEEN = 2.0


@dataclasses.dataclass(frozen=True)
class Decision:
    """What to do after a step, the same on every host.

    Attributes:
      stop: save and end, since somebody asked for it.
      save: save, since it is time.
    """

    stop: bool
    save: bool


@dataclasses.dataclass
class Agreement:
    """Asks after each step what to do.

    Attributes:
      is_time_to_save: whether a save is due by this host's clock.
      check: raises where something that runs in the background has failed on this host.
      stop_requested: set by Ctrl-C or SIGTERM while `listening`.
    """

    is_time_to_save: Callable[[], bool] = lambda: False
    check: Callable[[], None] = lambda: None
    stop_requested: bool = False
    _countdown: int = 1
    _interval: int = 1
    _asked_at: float = dataclasses.field(default_factory=time.monotonic)

    def after_step(self, at_end: bool = False) -> Decision:
        """What to do now.

        Several hosts ask each other every so many steps, about two seconds by the slowest
        host's clock, since that waits for the device; in between they go on.

        Args:
          at_end: there is no later step at which to ask.

        Raises:
          RuntimeError: `check` failed on other hosts alone; where it failed, its own error is
            raised.
        """
        if jax.process_count() == 1:
            self.check()
            return Decision(self.stop_requested, self.is_time_to_save())
        self._countdown -= 1
        if self._countdown > 0 and not at_end:
            return Decision(False, False)
        failure: Exception | None = None
        try:
            self.check()
        except Exception as error:
            failure = error
        seconds = time.monotonic() - self._asked_at
        mine = [self.stop_requested, self.is_time_to_save(), failure is not None, seconds]
        asked_H4 = hosts.gathered(mine)
        per_step = float(asked_H4[:, 3].max()) / self._interval
        self._interval = self._countdown = int(
            np.clip(_SECONDS_BETWEEN / max(per_step, 1e-6), 1, 1000)
        )
        self._asked_at = time.monotonic()
        if failure is not None:
            raise failure
        failed = np.flatnonzero(asked_H4[:, 2])
        if len(failed):
            raise RuntimeError(
                f"work in the background failed on host {', '.join(map(str, failed))}, whose own "
                "output says why."
            )
        return Decision(bool(asked_H4[:, 0].any()), bool(asked_H4[:, 1].any()))

    def pace_anew(self) -> None:
        """Has hosts ask at the next step; to be called where steps become others, on all hosts.

        What many quick steps took says nothing of a batch of an evaluation, which may be slow.
        """
        self._interval = self._countdown = 1
        self._asked_at = time.monotonic()

    @contextlib.contextmanager
    def listening(self) -> Iterator["Agreement"]:
        """Turns SIGINT and SIGTERM into a request while inside; a second SIGINT interrupts."""
        self.stop_requested = False
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def on_signal(number: int, frame: Any) -> None:
            if self.stop_requested and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.stop_requested = True

        earlier = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)
