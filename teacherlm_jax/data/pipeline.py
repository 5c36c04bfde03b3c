"""From seqio's tasks and mixtures to tables of token ids.

seqio defines the data; the order of it is `batches`'. Tables are held in memory.
"""

import difflib
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from teacherlm_jax.data import batches as batches_lib

_ROWS_AT_ONCE = 2048


def registered(name: str) -> seqio.Task | seqio.Mixture:
    """A task or mixture by name.

    Raises:
      ValueError: nothing of that name is registered; names the nearest.
    """
    names = sorted({*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()})
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        raise ValueError(
            f"no task or mixture {name!r} is registered"
            + (f"; the nearest are {near}" if near else f"; there are {len(names)}")
            + ". Import the module that defines it in the gin file."
        )
    return seqio.get_mixture_or_task(name)


def vocabulary(mixture_or_task_name: str) -> seqio.Vocabulary:
    """The vocabulary of a task's or mixture's targets."""
    return registered(mixture_or_task_name).output_features["targets"].vocabulary


def check_vocabulary(mixture_or_task_name: str, vocab_size: int, bos_id: int | None) -> None:
    """Checks that a model has a row for every token of a task, and for the one before it.

    Raises:
      ValueError: the vocabulary is larger than the model's, or the BOS is not in it.
    """
    if bos_id is not None and not 0 <= bos_id < vocab_size:
        raise ValueError(
            f"bos_id = {bos_id}, but it must be a token of the model, 0 to {vocab_size - 1}, or "
            "None for no such token."
        )
    needed = vocabulary(mixture_or_task_name).vocab_size
    if needed > vocab_size:
        raise ValueError(
            f"{mixture_or_task_name} has a vocabulary of {needed}, but the model has vocab_size "
            f"{vocab_size}: set DecoderConfig.vocab_size to at least {needed}."
        )


def load_table(task: seqio.Task, split: str) -> batches_lib.ExampleTable:
    """Tokenizes a split of a task once, in the task's own order."""
    if split not in task.splits:
        raise ValueError(f"task {task.name} has no split {split!r}; it has {list(task.splits)}.")
    dataset = task.get_dataset(sequence_length=None, split=split, shuffle=False, num_epochs=1)
    names = [name for name in ("inputs", "targets") if name in dataset.element_spec]
    # Rows leave TensorFlow in large ragged batches: one by one, the crossing costs more than the
    # tokenizing.
    dataset = dataset.map(lambda example: {name: example[name] for name in names})
    rows: dict[str, list[np.ndarray]] = {"inputs": [], "targets": []}
    for batch in dataset.ragged_batch(_ROWS_AT_ONCE):
        for name in names:
            ragged = batch[name]
            if isinstance(ragged, tf.Tensor):  # Where the pipeline knows one length for all rows.
                ragged = tf.RaggedTensor.from_tensor(ragged)
            ids, ends = ragged.values.numpy(), ragged.row_splits.numpy()
            rows[name] += np.split(ids.astype(np.int32), ends[1:-1])
    nothing = np.zeros((0,), np.int32)
    examples = [
        batches_lib.TokenizedExample(f"{task.name}/{split}:{index}", inputs, targets)
        for index, (inputs, targets) in enumerate(
            itertools.zip_longest(rows["inputs"], rows["targets"], fillvalue=nothing)
        )
    ]
    return batches_lib.ExampleTable(task.name, examples)


TableLoader = Callable[[seqio.Task, str], batches_lib.ExampleTable]


def load_tables(
    mixture_or_task_name: str, split: str = "train", loader: TableLoader = load_table
) -> tuple[list[batches_lib.ExampleTable], list[float]]:
    """The tables of a registered task or mixture, and the mixture's own rates.

    Args:
      mixture_or_task_name: a name in seqio's registries.
      split: of every task.
      loader: makes a task's table; hand in a cached one where runs share tasks.
    """
    provider = registered(mixture_or_task_name)
    if not isinstance(provider, seqio.Mixture):
        return [loader(provider, split)], [1.0]
    rates = [float(provider.get_rate(task)) for task in provider.tasks]
    return [loader(task, split) for task in provider.tasks], rates


def fill_name(template: str, values: Mapping[str, Any]) -> str:
    """A task's or mixture's name with its braces filled: "world{world}_base" -> "world1_base".

    Raises:
      ValueError: there are braces that the values do not fill.
    """
    try:
        return template.format(**values)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"task or mixture name {template!r} has braces that the values {dict(values)} do not "
            "fill."
        ) from error
