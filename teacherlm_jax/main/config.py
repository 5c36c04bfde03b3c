"""`teacherlm config`: checks, explains and compares configurations; no device is touched."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from teacherlm_jax.main.command_line import (
    add_gin_search_paths,
    gin_search_paths,
    run_plain_command,
)
from teacherlm_jax.main.gin_names import REQUIRED, MacroUse
from teacherlm_jax.metrics.start_up import without_chatter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives the parser the subcommands."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check", help="names, types, macros and required values of a file, as a run would"
    )
    explain = commands.add_parser("explain", help="every value, where it is set, what it replaces")
    diff = commands.add_parser("diff", help="values that differ between two files")
    for command in (check, explain):
        command.add_argument("files", nargs="+", metavar="FILE", help="in order, as --gin_file")
    diff.add_argument("one", metavar="A")
    diff.add_argument("other", metavar="B")
    for command in (check, explain, diff):
        command.add_argument(
            "--gin",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            dest="bindings",
            help="as --gin.NAME=VALUE of a run, which is taken too; for what a file requires",
        )
        add_gin_search_paths(command)


def run(flags: argparse.Namespace) -> Any:
    """Checks, explains or compares."""
    {"check": _check, "explain": _explain, "diff": _diff}[flags.command](flags)


def _values(flags: argparse.Namespace, files: Sequence[str]) -> Any:
    from teacherlm_jax.main import gin_explain, gin_setup

    with without_chatter():
        found = gin_setup.understand(files, flags.bindings, gin_search_paths(flags), complete=False)
    return gin_explain.explain([*found.known, *found.known_flags])


def _check(flags: argparse.Namespace) -> None:
    values = _values(flags, flags.files)
    macros = sum(value.is_macro for value in values)
    counts = f"values: {len(values) - macros}, macros: {macros}"
    print(f"{', '.join(flags.files)}: all fine ({counts})")
    required = [value for value in values if value.written == repr(MacroUse(REQUIRED))]
    if required:
        print(f"a run needs {' '.join(f'--gin.{value.name}=...' for value in required)}")


def _explain(flags: argparse.Namespace) -> None:
    for value in _values(flags, flags.files):
        meant = "" if value.meant == value.written else f"  = {value.meant}"
        print(f"{value.name} = {value.written}{meant}\n    {value.where}")
        for written, where in value.replaced:
            print(f"    replaces {written}  {where}")


def _diff(flags: argparse.Namespace) -> None:
    from teacherlm_jax.main import gin_explain

    one, other = (_values(flags, [file]) for file in (flags.one, flags.other))
    found = list(gin_explain.difference(one, other))
    for name, here, there in found:
        print(f"{name}\n    {flags.one}: {here}\n    {flags.other}: {there}")
    print(f"{len(found) or 'no'} value{'s' * (len(found) != 1)} differ{'s' * (len(found) == 1)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    argv = sys.argv[1:] if argv is None else list(argv)
    return run_plain_command(
        "config",
        "Checks, explains and compares gin configurations without running them.",
        add_arguments,
        run,
        [_rewrite(argument) for argument in argv],
    )


def _rewrite(argument: str) -> str:
    """`--gin.NAME=VALUE` as argparse knows it here."""
    if not argument.startswith("--gin."):
        return argument
    return f"--gin={argument.removeprefix('--gin.')}"


if __name__ == "__main__":
    sys.exit(main())
