"""Eight devices for every test, and fixtures that tests of several packages use."""

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator

import pytest

from tests.object_store import FakeObjectStore

# JAX reads these when it first looks for devices. Processes that tests start inherit them.
DEVICES = "--xla_force_host_platform_device_count"
if DEVICES not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DEVICES}=8".strip()
# Compiling is most of the tests' time: LLVM need not optimise, and what one process has compiled,
# others read (tests start many). Results are those of other roundings, not of another method.
os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
# Nothing of Hugging Face's comes from the network or from a user's cache.
_hugging_face = tempfile.TemporaryDirectory()
os.environ["HF_HOME"], os.environ["HF_HUB_OFFLINE"] = _hugging_face.name, "1"
# A script that starts the tests in the background has them ignore Ctrl-C, and all that they start.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
# XLA sizes its pool of threads by this; devices that wait for each other inside a collective need
# one each, and more than this machine's cores may give.
os.environ.setdefault("NPROC", "16")


@pytest.fixture
def object_store() -> Iterator[FakeObjectStore]:
    """A fake object store with an empty gs://bucket; run code on it by `run_on_object_store`."""
    with FakeObjectStore() as store:
        yield store


@contextlib.contextmanager
def own_environment() -> Iterator[None]:
    """Commands that run in the process of the tests set variables of the environment."""
    before = dict(os.environ)
    yield
    for name in [name for name in os.environ if name.startswith("TEACHERLM_")]:
        if name not in before:
            del os.environ[name]
    os.environ.update({n: v for n, v in before.items() if n.startswith("TEACHERLM_")})


@pytest.fixture(autouse=True, scope="module")
def environment_of_the_module() -> Iterator[None]:
    """A module's tests and fixtures leave the environment of other modules' tests alone."""
    with own_environment():
        yield


@pytest.fixture(autouse=True)
def environment_of_the_test(environment_of_the_module: None) -> Iterator[None]:
    """A test leaves the environment of other tests alone."""
    with own_environment():
        yield
