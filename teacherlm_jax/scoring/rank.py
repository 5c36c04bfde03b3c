"""Rank classification: the option with the highest log-likelihood is the prediction.

Shape legend: B questions, T context positions, O options, L option positions.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from teacherlm_jax.generation import batching
from teacherlm_jax.generation.placement import Placement
from teacherlm_jax.metrics.finite import NonFiniteError
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.scoring import likelihood, split
from teacherlm_jax.scoring.scores import (
    OptionRow,
    Question,
    QuestionScore,
    ScoringPolicy,
    group_rows,
)

# Batches in flight: the host prepares the next while the device works on these.
_IN_FLIGHT = 2

Progress = Callable[[int, int], None]


@functools.lru_cache(maxsize=32)
def _function(
    model: Decoder, max_length: int, single: bool, stacked: bool, placement: Placement
) -> Callable[..., jax.Array]:
    """The jitted likelihood, shared by all scorers that are configured alike."""

    def score(params: Any, questions: likelihood.Questions) -> jax.Array:
        batching.count_trace("scoring.single" if single else "scoring.general")
        if single:
            return likelihood.single_token_log_likelihoods(params, model, questions)
        return likelihood.log_likelihoods(params, model, questions, max_length)

    function = jax.vmap(score, in_axes=(0, None)) if stacked else score
    return jax.jit(function, out_shardings=placement.replicated)


def _width(count: int) -> int:
    """The power of two to which a number of options is padded."""
    return 1 << (count - 1).bit_length()


@dataclasses.dataclass(frozen=True)
class _Group:
    """Questions whose batches have the same shapes but for the context's bucket."""

    numbers: tuple[int, ...]
    option_count: int
    option_length: int


