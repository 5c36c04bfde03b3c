"""A signal ends a command, in a collection of garbage, too."""

import gc
import os
import signal
import threading
import time

import jax  # noqa: F401  Its callback is hooked to the collection of garbage.
import pytest

from teacherlm_jax.main import interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_raises_and_handlers_are_restored(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupts.interrupting():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(number) is before


def test_jax_has_the_callback_whose_exceptions_are_lost():
    assert interrupts._DROPPING & {getattr(one, "__name__", "") for one in gc.callbacks}


def test_a_signal_within_a_collection_of_garbage_is_not_lost():
    def _xla_gc_callback():
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))
        return True

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interrupts.interrupting():
        assert _xla_gc_callback()  # Nothing was raised inside.
        time.sleep(5)
    assert time.monotonic() - begun < 5


def test_what_handles_ctrl_c_otherwise_is_left_alone():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        with interrupts.interrupting():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [1]


def test_another_thread_handles_no_signals():
    done = []

    def work():
        with interrupts.interrupting():
            done.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [before]
