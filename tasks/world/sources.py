"""seqio data sources over rows that a world makes when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio

from teacherlm_jax.tasks.world.examples import Row


class RowsSource(seqio.DataSource):
    """Rows in memory, the same in the same order whenever they are read.

    Unlike data sets over Python generators these can be saved in a tf.data checkpoint.
    """

    def __init__(self, make_rows: Mapping[str, Callable[[], Sequence[Row]]]) -> None:
        """Makes a source.

        Args:
            make_rows: split to a function that makes its rows; called once, when first needed. All
                rows of a split have the same features; lists may differ in length.
        """
        super().__init__(splits=tuple(make_rows))
        self._make_rows = dict(make_rows)
        self._rows: dict[str, Sequence[Row]] = {}

    def rows(self, split: str) -> Sequence[Row]:
        """Returns the rows of a split."""
        if split not in self._rows:
            if split not in self._make_rows:
                raise ValueError(
                    f"split = {split!r}, but this task has only {', '.join(self._make_rows)}."
                )
            self._rows[split] = self._make_rows[split]()
        return self._rows[split]

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return False

    def list_shards(self, split: str) -> list[str]:
        return [split]

    def num_input_examples(self, split: str) -> int:
        return len(self.rows(split))

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: Any = None,
        **unused: Any,
    ) -> Any:
        """Returns the split as a `tf.data.Dataset`, in order: the task shuffles."""
        import tensorflow as tf

        if shard_info is not None and shard_info.num_shards > 1:
            raise ValueError(
                f"a world's task is one shard, but {shard_info.num_shards} were asked for: shard"
                " its examples instead."
            )
        rows = self.rows(split)
        columns = {name: _tensor([row[name] for row in rows]) for name in rows[0]}
        return tf.data.Dataset.from_tensor_slices(columns)


def _tensor(column: list[Any]) -> Any:
    """Returns a column as a tensor, ragged where its rows are lists of texts."""
    import tensorflow as tf

    first = column[0]
    if isinstance(first, list) and isinstance(first[0], str):
        return tf.ragged.constant(column, dtype=tf.string)
    if isinstance(first, list):
        return tf.constant(np.asarray(column, np.int32))
    return tf.constant(column)
