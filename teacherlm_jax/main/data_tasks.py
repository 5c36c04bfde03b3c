"""The flags by which subcommands of `teacherlm data` find tasks, and what they then import."""

import argparse
import importlib
import importlib.util
import os
import re
import sys
from typing import Any

BYTES = "bytes"
_TASK_MODULES = ("teacherlm_jax.tasks.world", "teacherlm_jax.tasks.mixtures")
_WORLD = re.compile(r"world(\d+)_")


def add_arguments(parser: argparse.ArgumentParser, *, reads_rows: bool = True) -> None:
    """Gives a parser --module, --vocabulary, --data_dir; where rows are read, --malformed_rows."""
    parser.add_argument(
        "--module",
        action="append",
        metavar="MODULE",
        help="import a module of your own that registers tasks; from the working directory, or as "
        "installed; may be given several times",
    )
    parser.add_argument(
        "--vocabulary",
        metavar="FOLDER",
        help="of tasks that leave theirs open: a folder with a Hugging Face tokenizer, a "
        f"SentencePiece FILE.model, or {BYTES!r} for UTF-8 bytes",
    )
    parser.add_argument(
        "--data_dir",
        metavar="FOLDER",
        help="folder with mirrors (default: the variable TEACHERLM_DATA_DIR, else "
        "~/teacherlm_data)",
    )
    if reads_rows:
        parser.add_argument(
            "--malformed_rows",
            choices=("error", "skip"),
            default="error",
            help="what becomes of them: an error that names file and line, or left out and "
            "counted, and kept in DIR/rejects by what writes to a folder (error)",
        )


def register(flags: argparse.Namespace, *names: str | None) -> list[str]:
    """Imports the tasks there are, and makes the flags hold for the process.

    Args:
      flags: with those of `add_arguments`.
      *names: what was asked for; a world of the embedded worlds is registered by its tasks' names.

    Returns:
      The modules that were imported.

    Raises:
      ValueError: a module is not there, or a vocabulary cannot be read.
    """
    from teacherlm_jax.metrics.start_up import without_chatter

    with without_chatter():
        modules = [name for name in _TASK_MODULES if importlib.util.find_spec(name) is not None]
        for module in modules:
            importlib.import_module(module)
        for module in flags.module or []:
            _import(module)
    from teacherlm_jax.tasks.world.registry import register_world

    for name in names:
        if match := _WORLD.match(name or ""):
            register_world(int(match[1]))
    setup_of(flags).apply()
    return [*modules, *(flags.module or [])]


def setup_of(flags: argparse.Namespace) -> Any:
    """The `DataSetup` that the flags mean."""
    from teacherlm_jax.data import data_setup

    return data_setup.DataSetup(
        vocabulary_of(flags.vocabulary),
        flags.data_dir,
        malformed_rows=getattr(flags, "malformed_rows", data_setup.ERROR),
    )


def vocabulary_of(name: str | None) -> Any:
    """The vocabulary that a flag means; None for None."""
    if name is None:
        return None
    import seqio

    from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary

    if name == BYTES:
        return seqio.ByteVocabulary()
    if name.endswith(".model"):
        return seqio.SentencePieceVocabulary(name)
    return HuggingFaceVocabulary(name)


def check_vocabulary(task: Any) -> None:
    """Checks that a task's tokens are those of some vocabulary.

    Raises:
      ValueError: it leaves its vocabulary open, and none is chosen.
    """
    from teacherlm_jax.data import default_vocabulary

    for feature in task.output_features.values():
        if feature.vocabulary is default_vocabulary.DEFAULT and not feature.vocabulary.is_chosen:
            raise ValueError(
                f"{task.name} leaves its vocabulary open: give --vocabulary FOLDER, the folder of "
                f"your model's tokenizer, or --vocabulary {BYTES} for a look without one."
            )


def _import(module: str) -> None:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise ValueError(
                f"--module {module}: there is no such module in {os.getcwd()!r}, nor installed."
            ) from error
        raise
