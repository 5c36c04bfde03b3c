"""Rank classification through `seqio.Evaluator`: the evaluator and the score function."""

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import seqio
import tensorflow as tf
from absl import logging
from etils import epath

from teacherlm_jax.data import pipeline
from teacherlm_jax.data.feature_converter import DecoderFeatureConverter
from teacherlm_jax.evaluation import asked
from teacherlm_jax.evaluation.asked import Asked, AskedTask
from teacherlm_jax.metrics.progress import Progress
from teacherlm_jax.scoring import clean_subset as clean_lib
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.receipts import Receipt
from teacherlm_jax.scoring.score_store import ScoreStore
from teacherlm_jax.scoring.scores import Question, QuestionScore
from teacherlm_jax.scoring.split import Split

Tree = Any
Metrics = dict[str, dict[str, float]]
ScoreFn = Callable[[tf.data.Dataset], list[tuple[int, float]]]

LOGGERS = (seqio.JSONLogger, seqio.TensorBoardLogger)


def make_score_fn(scorer: Scorer, params: Tree) -> ScoreFn:
    """A score function for a plain `seqio.Evaluator`: the score of each row's targets.

    Raises:
      ValueError: the policy needs texts, which a score function is not given: boundary "joint", or
        a normalisation by bytes or characters.
    """
    policy = scorer.policy
    if policy.boundary != "apart" or policy.normalisation in ("bytes", "characters"):
        raise ValueError(
            f"boundary = {policy.boundary!r}, normalisation = {policy.normalisation!r}: a score "
            "function is given tokens that are cut apart, and no texts. Use RankEvaluator, or "
            "boundary 'apart' and normalisation 'sum', 'tokens' or 'unconditional'."
        )

    def score_fn(dataset: tf.data.Dataset) -> list[tuple[int, float]]:
        indices, rows = asked.option_rows(dataset)
        return list(zip(indices, scorer.score_rows(params, rows), strict=True))

    return score_fn


