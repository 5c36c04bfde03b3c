"""Parameters of a decoder: abstract, at random, counted."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import meta

Tree = Any


def boxed_params(model: nn.Module) -> Tree:
    """Abstract parameters, boxed with their logical axes; nothing is allocated."""
    tokens_BT = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    variables = jax.eval_shape(
        lambda tokens: model.init(jax.random.key(0), tokens, tokens, enable_dropout=False),
        tokens_BT,
    )
    return variables["params"]


def init_params(model: nn.Module, rng: jax.Array) -> Tree:
    """Parameters at random, without boxes; the same on every mesh."""
    tokens_BT = jnp.ones((1, 1), jnp.int32)
    return meta.unbox(model.init(rng, tokens_BT, tokens_BT, enable_dropout=False)["params"])


def parameter_count(params: Tree) -> int:
    """Number of scalars in a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def path_name(path: tuple[Any, ...]) -> str:
    """A path of `jax.tree_util` as text: "layers/mlp/wi/kernel"."""
    return "/".join(str(key.key) for key in path)


def paths(params: Tree) -> dict[str, Any]:
    """Leaves of a tree without boxes, by their path as text."""
    found = jax.tree_util.tree_leaves_with_path(params)
    return {path_name(path): leaf for path, leaf in found}
