"""Rank classification through `seqio.Evaluator`: the evaluator, the score function, the wiring."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath

from teacherlm_jax.checkpoints import restore
from teacherlm_jax.data import claim, data_setup, ledger, pipeline
from teacherlm_jax.data.feature_converter import DecoderFeatureConverter
from teacherlm_jax.metrics.progress import Progress
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import hosts
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.scoring import clean_subset as clean_lib
from teacherlm_jax.scoring.averages import averages
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.scores import (
    OptionRow,
    Question,
    QuestionScore,
    ScoringPolicy,
    group_rows,
)

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
        carries_loss = features["decoder_loss_weights"][:used] > 0
        if not carries_loss.any():
            raise ValueError(
                f"row {index} of the evaluation has no target tokens, so there is no option to "
                "score: give each row an option in `targets`."
            )
        first = int(np.argmax(carries_loss))
        prompt = tuple(tokens[:first])
        indices.append(int(index))
        rows.append(OptionRow(prompt, prompt, tokens[first:]))
    return indices, rows


def _by_question(
    dataset: tf.data.Dataset, indices: Sequence[int], rows: Sequence[OptionRow]
) -> list[OptionRow]:
    """Rows named by the question that their task says they are of, where it has a feature `idx`.

    Two questions may have the same prompt, which alone would make them one.
    """
    if "idx" not in dataset.element_spec:
        return list(rows)
    numbers = [int(row["idx"][0]) for row in tfds.as_numpy(dataset)]
    return [
        dataclasses.replace(row, question_id=numbers[index])
        for index, row in zip(indices, rows, strict=True)
    ]


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
        description: str | None = None,
        clean_subset: epath.PathLike | None = None,
    ) -> None:
        """See the class.

        Args:
          mixture_or_task_name: evaluation tasks whose metric functions take scores.
          split: of every task.
          scorer: scores the options.
          log_dir: where seqio's JSON logger writes metrics; None: nowhere.
          description: names the bar of progress; None: there is none.
          clean_subset: the list that `teacherlm data decontaminate` wrote: metrics then have
            `clean_accuracy` over its questions as well; None: they do not.

        Raises:
          ValueError: the name is not registered, a task has no such split or no metrics of scores,
            a row cannot be scored, being too long for instance, or the clean subset says nothing
            of a question.
        """
        _check_tasks(mixture_or_task_name, split)
        if log_dir is not None:
            epath.Path(log_dir).mkdir(parents=True, exist_ok=True)
        self._scorer = scorer
        self._description = description
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
        self._of_task: dict[str, slice] = {}
        self._questions: list[Question] = []
        subset = None if clean_subset is None else clean_lib.CleanSubset(clean_subset)
        self._clean: dict[str, tuple[list[Any], list[bool]]] = {}
        for task, dataset in self._evaluator.cached_model_datasets.items():
            self._take(task, split, dataset, subset)
        scorer.check(self._questions)

    def _take(
        self,
        task: str,
        split: str,
        dataset: tf.data.Dataset,
        subset: clean_lib.CleanSubset | None,
    ) -> None:
        """Takes in the questions of a task."""
        indices, rows = option_rows(dataset)
        task_rows = self._evaluator.cached_task_datasets[task]
        if subset is not None:
            ids, targets = _ids_and_targets(task, task_rows)
            self._clean[task] = targets, subset.are_clean(task, split, ids).tolist()
        questions, places = group_rows(_by_question(task_rows, indices, rows))
        # seqio hands the very same dataset object to the score function later.
        self._indices[id(dataset)] = indices
        self._places[id(dataset)] = places
        first = len(self._questions)
        self._first_question[id(dataset)] = first
        self._of_task[task] = slice(first, first + len(questions))
        first_rows: dict[int, int] = {}
        for index, (number, _) in zip(indices, places, strict=True):
            first_rows.setdefault(number, index)
        self._questions += [
            dataclasses.replace(question, question_id=f"{task}/{split}:{first_rows[number]}")
            for number, question in enumerate(questions)
        ]

    def evaluate(self, params: Tree, step: int | None = None) -> Metrics:
        """Metrics of one model: task -> metric -> value.

        Beside those of the task's metric functions there are `near_ties`, the questions where
        rounding could decide: see `ScoringPolicy.near_tie`.
        """
        with self._progress() as progress:
            results = self._scorer.score(params, self._questions, progress)
        return self._metrics(results, step)

    def evaluate_stacked(self, params: Tree, step: int | None = None) -> list[Metrics]:
        """Metrics of models stacked on a leading axis, scored together."""
        with self._progress() as progress:
            together = self._scorer.score_stacked(params, self._questions, progress)
        return [self._metrics(scores, step) for scores in together]

    @contextlib.contextmanager
    def _progress(self) -> Iterator[Callable[[int, int], None] | None]:
        if self._description is None:
            yield None
            return
        with Progress(self._description, len(self._questions), unit="question") as progress:
            yield lambda done, total: progress.update(done)

    def _metrics(self, results: Sequence[QuestionScore], step: int | None) -> Metrics:
        scores = [result.scores for result in results]

        def score_fn(dataset: tf.data.Dataset) -> list[tuple[int, float]]:
            first = self._first_question[id(dataset)]
            values = [scores[first + q][option] for q, option in self._places[id(dataset)]]
            return list(zip(self._indices[id(dataset)], values, strict=True))

        def clean(task: str) -> dict[str, float]:
            if task not in self._clean:
                return {}
            targets, are_clean = self._clean[task]
            of_rows = dict(score_fn(self._evaluator.cached_model_datasets[task]))
            values = [of_rows[row] for row in range(len(targets))]
            return clean_lib.clean_metrics(targets, values, are_clean)

        future, _ = self._evaluator.evaluate(
            compute_metrics=True, step=step, score_fn=score_fn, predict_fn=None
        )
        metrics: Mapping[str, Mapping[str, Any]] = future.result()
        return {
            task: {
                **{name: float(getattr(value, "value", value)) for name, value in values.items()},
                "near_ties": float(sum(r.is_near_tie for r in results[self._of_task[task]])),
                **clean(task),
            }
            for task, values in metrics.items()
        }


def _ids_and_targets(task: str, dataset: tf.data.Dataset) -> tuple[list[str], list[Any]]:
    """Of each row its question's id, or number where the task gives none; and what is right."""
    if not {"idx", "is_correct"} <= set(dataset.element_spec):
        raise ValueError(
            f"task {task} has no features idx and is_correct, so its clean questions cannot be"
            " told: leave clean_subset out."
        )
    ids, targets = [], []
    for row in tfds.as_numpy(dataset):
        ids.append(row["id"].decode() if "id" in row else str(int(row["idx"][0])))
        targets.append((row["idx"], bool(row["is_correct"])))
    return ids, targets


