"""seqio data sources whose rows are read in Python, in order.

Elements are those of `row_rendering`.
"""

from __future__ import annotations

import abc
import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Self

import seqio

from teacherlm_jax.data import generators
from teacherlm_jax.data.row_rendering import Row

# Rows cross into TensorFlow many at once: one by one, the crossing costs more than the reading.
ROWS_AT_ONCE = 256


class RowSource(seqio.DataSource):
    """A source of one shard a split, since a split is read in order, as a whole.

    Nothing is looked at before rows are asked for.
    """

    _step: Callable[[Any], Any] | None = None

    def giving(self, step: Callable[[Any], Any]) -> Self:
        """This source, but that it gives what a step makes of all rows of a split.

        So a step whose outcome hangs on all rows, such as a cap of examples, is the same whatever
        the number of hosts: seqio gives preprocessors one host's rows alone.

        Args:
          step: dataset of rows -> dataset.
        """
        other = copy.copy(self)
        other._step = step
        return other

    @abc.abstractmethod
    def reader(self, split: str) -> Callable[[], Iterator[Row]]:
        """What reads the rows of a split, at every pass anew.

        Raises what keeps them from being read, where that can be known: here, and not within
        TensorFlow.
        """

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return False

    def list_shards(self, split: str) -> list[str]:
        """One shard."""
        return [split]

    def num_input_examples(self, split: str) -> int | None:
        """None: it is not known before they are read."""
        return None

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: Any,
    ) -> Any:
        """Elements with `row`, `index` and `where`, in order: the task shuffles.

        Of a source with a step (`giving`), what that makes of them.

        Raises what `reader` raises.
        """
        dataset = dataset_of(self.reader(split))
        if self._step is not None:
            dataset = self._step(dataset)
        if shard_info is not None and shard_info.num_shards > 1:
            return dataset.shard(shard_info.num_shards, shard_info.index)
        return dataset


def dataset_of(rows: Callable[[], Iterator[Row]], at_once: int | None = None) -> Any:
    """A dataset of rows, whose errors `generators.surfaced` knows.

    Args:
      rows: called at every pass.
      at_once: how many cross into TensorFlow together; None: `ROWS_AT_ONCE`.
    """
    import tensorflow as tf

    size = ROWS_AT_ONCE if at_once is None else at_once

    def blocks() -> Iterator[dict[str, Any]]:
        left = rows()
        while block := list(itertools.islice(left, size)):
            texts, places, names = zip(*block)
            yield {"row": texts, "index": places, "where": names}

    many = {
        "row": tf.TensorSpec((None,), tf.string),
        "index": tf.TensorSpec((None,), tf.int64),
        "where": tf.TensorSpec((None,), tf.string),
    }
    return generators.from_generator(blocks, many).unbatch()
