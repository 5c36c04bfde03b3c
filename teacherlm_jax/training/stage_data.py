"""What a stage trains on, and what it is validated on: from seqio's names to batches."""

import dataclasses
import functools

from absl import logging

from teacherlm_jax.data import batches as batches_lib
from teacherlm_jax.data import pipeline
from teacherlm_jax.training.placement import Placement
from teacherlm_jax.training.stage import Stage
from teacherlm_jax.training.validation import PREFIX, Validation


@dataclasses.dataclass(frozen=True)
class StageData:
    """The data of a stage.

    Attributes:
      batches: step -> (ids, arrays).
      train_steps: updates, a number.
      digest: names the data by its content.
      validation: one pass over the validation split; None: there is none.
    """

    batches: batches_lib.MixtureBatches
    train_steps: int
    digest: str
    validation: batches_lib.MixtureBatches | None = None


def shared_loader(cache_dir: str | None) -> pipeline.TableLoader:
    """A loader that reads each split of a task once, since stages share tasks."""
    if cache_dir is None:
        return functools.cache(pipeline.load_table)
    return functools.cache(functools.partial(pipeline.load_table, cache_dir=cache_dir))


def load(
    stage: Stage, mixture_name: str, bos_id: int | None, loader: pipeline.TableLoader
) -> StageData:
    """Reads, or makes, the tables of a stage, and plans its steps.

    Args:
      stage: what is asked for.
      mixture_name: of its mixture or task, braces filled.
      bos_id: token before every text; None: none.
      loader: of a task's split.

    Raises:
      ValueError: an example does not fit, a split is missing, or the data ends before the stage.
    """
    row_format = batches_lib.RowFormat(
        stage.row_length, bos_id, stage.loss_on, pack=stage.pack, too_long=stage.too_long
    )
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
    if stage.eval_period is not None:
        held_out, _ = pipeline.load_tables(mixture_name, stage.eval_split, loader)
        # Without rates, one epoch sees every example once.
        validation = batches_lib.MixtureBatches(
            held_out, None, row_format, stage.batch_size, seed=0, num_epochs=1
        )
    return StageData(batches, _train_steps(stage, batches), digest, validation)


def metric_names(data: StageData) -> set[str]:
    """Names of what is measured at a checkpoint, by which the best can be kept."""
    names = {"loss", "accuracy", "gradient_norm", "parameter_norm"}
    names |= {f"loss/{component}" for component in data.batches.components}
    if data.validation is not None:
        measured = {"loss", "accuracy", *(f"loss/{name}" for name in data.validation.components)}
        names |= {f"{PREFIX}{name}" for name in measured}
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
    """The validation of a stage; None where it has none."""
    if data.validation is None:
        return None
    assert stage.eval_period is not None and data.validation.steps is not None
    if data.validation.components != placement.components:
        placement = dataclasses.replace(placement, components=data.validation.components)
    return Validation(
        batches=data.validation,
        steps=min(data.validation.steps, stage.eval_steps or data.validation.steps),
        period=stage.eval_period,
        sums_fn=placement.sums_fn,
        place=functools.partial(placement.place, batch_size=stage.batch_size),
        rows=placement.rows(stage.batch_size),
    )
