"""A decoder, data and a placement small enough to train in a moment."""

import functools
from typing import Any

import jax
import numpy as np
import optax
from flax.core import meta

from teacherlm_jax.data import batches as batches_lib
from teacherlm_jax.models import parameters
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training.placement import Placement

VOCAB_SIZE = 40
ROW_FORMAT = batches_lib.RowFormat(12)


def config(**changes: Any) -> DecoderConfig:
    """Every dimension that a mesh cuts divides by 8, but for two heads."""
    fields = {
        "vocab_size": VOCAB_SIZE,
        "num_layers": 1,
        "emb_dim": 16,
        "num_heads": 2,
        "head_dim": 8,
        "mlp_dim": 32,
        "norm": "rmsnorm",
        "embedding_norm": False,
        "use_bias": False,
        "logits_via_embedding": False,
        "scan_layers": False,
    }
    return DecoderConfig(**{**fields, **changes})


def params(model_config: DecoderConfig, seed: int = 0) -> Any:
    """Parameters made by numpy, which unlike those of a model need no compilation.

    They are larger than at a usual start, so that logits are far apart.
    """
    rng = np.random.default_rng(seed)

    def one(path: Any, leaf: Any) -> np.ndarray:
        values = {"kernel": 0.25, "embedding": 0.5}.get(path[-1].key, 0.1) * rng.normal(
            size=leaf.shape
        )
        return (values + (path[-1].key == "scale")).astype(np.float32)

    boxed = parameters.boxed_params(Decoder(model_config))
    return jax.tree_util.tree_map_with_path(one, meta.unbox(boxed))


@functools.cache
def table() -> batches_lib.ExampleTable:
    """Random examples of 2 to 12 tokens; id 0 is a token like any other.

    There are many, since grain shuffles small tables slowly.
    """
    rng = np.random.default_rng(0)

    def tokens(least: int) -> np.ndarray:
        return rng.integers(0, VOCAB_SIZE, rng.integers(least, 7), dtype=np.int32)

    examples = [
        batches_lib.TokenizedExample(f"table:{index}", tokens(1), tokens(1))
        for index in range(1000)
    ]
    return batches_lib.ExampleTable("table", examples)


def batches(batch_size: int = 8, seed: int = 0) -> batches_lib.MixtureBatches:
    """Step -> (ids, arrays) from one table."""
    return batches_lib.MixtureBatches([table()], [1.0], ROW_FORMAT, batch_size, seed)


def optax_placement(
    optimizer: optax.GradientTransformation, devices: int = 1, **changes: Any
) -> Placement:
    """A placement of the tiny decoder on the first devices, as data shards."""
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(device_count=devices))
    return Placement(Decoder(config(**changes)), optimizer, mesh)


def placement(optimizer: optimizer_lib.Optimizer, **changes: Any) -> Placement:
    """A placement of the tiny decoder on one device."""
    model = Decoder(config(**changes))
    return optax_placement(optimizer.build(parameters.boxed_params(model)), **changes)
