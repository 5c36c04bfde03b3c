"""Rank classification: the option with the highest log-likelihood is the prediction.

Shape legend: S parameter sets, B rows, N questions, O options.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from teacherlm_jax.generation import batching
from teacherlm_jax.generation.placement import Placement
from teacherlm_jax.metrics.finite import NonFiniteError
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.scoring import batches, likelihood, sharing, split
from teacherlm_jax.scoring.scores import (
    OptionRow,
    Question,
    QuestionScore,
    ScoringPolicy,
    group_rows,
)

# Batches in flight: the host prepares the next while the device works on these.
_IN_FLIGHT = 2
# Names, in errors, the rows that score options without their questions.
_WITHOUT_PROMPT = "options after the unconditional prompt"
# Options that share such a row.
_TOGETHER = 8

Progress = Callable[[int, int], None]
# A row, and the numbers of the questions in it.
_Asked = tuple[tuple[int, ...], likelihood.Row]


@functools.lru_cache(maxsize=32)
def _function(model: Decoder, stacked: bool, placement: Placement) -> Callable[..., Any]:
    """The jitted likelihood, shared by all scorers that are configured alike."""

    def score(params: Any, rows: likelihood.Rows, options: int) -> likelihood.OptionScores:
        batching.count_trace("scoring")
        return likelihood.score(params, model, rows, options)

    def score_all(params: Any, rows: likelihood.Rows, options: int) -> likelihood.OptionScores:
        function = functools.partial(score, options=options)
        return (jax.vmap(function, in_axes=(0, None)) if stacked else function)(params, rows)

    return jax.jit(score_all, static_argnums=2, out_shardings=placement.replicated)


class Scorer:
    """Scores the options of questions under a model.

    Every question costs one forward pass: see `likelihood`; those whose prompts begin alike share
    one: see `sharing`. Row sizes are fitted to the questions, few of them, each compiled once: see
    `batches`.
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
          batch_size: questions that run together; where some share rows, as many positions as of
            so many alone.
          buckets: row lengths to which batches are padded, where they are to be the same for all
            data; a row holds the prompt and the options but for their last tokens. By default
            fitted to the questions.
          mesh: devices to run on; None: the default device.
          rules: logical axis rules of the mesh.

        Raises:
          ValueError: a number is out of its range.
        """
        # The last token of an option is scored, but no input.
        model.config.check_row_length(policy.max_length, "max_length", unread=1)
        self.policy = policy
        self._model = model
        self._placement = Placement(mesh, rules)
        self._placement.check_batch_size(batch_size)
        self._batch_size = batch_size
        self._buckets = None if buckets is None else sorted(set(buckets))
        self._vocab_size = model.config.vocab_size
        self._compilations = batching.CompilationCount()

    @property
    def batching(self) -> dict[str, Any]:
        """What decides in which shapes questions run, as JSON values."""
        return {"batch_size": self._batch_size, "buckets": self._buckets}

    @property
    def model(self) -> DecoderConfig:
        """The model that it is for."""
        return self._model.config

    @property
    def compilations(self) -> int:
        """Programs compiled for this scorer so far."""
        return self._compilations.total

    def check(self, questions: Sequence[Question]) -> None:
        """Checks every question, before anything is compiled.

        Raises:
          ValueError: naming the question, its numbers and what to change.
        """
        cuts = [self.cut(question) for question in questions]
        if self.policy.unconditional_prompt is not None and cuts:
            self.without_prompt([option for cut in cuts for option in cut.without_prompt])

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
        splits = [self.cut(question) for question in questions]
        unconditional = self._unconditional(params, splits, stacked)
        found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for numbers, values_SNO, greedy_SNO in self.run(params, splits, stacked=stacked):
            for index, number in enumerate(numbers):
                count = len(splits[number].options)
                values_SO = values_SNO[:, index, :count]
                check_finite(f"question {questions[number].question_id!r}", values_SO)
                found[number] = values_SO, greedy_SNO[:, index, :count]
            if progress is not None:
                progress(len(found), len(questions))
        sets = jax.tree.leaves(params)[0].shape[0] if stacked else 1
        return [
            [
                self.result(
                    question,
                    splits[number],
                    found[number][0][which].tolist(),
                    found[number][1][which].tolist(),
                    None if unconditional is None else unconditional[which][number],
                )
                for number, question in enumerate(questions)
            ]
            for which in range(sets)
        ]

    def result(
        self,
        question: Question,
        cut: split.Split,
        log_likelihoods: Sequence[float],
        is_greedy: Sequence[bool],
        unconditional: Sequence[float] | None,
    ) -> QuestionScore:
        """The score of a question out of what was found for each of its options."""
        return QuestionScore(
            question_id=question.question_id,
            log_likelihoods=tuple(log_likelihoods),
            token_counts=tuple(map(len, cut.options)),
            truncated=cut.truncated,
            policy=self.policy,
            is_greedy=tuple(is_greedy),
            option_texts=None if question.option_texts is None else tuple(question.option_texts),
            unconditional=None if unconditional is None else tuple(unconditional),
        )

    def without_prompt(self, options: Collection[tuple[int, ...]]) -> list[split.Split]:
        """Rows that score options after the policy's unconditional prompt, each different one once.

        Empty where the policy has no such prompt.
        """
        prompt = self.policy.unconditional_prompt
        if prompt is None:
            return []
        different = sorted(set(options))
        return [
            self.cut(Question(_WITHOUT_PROMPT, prompt, different[start : start + _TOGETHER]))
            for start in range(0, len(different), _TOGETHER)
        ]

    def _unconditional(
        self, params: Any, splits: Sequence[split.Split], stacked: bool
    ) -> list[list[tuple[float, ...]]] | None:
        """Log-likelihoods of each question's options without it."""
        if self.policy.unconditional_prompt is None:
            return None
        asked = self.without_prompt([option for one in splits for option in one.without_prompt])
        known: list[dict[tuple[int, ...], float]] = []
        for numbers, values_SNO, _ in self.run(params, asked, stacked=stacked):
            known = known or [{} for _ in values_SNO]
            for values_NO, of_option in zip(values_SNO, known):
                for number, values_O in zip(numbers, values_NO):
                    of_option.update(zip(asked[number].options, values_O.tolist()))
        return [
            [tuple(of_option[option] for option in question.without_prompt) for question in splits]
            for of_option in known
        ]

    def cut(self, question: Question) -> split.Split:
        """The question as it is scored: with BOS, and cut where it is too long.

        Raises:
          ValueError: it cannot be scored; names the question, its numbers and what to change.
        """
        where = f"question {question.question_id!r}"
        result = split.split_question(
            question.prompt_tokens,
            question.options,
            bos_id=self.policy.bos_id,
            max_length=self.policy.max_length,
            truncation=self.policy.truncation,
            where=where,
        )
        positions = likelihood.row_of(result).size.positions
        if self._buckets is not None and positions > self._buckets[-1]:
            raise ValueError(
                f"{where}: its prompt and options need {positions} positions, which do not fit the "
                f"largest bucket, {self._buckets[-1]}: add a bucket of at least {positions}, or "
                "leave buckets None."
            )
        if question.options_alone is not None:
            alone = tuple(tuple(map(int, option)) for option in question.options_alone)
            result = dataclasses.replace(result, alone=alone)
        for tokens in (result.context, *result.options, *filter(None, result.alone)):
            if not 0 <= min(tokens) <= max(tokens) < self._vocab_size:
                raise ValueError(
                    f"{where}: token ids from {min(tokens)} to {max(tokens)}, but they must "
                    f"lie in [0, {self._vocab_size}): the text was tokenized with another "
                    "vocabulary than the model's."
                )
        return result

    def run(
        self,
        params: Any,
        splits: Sequence[split.Split],
        *,
        known: Collection[int] = (),
        stacked: bool = False,
    ) -> Iterator[tuple[tuple[int, ...], np.ndarray, np.ndarray]]:
        """Runs what `cut` gave, batch by batch; over many processes the same in every process.

        Args:
          params: as in `score`, or in `score_stacked`.
          splits: what is scored.
          known: numbers of those that are not: batches are made as if they were, so that the others
            run in the same shapes, and come out the same; a batch of none but these does not run.
          stacked: whether parameters have a leading axis.

        Yields:
          Numbers of questions that ran together, and their log-likelihoods and greediness
          [S, N, O].
        """
        pending: collections.deque[tuple[list[_Asked], likelihood.OptionScores]]
        pending = collections.deque()
        known = frozenset(known)
        function = _function(self._model, stacked, self._placement)

        def fetch() -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
            asked, values = pending.popleft()
            arrays = (np.asarray(array) for array in jax.device_get(values))
            values_SBO, greedy_SBO = (array if stacked else array[None] for array in arrays)
            return _of_questions(asked, known, values_SBO, greedy_SBO)

        for asked, size, row_count in self._batches(splits):
            # A row is run as a whole or not at all: what is left would come out otherwise rounded.
            asked = [(numbers, row) for numbers, row in asked if not known.issuperset(numbers)]
            if not asked:
                continue
            rows = likelihood.make_rows([row for _, row in asked], row_count, size)
            with self._compilations.watch(), self._placement.activate():
                values = function(params, self._placement.put_batch(rows), size.options)
            pending.append((asked, values))
            if len(pending) > _IN_FLIGHT:
                yield fetch()
        while pending:
            yield fetch()

    def _batches(
        self, splits: Sequence[split.Split]
    ) -> Iterator[tuple[list[_Asked], likelihood.RowSize, int]]:
        """Batches of rows, the size of these, and how many there may be: questions alone first."""
        own = self._batch_size // self._placement.shards
        longest = None if self._buckets is None else self._buckets[-1]
        asked = sharing.rows(splits, own, longest)
        for is_shared in (False, True):
            part = [one for one in asked if (len(one[0]) > 1) == is_shared]
            sizes = [row.size for _, row in part]
            row_count, most_places = self._batch_size, batches.MOST_PLACES
            if is_shared and part:
                # As many positions in a batch as of questions alone.
                alone = max(likelihood.row_of(q).size.positions for _, row in part for q in row[0])
                most = max(size.positions for size in sizes)
                row_count = batches.evenly(
                    len(part), max(1, own * alone // most), self._placement.shards
                )
                # Predictions cost little beside so many positions, and each size a program.
                most_places = 1
            for batch in batches.plan(sizes, row_count, self._buckets, most_places):
                yield [part[number] for number in batch.numbers], batch.size, row_count


def _of_questions(
    asked: Sequence[_Asked], known: Collection[int], values_SBO: np.ndarray, greedy_SBO: np.ndarray
) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """Numbers of the rows' questions but for known ones, and what was found for each [S, N, O]."""
    found = []
    for b, (numbers, row) in enumerate(asked):
        first = 0
        for number, question in zip(numbers, row.questions):
            found.append((number, b, slice(first, first + len(question.options))))
            first += len(question.options)
    found = [one for one in found if one[0] not in known]
    most = max(own.stop - own.start for _, _, own in found)

    def of_each(values_SBO: np.ndarray) -> np.ndarray:
        values_SNO = np.zeros((len(values_SBO), len(found), most), values_SBO.dtype)
        for n, (_, b, own) in enumerate(found):
            values_SNO[:, n, : own.stop - own.start] = values_SBO[:, b, own]
        return values_SNO

    return tuple(number for number, _, _ in found), of_each(values_SBO), of_each(greedy_SBO)


def check_finite(where: str, values_SO: np.ndarray) -> None:
    """Raises NonFiniteError where a model gives NaN: ranking it would look like a result."""
    if not np.isfinite(values_SO).all():
        raise NonFiniteError(
            f"{where}: its log-likelihoods are {values_SO.tolist()}, but they must be finite: the "
            "parameters or activations are not; look at the losses of the training run that wrote "
            "them."
        )