def _check_tasks(mixture_or_task_name: str, split: str) -> None:
    """Raises ValueError where seqio would leave a task out, or call for predictions."""
    for task in seqio.get_subtasks(pipeline.registered(mixture_or_task_name)):
        if split not in task.splits:
            raise ValueError(
                f"task {task.name} has no split {split!r}; it has {list(task.splits)}."
            )
        kinds = {metric.model_output_type for metric in task.metric_objs}
        if kinds != {seqio.metrics.ModelOutputType.SCORE}:
            raise ValueError(
                f"task {task.name} has no metrics of scores, or others beside them: evaluate a "
                "task of rank classification, with metric_fns=[rank_classification]."
            )


def mean_accuracy(metrics: Metrics) -> float:
    """Unweighted mean over tasks of `accuracy`, in percent."""
    return float(np.mean([values["accuracy"] for values in metrics.values()]))


def groups_of(mixture_or_task_name: str) -> dict[str, list[str]]:
    """A mixture and the mixtures inside of it, each with its tasks; nothing for a task."""
    if mixture_or_task_name not in seqio.MixtureRegistry.names():
        return {}
    mixture = seqio.MixtureRegistry.get(mixture_or_task_name)
    groups = {mixture_or_task_name: [task.name for task in mixture.tasks]}
    for member in mixture.rate_per_task_name:
        groups |= groups_of(member)
    return groups


