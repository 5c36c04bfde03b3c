"""What reaches the terminal: the wording of errors, and which logs."""

import logging
import os
import sys
import sysconfig
import traceback

import teacherlm_jax

EXIT_USER_ERROR = 2

_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(teacherlm_jax.__file__)), "")


def prepare_streams() -> None:
    """Lets any text be printed: what an encoding lacks is escaped, a closed stream swallows it."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # Whoever started us closed it.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                os.fstat(descriptor)
            except OSError:
                os.dup2(nowhere, descriptor)
            setattr(sys, name, os.fdopen(nowhere, "w"))
        elif hasattr(stream, "reconfigure") and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def is_user_error(error: Exception) -> bool:
    """Whether the message alone tells what to mend, so that a traceback would only hide it.

    What the system refuses always (files, disks, connections); a ValueError where our code, or a
    user's, raised it, and a plain RuntimeError where ours did. What a library raises from its
    depths is a bug, or looks like one, and keeps its traceback.
    """
    if isinstance(error, OSError) or _of_generator(error) is not None:
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


def message_of(error: Exception) -> str:
    """The message without the lines that gin adds about its wrappers, and TensorFlow about ours."""
    error = _of_generator(error) or error
    lines = str(error).splitlines() or [type(error).__name__]
    return "\n".join(line for line in lines if not line.startswith("  In call to configurable"))


def _of_generator(error: Exception) -> Exception | None:
    """What one of our generators raised, where this is TensorFlow's account of it."""
    # Whoever has run one has imported them; others are spared seqio and TensorFlow.
    generators = sys.modules.get("teacherlm_jax.data.generators")
    return None if generators is None else generators.cause(error)


def complain(message: str) -> int:
    """Prints an error, and returns the exit status that goes with it."""
    print(f"error: {message}", file=sys.stderr)
    return EXIT_USER_ERROR


class _OnlyOurs(logging.Filter):
    """Lets through what our code logs, and the errors of all others."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.pathname.startswith(_PACKAGE):
            return True
        record.exc_info = None  # What our own error then says in a line.
        return record.levelno >= logging.ERROR


def log_to_terminal(debug: bool) -> None:
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
    # What Orbax' reads of a damaged checkpoint leave behind; our own error says what they found.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    quiet = sys.stderr.isatty()
    absl_logging.set_verbosity(absl_logging.WARNING if quiet else absl_logging.INFO)


def leave(status: int) -> int:
    """Ends the program at once, after an interrupt, with all that was printed.

    XLA may be compiling in threads of its own, which crash where Python ends beneath them. Hosts of
    a run part in order instead, for the others' sake.

    Returns:
      The status, where there are other hosts.
    """
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        return status
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
