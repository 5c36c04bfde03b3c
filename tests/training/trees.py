"""Trees of parameters for tests of optimizers, and the updates that an optimizer makes of them."""

from typing import Any

import jax
import numpy as np
import optax
from flax.core import meta

from teacherlm_jax.models import parameters
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from tests.training import tiny

Tree = Any

# As many kinds of parameters as the decoder has: biases, norms with bias, tied and untied.
BIASED = {"num_layers": 2, "use_bias": True, "norm": "layernorm", "embedding_norm": True}
UNROLLED = tiny.config(**BIASED)
SCANNED = tiny.config(**BIASED, scan_layers=True)
TIED = tiny.config(**BIASED, scan_layers=True, logits_via_embedding=True)
KERNELS = (
    "self_attention/query",
    "self_attention/key",
    "self_attention/value",
    "self_attention/out",
    "mlp/wi",
    "mlp/wo",
)


def by_path(tree: Tree, is_leaf: Any = None) -> dict[str, Any]:
    """Leaves by their path as text."""
    return {
        "/".join(key.key for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    }


def boxed(config: DecoderConfig) -> Tree:
    """Abstract parameters with logical axes."""
    return parameters.boxed_params(Decoder(config))


def normal_like(config: DecoderConfig, seed: int) -> Tree:
    """A tree of normal numbers, with the same numbers for scanned and unrolled layers."""
    rng = np.random.default_rng(seed)
    unrolled = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), meta.unbox(boxed(UNROLLED))
    )
    return stacked(unrolled) if config.scan_layers else unrolled


def stacked(unrolled: Tree) -> Tree:
    """Unrolled parameters as scanned ones."""
    rest = {name: tree for name, tree in unrolled.items() if not name.startswith("layers_")}
    layers = [unrolled["layers_0"], unrolled["layers_1"]]
    return {**rest, "layers": jax.tree.map(lambda *leaves: np.stack(leaves), *layers)}


def updates(
    transformation: optax.GradientTransformation, params: Tree, gradients: list[Tree]
) -> list[Tree]:
    """Updates of each gradient in turn, parameters held."""
    update_fn = jax.jit(transformation.update)
    state, found = transformation.init(params), []
    for gradient in gradients:
        update, state = update_fn(gradient, state, params)
        found.append(update)
    return found


def matrices(tree: Tree) -> dict[str, np.ndarray]:
    """Every kernel of an unrolled tree's layers as [in, out]."""
    flat = by_path(tree)
    return {
        f"{layer}/{name}/kernel": np.reshape(
            flat[f"{layer}/{name}/kernel"], (-1, 16) if name.endswith(("out", "wo")) else (16, -1)
        )
        for layer in ("layers_0", "layers_1")
        for name in KERNELS
    }
