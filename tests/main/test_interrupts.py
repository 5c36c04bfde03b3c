"""A signal ends a command, also where Python drops exceptions."""

import gc
import os
import signal
import sys
import threading
import time
import weakref

import pytest

from teacherlm_jax.main import interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_raises_and_handlers_are_restored(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupts.interrupting():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(number) is before


def kill():
    os.kill(os.getpid(), signal.SIGINT)
    sum(range(1000))  # The signal is handled here, at the latest.


def in_a_collection_of_garbage():
    def callback(phase, info):
        if phase == "start":
            gc.callbacks.remove(callback)
            kill()

    gc.callbacks.append(callback)
    gc.collect()


def in_a_callback_of_a_weak_reference():
    class Referred:
        pass

    one = Referred()
    reference = weakref.ref(one, lambda _: kill())
    del one
    assert reference() is None


def in_a_finalizer():
    class Finalized:
        def __del__(self):
            kill()

    Finalized()


@pytest.mark.parametrize(
    "drop", [in_a_collection_of_garbage, in_a_callback_of_a_weak_reference, in_a_finalizer]
)
def test_a_signal_whose_exception_python_drops_is_not_lost(drop):
    begun, passed = time.monotonic(), []
    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), interrupts.interrupting():
        drop()
        passed.append("nothing was raised inside")
        time.sleep(5)
    assert passed and time.monotonic() - begun < 5
    assert sys.unraisablehook is before


def test_other_exceptions_that_python_drops_are_told_as_ever(monkeypatch):
    class Finalized:
        def __del__(self):
            raise ValueError("told")

    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with interrupts.interrupting():
        Finalized()
    assert [str(one.exc_value) for one in told] == ["told"]


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
