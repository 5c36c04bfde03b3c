"""seqio's tasks -> rows of token ids, in the task's own order, a large batch at a time."""

import itertools
from collections.abc import Iterator

import numpy as np
import seqio
import tensorflow as tf

from teacherlm_jax.data import generators, seqio_cache

ROWS_AT_ONCE = 2048

# Inputs and targets of one example, int32 each.
Row = tuple[np.ndarray, np.ndarray]


def check_split(task: seqio.Task, split: str) -> None:
    """Raises ValueError unless a task has such a split."""
    if split not in task.splits:
        raise ValueError(f"task {task.name} has no split {split!r}; it has {list(task.splits)}.")


def tokenized_rows(task: seqio.Task, split: str, limit: int | None = None) -> Iterator[Row]:
    """Tokenizes a split of a task as it goes; holds one batch of rows at a time.

    Preprocessors that draw at random by seqio's seeds draw the same every time. A task that has a
    seqio cache in one of seqio's global cache directories is read from there, in the cache's order.

    Args:
      task: a seqio task whose features are `inputs`, `targets` or both; others are left out.
      split: one of its splits.
      limit: how many rows at most; None: all.

    Yields:
      A row an example; a feature that the task lacks is empty.

    Raises:
      ValueError: the task has no such split, or a token that is not in its vocabulary; or its rows
        are not here, or malformed (`row_rendering`).
    """
    check_split(task, split)
    dataset = _dataset(task, split)
    done = 0
    if limit is not None:
        dataset = dataset.take(limit)
    names = [name for name in ("inputs", "targets") if name in dataset.element_spec]
    # Rows leave TensorFlow in large ragged batches: one by one, the crossing costs more than the
    # tokenizing.
    dataset = dataset.map(lambda example: {name: example[name] for name in names})
    nothing = np.zeros((0,), np.int32)
    for batch in generators.read(dataset.ragged_batch(ROWS_AT_ONCE)):
        rows: dict[str, list[np.ndarray]] = {"inputs": [], "targets": []}
        for name in names:
            ragged = batch[name]
            if isinstance(ragged, tf.Tensor):  # Where the pipeline knows one length for all rows.
                ragged = tf.RaggedTensor.from_tensor(ragged)
            ids, ends = ragged.values.numpy(), ragged.row_splits.numpy()
            _check_ids(task, f"{task.name}/{split}", done, name, ids, ends)
            rows[name] = np.split(ids.astype(np.int32), ends[1:-1])
        yield from itertools.zip_longest(rows["inputs"], rows["targets"], fillvalue=nothing)
        done += max(map(len, rows.values()))


def _check_ids(
    task: seqio.Task, table: str, first: int, feature: str, ids: np.ndarray, ends: np.ndarray
) -> None:
    """Checks that ids are those of a vocabulary; JAX would take the nearest row for another."""
    size = task.output_features[feature].vocabulary.vocab_size
    wrong = np.flatnonzero((ids < 0) | (ids >= size))
    if size and len(wrong):
        row = first + int(np.searchsorted(ends, wrong[0], side="right")) - 1
        raise ValueError(
            f"{table}:{row} has token id {int(ids[wrong[0]])} in {feature}, but those of its "
            f"vocabulary go from 0 to {size - 1}: mend the task's preprocessors, or the vocab_size "
            "of its vocabulary."
        )


def _dataset(task: seqio.Task, split: str) -> tf.data.Dataset:
    settings = {"split": split, "shuffle": False, "num_epochs": 1}
    if task.supports_caching and task.cache_dir is not None:
        seqio_cache.check(task, task.cache_dir)
        settings["use_cached"] = True
    try:
        return task.get_dataset(sequence_length=None, seed=0, **settings)
    except ValueError:
        # seqio hands a seed on to source functions, which need not take one.
        return task.get_dataset(sequence_length=None, **settings)
