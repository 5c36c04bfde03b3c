"""Adafactor's second moments for kernels of any number of dimensions, and for scanned layers.

optax factors the two largest dimensions of an array. For a kernel [layers, embed, heads, kv] these
are whatever the model's sizes make them: none where heads and kv are both below the least size
(BLOOM 1.1B has 16 heads of 96), otherwise a row of moments for every head, or for every layer where
those are many. Here parameters are seen as T5X's `standard_logical_factor_rules` see them: `embed`
are the rows, what lies beside it, flattened, the columns, and each layer of a stack is a matrix of
its own.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.core import meta

Tree = Any


@dataclasses.dataclass(frozen=True)
class View:
    """How the moments see a parameter.

    Attributes:
      shape: [rows, columns], or that of the parameter where it is not factored; a layer axis
        stays in front.
      is_stacked: whether there is a layer axis.
      is_factored: whether moments are kept for rows and columns alone.
    """

    shape: tuple[int, ...]
    is_stacked: bool
    is_factored: bool

    @property
    def group(self) -> str:
        """Parameters of one group are updated in the same way."""
        kind = "matrices" if self.is_factored else "others"
        return f"stacked_{kind}" if self.is_stacked else kind


def _is_boxed(leaf: Any) -> bool:
    return isinstance(leaf, meta.AxisMetadata)


def matrix_views(boxed_params: Tree, min_dim_size: float) -> Tree:
    """The view of every parameter.

    Args:
      boxed_params: abstract parameters with logical axes (`models.parameters`).
      min_dim_size: rows and columns below which a matrix is not factored.

    Returns:
      A tree of View like the parameters without boxes.
    """

    def one(leaf: Any) -> View:
        shape = tuple(meta.unbox(leaf).shape)
        names = leaf.names if _is_boxed(leaf) else (None,) * len(shape)
        is_stacked = names[:1] == ("layers",)
        layers, rest, names = shape[:is_stacked], shape[is_stacked:], names[is_stacked:]
        if len(rest) > 1 and "embed" in (names[0], names[-1]):
            cut = 1 if names[0] == "embed" else -1
            matrix = (math.prod(rest[:cut]), math.prod(rest[cut:]))
            if min(matrix) >= min_dim_size:
                return View((*layers, *matrix), is_stacked, True)
        return View(shape, is_stacked, False)

    return jax.tree.map(one, boxed_params, is_leaf=_is_boxed)


def scale_by_factored_moments(
    views: Tree,
    decay_rate: float,
    epsilon: float,
    clipping_threshold: float | None,
    multiply_by_parameter_scale: bool,
) -> optax.GradientTransformation:
    """The part of Adafactor that looks at one matrix at a time, in float32.

    Args:
      views: of `matrix_views`.
      decay_rate: c in the second moments' decay 1 - t^-c (arXiv 1804.04235, section 7.2).
      epsilon: added to squared gradients.
      clipping_threshold: root mean square above which a matrix's update is scaled down (section
        6); None: never.
      multiply_by_parameter_scale: updates times the root mean square of the matrix (section 8).

    Returns:
      optax's pieces, each layer of a stack apart.
    """

    def pieces(is_factored: bool) -> optax.GradientTransformation:
        # Views have decided what is factored: a matrix that comes here as such always is.
        parts = [
            optax.scale_by_factored_rms(
                is_factored, decay_rate, min_dim_size_to_factor=0, epsilon=epsilon
            )
        ]
        if clipping_threshold is not None:
            parts.append(optax.clip_by_block_rms(clipping_threshold))
        if multiply_by_parameter_scale:
            parts.append(optax.scale_by_param_block_rms())
        return optax.chain(*parts)

    groups: dict[str, optax.GradientTransformation] = {}
    for view in jax.tree.leaves(views):
        own = pieces(view.is_factored)
        groups[view.group] = _each_layer(own) if view.is_stacked else own
    labels = jax.tree.map(lambda view: view.group, views)
    return _seen_as(views, optax.partition(groups, labels))


def _each_layer(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    return optax.GradientTransformation(jax.vmap(inner.init), jax.vmap(inner.update))


def _seen_as(views: Tree, inner: optax.GradientTransformation) -> optax.GradientTransformation:
    def seen(tree: Tree) -> Tree:
        def one(view: View, leaf: Any) -> Any:
            # A leaf may be a box: boxed parameters tell the axes of the state that mirrors them.
            return jax.tree.map(
                lambda array: jnp.reshape(array, view.shape).astype(jnp.float32), leaf
            )

        return jax.tree.map(one, views, tree)

    def init(params: Tree) -> Tree:
        return inner.init(seen(params))

    def update(updates: Tree, state: Tree, params: Tree | None = None) -> tuple[Tree, Tree]:
        found, state = inner.update(seen(updates), state, None if params is None else seen(params))
        shaped = jax.tree.map(lambda new, old: jnp.reshape(new, old.shape), found, updates)
        return shaped, state

    return optax.GradientTransformation(init, update)
