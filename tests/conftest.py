"""Fixtures that tests of several packages use."""

from collections.abc import Iterator

import pytest

from tests.object_store import FakeObjectStore


@pytest.fixture
def object_store() -> Iterator[FakeObjectStore]:
    """A fake object store with an empty gs://bucket; run code on it by `run_on_object_store`."""
    with FakeObjectStore() as store:
        yield store
