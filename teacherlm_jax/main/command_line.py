"""`teacherlm COMMAND`: the table of commands, and what they all share.

A command is a module of this package with `main(argv)`, which is a call of `run_command`, or of
`run_plain_command` where gin configures nothing. Heavy imports stay inside functions, so that
`teacherlm --help` answers at once.
"""

import argparse
import contextlib
import functools
import importlib
import io
import os
import re
import select
import shlex
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NoReturn

import teacherlm_jax
from teacherlm_jax.main import terminal
from teacherlm_jax.main.gin_search import (
    ConfigurationError,
    did_you_mean,
    find_gin_file,
    header,
)
from teacherlm_jax.main.interrupts import interrupting
from teacherlm_jax.main.terminal import complain, is_user_error, log_to_terminal, message_of
from teacherlm_jax.metrics.start_up import prepare_environment, without_chatter

COMMANDS = {
    "quickstart": "the whole method on the embedded world, in minutes on a laptop",
    "train": "train a model through the stages of a gin file",
    "annotate": "let a trained teacher write explanations for questions",
    "evaluate": "evaluate a checkpoint by rank classification",
    "config": "check, explain and compare configurations",
    "convert": "import public weights, export ours, compare the two",
    "data": "list, show, mirror, cache and clean data",
    "scores": "compare two evaluations question by question",
    "students": "train and compare the students of each arm",
    "models": "list the models that there are gin files for",
}
"""Name -> summary; the command is `teacherlm_jax.main.<name>`."""

EXIT_INTERRUPTED = 130

_INVALID_CHOICE = re.compile(r"invalid choice: '(.+?)' \(")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `teacherlm`; returns the exit status."""
    argv, is_program = (sys.argv[1:], True) if argv is None else (list(argv), False)
    parser = _Parser(prog="teacherlm")
    width = max(map(len, COMMANDS)) + 2
    table = "\n".join(f"  {name:{width}}{summary}" for name, summary in COMMANDS.items())
    parser.description = teacherlm_jax.__doc__.partition("\n")[0] if teacherlm_jax.__doc__ else ""
    parser.epilog = f"commands:\n{table}\n\n`teacherlm COMMAND --help` tells more."
    parser.add_argument("--version", action="version", version=teacherlm_jax.__version__)
    parser.add_argument("command", metavar="COMMAND")
    arguments = parser.parse_args(argv[:1] or ["--help"])
    if arguments.command not in COMMANDS:
        hint = did_you_mean(arguments.command, COMMANDS) or f" Commands: {', '.join(COMMANDS)}."
        return complain(f"there is no command {arguments.command}.{hint}")
    module = importlib.import_module(f"teacherlm_jax.main.{arguments.command}")
    status = int(module.main(argv[1:]) or 0)
    return terminal.leave(status) if is_program and status == EXIT_INTERRUPTED else status


def run_command(
    name: str,
    description: str,
    default_gin_files: Sequence[str],
    run: Callable[[], Any],
    argv: Sequence[str] | None = None,
    *,
    read_by_code: Collection[str] = (),
) -> int:
    """Runs a command from its flags: configures by gin, calls `run`, and words the errors.

    Args:
      name: as in `teacherlm NAME`.
      description: what it does, for `--help`.
      default_gin_files: parsed where no `--gin_file` is given.
      run: called without arguments; a function of a module gets its gin bindings.
      argv: flags; those of the process by default.
      read_by_code: macros that `run` reads with `gin_setup.macro`.

    Returns:
      The exit status: 0; 2 after an error that the user can mend; 130 after Ctrl-C.
    """

    def configure_and_run(flags: argparse.Namespace) -> None:
        with contextlib.nullcontext() if flags.debug else without_chatter():
            _configure(flags, default_gin_files, read_by_code)
        with _first_host_speaks(name, _gin_text), interrupting():
            _call(run)

    parse = functools.partial(_parse_flags, name, description, default_gin_files)
    return _run(name, argv, parse, configure_and_run)


def run_plain_command(
    name: str,
    description: str,
    add_arguments: Callable[[argparse.ArgumentParser], Any],
    run: Callable[[argparse.Namespace], Any],
    argv: Sequence[str] | None = None,
) -> int:
    """Runs a command that has flags of its own and no gin files, and words the errors alike.

    `--debug` is added here, after `add_arguments`, to the parser and to every subcommand.

    Args:
      name: as in `teacherlm NAME`.
      description: what it does, for `--help`.
      add_arguments: gives the parser its arguments; subcommands come from its
        `add_subparsers(dest=..., required=True)`, and share the wording of errors.
      run: called with the parsed flags.
      argv: flags; those of the process by default.

    Returns:
      The exit status, as `run_command`.
    """

    def parse(argv: Sequence[str]) -> argparse.Namespace:
        parser = _Parser(prog=f"teacherlm {name}", description=textwrap.fill(description, 88))
        add_arguments(parser)
        _add_debug(parser)
        return parser.parse_args(argv)

    def run_with(flags: argparse.Namespace) -> None:
        with _first_host_speaks(name, lambda: _flags_text(flags)), interrupting():
            run(flags)

    return _run(name, argv, parse, run_with)


def _run(
    name: str,
    argv: Sequence[str] | None,
    parse: Callable[[Sequence[str]], argparse.Namespace],
    work: Callable[[argparse.Namespace], None],
) -> int:
    """What all commands share: quiet libraries, the wording of errors, the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    prepare_environment()
    terminal.prepare_streams()
    flags = None
    try:
        flags = parse(argv)
        log_to_terminal(flags.debug)
        work(flags)
    except KeyboardInterrupt:
        again = shlex.join(["teacherlm", name, *argv])
        print(
            f"\ninterrupted. What is finished is kept; to continue:\n\n  {again}", file=sys.stderr
        )
        return EXIT_INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 0
        if (flags and flags.debug) or not is_user_error(error):
            raise
        return complain(message_of(error))
    return 0


