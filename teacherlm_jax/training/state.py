"""The training state and its abstract form."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.core import meta

Tree = Any


@flax.struct.dataclass
class TrainState:
    """Everything that a step changes and a checkpoint keeps.

    Attributes:
      step: int32 scalar, updates done so far in this stage.
      params: parameters without axis boxes.
      opt_state: the optimizer's state.
    """

    step: jax.Array
    params: Tree
    opt_state: Tree


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


def from_params(params: Tree, optimizer: optax.GradientTransformation) -> TrainState:
    """A state at step 0 that starts from `params`."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def boxed_state(model: nn.Module, optimizer: optax.GradientTransformation) -> TrainState:
    """Abstract state whose leaves carry the parameters' logical axes where they mirror one.

    optax's states hold trees of the parameters' structure; initialising the optimizer on the
    boxed tree hands the boxes through.
    """
    params = boxed_params(model)
    return jax.eval_shape(lambda boxed: from_params(boxed, optimizer), params)


def parameter_count(params: Tree) -> int:
    """Number of scalars in a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
