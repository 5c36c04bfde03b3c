"""What JAX is asked about a run of several processes."""

import io
import textwrap

import pytest

from launch import local_launch
from teacherlm_jax.partitioning import cluster

SLURM = {
    "SLURM_JOB_ID": "4096",
    "SLURM_STEP_NODELIST": "node[07-09],other",
    "SLURM_NTASKS": "3",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_LOCAL_DEVICE_IDS", "JAX_COORDINATOR_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name in SLURM:
        monkeypatch.delenv(name, raising=False)


def test_slurm_says_who_we_are(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    # The first node; the port is of the upper 4096, by the job's number.
    assert cluster.detect(1) == cluster.Cluster("node07:61440", 3, 2, (0,))
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "other:1234")
    monkeypatch.setenv("JAX_LOCAL_DEVICE_IDS", "2,3")
    assert cluster.detect(1) == cluster.Cluster("other:1234", 3, 2, (2, 3))


def test_where_there_is_no_cluster_the_error_says_what_to_set():
    with pytest.raises(ValueError, match="Set TEACHERLM_COORDINATOR, TEACHERLM_NUM_PROCESSES and"):
        cluster.detect(1)


def test_process_0_listens_where_jax_would(monkeypatch):
    monkeypatch.delenv("JAX_COORDINATOR_BIND_ADDRESS", raising=False)
    assert cluster.Cluster("worker-0:1234", 2, 0).bind_address == "[::]:1234"
    monkeypatch.setenv("JAX_COORDINATOR_BIND_ADDRESS", "10.0.0.1:99")
    assert cluster.Cluster("worker-0:1234", 2, 0).bind_address == "10.0.0.1:99"


def test_a_process_alone_has_joined_nothing():
    assert cluster.joined() is None
    with pytest.raises(ValueError, match=r"call jax\.distributed\.initialize"):
        cluster.key_value_store()


_SLURM = """
    import os

    host = os.environ.pop("TEACHERLM_PROCESS_ID")
    address = os.environ.pop("TEACHERLM_COORDINATOR")
    os.environ |= {
        "TEACHERLM_DISTRIBUTED": "auto",
        "JAX_COORDINATOR_PORT": address.rpartition(":")[2],
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": os.environ.pop("TEACHERLM_NUM_PROCESSES"),
        "SLURM_PROCID": host,
        "SLURM_LOCALID": host,
    }

    from teacherlm_jax.partitioning import hosts

    assert hosts.initialize_from_environment()

    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    print(multihost_utils.process_allgather(np.asarray(jax.process_index())))
"""


def test_hosts_that_jax_finds_itself_join_alike():
    output = io.StringIO()
    result = local_launch.launch(
        ["python", "-c", textwrap.dedent(_SLURM)], output=output, timeout_seconds=120
    )
    assert result.exit_codes == [0, 0], output.getvalue()
    assert [text.splitlines()[-1] for text in result.outputs] == ["[0 1]", "[0 1]"]
