"""What a stage trains on, and what it is validated on: from seqio's names to batches."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import seqio
from absl import logging

from teacherlm_jax.data import batches as batches_lib
from teacherlm_jax.data import pipeline
from teacherlm_jax.training.placement import Placement
from teacherlm_jax.training.stage import Stage
from teacherlm_jax.training.validation import (
    PREFIX,
    HeldOutLoss,
    ModelEvaluation,
    PreparedEvaluation,
    TrainedModel,
    Validation,
)


@dataclasses.dataclass(frozen=True)
class StageData:
    """The data of a stage.

    Attributes:
      batches: step -> (ids, arrays).
      train_steps: updates, a number.
      digest: names the data by its content.
      validation: one pass over the validation split; None: there is none.
      evaluation: what is measured beside it; None: nothing.
    """

    batches: batches_lib.MixtureBatches
    train_steps: int
    digest: str
    validation: batches_lib.MixtureBatches | None = None
    evaluation: PreparedEvaluation | None = None


def shared_loader(cache_dir: str | None) -> pipeline.TableLoader:
    """A loader that reads each split of a task once, since stages share tasks."""
    if cache_dir is None:
        return functools.cache(pipeline.load_table)
    return functools.cache(functools.partial(pipeline.load_table, cache_dir=cache_dir))


def shared_evaluations(model: TrainedModel) -> Callable[[ModelEvaluation], PreparedEvaluation]:
    """Prepares each evaluation of a model once, since stages share them."""
    prepared: list[tuple[ModelEvaluation, PreparedEvaluation]] = []

    def prepare(evaluation: ModelEvaluation) -> PreparedEvaluation:
        for known, result in prepared:
            if known == evaluation:
                return result
        prepared.append((evaluation, evaluation.prepare(model)))
        return prepared[-1][1]

    return prepare


def load(
    stage: Stage,
    mixture_name: str,
    bos_id: int | None,
    loader: pipeline.TableLoader,
    evaluation: PreparedEvaluation | None = None,
) -> StageData:
    """Reads, or makes, the tables of a stage, and plans its steps.

    Args:
      stage: what is asked for.
      mixture_name: of its mixture or task, braces filled.
      bos_id: token before every text; None: none.
      loader: of a task's split.
      evaluation: the stage's, prepared.

    Raises:
      ValueError: an example does not fit, a split is missing, or the data ends before the stage.
    """
    row_format = batches_lib.RowFormat(
        stage.row_length, bos_id, stage.loss_on, pack=stage.pack, too_long=stage.too_long
    )
    eval_split = None if stage.eval_period is None else stage.eval_split
    if eval_split is not None:
        # Before the training data is read, which takes long.
        _check_eval_split(stage, mixture_name, eval_split)
    tables, rates = pipeline.load_tables(mixture_name, stage.split, loader)
    batches = batches_lib.MixtureBatches(
        tables,
        rates,
        row_format,
        stage.batch_size,
        stage.seed,
        num_epochs=stage.num_epochs,
        max_examples=stage.max_examples,
        cap_seed=stage.cap_seed,
    )
    digest = batches_lib.tables_digest(tables, rates)
    validation = None
    if eval_split is not None:
        held_out, _ = pipeline.load_tables(mixture_name, eval_split, loader)
        # Without rates, one epoch sees every example once.
        validation = batches_lib.MixtureBatches(
            held_out, None, row_format, stage.batch_size, seed=0, num_epochs=1
        )
    return StageData(batches, _train_steps(stage, batches), digest, validation, evaluation)


def _check_eval_split(stage: Stage, mixture_name: str, split: str) -> None:
    for task in seqio.get_subtasks(pipeline.registered(mixture_name)):
        if split not in task.splits:
            raise ValueError(
                f"stage {stage.name!r}: eval_split = {split!r}, but task {task.name} has no such "
                f"split; it has {list(task.splits)}. Name one of them, or None for no loss on "
                "held-out data."
            )


def digests(stage: Stage, data: StageData) -> dict[str, str]:
    """What hosts must have read alike: what it is -> its digest."""
    found = {f"data of stage {stage.name}": data.digest}
    if data.evaluation is not None:
        found[f"evaluation of stage {stage.name}"] = data.evaluation.digest
    return found


def metric_names(data: StageData) -> set[str]:
    """Names of what is measured at a checkpoint, by which the best can be kept."""
    names = {"loss", "accuracy", "gradient_norm", "parameter_norm"}
    names |= {f"loss/{component}" for component in data.batches.components}
    if data.validation is not None:
        measured = {"loss", "accuracy", *(f"loss/{name}" for name in data.validation.components)}
        names |= {f"{PREFIX}{name}" for name in measured}
    if data.evaluation is not None:
        names |= set(data.evaluation.metric_names)
    return names


def _train_steps(stage: Stage, batches: batches_lib.MixtureBatches) -> int:
    """How many updates a stage has; raises where its data ends before."""
    if stage.train_steps is None:
        assert batches.steps is not None
        logging.info(
            "Stage %s: %d epochs are %d steps.", stage.name, stage.num_epochs, batches.steps
        )
        return batches.steps
    if batches.steps is not None and stage.train_steps > batches.steps:
        raise ValueError(
            f"stage {stage.name!r}: train_steps = {stage.train_steps}, but num_epochs = "
            f"{stage.num_epochs} of its data end after {batches.steps} steps; set train_steps to "
            "at most that (None: that many), or num_epochs to None to repeat."
        )
    return stage.train_steps


def validation(stage: Stage, data: StageData, placement: Placement) -> Validation | None:
    """What is measured while a stage trains; None where it has nothing such."""
    parts: list[Callable[..., Any]] = []
    if data.validation is not None:
        parts.append(_held_out_loss(stage, data.validation, placement))
    if data.evaluation is not None:
        parts.append(data.evaluation)
    if not parts:
        return None
    assert stage.eval_period is not None
    return Validation(stage.eval_period, parts)


def _held_out_loss(
    stage: Stage, batches: batches_lib.MixtureBatches, placement: Placement
) -> HeldOutLoss:
    assert batches.steps is not None
    if batches.components != placement.components:
        placement = dataclasses.replace(placement, components=batches.components)
    return HeldOutLoss(
        batches=batches,
        steps=min(batches.steps, stage.eval_steps or batches.steps),
        sums_fn=placement.sums_fn,
        place=functools.partial(placement.place, batch_size=stage.batch_size),
        rows=placement.rows(stage.batch_size),
    )
