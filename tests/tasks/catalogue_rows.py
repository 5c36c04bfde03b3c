"""Rows of public data sets, written by hand, and TFDS that gives them with its real features."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from teacherlm_jax.data.prepared_tfds import plain
from teacherlm_jax.tasks.catalogue.dataset import DATASETS, Sample


@dataclasses.dataclass(frozen=True)
class Case:
    """A row, and what it is to be read as.

    Attributes:
      sample: what `read` makes of it.
      row: in TFDS's names, with every feature; None: TFDS has no such data set.
      hub: in the names of the hub's files; None: they are the same.
    """

    sample: Sample
    row: Mapping[str, Any] | None = None
    hub: Mapping[str, Any] | None = None


def row_of_tfds(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row after the real features of its builder have encoded and decoded it, as JSON types."""
    import tensorflow_datasets as tfds

    features = tfds.builder(DATASETS[name].tfds).info.features
    decoded = features.deserialize_example(features.serialize_example(features.encode_example(row)))
    return {field: plain(value) for field, value in tfds.as_numpy(decoded).items()}


@contextlib.contextmanager
def mocked(cases: Mapping[str, Case], copies: int = 2) -> Iterator[None]:
    """TFDS gives the cases' rows, encoded and decoded by the real features of its builders.

    Args:
      cases: by name of the catalogue.
      copies: rows of every split, all the same.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    rows: dict[str, Mapping[str, Any]] = {}
    for name, case in cases.items():
        address = DATASETS[name].tfds
        if address is not None and case.row is not None:
            rows.setdefault(address.split(":")[0], case.row)

    def as_dataset(builder: Any, *unused: Any, **unused_too: Any) -> Any:
        config = builder.builder_config
        names = [builder.name] + ([f"{builder.name}/{config.name}"] if config else [])
        row = next(rows[name] for name in reversed(names) if name in rows)
        features = builder.info.features
        encoded = features.serialize_example(features.encode_example(row))
        return (
            tf.data.Dataset.from_tensors(encoded).map(features.deserialize_example).repeat(copies)
        )

    with tfds.testing.mock_data(as_dataset_fn=as_dataset):
        yield
