"""Optimizers: optax's, with the parameter groups that this model needs.

Each is a frozen dataclass that gin binds; `build` makes the optax transformation for a model.
A learning rate is a number or an optax schedule: bind `@schedules.warmup_linear()`, or one of
optax's as in `@optax.cosine_decay_schedule()`. Weight decay is decoupled everywhere (Loshchilov &
Hutter 2019, arXiv 1711.05101): learning rate times `weight_decay` times parameter.
"""

import dataclasses
import math
import typing
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import optax
from flax.core import meta

from teacherlm_jax.models.config import DTYPES
from teacherlm_jax.training import decay, factored

# Under this name too, which configurations bind.
from teacherlm_jax.training.schedules import warmup_cosine as warmup_cosine

Tree = Any


class Optimizer(Protocol):
    """What a stage binds as its optimizer."""

    def build(self, boxed_params: Tree) -> optax.GradientTransformation:
        """The transformation for parameters with these logical axes."""


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


def _decayed(
    learning_rate: optax.ScalarOrSchedule, weight_decay: float, mask: Tree
) -> optax.GradientTransformation:
    """Decay for the end of a chain, where updates have their learning rate and their sign."""
    if not callable(learning_rate):
        return optax.add_decayed_weights(-learning_rate * weight_decay, mask)
    return optax.add_decayed_weights(lambda step: -weight_decay * learning_rate(step), mask)


def _decay_mask(optimizer: Any, boxed_params: Tree) -> Tree:
    owner = f"{type(optimizer).__name__}.weight_decay_paths"
    return decay.weight_decay_mask(owner, boxed_params, optimizer.weight_decay_paths)


def _check_settings(optimizer: Any) -> None:
    for field in dataclasses.fields(optimizer):
        value, name = getattr(optimizer, field.name), f"{type(optimizer).__name__}.{field.name}"
        is_rate = field.name.endswith("learning_rate")
        if field.name == "weight_decay_paths":
            decay.check_patterns(name, value)
        elif field.name.endswith("_dtype"):
            if not isinstance(value, str) or value not in DTYPES:
                raise ValueError(f"{name} = {value!r}, but it must be one of {sorted(DTYPES)}.")
        elif field.type is bool:
            if not isinstance(value, bool):
                raise ValueError(f"{name} = {value!r}, but it must be True or False.")
        elif value is None and type(None) in typing.get_args(field.type):
            continue
        elif not (is_rate and callable(value)):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value < math.inf:
                raise ValueError(
                    f"{name} = {value!r}, but it must be a number of at least 0"
                    + (" or an optax schedule." if is_rate else ".")
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
      weight_decay_paths: what decays; see `decay.weight_decay_mask`. None is everything here,
        biases and norms too.
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
    weight_decay_paths: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check_settings(self)

    def build(self, boxed_params: Tree) -> optax.GradientTransformation:
        """The transformation; see `Optimizer`."""
        numbers = muon_dimension_numbers(boxed_params)
        has_paths = self.weight_decay_paths is not None
        muon = optax.contrib.muon(
            self.learning_rate,
            beta=self.momentum,
            weight_decay=0.0 if has_paths else self.weight_decay,
            adam_b1=self.b1,
            adam_b2=self.b2,
            adam_weight_decay=0.0 if has_paths else self.embedding_weight_decay,
            adam_learning_rate=self.embedding_learning_rate,
            muon_weight_dimension_numbers=numbers,
            consistent_rms=self.consistent_rms,
        )
        if not has_paths:
            return _clipped(muon, self.clip_norm)
        # optax's Adam beside Muon takes no mask.
        mask = _decay_mask(self, boxed_params)
        is_matrix = jax.tree.map(
            lambda number: number is not None,
            numbers,
            is_leaf=lambda leaf: leaf is None or isinstance(leaf, tuple),
        )
        matrices = jax.tree.map(lambda one, decays: one and decays, is_matrix, mask)
        others = jax.tree.map(lambda one, decays: not one and decays, is_matrix, mask)
        other_rate = self.embedding_learning_rate
        if other_rate is None:
            other_rate = self.learning_rate
        chain = optax.chain(
            muon,
            _decayed(self.learning_rate, self.weight_decay, matrices),
            _decayed(other_rate, self.embedding_weight_decay, others),
        )
        return _clipped(chain, self.clip_norm)


@dataclasses.dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101).

    Attributes:
      learning_rate: number or schedule.
      weight_decay: decoupled, times the learning rate.
      b1: first decay.
      b2: second decay.
      eps: added to the root of the second moment.
      clip_norm: global gradient norm above which gradients are scaled down; None: never.
      weight_decay_paths: what decays; see `decay.weight_decay_mask`. None: kernels and embeddings.
      mu_dtype: type in which the first moment is kept, "float32" or "bfloat16".
    """

    learning_rate: optax.ScalarOrSchedule
    weight_decay: float = 0.0
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    clip_norm: float | None = 1.0
    weight_decay_paths: Sequence[str] | None = None
    mu_dtype: str = "float32"

    def __post_init__(self) -> None:
        _check_settings(self)

    def build(self, boxed_params: Tree) -> optax.GradientTransformation:
        """The transformation; see `Optimizer`."""
        adamw = optax.adamw(
            self.learning_rate,
            b1=self.b1,
            b2=self.b2,
            eps=self.eps,
            mu_dtype=DTYPES[self.mu_dtype],
            weight_decay=self.weight_decay,
            mask=_decay_mask(self, boxed_params),
        )
        return _clipped(adamw, self.clip_norm)


@dataclasses.dataclass(frozen=True)
class Lion:
    """Lion (Chen et al. 2023, arXiv 2302.06675): the sign of a momentum.

    The authors take a learning rate 3 to 10 times lower than AdamW's, and a weight decay as many
    times higher (section 5).

    Attributes:
      learning_rate: number or schedule; the size of every parameter's update.
      weight_decay: decoupled, times the learning rate.
      b1: weight of the momentum in the update, against the gradient's.
      b2: decay of the momentum.
      clip_norm: global gradient norm above which gradients are scaled down; None: never.
      weight_decay_paths: what decays; see `decay.weight_decay_mask`. None: kernels and embeddings.
      mu_dtype: type in which the momentum is kept, "float32" or "bfloat16".
    """

    learning_rate: optax.ScalarOrSchedule
    weight_decay: float = 0.0
    b1: float = 0.9
    b2: float = 0.99
    clip_norm: float | None = 1.0
    weight_decay_paths: Sequence[str] | None = None
    mu_dtype: str = "float32"

    def __post_init__(self) -> None:
        _check_settings(self)

    def build(self, boxed_params: Tree) -> optax.GradientTransformation:
        """The transformation; see `Optimizer`."""
        lion = optax.lion(
            self.learning_rate,
            b1=self.b1,
            b2=self.b2,
            mu_dtype=DTYPES[self.mu_dtype],
            weight_decay=self.weight_decay,
            mask=_decay_mask(self, boxed_params),
        )
        return _clipped(lion, self.clip_norm)


@dataclasses.dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum.

    Attributes:
      learning_rate: number or schedule.
      momentum: decay of the sum of gradients; None: no momentum, and no state.
      nesterov: whether to look one step ahead.
      weight_decay: decoupled, times the learning rate.
      clip_norm: global gradient norm above which gradients are scaled down; None: never.
      weight_decay_paths: what decays; see `decay.weight_decay_mask`. None: kernels and embeddings.
    """

    learning_rate: optax.ScalarOrSchedule
    momentum: float | None = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    weight_decay_paths: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check_settings(self)

    def build(self, boxed_params: Tree) -> optax.GradientTransformation:
        """The transformation; see `Optimizer`."""
        mask = _decay_mask(self, boxed_params)
        sgd = optax.chain(
            optax.sgd(self.learning_rate, self.momentum, self.nesterov),
            _decayed(self.learning_rate, self.weight_decay, mask),
        )
        return _clipped(sgd, self.clip_norm)


