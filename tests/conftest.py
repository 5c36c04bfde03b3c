"""Eight devices for every test, and fixtures that tests of several packages use."""

import os
from collections.abc import Iterator

import pytest

from tests.object_store import FakeObjectStore

# JAX reads these when it first looks for devices. Processes that tests start inherit them.
DEVICES = "--xla_force_host_platform_device_count"
if DEVICES not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DEVICES}=8".strip()
# XLA sizes its pool of threads by this; devices that wait for each other inside a collective need
# one each, and more than this machine's cores may give.
os.environ.setdefault("NPROC", "16")


@pytest.fixture
def object_store() -> Iterator[FakeObjectStore]:
    """A fake object store with an empty gs://bucket; run code on it by `run_on_object_store`."""
    with FakeObjectStore() as store:
        yield store
