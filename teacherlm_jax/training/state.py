"""The training state and its abstract form."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.core import meta

from teacherlm_jax.models.parameters import boxed_params

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


def from_params(params: Tree, optimizer: optax.GradientTransformation) -> TrainState:
    """A state at step 0 that starts from `params`."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def boxed_state(model: nn.Module, optimizer: optax.GradientTransformation) -> TrainState:
    """Abstract state whose leaves carry the parameters' logical axes where they mirror one.

    optax's states hold trees of the parameters' structure; initialising the optimizer on the
    boxed tree hands the boxes through. What has another shape than its parameter (Adafactor's
    moments of rows and columns) comes out bare, and is replicated: it is small.
    """

    def is_boxed(leaf: Any) -> bool:
        return isinstance(leaf, meta.Partitioned)

    def with_sizes(leaf: Any) -> Any:
        return leaf.replace(names=tuple(zip(leaf.names, leaf.unbox().shape, strict=True)))

    def checked(leaf: Any) -> Any:
        if not is_boxed(leaf):
            return leaf
        names, sizes = zip(*leaf.names, strict=True)
        value = leaf.unbox()
        # optax masks a parameter out with an empty node in the box.
        mirrors = not jax.tree.leaves(value) or value.shape == sizes
        return leaf.replace(names=names) if mirrors else value

    params = jax.tree.map(with_sizes, boxed_params(model), is_leaf=is_boxed)
    state = jax.eval_shape(lambda boxed: from_params(boxed, optimizer), params)
    return jax.tree.map(checked, state, is_leaf=is_boxed)