class RankEvaluator:
    """`seqio.Evaluator` over a split of rank-classification tasks, for many models in turn.

    Rows are read and tokenized once, when it is made. Of several hosts each reads all rows and has
    all scores and metrics, so that all of them must call the same methods in the same order; see
    `digest`.
    """

    def __init__(
        self,
        mixture_or_task_name: str,
        split: str,
        scorer: Scorer,
        *,
        log_dir: epath.PathLike | None = None,
        loggers: Sequence[type[seqio.Logger]] = LOGGERS,
        description: str | None = None,
        clean_subset: epath.PathLike | None = None,
    ) -> None:
        """See the class.

        Args:
          mixture_or_task_name: evaluation tasks whose metric functions take scores.
          split: of every task.
          scorer: scores the options.
          log_dir: where seqio's loggers write, on the first host; None: nowhere.
          loggers: which of them: metrics and every score as JSON lines, and metrics for
            TensorBoard.
          description: names the bar of progress; None: there is none.
          clean_subset: the list that `teacherlm data decontaminate` wrote: metrics then have
            `clean_accuracy` over its questions as well; None: they do not.

        Raises:
          ValueError: the name is not registered, a task has no such split or no metrics of scores,
            a row cannot be scored, being too long for instance, or the clean subset says nothing
            of a question.
        """
        _check_tasks(mixture_or_task_name, split)
        is_logged = log_dir is not None and jax.process_index() == 0
        if log_dir is not None and is_logged:
            epath.Path(log_dir).mkdir(parents=True, exist_ok=True)
        self._scorer = scorer
        self._description = description
        self._evaluator = seqio.Evaluator(
            mixture_or_task_name,
            feature_converter=DecoderFeatureConverter(pack=False),
            eval_split=split,
            logger_cls=tuple(loggers) if is_logged else (),
            log_dir=None if log_dir is None else str(log_dir),
            async_compute_metrics=False,
        )
        self._tasks: dict[str, AskedTask] = {}
        self._of_task: dict[str, slice] = {}
        self._task_of_dataset: dict[int, str] = {}
        self._split = split
        self.asked: list[Asked] = []
        self._clean: dict[str, list[bool]] = {}
        subset = None if clean_subset is None else clean_lib.CleanSubset(clean_subset)
        for task, dataset in self._evaluator.cached_model_datasets.items():
            self._take(task, dataset, subset)
        scorer.check([one.question for one in self.asked])

    def _take(
        self, task: str, dataset: tf.data.Dataset, subset: clean_lib.CleanSubset | None
    ) -> None:
        """Takes in the questions of a task."""
        task_rows = self._evaluator.cached_task_datasets[task]
        registered, policy = seqio.TaskRegistry.get(task), self._scorer.policy
        read = asked.read_task(registered, self._split, task_rows, dataset, policy)
        has_answers = {"idx", "is_correct"} <= task_rows.element_spec.keys()
        _check_questions(f"{task}/{self._split}", read, has_answers)
        if sorted(read.indices) != list(range(len(read.indices))):
            raise RuntimeError(f"task {task}: seqio did not give every row once: {read.indices}.")
        # seqio hands the very same dataset object to the score function later.
        self._task_of_dataset[id(dataset)] = task
        self._tasks[task] = read
        self._of_task[task] = slice(len(self.asked), len(self.asked) + len(read.questions))
        self.asked += read.questions
        if subset is not None:
            if any(one.answer is None for one in read.questions):
                raise ValueError(
                    f"task {task} has no features idx and is_correct, so its clean questions "
                    "cannot be told: leave clean_subset out."
                )
            ids = [one.id for one in read.questions]
            self._clean[task] = subset.are_clean(task, self._split, ids).tolist()

    def evaluate(self, params: Tree, step: int | None = None) -> Metrics:
        """Metrics of one model: task -> metric -> value.

        Beside those of the task's metric functions there are `near_ties`, the questions where
        rounding could decide (see `ScoringPolicy.near_tie`), `truncated`, those whose prompt was
        cut, and `moved`, those whose boundary was (see `boundary.Cut`).
        """
        return self.metrics(self.score(params), step)

    def evaluate_stacked(self, params: Tree, step: int | None = None) -> list[Metrics]:
        """Metrics of models stacked on a leading axis, scored together."""
        return [self.metrics(scores, step) for scores in self.score_stacked(params)]

    @property
    def questions(self) -> list[Question]:
        """The questions of all tasks, as the scorer takes them."""
        return [one.question for one in self.asked]

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks."""
        return list(self._tasks)

    @functools.cached_property
    def digest(self) -> str:
        """Names the questions by their content: hosts that differ would score different batches."""
        found = hashlib.sha256()
        for one in self.asked:
            question = one.question
            parts = (question.prompt_tokens, *question.options, *(question.options_alone or ()))
            tokens = [[*map(int, part)] for part in parts]
            found.update(json.dumps([str(question.question_id), one.answer, tokens]).encode())
        return found.hexdigest()

    def score(self, params: Tree, store: ScoreStore | None = None) -> list[QuestionScore]:
        """Scores of all questions under one model, in the order of `questions`.

        Args:
          params: of the model.
          store: what keeps and gives back scores of this very model; None: all are scored.
        """
        with self.progress() as progress:
            if store is None:
                return self._scorer.score(params, self.questions, progress)
            return store.score(self._scorer, params, self.questions, progress)

    def score_stacked(self, params: Tree) -> list[list[QuestionScore]]:
        """Scores under models stacked on a leading axis, a list for each."""
        with self.progress() as progress:
            return self._scorer.score_stacked(params, self.questions, progress)

    def receipts(
        self, results: Sequence[QuestionScore], checkpoint_digest: str, dtype: str
    ) -> list[Receipt]:
        """What the scores rest on, for the questions whose task says what is right."""
        found = []
        for task, part in self._of_task.items():
            for one, score in zip(self.asked[part], results[part], strict=True):
                if one.answer is not None:
                    split_ = self._scorer.cut(one.question)
                    found.append(
                        _receipt(task, self._split, one, split_, score, checkpoint_digest, dtype)
                    )
        return found

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[int, int], None] | None]:
        """The bar of progress, where there is a description."""
        if self._description is None:
            yield None
            return
        with Progress(self._description, len(self.asked), unit="question") as progress:
            yield lambda done, total: progress.update(done)

    def metrics(self, results: Sequence[QuestionScore], step: int | None = None) -> Metrics:
        """What the tasks' metric functions, called by seqio, say of scores: see `evaluate`."""
        self._check_coverage(results)

        def score_fn(dataset: tf.data.Dataset) -> list[tuple[int, float]]:
            task = self._task_of_dataset[id(dataset)]
            own, read = results[self._of_task[task]], self._tasks[task]
            scores = [result.scores for result in own]
            values = [scores[question][option] for question, option in read.places]
            return list(zip(read.indices, values, strict=True))

        future, _ = self._evaluator.evaluate(
            compute_metrics=True, step=step, score_fn=score_fn, predict_fn=None
        )
        metrics: Mapping[str, Mapping[str, Any]] = future.result()
        return {
            task: {
                **{name: float(getattr(value, "value", value)) for name, value in values.items()},
                **self._counts(task, results[self._of_task[task]]),
                **self._clean_metrics(task, results[self._of_task[task]]),
            }
            for task, values in metrics.items()
        }

    def _counts(self, task: str, results: Sequence[QuestionScore]) -> dict[str, float]:
        """Questions to look at before their accuracy is believed."""
        return {
            "near_ties": float(sum(result.is_near_tie for result in results)),
            "truncated": float(sum(result.truncated > 0 for result in results)),
            "moved": float(sum(one.moved > 0 for one in self._tasks[task].questions)),
        }

    def _check_coverage(self, results: Sequence[QuestionScore]) -> None:
        """Every question counts, and counts once."""
        wanted = [one.question.question_id for one in self.asked]
        found = [result.question_id for result in results]
        if found != wanted:
            missing = sorted(map(str, set(wanted) - set(found)))
            raise RuntimeError(
                f"{len(found)} scores for {len(wanted)} questions, of which {len(missing)} have "
                f"none ({', '.join(missing[:3])}): give those that this evaluator's score gave."
            )

    def _clean_metrics(self, task: str, results: Sequence[QuestionScore]) -> dict[str, float]:
        if task not in self._clean:
            return {}
        targets, values, are_clean = [], [], []
        questions = self._tasks[task].questions
        for number, (one, is_clean) in enumerate(zip(questions, self._clean[task], strict=True)):
            for option, score in enumerate(results[number].scores):
                targets.append(((number, option), option == one.answer))
                values.append(score)
                are_clean.append(is_clean)
        return clean_lib.clean_metrics(targets, values, are_clean)


