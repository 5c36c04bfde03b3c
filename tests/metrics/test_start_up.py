"""Libraries are quiet while they load."""

import os
import subprocess
import sys

from teacherlm_jax.metrics import start_up
from tests.source import ROOT


def test_start_up_chatter_is_off_unless_the_user_wants_it(monkeypatch):
    monkeypatch.setenv("GRPC_VERBOSITY", "DEBUG")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    start_up.prepare_environment()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    assert os.environ["GRPC_VERBOSITY"] == "DEBUG"


CHATTER = """
import os, sys
from teacherlm_jax.metrics.start_up import without_chatter
with without_chatter():
    os.write(2, b"I0000 00:00:1 7 stub.cc:31] Could not find a driver.\\n")
    os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\\n")
    os.write(2, b"E0000 00:00:1 7 stub.cc:31] broken\\n")
    print("a warning", file=sys.stderr)
    raise ZeroDivisionError
"""


def test_chatter_of_loading_libraries_is_dropped_and_all_else_stays():
    done = subprocess.run(
        [sys.executable, "-c", CHATTER], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr.startswith("E0000 00:00:1 7 stub.cc:31] broken\na warning\nTraceback")
    assert "I0000" not in done.stderr and "WARNING" not in done.stderr
