"""What libraries print while they are loaded, and what they read then."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

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
    terminal_stream = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal_stream, 2)
            os.close(terminal_stream)
            written.seek(0)
            rest = [line for line in written if not _CHATTER.match(line)]
            sys.stderr.write(b"".join(rest).decode(errors="replace"))
