"""Memory and traffic of scoring as libtpu compiles it for TPUs; none are needed.

    python -m tests.benchmarks.scoring_tpu_compile --topology=v5e:2x4 --mesh=fsdp=4,tensor=2

Scores a whole BLOOM, parameters and computation in bfloat16: questions of five letters, of five
options of up to 16 tokens, and rows of 16 questions that share what comes first. The columns are
those of `tests.benchmarks.tpu_compile`, by which it compiles.
"""

import argparse
import functools
import time
from typing import Any

# First: it sets what libtpu reads as it is loaded.
from tests.benchmarks import tpu_compile  # isort: skip

import jax
import jax.numpy as jnp

from teacherlm_jax.generation.placement import Placement
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.partitioning import shardings
from teacherlm_jax.partitioning.mesh import make_mesh
from teacherlm_jax.scoring import likelihood
from tests import hlo

SIZES = {
    "letters": likelihood.RowSize(512, 1, 5),
    "full options": likelihood.RowSize(576, 76, 5),
    "shared rows": likelihood.RowSize(1536, 16, 80),
}


def compile_scoring(
    config: DecoderConfig,
    size: likelihood.RowSize,
    rows: int,
    mesh: jax.sharding.Mesh,
) -> Any:
    """Compiles what `rank.Scorer` runs for a batch of so many rows of that size."""
    placement, model = Placement(mesh), Decoder(config)
    params = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16, sharding=leaf.sharding),
        shardings.placed(boxed_params(model), mesh, rules=rules_lib.LOGICAL_AXIS_RULES),
    )
    split = shardings.batch_sharding(mesh, rules_lib.LOGICAL_AXIS_RULES)
    batch = jax.tree.map(
        lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=split),
        likelihood.make_rows([], rows, size),
    )
    score = functools.partial(likelihood.score, model=model, options=size.options)
    function = jax.jit(lambda p, b: score(p, rows=b), out_shardings=placement.replicated)
    with placement.activate():
        return function.lower(params, batch).compile()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--topology", default="v5e:2x4")
    parser.add_argument("--mesh", default="fsdp=4,tensor=2")
    parser.add_argument("--size", default="7b1", choices=tpu_compile.BLOOM)
    parser.add_argument("--rows", type=int, default=64, help="of a batch; shared ones a third")
    flags = parser.parse_args()
    config = tpu_compile.bloom(flags.size, remat_policy="none")
    print(f"BLOOM-{flags.size}, {flags.topology}, {flags.mesh}, {flags.rows} questions")
    print(f"{'':34}     s    GiB  " + "  ".join(f"{kind[:7]:>6} MiB" for kind in hlo.KINDS))
    sizes = {axis: int(size) for axis, size in (x.split("=") for x in flags.mesh.split(","))}
    mesh = make_mesh(tpu_compile.mesh_config(sizes), tpu_compile.tpu_devices(flags.topology))
    for name, size in SIZES.items():
        rows, begin = flags.rows, time.monotonic()
        if name == "shared rows":
            shards = Placement(mesh).shards
            rows = shards * (rows * SIZES["letters"].positions // size.positions // shards)
        compiled = compile_scoring(config, size, rows, mesh)
        label = f"{name}, {rows} rows of {size.positions}"
        print(tpu_compile.row(label, compiled, time.monotonic() - begin), flush=True)


if __name__ == "__main__":
    main()
