"""Ctrl-C and SIGTERM end a command, wherever they find it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_AGAIN_SECONDS = 0.05


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Has SIGTERM, as schedulers send it, and Ctrl-C raise KeyboardInterrupt while inside.

    Python drops what is raised in callbacks of weak references and of the collection of garbage
    (JAX has one there), and in `__del__`: then the signal comes again a moment later. A Ctrl-C that
    is handled otherwise already, as by a program that starts commands, is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        numbers.append(signal.SIGINT)
    earlier = {number: signal.signal(number, _interrupt) for number in numbers}
    dropped = sys.unraisablehook

    def on_dropped(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            dropped(unraisable)
            return
        again = threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        again.start()

    sys.unraisablehook = on_dropped
    try:
        yield
    finally:
        sys.unraisablehook = dropped
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