def _nobody_reads() -> bool:
    """Whether who reads our output has gone, as `head` does; what is left of it is dropped then."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)  # Asks for errors alone, of which it always tells.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        if not output.poll(0):
            return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


# ------------------------------------------------------------------------------------------------
# Flags


class _Parser(argparse.ArgumentParser):
    """Errors of one paragraph, which name the nearest flag or subcommand."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        hint = ""
        if unknown := message.partition("unrecognized arguments: ")[2].split(" ")[0]:
            parsers = [self, *_subcommands(self).values()]
            known = [flag for parser in parsers for flag in parser._option_string_actions]
            hint = did_you_mean(unknown.partition("=")[0], known)
        elif word := _INVALID_CHOICE.search(message):
            hint = did_you_mean(word[1], _subcommands(self))
        self.exit(complain(f"{message}.{hint}"))


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    groups = [
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    ]
    return {name: inner for group in groups for name, inner in group.choices.items()}


def _add_debug(parser: argparse.ArgumentParser, **settings: Any) -> None:
    text = "show all logs, and errors in full"
    parser.add_argument("--debug", action="store_true", help=text, **settings)
    for inner in dict.fromkeys(_subcommands(parser).values()):  # an alias names a parser again
        _add_debug(inner, default=argparse.SUPPRESS)  # what stood before it stays


def _parse_flags(
    name: str, description: str, default_gin_files: Sequence[str], argv: Sequence[str]
) -> argparse.Namespace:
    parser = _Parser(prog=f"teacherlm {name}", description=textwrap.fill(description, 88))
    parser.add_argument(
        "--gin_file",
        action="append",
        metavar="FILE",
        help="gin file; may be given several times, later ones override earlier ones "
        f"(default: {', '.join(default_gin_files) or 'none, so one is needed'})",
    )
    parser.add_argument(
        "--gin.NAME=VALUE",
        dest="gin_bindings",
        action="append",
        metavar="",
        help="set a macro (--gin.TRAIN_STEPS=100) or a parameter (--gin.mesh.MeshConfig.data=4); "
        "overrides the files",
    )
    parser.add_argument(
        "--gin_bindings", action="append", metavar="BINDING", help=argparse.SUPPRESS
    )
    add_gin_search_paths(parser)
    _add_debug(parser)
    # argparse knows no flag whose name holds the name of what it sets.
    rewritten = [re.sub(r"^--gin\.", "--gin_bindings=", argument) for argument in argv]
    if {"-h", "--help"} & set(rewritten):
        parser.epilog = "\n\n".join(_describe(file) for file in default_gin_files)
    return parser.parse_args(rewritten)


def add_gin_search_paths(parser: argparse.ArgumentParser) -> None:
    """Gives a parser the flag `--gin_search_paths`, which `gin_search_paths` reads."""
    parser.add_argument(
        "--gin_search_paths",
        action="append",
        metavar="FOLDERS",
        help="folders to look for gin files in, separated by commas; the working directory comes "
        "first, the files of the package last",
    )


def gin_search_paths(flags: argparse.Namespace) -> list[str]:
    """The folders of `--gin_search_paths`, in order."""
    return [part for text in flags.gin_search_paths or [] for part in text.split(",") if part]


def _describe(gin_file: str) -> str:
    path = find_gin_file(gin_file)
    return f"{path}:\n\n{textwrap.indent(header(path), '  ')}"


def _configure(
    flags: argparse.Namespace, default_gin_files: Sequence[str], read_by_code: Collection[str]
) -> None:
    from teacherlm_jax.main import gin_setup

    files = flags.gin_file or default_gin_files
    if not files:
        raise ConfigurationError("no configuration: pass --gin_file=FILE.")
    folders = gin_search_paths(flags)
    gin_setup.parse(files, flags.gin_bindings or [], folders, read_by_code=read_by_code)
    _keep_tensorflow_off_gpus()


def _keep_tensorflow_off_gpus() -> None:
    """TensorFlow reads data alone here; left to itself it takes the memory of JAX's GPUs."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return
    with contextlib.suppress(RuntimeError):  # It is in use already: another command was run.
        tensorflow.config.set_visible_devices([], "GPU")
    tensorflow.config.list_logical_devices()  # It looks for GPUs now, while its chatter is caught.


@contextlib.contextmanager
def _first_host_speaks(name: str, configuration: Callable[[], str]) -> Iterator[None]:
    """Joins the other hosts of the run, if any, which must be alike; one prints the results."""
    if not any(name.startswith("TEACHERLM_") for name in os.environ):
        yield  # nothing to join, and no reason to import JAX before it is needed
        return
    import jax

    from teacherlm_jax.partitioning import hosts, preflight

    joined = hosts.initialize_from_environment()
    if joined:
        preflight.check_hosts(name, configuration())
    if not joined or jax.process_index() == 0:
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _gin_text() -> str:
    from teacherlm_jax.main import gin_setup

    return gin_setup.config_str()


def _flags_text(flags: argparse.Namespace) -> str:
    values = {**vars(flags), "debug": "any"}  # Hosts may differ in what they show.
    return "\n".join(f"{flag} = {value!r}" for flag, value in sorted(values.items()))


def _call(run: Callable[[], Any]) -> None:
    from teacherlm_jax.main import gin_setup

    qualified_name = getattr(run, "__qualname__", "<partial>")
    (run if "<" in qualified_name else gin_setup.bound(run))()


if __name__ == "__main__":
    sys.exit(main())
