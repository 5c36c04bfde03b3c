"""Rows of data sets that TFDS has prepared on this machine or a bucket, as JSON. No downloads."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from teacherlm_jax.data import row_rendering, split_slices

# Rows cross out of TensorFlow many at once where their features have one value each.
_ROWS_AT_ONCE = 256

_RECORDS_AT_ONCE = 4096


class NotPreparedError(ValueError):
    """TFDS has no such data set prepared, or none at all."""


def is_prepared(name: str) -> bool:
    """Whether TFDS has a data set prepared; loads no builder and asks no server."""
    from tensorflow_datasets.core.utils import file_utils

    path, _, version = name.partition(":")
    for data_dir in file_utils.list_data_dirs():
        folder = epath.Path(data_dir) / path
        pattern = f"{version.replace('*.*.*', '*') or '*'}/dataset_info.json"
        if folder.exists() and any(folder.glob(pattern)):
            return True
    return False


def builder_of(name: str) -> Any:
    """The builder of this name.

    Raises:
      NotPreparedError: TFDS does not know it, or not in this version.
    """
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name)
    except (tfds.core.DatasetNotFoundError, AssertionError, ImportError) as error:
        raise NotPreparedError(f"TFDS cannot load {name!r} ({_first_line(error)})") from None
    except ValueError as error:  # Of a config that there is not.
        raise NotPreparedError(f"TFDS cannot load {name!r} ({_first_line(error)})") from error


def counts(name: str) -> dict[str, int]:
    """Rows of every split of a prepared data set; empty where TFDS does not know."""
    return {
        split: info.num_examples
        for split, info in builder_of(name).info.splits.items()
        if info.num_examples is not None
    }


class PreparedRows:
    """The rows of a split, or of a slice of one.

    Attributes:
      whole_counts: rows of every whole split; empty where TFDS does not know.
    """

    def __init__(self, name: str, spec: str) -> None:
        """Finds them.

        Args:
          name: of the data set, with a config and a version where it has them.
          spec: a split or a slice.

        Raises:
          NotPreparedError: TFDS has not prepared it.
          ValueError: there is no such split, or the slice has no rows.
        """
        import tensorflow_datasets as tfds

        builder = self._builder = builder_of(name)
        self._spec = spec
        self.whole_counts = {
            split: info.num_examples for split, info in builder.info.splits.items()
        }
        if self.whole_counts:
            for split in split_slices.splits_of(spec):
                if split not in self.whole_counts:
                    raise ValueError(
                        f"TFDS's {name!r} has no split {split!r}; it has"
                        f" {', '.join(self.whole_counts)}."
                    )
            if split_slices.count(spec, self.whole_counts) == 0:
                raise ValueError(
                    f"{spec!r} of TFDS's {name!r} has no rows; its splits have"
                    f" {self.whole_counts}: name another split or slice."
                )
        # One file after the other: their rows in an order that no machine changes.
        in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        try:
            self._dataset = builder.as_dataset(
                split=spec, shuffle_files=False, read_config=in_order
            )
        except (AssertionError, FileNotFoundError) as error:  # TFDS's, for data that is not there.
            raise NotPreparedError(
                f"TFDS has not prepared {name!r} ({_first_line(error)})"
            ) from None

    @functools.cached_property
    def count(self) -> int:
        """How many there are; reads them all where TFDS does not know."""
        known = int(self._dataset.cardinality())
        if known >= 0:
            return known
        zero = np.int64(0)
        return int(self._dataset.reduce(zero, lambda count, _: count + 1))

    def read(self, chosen: np.ndarray | None = None) -> Iterator[tuple[bytes, int]]:
        """Yields rows as JSON, with their places, in order.

        A value that JSON lacks, or that is not UTF-8, makes a row that `row_rendering.parsed`
        refuses.

        Args:
          chosen: places in rising order, int64 [N]: all others are left out before they become
            Python values; None: all.
        """
        if chosen is None:
            dataset = self._dataset.enumerate()
        else:
            dataset = self._chosen_records(chosen) or self._filtered(chosen)
        if _is_flat(dataset.element_spec[1]):
            for places, rows in dataset.batch(_ROWS_AT_ONCE).as_numpy_iterator():
                columns = [_column(rows[name]) for name in rows]
                for place, *values in zip(places.tolist(), *columns):
                    yield row_rendering.row_text(dict(zip(rows, values))), place
            return
        for place, values in dataset.as_numpy_iterator():
            row = {name: plain(value) for name, value in values.items()}
            yield row_rendering.row_text(row), int(place)

    def _chosen_records(self, chosen: np.ndarray) -> Any:
        """Chosen rows of which alone the records are parsed; None where the files do not allow it.

        Parsing costs many times what the reading of a record does, and a cap may leave one row of a
        thousand.
        """
        import tensorflow as tf
        import tensorflow_datasets as tfds

        info = self._builder.info
        if not self.whole_counts or info.file_format != tfds.core.FileFormat.TFRECORD:
            return None
        parts = [
            tf.data.TFRecordDataset(part.filename).skip(part.skip).take(part.take)
            for part in info.splits[self._spec].file_instructions
        ]
        if not parts:
            return None
        records = functools.reduce(lambda first, second: first.concatenate(second), parts)
        chosen_N = tf.constant(chosen, tf.int64)

        def of_block(block: Any, records_B: Any) -> Any:
            first = block * _RECORDS_AT_ONCE
            low, high = tf.unstack(tf.searchsorted(chosen_N, [first, first + _RECORDS_AT_ONCE]))
            return chosen_N[low:high], tf.gather(records_B, chosen_N[low:high] - first)

        return (
            records.batch(_RECORDS_AT_ONCE)
            .enumerate()
            .map(of_block)
            .unbatch()
            .map(lambda place, record: (place, info.features.deserialize_example(record)))
        )

    def _filtered(self, chosen: np.ndarray) -> Any:
        import tensorflow as tf

        chosen_N = tf.constant(chosen, tf.int64)
        # Where a place would be inserted, it stands already. Past the end there is a -1.
        padded = tf.concat([chosen_N, [-1]], axis=0)
        return (
            self._dataset.enumerate()
            .filter(lambda place, _: padded[tf.searchsorted(chosen_N, [place])[0]] == place)
            .take(len(chosen))
        )


def _is_flat(spec: Any) -> bool:
    import tensorflow as tf

    return isinstance(spec, Mapping) and all(
        isinstance(value, tf.TensorSpec) and value.shape == () for value in spec.values()
    )


def _column(values_N: np.ndarray) -> list[Any]:
    if values_N.dtype == object:
        return [value.decode("utf-8", "surrogateescape") for value in values_N.tolist()]
    return plain(values_N)


def plain(value: Any) -> Any:
    """A value of TFDS as JSON types.

    Bytes that are not UTF-8 become half characters, which no JSON text in UTF-8 holds. Floats of 32
    bits are the shortest that mean them: 4.2 rather than 4.199999809265137.
    """
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    if hasattr(value, "to_list"):  # A ragged tensor.
        return plain(value.to_list())
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind == "f" and value.dtype.itemsize < 8:
            value = np.asarray(value).astype(str).astype(np.float64)
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value


def _first_line(error: BaseException) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text.partition(". ")[0].rstrip(".")
