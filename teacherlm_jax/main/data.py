"""`teacherlm data`: what data there is, how it looks, where it comes from, and whether it is clean.

Each subcommand is a module beside this one with `add_arguments(parser)` and `run(flags)`.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from teacherlm_jax.main.command_line import run_plain_command

SUBCOMMANDS: dict[str, tuple[str, str]] = {
    "list": ("data_list", "list tasks and mixtures: sizes, sources, what is here"),
    "inspect": ("data_inspect", "show samples token by token, and what carries loss"),
    "mirror": ("data_mirror", "write a data set's rows into a folder that tasks read, hashed"),
    "import": ("data_import", "validate human annotations and mark them as TeacherData"),
    "stats": ("data_stats", "count tokens, truncation, packing, and epochs of a mixture"),
    "cache": ("data_cache", "write the offline cache of seqio, by Apache Beam"),
    "decontaminate": ("data_decontaminate", "find evaluation questions in training data"),
    "deduplicate": ("data_deduplicate", "leave out rows that are nearly the same as others"),
}
"""Name -> (module of this package, one line of help)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives the parser the subcommands."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in SUBCOMMANDS.items():
        subparser = commands.add_parser(name, help=summary, description=summary)
        _module(module).add_arguments(subparser)


def _module(name: str) -> Any:
    return importlib.import_module(f"teacherlm_jax.main.{name}")


def run(flags: argparse.Namespace) -> Any:
    """Runs the subcommand."""
    module, _ = SUBCOMMANDS[flags.command]
    return _module(module).run(flags)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run_plain_command(
        "data",
        "Lists, shows, mirrors, caches, checks and cleans the data of the method.",
        add_arguments,
        run,
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