@dataclasses.dataclass(frozen=True)
class Adafactor:
    """Adafactor (Shazeer & Stern 2018, arXiv 1804.04235), with T5X's defaults and its names.

    As T5X with `standard_logical_factor_rules`: rows are `embed`, columns the rest, and layers of
    a scanned stack are apart (`training.factored`). Two things differ. Weight decay is times the
    learning rate, which T5X calls weight_decay_rate_lr_exponent = 1; its weight_decay_rate alone is
    times nothing. And matrices below `min_dim_size_to_factor` are never factored, while T5X
    factors whatever has a layer axis or more than two dimensions.

    Attributes:
      learning_rate: number or schedule; relative to the size of parameters where
        `multiply_by_parameter_scale`, so about 1e-3 to 1e-2.
      decay_rate: c in the second moments' decay 1 - t^-c at update t.
      multiply_by_parameter_scale: updates times the root mean square of the parameter, which
        counts as 1e-3 at least.
      clipping_threshold: root mean square above which an update is scaled down, a parameter at a
        time; None: never.
      momentum: of updates, as T5X's beta1; None: none, and no state for it.
      momentum_dtype: type in which it is kept, "float32" or "bfloat16".
      factored: whether matrices have moments for rows and columns alone.
      min_dim_size_to_factor: rows and columns below which they have one for each entry.
      eps: added to squared gradients, as T5X's epsilon1.
      weight_decay: decoupled, times the learning rate.
      clip_norm: global gradient norm above which gradients are scaled down; None: never, as in
        T5X, since updates are clipped.
      weight_decay_paths: what decays; see `decay.weight_decay_mask`. None: kernels and embeddings.
    """

    learning_rate: optax.ScalarOrSchedule
    decay_rate: float = 0.8
    multiply_by_parameter_scale: bool = True
    clipping_threshold: float | None = 1.0
    momentum: float | None = None
    momentum_dtype: str = "float32"
    factored: bool = True
    min_dim_size_to_factor: int = 128
    eps: float = 1e-30
    weight_decay: float = 0.0
    clip_norm: float | None = None
    weight_decay_paths: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check_settings(self)

    def build(self, boxed_params: Tree) -> optax.GradientTransformation:
        """The transformation; see `Optimizer`."""
        least = self.min_dim_size_to_factor if self.factored else math.inf
        parts = [
            factored.scale_by_factored_moments(
                factored.matrix_views(boxed_params, least),
                self.decay_rate,
                self.eps,
                self.clipping_threshold,
                self.multiply_by_parameter_scale,
            ),
            optax.scale_by_learning_rate(self.learning_rate),
        ]
        if self.momentum is not None:
            dtype = DTYPES[self.momentum_dtype]
            parts.append(optax.ema(self.momentum, debias=False, accumulator_dtype=dtype))
        mask = _decay_mask(self, boxed_params)
        parts.append(_decayed(self.learning_rate, self.weight_decay, mask))
        return _clipped(optax.chain(*parts), self.clip_norm)


def learning_rate_at(optimizer: Optimizer, step: int) -> float:
    """The learning rate at a step, that of matrices where others have one of their own."""
    rate = optimizer.learning_rate  # type: ignore[attr-defined]
    return float(rate(step)) if callable(rate) else float(rate)
