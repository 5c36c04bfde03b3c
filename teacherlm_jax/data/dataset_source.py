"""A seqio data source over a mirror on disk, or over TFDS: raw rows as JSON.

See `row_rendering` for what an element holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import seqio

from teacherlm_jax.data import seeded_order


class DatasetSource(seqio.DataSource):
    """Rows of a data set: of its mirror where there is one, else of TFDS.

    Nothing is downloaded. The rows are the same in the same order whenever they are read.
    """

    def __init__(
        self,
        name: str,
        splits: Mapping[str, str],
        *,
        tfds: str | None = None,
        hub: str | None = None,
        manual: str | None = None,
        counts: Mapping[str, int] | None = None,
        max_examples: Mapping[str, int] | None = None,
        cap_seed: int = 0,
        cap_name: str | None = None,
    ) -> None:
        """Makes a source; looks at no file.

        Args:
          name: of the mirror's folder.
          splits: seqio's split -> the source's split, or a slice of it such as "train[:-200]".
          tfds: name with config and version; None: TFDS has none.
          hub: where the files for a mirror can be had, for the error that says so.
          manual: which files TFDS needs fetched by hand, and where they go.
          counts: rows of the source's whole splits as public tables have them.
          max_examples: seqio's split -> most rows: a fixed part, chosen by the seed, the name, and
            the rows' places alone.
          cap_seed: decides which rows.
          cap_name: what is hashed with the seed; None: the name.
        """
        super().__init__(splits=tuple(splits))
        self.name, self.tfds, self.hub, self.manual = name, tfds, hub, manual
        self.counts, self.slices = dict(counts or {}), dict(splits)
        self.max_examples = dict(max_examples or {})
        self._cap_seed, self._cap_name = cap_seed, cap_name or name

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return False

    def list_shards(self, split: str) -> list[str]:
        return [split]

    def num_input_examples(self, split: str) -> int | None:
        return None

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: Any = None,
        **unused: Any,
    ) -> Any:
        """Elements with `row`, `index` and `where`, in order: the task shuffles."""
        import tensorflow as tf

        rows = list(self._tfds_rows(split))
        chosen = range(len(rows))
        if split in self.max_examples and self.max_examples[split] < len(rows):
            order = seeded_order.named_permutation(len(rows), self._cap_seed, self._cap_name)
            chosen = sorted(order[: self.max_examples[split]].tolist())

        def generate() -> Iterator[dict[str, Any]]:
            for index in chosen:
                yield {
                    "row": json.dumps(rows[index]),
                    "index": index,
                    "where": f"{self.tfds} {self.slices[split]}:{index}",
                }

        signature = {
            "row": tf.TensorSpec((), tf.string),
            "index": tf.TensorSpec((), tf.int64),
            "where": tf.TensorSpec((), tf.string),
        }
        return tf.data.Dataset.from_generator(generate, output_signature=signature)

    def _tfds_rows(self, split: str) -> Iterator[dict[str, Any]]:
        import tensorflow_datasets as tfds

        builder = tfds.builder(self.tfds)
        for element in tfds.as_numpy(builder.as_dataset(split=self.slices[split])):
            yield {name: plain(value) for name, value in element.items()}


def plain(value: Any) -> Any:
    """A value of TFDS as JSON types."""
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value
