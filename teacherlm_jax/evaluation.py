"""Rank classification through `seqio.Evaluator`: the evaluator, the score function, the wiring."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath

from teacherlm_jax.data import pipeline
from teacherlm_jax.data.feature_converter import DecoderFeatureConverter
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.scores import OptionRow, Question, QuestionScore, group_rows

Tree = Any
Metrics = dict[str, dict[str, float]]
ScoreFn = Callable[[tf.data.Dataset], list[tuple[int, float]]]


def option_rows(dataset: tf.data.Dataset) -> tuple[list[int], list[OptionRow]]:
    """Rows of an enumerated dataset of decoder features, as an evaluator hands it out.

    The prompt is what carries no loss, the option what does. Rows with the same prompt belong to
    one question and share its forward pass.

    Returns:
      The index of each row, and the rows.
    """
    indices, rows = [], []
    for index, features in tfds.as_numpy(dataset):
        used = int(np.sum(features["decoder_segment_ids"] > 0))
        tokens = features["decoder_target_tokens"][:used].tolist()
        first = int(np.argmax(features["decoder_loss_weights"][:used] > 0))
        prompt = tuple(tokens[:first])
        indices.append(int(index))
        rows.append(OptionRow(prompt, prompt, tokens[first:]))
    return indices, rows


def make_score_fn(scorer: Scorer, params: Tree) -> ScoreFn:
    """A score function for a plain `seqio.Evaluator`: log-likelihood of each row's targets."""

    def score_fn(dataset: tf.data.Dataset) -> list[tuple[int, float]]:
        indices, rows = option_rows(dataset)
        return list(zip(indices, scorer.score_rows(params, rows), strict=True))

    return score_fn


class RankEvaluator:
    """`seqio.Evaluator` over a split of rank-classification tasks, for many models in turn.

    Rows are read and tokenized once, when it is made.
    """

    def __init__(
        self,
        mixture_or_task_name: str,
        split: str,
        scorer: Scorer,
        *,
        log_dir: epath.PathLike | None = None,
    ) -> None:
        """See the class.

        Args:
          mixture_or_task_name: evaluation tasks whose metric functions take scores.
          split: of every task.
          scorer: scores the options.
          log_dir: where seqio's JSON logger writes metrics; None: nowhere.

        Raises:
          ValueError: the name is not registered, or has no such split.
        """
        provider = pipeline.registered(mixture_or_task_name)
        if split not in provider.splits:
            raise ValueError(
                f"{mixture_or_task_name} has no split {split!r}; it has {list(provider.splits)}."
            )
        if log_dir is not None:
            epath.Path(log_dir).mkdir(parents=True, exist_ok=True)
        self._scorer = scorer
        self._evaluator = seqio.Evaluator(
            mixture_or_task_name,
            feature_converter=DecoderFeatureConverter(pack=False),
            eval_split=split,
            logger_cls=() if log_dir is None else (seqio.JSONLogger,),
            log_dir=None if log_dir is None else str(log_dir),
            async_compute_metrics=False,
        )
        self._indices: dict[int, list[int]] = {}
        self._first_question: dict[int, int] = {}
        self._places: dict[int, list[tuple[int, int]]] = {}
        self._questions: list[Question] = []
        for dataset in self._evaluator.cached_model_datasets.values():
            indices, rows = option_rows(dataset)
            questions, places = group_rows(rows)
            # seqio hands the very same dataset object to the score function later.
            self._indices[id(dataset)] = indices
            self._places[id(dataset)] = places
            self._first_question[id(dataset)] = len(self._questions)
            self._questions += questions

    def evaluate(self, params: Tree, step: int | None = None) -> Metrics:
        """Metrics of one model: task -> metric -> value."""
        return self._metrics(self._scorer.score(params, self._questions), step)

    def evaluate_stacked(self, params: Tree, step: int | None = None) -> list[Metrics]:
        """Metrics of models stacked on a leading axis, scored together."""
        together = self._scorer.score_stacked(params, self._questions)
        return [self._metrics(scores, step) for scores in together]

    def _metrics(self, results: Sequence[QuestionScore], step: int | None) -> Metrics:
        scores = [result.scores for result in results]

        def score_fn(dataset: tf.data.Dataset) -> list[tuple[int, float]]:
            first = self._first_question[id(dataset)]
            values = [scores[first + q][option] for q, option in self._places[id(dataset)]]
            return list(zip(self._indices[id(dataset)], values, strict=True))

        future, _ = self._evaluator.evaluate(
            compute_metrics=True, step=step, score_fn=score_fn, predict_fn=None
        )
        metrics: Mapping[str, Mapping[str, Any]] = future.result()
        return {
            task: {name: float(getattr(value, "value", value)) for name, value in values.items()}
            for task, values in metrics.items()
        }


def mean_accuracy(metrics: Metrics) -> float:
    """Unweighted mean over tasks of `accuracy`, in percent."""
    return float(np.mean([values["accuracy"] for values in metrics.values()]))
