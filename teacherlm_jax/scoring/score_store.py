"""A cache of scores on disk: what is scored once is not scored again, after `kill -9` either.

    FOLDER/MODEL/RUN/start.jsonl      what other runs had scored when the run began
    FOLDER/MODEL/RUN/0123abcd.jsonl   what the run scored, a file each so many questions

MODEL names the parameters' digest, the model's configuration and its computation type; RUN the
tokens of all questions, in order, and the batch size. A run that was killed and is started again
makes the same batches, since those are made of what `start.jsonl` lacks, and runs those that no
file has: so the results are those of a run that was not killed, to the last bit.

Any folder may be deleted at any time: what it held is scored anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from etils import epath

from teacherlm_jax.data import ledger
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.partitioning import hosts
from teacherlm_jax.scoring import score_shards
from teacherlm_jax.scoring.rank import Progress, Scorer, check_finite
from teacherlm_jax.scoring.score_shards import Value
from teacherlm_jax.scoring.scores import Question, QuestionScore
from teacherlm_jax.scoring.split import Split

START = "start"

# Keys that hosts tell each other at a time.
_GATHERED = 2**16

# They change what a training step costs or does, and no likelihood.
_FOR_TRAINING = ("dropout_rate", "embedding_init_scale", "remat_policy", "scan_layers")


@dataclasses.dataclass(frozen=True)
class Reuse:
    """Where the scores of a call came from; the first four are of questions, and make up all.

    Attributes:
      reused: from other runs, such as other tasks with the same questions.
      resumed: from this run before it was interrupted.
      repeated: questions with the context and the options of another of the call.
      scored: anew.
      removed: files that were torn or changed, and are gone.
    """

    reused: int = 0
    resumed: int = 0
    repeated: int = 0
    scored: int = 0
    removed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Row:
    """What runs as one row: a question, or options without one."""

    cut: Split
    keys: tuple[str, ...]
    where: str


class ScoreStore:
    """Scores of one checkpoint: see the module."""

    def __init__(
        self,
        folder: epath.PathLike,
        checkpoint_digest: str,
        *,
        questions_per_file: int = 512,
        seconds_per_file: float = 20.0,
    ) -> None:
        """Reads and writes nothing yet.

        Args:
          folder: of the cache; many checkpoints and tasks share it.
          checkpoint_digest: of the parameters, such as `checkpoints.fingerprint.digest` gives.
          questions_per_file: a file is written when so many were scored since the last,
          seconds_per_file: or when so long has passed.

        Raises:
          ValueError: the digest is empty, or a number is out of its range.
        """
        if not checkpoint_digest:
            raise ValueError(
                "checkpoint_digest is empty, so scores of different checkpoints would be taken for "
                "each other: give a digest of the parameters."
            )
        if questions_per_file < 1:
            raise ValueError(
                f"questions_per_file = {questions_per_file}, but it must be at least 1."
            )
        self._folder = epath.Path(folder)
        self._checkpoint_digest = checkpoint_digest
        self._questions_per_file = questions_per_file
        self._seconds_per_file = seconds_per_file
        self.reuse = Reuse()
        """Of the last call of `score`."""

    def score(
        self,
        scorer: Scorer,
        params: Any,
        questions: Sequence[Question],
        progress: Progress | None = None,
    ) -> list[QuestionScore]:
        """As `Scorer.score`, but what is known is not scored again, and what is scored is kept.

        With several hosts all must call this alike; the first reads and writes.

        Raises:
          ValueError: a question is not valid; nothing has run then.
          OSError: what was scored last cannot be written.
        """
        splits = [scorer.cut(question) for question in questions]
        identity = _identity(self._checkpoint_digest, scorer.model)
        keys = score_shards.Keys(identity)
        of_question = [tuple(keys.of(cut.context, cut.options)) for cut in splits]
        options = {option for cut in splits for option in cut.without_prompt}
        without = _rows_without_prompt(scorer, keys, options)
        rows = _distinct(questions, splits, of_question)
        wanted = list(dict.fromkeys(key for row in (*without, *rows) for key in row.keys))
        folder = self._folder / _model_name(self._checkpoint_digest, scorer.model, identity)
        folder /= _digest([wanted, [row.keys for row in rows], scorer.batching])
        state = _State(folder, self._questions_per_file, self._seconds_per_file)
        state.read(wanted)
        self.reuse = state.reuse(rows, len(questions))
        before = len(questions) - self.reuse.scored

        def tell(scored: int) -> None:
            if progress is not None:
                progress(before + scored, len(questions))

        options -= {
            option
            for row in without
            for option, key in zip(row.cut.options, row.keys)
            if key in state.start
        }
        state.run(scorer, params, _rows_without_prompt(scorer, keys, options), lambda done: None)
        tell(0)
        state.run(scorer, params, [r for r in rows if not state.start.issuperset(r.keys)], tell)
        hosts.on_first_host(f"writing scores to {folder}", state.write)
        return _results(scorer, questions, splits, of_question, without, state.known)


class _State:
    """What a run knows, and has not written yet."""

    def __init__(self, folder: epath.Path, questions_per_file: int, seconds_per_file: float):
        self.known: dict[str, Value] = {}
        self.start: set[str] = set()
        self._folder = folder
        self._removed: list[str] = []
        self._questions_per_file = questions_per_file
        self._seconds_per_file = seconds_per_file
        self._pending: dict[str, Value] = {}
        self._pending_rows = 0
        self._written_at = time.monotonic()

    def read(self, wanted: Sequence[str]) -> None:
        """Reads what is known under these keys; all hosts then know the same."""
        hosts.on_first_host(f"reading scores from {self._folder}", lambda: self._read(set(wanted)))
        if jax.process_count() == 1:
            return
        for begin in range(0, len(wanted), _GATHERED):
            part = wanted[begin : begin + _GATHERED]
            own = [self.known.get(key, Value(0.0, False)) for key in part]
            # Log-likelihoods are computed in float32, so nothing is lost in it.
            values_P = hosts.gathered(np.array([v.log_likelihood for v in own], np.float32))[0]
            flags_P3 = hosts.gathered(
                np.array(
                    [(k in self.known, k in self.start, v.is_greedy) for k, v in zip(part, own)]
                )
            )[0]
            for key, value, (is_known, is_start, is_greedy) in zip(
                part, values_P.tolist(), flags_P3.tolist()
            ):
                if is_known:
                    self.known[key] = Value(value, is_greedy)
                if is_start:
                    self.start.add(key)

    def _read(self, wanted: Collection[str]) -> None:
        start = self._folder / (START + score_shards.SUFFIX)
        own = [path for path in score_shards.complete(self._folder) if path != start]
        at_start = self._read_all([start], wanted)
        if not ledger.is_complete(start):
            others = [
                path
                for folder in _folders(self._folder.parent)
                if folder != self._folder
                for path in score_shards.complete(folder)
            ]
            at_start = self._read_all(others, wanted)
            score_shards.write(self._folder, at_start, START)
        self.start = set(at_start)
        # What another run knew counts first, as it did when it began.
        self.known = {**self._read_all(own, wanted), **at_start}

    def _read_all(self, paths: Sequence[epath.Path], wanted: Collection[str]) -> dict[str, Value]:
        values, removed = score_shards.read_all(paths, wanted)
        self._removed += removed
        return values

    def reuse(self, rows: Sequence[_Row], questions: int) -> Reuse:
        """What is known before anything runs."""
        reused = sum(self.start.issuperset(row.keys) for row in rows)
        known = sum(self.known.keys() >= set(row.keys) for row in rows)
        return Reuse(
            reused=reused,
            resumed=known - reused,
            repeated=questions - len(rows),
            scored=len(rows) - known,
            removed=tuple(self._removed),
        )

    def run(
        self, scorer: Scorer, params: Any, rows: Sequence[_Row], tell: Callable[[int], None]
    ) -> None:
        """Scores rows, but for those that are known; what is done is kept, whatever happens."""
        known = frozenset(n for n, row in enumerate(rows) if self.known.keys() >= set(row.keys))
        done = 0
        try:
            for numbers, values_SNO, greedy_SNO in scorer.run(
                params, [row.cut for row in rows], known=known
            ):
                for number, values_O, greedy_O in zip(numbers, values_SNO[0], greedy_SNO[0]):
                    self._take(rows[number], values_O, greedy_O)
                done += len(numbers)
                self._write_if_due()
                tell(done)
        finally:
            if done and sys.exc_info()[0] is not None:
                self._try_to_write()

    def _take(self, row: _Row, values_O: np.ndarray, greedy_O: np.ndarray) -> None:
        check_finite(row.where, values_O[: len(row.keys)])
        for key, value, is_greedy in zip(row.keys, values_O.tolist(), greedy_O.tolist()):
            # What came first stays: a later reader finds one value under each key.
            if key not in self.known:
                self.known[key] = Value(value, is_greedy)
                if jax.process_index() == 0:
                    self._pending[key] = self.known[key]
        self._pending_rows += 1

    def _write_if_due(self) -> None:
        waited = time.monotonic() - self._written_at
        if self._pending_rows >= self._questions_per_file or waited >= self._seconds_per_file:
            self._try_to_write()

    def _try_to_write(self) -> None:
        """Writes on the first host; others do not wait. What fails now is tried again later."""
        try:
            if jax.process_index() == 0:
                self.write()
        except OSError as error:
            logging.warning("scores are not written yet: %s", error)
        self._pending_rows, self._written_at = 0, time.monotonic()

    def write(self) -> None:
        """Writes what is not written."""
        if self._pending:
            score_shards.write(self._folder, self._pending)
            self._pending = {}


def _identity(checkpoint_digest: str, model: DecoderConfig) -> str:
    """All but tokens that decides a score."""
    configuration = dataclasses.asdict(model)
    for field in _FOR_TRAINING:
        del configuration[field]
    return json.dumps([1, checkpoint_digest, configuration], sort_keys=True)


def _model_name(checkpoint_digest: str, model: DecoderConfig, identity: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9]+", "-", checkpoint_digest)[:16]
    return f"{readable}-{model.dtype}-{_digest(identity)}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _folders(folder: epath.Path) -> list[epath.Path]:
    if not folder.is_dir():
        return []
    return sorted((one for one in folder.iterdir() if one.is_dir()), key=str)


def _distinct(
    questions: Sequence[Question], splits: Sequence[Split], keys: Sequence[tuple[str, ...]]
) -> list[_Row]:
    """A row for each question, but for those that ask the same, in whatever order."""
    rows: dict[frozenset[str], _Row] = {}
    for question, cut, own in zip(questions, splits, keys, strict=True):
        # A key is of a context and an option.
        rows.setdefault(frozenset(own), _Row(cut, own, f"question {question.question_id!r}"))
    return list(rows.values())


def _rows_without_prompt(
    scorer: Scorer, keys: score_shards.Keys, options: Collection[tuple[int, ...]]
) -> list[_Row]:
    return [
        _Row(cut, tuple(keys.of(cut.context, cut.options)), "options without a prompt")
        for cut in scorer.without_prompt(options)
    ]


def _results(
    scorer: Scorer,
    questions: Sequence[Question],
    splits: Sequence[Split],
    keys: Sequence[tuple[str, ...]],
    without: Sequence[_Row],
    known: Mapping[str, Value],
) -> list[QuestionScore]:
    of_option = {
        option: known[key].log_likelihood
        for row in without
        for option, key in zip(row.cut.options, row.keys)
    }
    has_unconditional = scorer.policy.unconditional_prompt is not None
    return [
        scorer.result(
            question,
            cut,
            [known[key].log_likelihood for key in own],
            [known[key].is_greedy for key in own],
            [of_option[option] for option in cut.without_prompt] if has_unconditional else None,
        )
        for question, cut, own in zip(questions, splits, keys, strict=True)
    ]