class Scorer:
    """Scores the options of questions under a model.

    Options of one token, such as letters, cost one forward pass a question. Longer ones share
    the prompt's: it is computed once, and the options continue from its cache.
    """

    def __init__(
        self,
        model: Decoder,
        policy: ScoringPolicy,
        *,
        batch_size: int = 64,
        buckets: Sequence[int] | None = None,
        mesh: Mesh | None = None,
        rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES,
    ) -> None:
        """Configures; compiles nothing.

        Args:
          model: the decoder.
          policy: how options are scored.
          batch_size: rows that run together: questions with options of one token, and
            (question, option) pairs otherwise.
          buckets: context lengths to which batches are padded, each compiled once; by default
            powers of two.
          mesh: devices to run on; None: the default device.
          rules: logical axis rules of the mesh.

        Raises:
          ValueError: a number is out of its range.
        """
        model.config.check_row_length(policy.max_length, "max_length")
        self.policy = policy
        self._model = model
        self._placement = Placement(mesh, rules)
        self._placement.check_batch_size(batch_size)
        self._batch_size = batch_size
        self._buckets = batching.resolve_buckets(buckets, policy.max_length)
        self._option_buckets = batching.default_buckets(policy.max_length, smallest=4, factor=4)
        self._vocab_size = model.config.vocab_size
        self._compilations = batching.CompilationCount()

    @property
    def compilations(self) -> int:
        """Programs compiled for this scorer so far."""
        return self._compilations.total

    def check(self, questions: Sequence[Question]) -> None:
        """Checks every question, before anything is compiled.

        Raises:
          ValueError: naming the question, its numbers and what to change.
        """
        for question in questions:
            self._split(question)

    def score(
        self, params: Any, questions: Sequence[Question], progress: Progress | None = None
    ) -> list[QuestionScore]:
        """Scores every option of every question.

        Args:
          params: the model's parameters, placed by the caller where there is a mesh.
          questions: in any order; over many processes the same in every process.
          progress: called after each batch with the questions done and their number.

        Returns:
          Scores in the order of the questions.

        Raises:
          ValueError: a question is not valid; nothing has run then.
        """
        return self._score(params, questions, progress, stacked=False)[0]

    def score_stacked(
        self, params: Any, questions: Sequence[Question], progress: Progress | None = None
    ) -> list[list[QuestionScore]]:
        """As `score`, for several parameter sets at once, stacked on a leading axis.

        Returns:
          One list of scores a parameter set.
        """
        return self._score(params, questions, progress, stacked=True)

    def score_rows(
        self, params: Any, rows: Sequence[OptionRow], progress: Progress | None = None
    ) -> list[float]:
        """Scores a flat table of (question, option) rows, sharing the prompts.

        Args:
          params: as in `score`.
          rows: rows of a question need not stand together.
          progress: as in `score`.

        Returns:
          The score of each row, in the order of the rows.

        Raises:
          ValueError: rows of a question differ in their prompts, or one is not valid.
        """
        questions, places = group_rows(rows)
        scores = [result.scores for result in self.score(params, questions, progress)]
        return [scores[question][option] for question, option in places]

    def _score(
        self, params: Any, questions: Sequence[Question], progress: Progress | None, stacked: bool
    ) -> list[list[QuestionScore]]:
        splits = [self._split(question) for question in questions]
        found: dict[int, np.ndarray] = {}
        for numbers, values_SBO in self._results(params, splits, stacked):
            for index, number in enumerate(numbers):
                _check_finite(questions[number], values_SBO[:, index])
                found[number] = values_SBO[:, index, : len(splits[number].options)]
            if progress is not None:
                progress(len(found), len(questions))
        sets = jax.tree.leaves(params)[0].shape[0] if stacked else 1
        return [
            [
                QuestionScore(
                    question_id=question.question_id,
                    log_likelihoods=tuple(found[number][which].tolist()),
                    token_counts=tuple(map(len, splits[number].options)),
                    truncated=splits[number].truncated,
                    policy=self.policy,
                )
                for number, question in enumerate(questions)
            ]
            for which in range(sets)
        ]

    def _split(self, question: Question) -> split.Split:
        where = f"question {question.question_id!r}"
        result = split.split_question(
            question.prompt_tokens,
            question.options,
            bos_id=self.policy.bos_id,
            max_length=self.policy.max_length,
            truncation=self.policy.truncation,
            where=where,
        )
        if len(result.context) > self._buckets[-1]:
            raise ValueError(
                f"{where}: {len(result.context)} context tokens do not fit the largest bucket, "
                f"{self._buckets[-1]}: add a bucket of at least {len(result.context)}, or leave "
                "buckets None."
            )
        for tokens in (result.context, *result.options):
            if not 0 <= min(tokens) <= max(tokens) < self._vocab_size:
                raise ValueError(
                    f"{where}: token ids from {min(tokens)} to {max(tokens)}, but they must "
                    f"lie in [0, {self._vocab_size}): the text was tokenized with another "
                    "vocabulary than the model's."
                )
        return result

    def _results(
        self, params: Any, splits: Sequence[split.Split], stacked: bool
    ) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """Question numbers of each batch and their log-likelihoods, float32 [sets, B, O]."""
        pending: collections.deque[tuple[tuple[int, ...], jax.Array]] = collections.deque()

        def fetch() -> tuple[tuple[int, ...], np.ndarray]:
            numbers, values = pending.popleft()
            array = np.asarray(jax.device_get(values))
            return numbers, array if stacked else array[None]

        for group in self._groups(splits):
            single = group.option_length == 1
            function = _function(
                self._model, self.policy.max_length, single, stacked, self._placement
            )
            batch_size = self._questions_per_batch(group)
            lengths = [len(splits[number].context) for number in group.numbers]
            for plan in batching.plan_batches(lengths, batch_size, self._buckets):
                numbers = tuple(group.numbers[row] for row in plan.rows)
                batch = _pad([splits[n] for n in numbers], group, batch_size, plan.length)
                with self._compilations.watch(), self._placement.activate():
                    values = function(params, self._placement.put_batch(batch))
                pending.append((numbers, values))
                if len(pending) > _IN_FLIGHT:
                    yield fetch()
        while pending:
            yield fetch()

    def _groups(self, splits: Sequence[split.Split]) -> list[_Group]:
        """Questions by the shape of their options; all that have single tokens together."""
        numbers: dict[tuple[int, int], list[int]] = {}
        widest = 1
        for number, question in enumerate(splits):
            count = _width(len(question.options))
            length = max(map(len, question.options))
            if length == 1:
                widest = max(widest, count)
                key = (0, 1)
            else:
                key = (count, batching.bucket_for(length, self._option_buckets))
            numbers.setdefault(key, []).append(number)
        return [
            _Group(tuple(found), count or widest, length)
            for (count, length), found in sorted(numbers.items(), reverse=True)
        ]

    def _questions_per_batch(self, group: _Group) -> int:
        if group.option_length == 1:
            return self._batch_size
        shards = self._placement.shards
        return max(1, self._batch_size // group.option_count // shards) * shards


def _check_finite(question: Question, values_SO: np.ndarray) -> None:
    """Raises NonFiniteError where a model gives NaN: ranking it would look like a result."""
    if not np.isfinite(values_SO).all():
        raise NonFiniteError(
            f"question {question.question_id!r}: its log-likelihoods are {values_SO.tolist()}, but "
            "they must be finite: the parameters or activations are not; look at the losses of "
            "the training run that wrote them."
        )


def _pad(
    splits: Sequence[split.Split], group: _Group, batch_size: int, length: int
) -> likelihood.Questions:
    """One batch as arrays."""
    contexts_BT, context_lengths_B = batching.pad_rows(
        [question.context for question in splits], batch_size, length
    )
    options_BOL = np.zeros((batch_size, group.option_count, group.option_length), np.int32)
    option_lengths_BO = np.zeros((batch_size, group.option_count), np.int32)
    for index, question in enumerate(splits):
        for number, option in enumerate(question.options):
            options_BOL[index, number, : len(option)] = option
            option_lengths_BO[index, number] = len(option)
    return likelihood.Questions(contexts_BT, context_lengths_B, options_BOL, option_lengths_BO)
