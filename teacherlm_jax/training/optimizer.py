"""Optimizers: optax's, with the parameter groups that this model needs.

Each is a frozen dataclass that gin binds; `build` makes the optax transformation for a model.
A learning rate is a number or an optax schedule: bind `@optimizer.warmup_cosine()`, or one of
optax's as in `@optax.cosine_decay_schedule()`.
"""

import dataclasses
import math
from typing import Any, Protocol

import jax
import optax
from flax.core import meta

Tree = Any


class Optimizer(Protocol):
    """What a stage binds as its optimizer."""

    def build(self, boxed_params: Tree) -> optax.GradientTransformation:
        """The transformation for parameters with these logical axes."""


def warmup_cosine(
    peak_value: float, train_steps: int, warmup_steps: int = 50, end_fraction: float = 0.05
) -> optax.Schedule:
    """Linear warm-up from 0, then a cosine down to a fraction of the peak.

    Args:
      peak_value: learning rate after the warm-up.
      train_steps: steps in all; the end is reached there.
      warmup_steps: steps of the warm-up.
      end_fraction: of the peak, at the end.

    Raises:
      ValueError: the warm-up leaves no steps to decay over.
    """
    if not 0 <= warmup_steps < train_steps:
        raise ValueError(
            f"warmup_steps = {warmup_steps} must be at least 0 and below train_steps = "
            f"{train_steps}."
        )
    return optax.warmup_cosine_decay_schedule(
        0.0, peak_value, warmup_steps, train_steps, peak_value * end_fraction
    )


def _axis_names(leaf: Any) -> tuple[str, ...]:
    return leaf.names if isinstance(leaf, meta.AxisMetadata) else ()


def muon_dimension_numbers(boxed_params: Tree) -> Tree:
    """Which parameters Muon updates, and how it sees them as matrices.

    `optax.contrib.muon` left to itself takes every 2-D array and nothing else: with scanned
    layers that gives kernels [layer, in, out] to Adam and embeddings to Muon. Here a kernel's
    layer axis is a batch axis, its dimensions before or after `embed` are flattened to one, and
    everything with a `vocab` axis, biases and norms go to Adam.

    Args:
      boxed_params: abstract parameters with logical axes (`models.parameters`).

    Returns:
      A tree like the parameters without boxes: MuonDimensionNumbers for Muon, None for Adam.

    Raises:
      ValueError: a kernel has no `embed` axis at either end.
    """

    def one(path: Any, leaf: Any) -> Any:
        names = _axis_names(leaf)
        if path[-1].key != "kernel" or "vocab" in names:
            return None
        axes = [axis for axis, name in enumerate(names) if name != "layers"]
        if axes and names[axes[0]] == "embed":
            return optax.contrib.MuonDimensionNumbers((axes[0],), tuple(axes[1:]))
        if axes and names[axes[-1]] == "embed":
            return optax.contrib.MuonDimensionNumbers(tuple(axes[:-1]), (axes[-1],))
        raise ValueError(
            f"{jax.tree_util.keystr(path)} has logical axes {names}; Muon needs to know which are "
            "inputs: let `embed` be the first or the last."
        )

    return jax.tree_util.tree_map_with_path(
        one, boxed_params, is_leaf=lambda leaf: isinstance(leaf, meta.AxisMetadata)
    )


def _clipped(
    transformation: optax.GradientTransformation, clip_norm: float | None
) -> optax.GradientTransformation:
    if clip_norm is None:
        return transformation
    return optax.chain(optax.clip_by_global_norm(clip_norm), transformation)


def _check_numbers(name: str, optimizer: Any) -> None:
    for field in dataclasses.fields(optimizer):
        value = getattr(optimizer, field.name)
        if value is None or callable(value) and field.name.endswith("learning_rate"):
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value < math.inf:
            raise ValueError(
                f"{name}.{field.name} = {value!r}, but it must be a number of at least 0"
                + (" or an optax schedule." if field.name.endswith("learning_rate") else ".")
            )


@dataclasses.dataclass(frozen=True)
class Muon:
    """Muon on matrices, Adam on embeddings, biases and norms (Liu et al. 2025, arXiv 2502.16982).

    Attributes:
      learning_rate: of the matrices.
      embedding_learning_rate: of everything else; `learning_rate` where None.
      weight_decay: decoupled, times the learning rate, on matrices.
      embedding_weight_decay: the same on everything else.
      momentum: Muon's Nesterov momentum.
      b1: Adam's first decay.
      b2: Adam's second decay.
      consistent_rms: update size relative to Adam's; 0.2 matches AdamW's.
      clip_norm: global gradient norm above which gradients are scaled down; None: never.
    """

    learning_rate: optax.ScalarOrSchedule
    embedding_learning_rate: optax.ScalarOrSchedule | None = None
    weight_decay: float = 0.0
    embedding_weight_decay: float = 0.0
    momentum: float = 0.95
    b1: float = 0.9
    b2: float = 0.98
    consistent_rms: float = 0.2
    clip_norm: float | None = 1.0

    def __post_init__(self) -> None:
        _check_numbers("Muon", self)

    def build(self, boxed_params: Tree) -> optax.GradientTransformation:
        """The transformation; see `Optimizer`."""
        muon = optax.contrib.muon(
            self.learning_rate,
            beta=self.momentum,
            weight_decay=self.weight_decay,
            adam_b1=self.b1,
            adam_b2=self.b2,
            adam_weight_decay=self.embedding_weight_decay,
            adam_learning_rate=self.embedding_learning_rate,
            muon_weight_dimension_numbers=muon_dimension_numbers(boxed_params),
            consistent_rms=self.consistent_rms,
        )
        return _clipped(muon, self.clip_norm)


@dataclasses.dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov & Hutter 2019), weight decay on kernels and embeddings alone.

    Attributes:
      learning_rate: number or schedule.
      weight_decay: decoupled, times the learning rate.
      b1: first decay.
      b2: second decay.
      eps: added to the root of the second moment.
      clip_norm: global gradient norm above which gradients are scaled down; None: never.
    """

    learning_rate: optax.ScalarOrSchedule
    weight_decay: float = 0.0
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    clip_norm: float | None = 1.0

    def __post_init__(self) -> None:
        _check_numbers("AdamW", self)

    def build(self, boxed_params: Tree) -> optax.GradientTransformation:
        """The transformation; see `Optimizer`."""
        decay_mask = jax.tree_util.tree_map_with_path(
            lambda path, _: path[-1].key in ("kernel", "embedding"), meta.unbox(boxed_params)
        )
        adamw = optax.adamw(
            self.learning_rate,
            b1=self.b1,
            b2=self.b2,
            eps=self.eps,
            weight_decay=self.weight_decay,
            mask=decay_mask,
        )
        return _clipped(adamw, self.clip_norm)


def learning_rate_at(optimizer: Optimizer, step: int) -> float:
    """The learning rate (of matrices) at a step."""
    rate = optimizer.learning_rate  # type: ignore[attr-defined]
    return float(rate(step)) if callable(rate) else float(rate)
