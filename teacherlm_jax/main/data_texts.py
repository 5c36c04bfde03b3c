"""What subcommands of `teacherlm data` that compare texts take: files, and tasks or mixtures."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from etils import epath

if TYPE_CHECKING:
    from teacherlm_jax.data.text_rows import TextRow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives a parser --split and --fields."""
    parser.add_argument("--split", default="train", help="of the tasks (default: train)")
    parser.add_argument(
        "--fields",
        metavar="NAMES",
        help="of rows of files, separated by commas (default: all that hold text)",
    )


def is_file(name: str) -> bool:
    """Whether a name means files: it ends as one, is a pattern, or is there."""
    from teacherlm_jax.data import text_rows

    is_named_so = name.endswith(text_rows.SUFFIXES) or bool(re.search(r"[*?\[/]", name))
    return is_named_so or epath.Path(name).exists()


def training_rows(names: Sequence[str], flags: argparse.Namespace) -> Iterator[TextRow]:
    """Rows of files, and examples of the tasks of mixtures.

    Args:
      names: of both.
      flags: with those of `add_arguments` and of `data_tasks`, and `to`, where rows that are left
        out are kept.

    Raises:
      ValueError: no task or mixture has a name, or a task has no such split; or one of them, or
        the files of a name, have no text, so that nothing could be found in them.
    """
    from teacherlm_jax.data import data_setup, pipeline, text_rows

    fields = flags.fields.split(",") if flags.fields else None
    data_setup.DataSetup(
        malformed_rows=flags.malformed_rows, rejects_dir=f"{flags.to}/rejects"
    ).apply()
    for name in names:
        if is_file(name):
            yield from _with_text(text_rows.of_files([name], fields), name)
            continue
        for task in tasks_of(pipeline.registered(name)):
            of_task = text_rows.of_task(task, flags.split)
            yield from _with_text(of_task, f"split {flags.split!r} of {task.name}")


def _with_text(rows: Iterable[TextRow], source: str) -> Iterator[TextRow]:
    """The rows; it is an error if none has text."""
    count, has_text = 0, False
    for row in rows:
        count += 1
        has_text = has_text or bool(row.texts)
        yield row
    if not has_text:
        raise ValueError(
            f"none of the {count} rows of {source} has text, so nothing could be found there: leave"
            " it out, or name the right data."
        )


def tasks_of(provider: Any) -> list[Any]:
    """The tasks of a task or mixture."""
    import seqio

    return list(seqio.get_subtasks(provider))


def check(names: Sequence[str], split: str) -> dict[str, int]:
    """What can be told of inputs before they are read: file -> its size.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: no task or mixture has a name, or a task has no such split.
    """
    from teacherlm_jax.data import pipeline, record_files, text_rows

    sizes: dict[str, int] = {}
    for name in names:
        if is_file(name):
            files = record_files.list_files(name, text_rows.SUFFIXES)
            sizes |= {str(file): int(file.stat().length) for file in files}
            continue
        for task in tasks_of(pipeline.registered(name)):
            if split not in task.splits:
                raise ValueError(
                    f"task {task.name} has no split {split!r}; it has {list(task.splits)}: give"
                    " --split."
                )
    return sizes


def settings(flags: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """All that decides what a command writes: its flags, and more by name."""
    elsewhere = ("command", "to", "debug")
    return {name: value for name, value in vars(flags).items() if name not in elsewhere} | more
