"""What the compiled train step holds and sends: never whole logits, and each large array once."""

import os
import subprocess
import sys

import jax
import pytest

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.partitioning.mesh import MeshConfig
from teacherlm_jax.training import loss
from tests import hlo
from tests.benchmarks import tpu_compile
from tests.source import ROOT

WIDTH, ROWS, LENGTH = 64, 16, 256
CONFIG = DecoderConfig(
    vocab_size=tpu_compile.VOCAB,
    num_layers=2,
    emb_dim=WIDTH,
    num_heads=4,
    head_dim=16,
    mlp_dim=256,
    dtype="bfloat16",
    remat_policy="full",
)
MESHES = {
    "fsdp 4, tensor 2": MeshConfig(data=1, fsdp=4, tensor=2),
    "2, 2, 2": MeshConfig(data=2, fsdp=2, tensor=2),
}


def text_on_cpus(mesh, sequence_sharding=False):
    job = tpu_compile.Job(CONFIG, MESHES[mesh], ROWS, LENGTH, sequence_sharding)
    return job.compile(jax.devices()).as_text()


def whole_logits(text, positions):
    return hlo.whole_logits(text, CONFIG.vocab_size, 2, positions, WIDTH)


@pytest.mark.parametrize(
    ("mesh", "sequence_sharding"),
    [("fsdp 4, tensor 2", False), ("fsdp 4, tensor 2", True), ("2, 2, 2", False)],
)
def test_no_device_holds_whole_logits_and_tables_travel_once(mesh, sequence_sharding):
    text = text_on_cpus(mesh, sequence_sharding)
    # Rows of the batch are cut in four on both.
    assert not whole_logits(text, positions=ROWS // 4 * LENGTH)
    # Half of them are there: chunks are as long as they may be.
    assert whole_logits(text, positions=ROWS // 4 * LENGTH // 2)
    of_table = [one for one in hlo.collectives_of(text) if CONFIG.vocab_size // 2 in one.array.dims]
    assert {one.times for one in of_table} == {1}
    # Gathered for the logits; their gradient and that of the embedding reduced.
    assert len(of_table) <= 3, of_table
    # No device makes the embedding of a batch that is not its own.
    whole_batch = {(ROWS, LENGTH, WIDTH), (ROWS * LENGTH, WIDTH)}
    assert not [array for array in hlo.arrays_of(text) if array.dims in whole_batch]


def test_whole_logits_would_be_seen(monkeypatch):
    monkeypatch.setattr(loss, "CHUNK_LOGITS_OF_SEVERAL", 2**40)
    assert whole_logits(text_on_cpus("fsdp 4, tensor 2"), positions=ROWS // 4 * LENGTH)


# On 4 x 4 chips; over all 16 of them libtpu makes a reduce-scatter an all-reduce of its own accord.
ON_TPUS = [("data=2,fsdp=8", 1), ("fsdp=4,tensor=4,sequence=1", 4)]


@pytest.mark.slow
@pytest.mark.parametrize(("mesh", "tensor"), ON_TPUS)
def test_on_tpus_weights_are_gathered_in_bfloat16_and_gradients_scattered(mesh, tensor, tmp_path):
    pytest.importorskip("libtpu", reason="pip install -e '.[tpu]'")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    command = [sys.executable, "-m", "tests.benchmarks.tpu_compile", "--layers=2", "--rows=4"]
    subprocess.run(
        [*command, f"--mesh={mesh}", f"--text={tmp_path}"],
        env=environment,
        cwd=ROOT,
        check=True,
        timeout=1800,
    )
    text = next(tmp_path.iterdir()).read_text()
    _, width, heads = tpu_compile.BLOOM["7b1"]
    vocab = tpu_compile.VOCAB // tensor
    assert not hlo.whole_logits(text, tpu_compile.VOCAB, tensor, 4 * 2048, width)
    found = hlo.collectives_of(text)
    large = [one for one in found if one.array.size >= width * width // tensor // 16]
    gathers = [one for one in large if one.kind == "all-gather"]
    assert gathers and {one.array.dtype for one in gathers} == {"bf16"}
    # The table and its gradient travel once a step, and not with every chunk of the loss.
    of_table = [one for one in large if vocab in one.array.dims]
    assert {one.times for one in of_table} == {1}
    # No gradient of a weight is whole on every device and summed there.
    weights = {
        (width, heads // tensor, width // heads),
        (heads // tensor, width // heads, width),
        (width, 4 * width // tensor),
        (4 * width // tensor, width),
        (vocab, width),
        (width, vocab),
    }
    reduced = [
        one
        for one in large
        if one.kind == "all-reduce" and tuple(d for d in one.array.dims if d > 1) in weights
    ]
    assert not reduced
