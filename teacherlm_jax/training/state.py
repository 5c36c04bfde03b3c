"""The training state and its abstract form."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

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
    boxed tree hands the boxes through.
    """
    params = boxed_params(model)
    return jax.eval_shape(lambda boxed: from_params(boxed, optimizer), params)
