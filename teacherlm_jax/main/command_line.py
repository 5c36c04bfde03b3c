"""`teacherlm COMMAND`: the table of commands, and what they all share.

A command is a module of this package with `main(argv)`, which is a call of `run_command`. Heavy
imports stay inside functions, so that `teacherlm --help` answers at once.
"""

import argparse
import contextlib
import importlib
import io
import logging
import os
import re
import shlex
import signal
import sys
import sysconfig
import tempfile
import textwrap
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NoReturn

import teacherlm_jax
from teacherlm_jax.main.gin_search import (
    ConfigurationError,
    did_you_mean,
    find_gin_file,
    header,
)

COMMANDS = {
    "quickstart": "the whole method on the embedded world, in minutes on a laptop",
    "train": "train a model through the stages of a gin file",
    "annotate": "let a trained teacher write explanations for questions",
    "evaluate": "evaluate a checkpoint by rank classification",
    "students": "train and compare the students of each arm",
}
"""Name -> summary; the command is `teacherlm_jax.main.<name>`."""

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(teacherlm_jax.__file__)), "")

# Set before TensorFlow, gRPC, TensorStore and JAX load; what the user has set stays.
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "GRPC_VERBOSITY": "ERROR",
    "GLOG_minloglevel": "2",
    # JAX would cut its own frames out of tracebacks, and its errors would look like ours.
    "JAX_TRACEBACK_FILTERING": "off",
}
_FORCED_DEVICES = re.compile(r"xla_force_host_platform_device_count=(\d+)")
_CHATTER = re.compile(
    rb"[IW]\d{4} |E\d{4} .*cuInit|WARNING: All log messages before absl::InitializeLog"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `teacherlm`; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = _Parser(prog="teacherlm", formatter_class=argparse.RawDescriptionHelpFormatter)
    width = max(map(len, COMMANDS)) + 2
    table = "\n".join(f"  {name:{width}}{summary}" for name, summary in COMMANDS.items())
    parser.description = teacherlm_jax.__doc__.partition("\n")[0] if teacherlm_jax.__doc__ else ""
    parser.epilog = f"commands:\n{table}\n\n`teacherlm COMMAND --help` tells more."
    parser.add_argument("--version", action="version", version=teacherlm_jax.__version__)
    parser.add_argument("command", metavar="COMMAND")
    arguments = parser.parse_args(argv[:1] or ["--help"])
    if arguments.command not in COMMANDS:
        hint = did_you_mean(arguments.command, COMMANDS) or f" Commands: {', '.join(COMMANDS)}."
        return _complain(f"there is no command {arguments.command}.{hint}")
    module = importlib.import_module(f"teacherlm_jax.main.{arguments.command}")
    return int(module.main(argv[1:]) or 0)


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
    argv = sys.argv[1:] if argv is None else list(argv)
    prepare_environment()
    flags = None
    try:
        flags = _parse_flags(name, description, default_gin_files, argv)
        _log_to_terminal(flags.debug)
        with contextlib.nullcontext() if flags.debug else without_chatter():
            _configure(flags, default_gin_files, read_by_code)
        with _first_host_speaks(), _sigterm_interrupts():
            _call(run)
    except KeyboardInterrupt:
        again = shlex.join(["teacherlm", name, *argv])
        print(
            f"\ninterrupted. What is finished is kept; to continue:\n\n  {again}", file=sys.stderr
        )
        return EXIT_INTERRUPTED
    except Exception as error:
        if (flags and flags.debug) or not _is_user_error(error):
            raise
        return _complain(_message(error))
    return 0


def prepare_environment() -> None:
    """Silences the start-up chatter of libraries; call it before they are imported.

    Where the user forces several CPU devices, XLA gets threads for all of them: with a thread a
    core, devices that wait for each other inside a collective can leave none to the others.
    """
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    forced = _FORCED_DEVICES.search(os.environ.get("XLA_FLAGS", ""))
    if forced and int(forced[1]) > 1:
        os.environ.setdefault("NPROC", str(2 * int(forced[1])))


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Drops the informative lines that C++ libraries write to stderr while they are loaded.

    TensorFlow writes some before any setting of its log level counts. Everything else that was
    written appears when the block ends.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            written.seek(0)
            rest = [line for line in written if not _CHATTER.match(line)]
            sys.stderr.write(b"".join(rest).decode(errors="replace"))


# ------------------------------------------------------------------------------------------------
# Flags


class _Parser(argparse.ArgumentParser):
    """Errors of one paragraph, which name the nearest flag."""

    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split(" ")[0]
        hint = did_you_mean(unknown.partition("=")[0], self._option_string_actions)
        self.exit(_complain(f"{message}.{hint if unknown else ''}"))


def _parse_flags(
    name: str, description: str, default_gin_files: Sequence[str], argv: Sequence[str]
) -> argparse.Namespace:
    parser = _Parser(
        prog=f"teacherlm {name}",
        description=textwrap.fill(description, 88),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
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
    parser.add_argument(
        "--gin_search_paths",
        action="append",
        metavar="FOLDERS",
        help="folders to look for gin files in, separated by commas; the working directory comes "
        "first, the files of the package last",
    )
    parser.add_argument("--debug", action="store_true", help="show all logs, and errors in full")
    rewritten = [_rewrite(argument) for argument in argv]
    if {"-h", "--help"} & set(rewritten):
        parser.epilog = "\n\n".join(_describe(file) for file in default_gin_files)
    return parser.parse_args(rewritten)


def _rewrite(argument: str) -> str:
    """`--gin.NAME=VALUE` as argparse knows it."""
    if not argument.startswith("--gin."):
        return argument
    return f"--gin_bindings={argument.removeprefix('--gin.')}"


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
    folders = [part for text in flags.gin_search_paths or [] for part in text.split(",") if part]
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
def _sigterm_interrupts() -> Iterator[None]:
    """A SIGTERM, as schedulers send it, ends a command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> NoReturn:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


@contextlib.contextmanager
def _first_host_speaks() -> Iterator[None]:
    """Joins the other hosts of the run, if there are any; results are printed by one of them."""
    if not any(name.startswith("TEACHERLM_") for name in os.environ):
        yield  # nothing to join, and no reason to import JAX before it is needed
        return
    import jax

    from teacherlm_jax.partitioning import hosts

    if not hosts.initialize_from_environment() or jax.process_index() == 0:
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _call(run: Callable[[], Any]) -> None:
    from teacherlm_jax.main import gin_setup

    qualified_name = getattr(run, "__qualname__", "<partial>")
    (run if "<" in qualified_name else gin_setup.bound(run))()


# ------------------------------------------------------------------------------------------------
# Errors and logs


def _is_user_error(error: Exception) -> bool:
    """Whether the message alone tells what to mend, so that a traceback would only hide it.

    What the system refuses always (files, disks, connections); a ValueError where our code, or a
    user's, raised it, and a plain RuntimeError where ours did. What a library raises from its
    depths is a bug, or looks like one, and keeps its traceback.
    """
    if isinstance(error, OSError):
        return True
    if not isinstance(error, ValueError) and type(error) is not RuntimeError:
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not frames:
        return True
    file = frames[-1].f_code.co_filename
    if type(error) is RuntimeError:
        return file.startswith(_PACKAGE)
    libraries = tuple(sysconfig.get_path(key) for key in ("stdlib", "purelib", "platlib"))
    return file.startswith(_PACKAGE) or not file.startswith((*libraries, "<"))


def _message(error: Exception) -> str:
    """The message without the lines that gin adds about its wrappers."""
    lines = str(error).splitlines() or [type(error).__name__]
    return "\n".join(line for line in lines if not line.startswith("  In call to configurable"))


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return EXIT_USER_ERROR


class _OnlyOurs(logging.Filter):
    """Lets through what our code logs, and the errors of all others."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or record.pathname.startswith(_PACKAGE)


def _log_to_terminal(debug: bool) -> None:
    """Quiet on a terminal, where there are progress bars; our lines of progress elsewhere."""
    from absl import flags
    from absl import logging as absl_logging

    flags.FLAGS.mark_as_parsed()  # else absl says at length that they are not; ours are argparse's
    absl_logging.use_absl_handler()
    handler = absl_logging.get_absl_handler()
    for old in [item for item in handler.filters if isinstance(item, _OnlyOurs)]:
        handler.removeFilter(old)
    if debug:
        absl_logging.set_verbosity(absl_logging.DEBUG)
        return
    handler.addFilter(_OnlyOurs())
    quiet = sys.stderr.isatty()
    absl_logging.set_verbosity(absl_logging.WARNING if quiet else absl_logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
