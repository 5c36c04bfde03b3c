"""Ctrl-C and SIGTERM end a command, wherever they find it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# Names of functions whose exceptions Python only prints: JAX hooks this one to every collection of
# garbage, in which a signal is met with not rarely.
_DROPPING = frozenset({"_xla_gc_callback"})
_AGAIN_SECONDS = 0.05


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Has SIGTERM, as schedulers send it, and Ctrl-C raise KeyboardInterrupt while inside.

    Where the exception would be lost, the signal comes again a moment later. A Ctrl-C that is
    handled otherwise already, as by a program that starts commands, is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        numbers.append(signal.SIGINT)
    earlier = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_name in _DROPPING:
            again = threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt
