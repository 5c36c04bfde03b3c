"""What subcommands of `teacherlm data` that compare texts take: files, and tasks or mixtures."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import text_rows


def is_file(name: str) -> bool:
    """Whether a name means files: it ends as one, is a pattern, or is there."""
    is_named_so = name.endswith(text_rows.SUFFIXES) or bool(re.search(r"[*?\[/]", name))
    return is_named_so or epath.Path(name).exists()


def training_rows(
    names: Sequence[str], split: str, fields: Sequence[str] | None
) -> Iterator[text_rows.TextRow]:
    """Rows of files, and examples of the tasks of mixtures.

    Raises:
      ValueError: no task or mixture has a name, or a task has no such split.
    """
    from teacherlm_jax.data import pipeline

    for name in names:
        if is_file(name):
            yield from text_rows.of_files([name], fields)
            continue
        for task in seqio_tasks(pipeline.registered(name)):
            yield from text_rows.of_task(task, split)


def seqio_tasks(provider: Any) -> list[Any]:
    """The tasks of a task or mixture."""
    import seqio

    return list(seqio.get_subtasks(provider))


def check(names: Sequence[str], split: str) -> dict[str, int]:
    """What can be told of inputs before they are read: file -> its size.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: no task or mixture has a name, or a task has no such split.
    """
    from teacherlm_jax.data import pipeline, record_files

    sizes: dict[str, int] = {}
    for name in names:
        if is_file(name):
            files = record_files.list_files(name, text_rows.SUFFIXES)
            sizes |= {str(file): int(file.stat().length) for file in files}
            continue
        for task in seqio_tasks(pipeline.registered(name)):
            if split not in task.splits:
                raise ValueError(
                    f"task {task.name} has no split {split!r}; it has {list(task.splits)}: give"
                    " --split."
                )
    return sizes
