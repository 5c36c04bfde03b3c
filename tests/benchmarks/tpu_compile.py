"""Memory and traffic of the train step as libtpu compiles it for TPUs; none are needed.

    python -m tests.benchmarks.tpu_compile --mesh=fsdp=16 --mesh=fsdp=4,tensor=4,sequence=1

One row a mesh: seconds of the compiler, the peak of memory on a device, the bytes of each kind of
collective on a device in a step (of a reduce-scatter what goes in, of others what comes out), and
the largest array. The compiler finds out whether a program fits: where it does not, the row is its
message. `pip install -e '.[tpu]'` first. A compilation takes a minute or so on two idle cores.
"""

import argparse
import collections
import dataclasses
import os
import time
from typing import Any

# Another process may hold the lock of libtpu, and no machine of Google's says where it runs.
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.training.optimizer import AdamW
from teacherlm_jax.training.placement import Placement
from tests import hlo

# layers, width, heads.
BLOOM = {"560m": (24, 1024, 16), "1b1": (24, 1536, 16), "3b": (30, 2560, 32), "7b1": (30, 4096, 32)}
VOCAB = 250_880
MESHES = (
    "fsdp=16",
    "fsdp=4,tensor=4",
    "fsdp=4,tensor=4,sequence=1",
    "data=2,fsdp=4,tensor=2",
)
FEATURES = {
    "decoder_input_tokens": jnp.int32,
    "decoder_target_tokens": jnp.int32,
    "decoder_loss_weights": jnp.float32,
    "decoder_segment_ids": jnp.int32,
    "decoder_positions": jnp.int32,
}


def bloom(size: str, layers: int | None = None, **changes: Any) -> DecoderConfig:
    """A BLOOM in bfloat16 on float32 parameters, with as many layers as asked for."""
    depth, width, heads = BLOOM[size]
    fields = {"dtype": "bfloat16", "remat_policy": "full", **changes}
    return DecoderConfig(
        vocab_size=VOCAB,
        num_layers=layers or depth,
        emb_dim=width,
        num_heads=heads,
        head_dim=width // heads,
        mlp_dim=4 * width,
        **fields,
    )


@dataclasses.dataclass(frozen=True)
class Job:
    """A step to be compiled.

    Attributes:
      config: the decoder.
      mesh: sizes of the mesh axes.
      rows: of a batch.
      length: positions of a row.
      sequence_sharding: see `rules.logical_axis_rules`.
    """

    config: DecoderConfig
    mesh: MeshConfig
    rows: int
    length: int = 2048
    sequence_sharding: bool = False

    def compile(self, devices: list[jax.Device]) -> Any:
        """Compiles the train step, as training runs it, for these devices."""
        model = Decoder(self.config)
        optimizer = AdamW(1e-4, weight_decay=0.1).build(boxed_params(model))
        mesh = make_mesh(self.mesh, devices)
        rules = rules_lib.logical_axis_rules(self.sequence_sharding)
        place = Placement(model, optimizer, mesh, rules=rules)
        sharding = NamedSharding(mesh, PartitionSpec(dict(rules)["activation_batch"]))
        batch = {
            name: jax.ShapeDtypeStruct((self.rows, self.length), dtype, sharding=sharding)
            for name, dtype in FEATURES.items()
        }
        whole = NamedSharding(mesh, PartitionSpec())
        rng = jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=whole)
        return place.step_fn.lower(place.abstract_state, batch, rng).compile()


def tpu_devices(topology: str, slices: int = 1) -> list[jax.Device]:
    """Devices of a TPU that is not there, as "v5e:4x4"."""
    options: dict[str, Any] = {"num_slices": slices} if slices > 1 else {}
    if topology.startswith("v4"):
        # Else both cores of a chip would be devices.
        options["chip_config_name"] = "megacore"
    return topologies.get_topology_desc(topology, "tpu", **options).devices


def mesh_config(sizes: dict[str, int]) -> MeshConfig:
    """A mesh of these axes; those that are not named have one device."""
    return MeshConfig(**{"data": 1, **sizes})


def _job(text: str, config: DecoderConfig, rows: int, length: int, devices: int) -> Job:
    sizes = dict(part.split("=") for part in text.split(","))
    sequence_sharding = bool(int(sizes.pop("sequence", 0)))
    mesh = mesh_config({axis: int(size) for axis, size in sizes.items()})
    found = mesh.sizes(devices)
    shards = devices // found["tensor"]
    return Job(config, mesh, rows * shards, length, sequence_sharding)


def row(label: str, compiled: Any, seconds: float) -> str:
    """A line of the table: what a program takes."""
    text, memory = compiled.as_text(), compiled.memory_analysis()
    sums: collections.Counter[str] = collections.Counter()
    for one in hlo.collectives_of(text):
        sums[one.kind] += one.bytes
    largest = max(hlo.arrays_of(text), key=lambda array: array.bytes)
    traffic = "  ".join(f"{sums[kind] / 2**20:10,.0f}" for kind in hlo.KINDS)
    peak = memory.peak_memory_in_bytes / 2**30
    return f"{label:34} {seconds:5.0f} {peak:6.2f}  {traffic}  {largest}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topology", default="v5e:4x4")
    parser.add_argument("--mesh", action="append", help=f"default: {' '.join(MESHES)}")
    parser.add_argument("--size", default="7b1", choices=BLOOM)
    parser.add_argument("--layers", type=int, default=4, help="they are scanned: few do")
    parser.add_argument("--rows", type=int, default=4, help="of a shard of the batch")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--remat", default="full")
    parser.add_argument("--text", help="folder that gets each program's text")
    flags = parser.parse_args()
    config = bloom(flags.size, flags.layers, remat_policy=flags.remat)
    print(f"BLOOM-{flags.size}, {flags.layers} layers, {flags.rows} rows of {flags.length} a shard")
    print(f"{'':34}     s    GiB  " + "  ".join(f"{kind[:7]:>6} MiB" for kind in hlo.KINDS))
    for text in flags.mesh or MESHES:
        slices = int(dict(part.split("=") for part in text.split(",")).get("slices", 1))
        devices = tpu_devices(flags.topology, slices)
        job, begin = _job(text, config, flags.rows, flags.length, len(devices)), time.monotonic()
        label = f"{flags.topology} {text}"
        try:
            compiled = job.compile(devices)
        except jax.errors.JaxRuntimeError as error:
            print(f"{label:34} {str(error).splitlines()[0][:200]}", flush=True)
            continue
        print(row(label, compiled, time.monotonic() - begin), flush=True)
        if flags.text:
            with open(os.path.join(flags.text, f"{label}.hlo"), "w", encoding="utf-8") as file:
                file.write(compiled.as_text())


if __name__ == "__main__":
    main()
