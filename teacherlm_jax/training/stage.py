"""A stage of training: what it trains on, for how long, with which optimizer, from where."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.whole_numbers import check_whole
from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training.validation import ModelEvaluation

PREVIOUS = "previous"


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a curriculum.

    Attributes:
      name: names the stage's folder in MODEL_DIR.
      mixture_or_task_name: a name in seqio's registries.
      task_feature_lengths: tokens of `inputs` and `targets`; a row holds their sum.
      train_steps: updates; None: until `num_epochs` are over.
      batch_size: rows an update, over all hosts.
      optimizer: one of `training.optimizer`.
      initialize_from: "previous", the name of an earlier stage, or a checkpoint folder. The first
        stage's "previous" is the curriculum's initial_checkpoint_path, or random parameters.
      split: of every task.
      loss_on: "targets", or "all" for inputs and targets.
      seed: order of the data, and random parameters.
      z_loss: see `loss.cross_entropy`.
      microbatches: see `step.make_train_step`.
      pack: several examples a row, which never see each other.
      num_epochs: passes over the data, after which it ends; None: it repeats.
      too_long: what becomes of an example that is longer than a row: "error", "drop" or "trim"
        (its last tokens are kept).
      max_examples: most examples of each task, or a number by task: always the same ones.
      cap_seed: which those are.
      eval_period: updates between two times that the model is measured; None: it never is.
      eval_split: whose loss is measured while training; None: no loss is, so that `evaluation` is
        all.
      eval_steps: most batches of such a pass; None: all.
      evaluation: what is measured beside it, such as rank classification by
        `evaluation.training_evaluation.TrainingEvaluation`.
    """

    name: str
    mixture_or_task_name: str
    task_feature_lengths: Mapping[str, int]
    train_steps: int | None
    batch_size: int
    optimizer: optimizer_lib.Optimizer
    initialize_from: str = PREVIOUS
    split: str = "train"
    loss_on: str = "targets"
    seed: int = 0
    z_loss: float = 0.0
    microbatches: int = 1
    pack: bool = False
    num_epochs: int | None = None
    too_long: str = "error"
    max_examples: int | Mapping[str, int] | None = None
    cap_seed: int = 0
    eval_period: int | None = None
    eval_split: str | None = "validation"
    eval_steps: int | None = None
    evaluation: ModelEvaluation | None = None

    def __post_init__(self) -> None:
        owner = f"stage {self.name!r}"
        optional = {
            name: getattr(self, name)
            for name in ("train_steps", "num_epochs", "eval_period", "eval_steps")
            if getattr(self, name) is not None
        }
        check_whole(owner, batch_size=self.batch_size, microbatches=self.microbatches, **optional)
        check_whole(owner, least=0, seed=self.seed, cap_seed=self.cap_seed)
        if self.seed >= 2**63:
            raise ValueError(f"{owner}: seed = {self.seed}, but it must be below 2^63.")
        self._check_lengths(owner)
        if not (isinstance(self.z_loss, int | float) and 0 <= self.z_loss < math.inf):
            raise ValueError(f"{owner}: z_loss = {self.z_loss!r}, but it must be 0 or more.")
        if self.train_steps is None and self.num_epochs is None:
            raise ValueError(
                f"{owner}: train_steps and num_epochs are both None, so it would never end; give "
                "one of them."
            )
        is_name = isinstance(self.name, str) and self.name not in ("", ".", "..")
        if not is_name or "/" in self.name:
            raise ValueError(f"stage name {self.name!r} must be text without '/', and no '..'.")
        if not hasattr(self.optimizer, "build"):
            raise ValueError(
                f"stage {self.name!r}: optimizer = {self.optimizer!r}; bind one of "
                "training.optimizer, as in @optimizer.Muon()."
            )
        _check_rate(owner, self.optimizer)
        self._check_evaluation(owner)

    def _check_evaluation(self, owner: str) -> None:
        is_called = not isinstance(self.evaluation, type)
        if self.evaluation is not None and not (is_called and hasattr(self.evaluation, "prepare")):
            raise ValueError(
                f"{owner}: evaluation = {self.evaluation!r}; bind an evaluation with brackets, as "
                "in @training_evaluation.TrainingEvaluation(), or None."
            )
        if self.evaluation is not None and self.eval_period is None:
            raise ValueError(
                f"{owner}: there is an evaluation, but eval_period is None, so it would never run; "
                "set the updates between two times, or evaluation to None."
            )
        if self.eval_period is not None and self.eval_split is None and self.evaluation is None:
            raise ValueError(
                f"{owner}: eval_period = {self.eval_period}, but eval_split and evaluation are "
                "None, so nothing would be measured; give one of them, or no eval_period."
            )

    def _check_lengths(self, owner: str) -> None:
        lengths = self.task_feature_lengths
        if not isinstance(lengths, Mapping) or not lengths.keys() <= {"inputs", "targets"}:
            raise ValueError(
                f"{owner}: task_feature_lengths = {lengths!r}, but it must be a dict with the "
                "lengths of 'inputs', 'targets' or both."
            )
        check_whole(f"{owner}: task_feature_lengths", least=0, **lengths)

    @property
    def row_length(self) -> int:
        """Positions of a row."""
        return sum(self.task_feature_lengths.values())

    def configuration(self) -> Any:
        """JSON values of all that decides the parameters that come out."""
        # An evaluation is anybody's, and may hold what cannot be described.
        looked_away = dataclasses.replace(self, evaluation=None, eval_period=None)
        described = describe(looked_away, self.train_steps or _STEPS_WHERE_UNKNOWN)
        return {name: value for name, value in described.items() if name not in _FREE}


def _check_rate(owner: str, optimizer: optimizer_lib.Optimizer) -> None:
    """A schedule that gin did not call, or that cannot be called, is found before anything runs."""
    try:
        optimizer_lib.learning_rate_at(optimizer, 0)
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f"{owner}: the learning rate of {type(optimizer).__name__} gives no number at step 0 "
            f"({error}); bind a number, or a schedule with brackets, as in "
            "@schedules.warmup_constant()."
        ) from error


# What a restart may change: it changes rounding, or what is looked at.
_FREE = ("microbatches", "eval_period", "eval_split", "eval_steps", "evaluation")
# Along which a schedule is described where the data's length decides.
_STEPS_WHERE_UNKNOWN = 1000


def describe(value: Any, steps: int) -> Any:
    """JSON values that tell one configuration from another.

    A learning-rate schedule is a function: it is described by what it gives along the way.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: describe(getattr(value, f.name), steps) for f in dataclasses.fields(value)
        }
        return {"type": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): describe(item, steps) for key, item in value.items()}
    if callable(value):
        along = (0, 1, steps // 4, steps // 2, steps)
        # Six digits: the last ones depend on the device and on the version of JAX.
        return {str(step): float(f"{float(value(step)):.6g}") for step in along}
    return value
