"""From seqio's tasks and mixtures to tables of token ids.

seqio defines the data; the order of it is `batches`'. Tables are held in memory, or in a cache.
"""

import difflib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import seqio
from etils import epath

from teacherlm_jax.data import batches as batches_lib
from teacherlm_jax.data import token_cache, tokenization


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
            + ". Is it your own? Import the module that defines it in the gin file, or name it by "
            "--module of `teacherlm data`."
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


def load_table(
    task: seqio.Task, split: str, cache_dir: epath.PathLike | None = None
) -> batches_lib.ExampleTable:
    """Tokenizes a split of a task once, in the task's own order.

    Args:
      task: a seqio task.
      split: one of its splits.
      cache_dir: None: once a process, held in memory. Otherwise once for good: see
        `token_cache.cached_table`, which is to be called on every host.

    Raises:
      ValueError: the task has no such split, or the cache cannot be used.
    """
    if cache_dir is not None:
        return token_cache.cached_table(task, split, cache_dir)
    examples = [
        batches_lib.TokenizedExample(f"{task.name}/{split}:{index}", inputs, targets)
        for index, (inputs, targets) in enumerate(tokenization.tokenized_rows(task, split))
    ]
    return batches_lib.ExampleTable(task.name, examples)


TableLoader = Callable[[seqio.Task, str], batches_lib.ExampleTable]


def load_tables(
    mixture_or_task_name: str,
    split: str = "train",
    loader: TableLoader = load_table,
    cache_dir: epath.PathLike | None = None,
) -> tuple[list[batches_lib.ExampleTable], list[float]]:
    """The tables of a registered task or mixture, and the mixture's own rates.

    Args:
      mixture_or_task_name: a name in seqio's registries.
      split: of every task.
      loader: makes a task's table; hand in a cached one where runs share tasks.
      cache_dir: see `load_table`, which then makes the tables whatever the loader.
    """
    provider = registered(mixture_or_task_name)
    if cache_dir is not None:
        loader = functools.partial(load_table, cache_dir=cache_dir)
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