@dataclasses.dataclass(frozen=True)
class CheckpointEvaluation:
    """What is evaluated, and on what.

    Attributes:
      checkpoint_dir: a `checkpoints` folder; its newest checkpoint is taken.
      model: the model's configuration.
      mixture_or_task_name: rank-classification tasks.
      split: of every task.
      output_dir: where `evaluation.json` goes; a folder for each checkpoint folder.
      bos_id: token before every prompt; None: none.
      max_length: most tokens of prompt and option; longer ones are an error.
      batch_size: questions that are scored together; does not change the result.
      mesh: sizes of the mesh axes. Replicas are scored together on one device.
      data: what tasks over public data read when their data is read; None: as the process has it.
      clean_subset: a clean_subset.json of `teacherlm data decontaminate`: accuracies are told for
        its questions as well; None: for all questions alone.
    """

    checkpoint_dir: str
    model: DecoderConfig
    mixture_or_task_name: str
    output_dir: str
    split: str = "test"
    bos_id: int | None = 0
    max_length: int = 128
    batch_size: int = 128
    mesh: mesh_lib.MeshConfig = mesh_lib.MeshConfig()
    data: data_setup.DataSetup | None = None
    clean_subset: str | None = None

    @property
    def policy(self) -> ScoringPolicy:
        """How options are scored: the paper's letters, summed, nothing cut."""
        return ScoringPolicy(max_length=self.max_length, bos_id=self.bos_id)

    @property
    def shown(self) -> dict[str, Any]:
        """What is told of it beside its numbers."""
        shown = {
            "mixture_or_task_name": self.mixture_or_task_name,
            "split": self.split,
            "scoring": dataclasses.asdict(self.policy),
        }
        if self.clean_subset is not None:
            shown["clean_subset"] = self.clean_subset
        return shown


def _with_averages(metrics: Metrics, groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    found = averages(metrics, groups)
    told: dict[str, Any] = {
        "accuracy": mean_accuracy(metrics),
        "metrics": metrics,
        "averages": {name: dataclasses.asdict(value) for name, value in found.items()},
    }
    if clean := clean_lib.as_metrics(metrics):
        left = {name: [task for task in tasks if task in clean] for name, tasks in groups.items()}
        of_groups = averages(clean, {name: tasks for name, tasks in left.items() if tasks})
        told["clean_accuracy"] = mean_accuracy(clean)
        told["clean_averages"] = {n: dataclasses.asdict(value) for n, value in of_groups.items()}
    return told


def evaluate_checkpoint(settings: CheckpointEvaluation) -> dict[str, Any]:
    """Evaluates a checkpoint, or each replica of it, and writes the metrics.

    Returns:
      {"step", "models": [{"replica", "accuracy", "metrics", "averages"}], "file", ...}: `averages`
      has those of the mixture and of the mixtures inside of it.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: it is damaged or of another model, a prompt is too long, or the folder holds
        something else.
    """
    hosts.check_alone("an evaluation")
    if settings.data is not None:
        settings.data.apply()
    pipeline.check_vocabulary(
        settings.mixture_or_task_name, settings.model.vocab_size, settings.bos_id
    )
    replicas = restore.replicas(settings.checkpoint_dir, settings.model)
    mesh = mesh_lib.make_mesh(
        settings.mesh if replicas is None else mesh_lib.MeshConfig(device_count=1)
    )
    scorer = Scorer(
        Decoder(settings.model), settings.policy, batch_size=settings.batch_size, mesh=mesh
    )
    evaluator = RankEvaluator(
        settings.mixture_or_task_name,
        settings.split,
        scorer,
        description="evaluate",
        clean_subset=settings.clean_subset,
    )
    loaded = restore.load(settings.checkpoint_dir, settings.model, mesh)
    shown = settings.shown
    # Another checkpoint's numbers, or a student's own, are not to be written over.
    claim.claim_folder(settings.output_dir, {"checkpoint_dir": str(loaded.path.parent), **shown})
    models: list[tuple[int | None, Metrics]]
    if loaded.replicas is None:
        models = [(None, evaluator.evaluate(loaded.params, loaded.step))]
    else:
        models = [*enumerate(evaluator.evaluate_stacked(loaded.params, loaded.step))]
    path = epath.Path(settings.output_dir) / "evaluation.json"
    groups = groups_of(settings.mixture_or_task_name)
    result = {
        "checkpoint": str(loaded.path),
        "step": loaded.step,
        **shown,
        "models": [
            {"replica": replica, **_with_averages(metrics, groups)} for replica, metrics in models
        ],
    }
    ledger.remove(path)
    ledger.write_whole(path, json.dumps(result, indent=2) + "\n")
    return {**result, "file": str(path)}