def _receipt(
    task: str,
    split_name: str,
    one: Asked,
    split: Split,
    score: QuestionScore,
    checkpoint_digest: str,
    dtype: str,
) -> Receipt:
    assert one.answer is not None and one.question.option_texts is not None
    policy = score.policy
    return Receipt(
        task=task,
        split=split_name,
        question_id=one.id,
        subject=one.subject,
        prompt=one.prompt,
        continuations=one.continuations,
        option_texts=tuple(one.question.option_texts),
        answer=one.answer,
        boundary=policy.boundary,
        moved=one.moved,
        bos_id=policy.bos_id,
        context=split.context,
        options=split.options,
        truncated=split.truncated,
        log_likelihoods=score.log_likelihoods,
        is_greedy=score.is_greedy,
        unconditional_prompt=policy.unconditional_prompt,
        unconditional=score.unconditional,
        dtype=dtype,
        checkpoint_digest=checkpoint_digest,
        normalisation=policy.normalisation,
    )


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


def _check_questions(where: str, read: AskedTask, has_answers: bool) -> None:
    """Raises ValueError, before anything is scored, for what metrics would refuse afterwards.

    Public sets have a few questions that list one option twice: of these it tells.
    """
    if not read.questions:
        raise ValueError(f"{where} has no questions, so there is no accuracy: look at its data.")
    for one in read.questions if has_answers else ():
        if len(one.question.options) < 2:
            raise ValueError(
                f"{where}: question {one.id!r} has one option, but to rank takes two: look at the"
                " task's rows."
            )
        if one.answer is None:
            raise ValueError(
                f"{where}: question {one.id!r} has not exactly one right option among its"
                f" {len(one.question.options)}: mend the task's is_correct."
            )
    equal = [one.id for one in read.questions if _has_equal_options(one)]
    if equal:
        logging.warning(
            "%s: %d questions have options of the same tokens, which tie, and of which the first is"
            " chosen; such as %s.",
            where,
            len(equal),
            ", ".join(equal[:3]),
        )


def _has_equal_options(one: Asked) -> bool:
    options = {tuple(map(int, option)) for option in one.question.options}
    return len(options) < len(one.question.options)


def mean_accuracy(metrics: Metrics) -> float:
    """Unweighted mean over tasks of `accuracy`, in percent.

    Raises:
      ValueError: a task's metric functions give none.
    """
    for task, values in metrics.items():
        if "accuracy" not in values:
            raise ValueError(
                f"metrics of {task} are {sorted(values)}, without 'accuracy', so there is no mean:"
                " give the task metric_fns=[rank_classification] too."
            )
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
