"""Rank classification of a model while it trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any

from absl import logging

from teacherlm_jax.data import pipeline
from teacherlm_jax.evaluation.evaluator import RankEvaluator, mean_accuracy
from teacherlm_jax.evaluation.policy import scoring_policy
from teacherlm_jax.metrics.finite import NonFiniteError
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.training.validation import PREFIX, IsStopped, TrainedModel

Tree = Any

ACCURACY = f"{PREFIX}rank_accuracy"
# In scalars the tasks' own are "validation_rank_accuracy/TASK".
_OF_TASKS = f"{PREFIX}component_rank_accuracy"

# What cuts the positions of rows saves memory of the backward pass; rows that are scored are of
# many lengths, which need not divide.
_UNCUT = ("activation_length", "activation_residual_length")


@dataclasses.dataclass(frozen=True)
class TrainingEvaluation:
    """Accuracies of rank classification: `training.stage.Stage.evaluation`.

    A row of metrics has `validation_rank_accuracy`, percent, the mean over tasks, and in
    `validation_component_rank_accuracy` that of each task; TensorBoard and what keeps the best
    checkpoint call these `validation_rank_accuracy/TASK`.

    Attributes:
      mixture_or_task_name: rank-classification tasks; braces are filled as in a stage's own.
      split: of every task.
      max_length: most tokens of prompt and option; longer ones are an error, or cut.
      truncation: "error", or "left" to cut the prompt's first tokens.
      boundary: "apart" or "joint", see `scoring.boundary`.
      normalisation: what options are ranked by, see `scores.NORMALISATIONS`.
      batch_size: questions that are scored together; a multiple of the batch's shards.
    """

    mixture_or_task_name: str
    split: str = "validation"
    max_length: int = 128
    truncation: str = "error"
    boundary: str = "apart"
    normalisation: str = "sum"
    batch_size: int = 64

    def prepare(self, model: TrainedModel) -> PreparedRanking:
        """Reads the questions; compiles nothing.

        Raises:
          ValueError: there are no such tasks, they have another vocabulary than the model, a
            question cannot be scored, or batches do not divide over the mesh.
        """
        try:
            return self._prepare(model)
        except ValueError as error:
            raise ValueError(f"TrainingEvaluation: {error}") from error

    def _prepare(self, model: TrainedModel) -> PreparedRanking:
        name = pipeline.fill_name(self.mixture_or_task_name, model.name_values)
        policy = scoring_policy(
            name,
            bos_id=model.bos_id,
            max_length=self.max_length,
            truncation=self.truncation,
            boundary=self.boundary,
            normalisation=self.normalisation,
            unconditional_prompt="" if self.normalisation == "unconditional" else None,
        )
        pipeline.check_vocabulary(name, model.config.vocab_size, model.bos_id)
        scorer = _StoppableScorer(
            Decoder(model.config),
            policy,
            batch_size=self.batch_size,
            mesh=model.mesh,
            rules=tuple((axis, None if axis in _UNCUT else cut_by) for axis, cut_by in model.rules),
        )
        return PreparedRanking(RankEvaluator(name, self.split, scorer), scorer)


class PreparedRanking:
    """Questions that were read, and fit a model; fulfils `validation.PreparedEvaluation`."""

    def __init__(self, evaluator: RankEvaluator, scorer: _StoppableScorer) -> None:
        """To be made by `TrainingEvaluation.prepare`."""
        self._evaluator, self._scorer = evaluator, scorer

    @property
    def metric_names(self) -> Collection[str]:
        """The names of its scalars."""
        return {ACCURACY, *(f"{ACCURACY}/{task}" for task in self._evaluator.tasks)}

    @property
    def digest(self) -> str:
        """Of the questions."""
        return self._evaluator.digest

    def __call__(self, params: Tree, is_stopped: IsStopped) -> dict[str, Any] | None:
        """Accuracies of a model; None where it was given up.

        Log-likelihoods that are not finite make no accuracy: that of the row is None then, which
        costs the run nothing.
        """
        self._scorer.is_stopped = is_stopped
        try:
            metrics = self._evaluator.evaluate(params)
        except _Stopped:
            return None
        except NonFiniteError as error:
            logging.warning("Rank classification: %s", error)
            return {ACCURACY: None}
        return {
            ACCURACY: mean_accuracy(metrics),
            _OF_TASKS: {task: values["accuracy"] for task, values in metrics.items()},
        }


class _Stopped(Exception):
    """Somebody asked the run to stop."""


class _StoppableScorer(Scorer):
    """A scorer that asks after each batch whether it is to go on."""

    is_stopped: IsStopped = staticmethod(lambda: False)

    def run(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        for found in super().run(*arguments, **options):
            if self.is_stopped():
                raise _Stopped
            yield found
