"""Evaluation questions, indexed by hashes of runs of their words, and how texts are searched.

A question's own texts count, without options or anything that a prompt puts around it. Runs that
many different questions share are no evidence of a leak and are left out.

Shape legend: W words, R runs of words, C candidates.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from teacherlm_jax.data.word_runs import Runs, WordBatch

EXACT, WHOLE, NGRAM = "exact", "whole", "ngram"
"""All of a line or of a text is all of a part; all of a part stands in a longer text; some."""

KINDS = (EXACT, WHOLE, NGRAM)

_FILTER_CELLS_A_RUN = 16
_HEAD_FILTER_BITS = 20
_INDEXED_AT_ONCE = 512

# Words of a part that gives away a question which has a longer part too.
_LEAST_OF_SEVERAL = 3


@dataclasses.dataclass(frozen=True)
class EvaluationQuestion:
    """A question that models are evaluated on.

    Attributes:
      task: name of the evaluation task.
      split: of the task.
      id: the question's, in the split.
      parts: its own texts by name, such as premise and hypothesis; each is looked for by itself.
      options: texts of the options; they tell apart questions with the same parts.
      answer: the right answer's text; "": not known.
    """

    task: str
    split: str
    id: str
    parts: Mapping[str, str]
    options: tuple[str, ...] = ()
    answer: str = ""


@dataclasses.dataclass(frozen=True)
class MatchRule:
    """What counts as a match.

    Attributes:
      ngram: words in a row that a question and a text must share.
      min_whole: a part with fewer words than `ngram` is found as a whole; one with fewer than
        this, only where it is all of a line or of a text. One or two words are looked for only if
        the question has no longer part: "cause" gives away no question.
      max_questions: a run of words in more different questions than this is ignored.
      min_coverage: least share of a part's words that the matched run must have, 0 to 1.

    Raises:
      ValueError: a number is out of its range.
    """

    ngram: int = 13
    min_whole: int = 5
    max_questions: int = 10
    min_coverage: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.min_whole <= self.ngram:
            raise ValueError(
                f"min_whole = {self.min_whole} and ngram = {self.ngram}, but 1 <= min_whole <="
                " ngram must hold."
            )
        if self.max_questions < 1 or not 0 <= self.min_coverage <= 1:
            raise ValueError(
                f"max_questions = {self.max_questions} must be at least 1, and min_coverage ="
                f" {self.min_coverage} from 0 to 1."
            )


@dataclasses.dataclass(frozen=True)
class Found:
    """A run of words that a text and a part of a question share.

    Attributes:
      text: number of the text in its batch.
      entry: number of the question's entry in the index.
      part: name of the question's part.
      first: the run's first word in the batch.
      words: the run's length.
      kind: one of `KINDS`.
      coverage: share of the part's words.
    """

    text: int
    entry: int
    part: str
    first: int
    words: int
    kind: str
    coverage: float


@dataclasses.dataclass(frozen=True)
class _Part:
    entry: int
    name: str
    hashes_W: np.ndarray


class QuestionIndex:
    """Questions by the runs of words that give them away.

    Questions with the same parts and options, in whatever task and split, are one entry.

    Attributes:
      entries: the questions of each entry.
      ignored_runs: runs left out since too many entries have them.
      unmatchable: numbers of the entries of which no run is left.
    """

    def __init__(self, questions: Iterable[EvaluationQuestion], rule: MatchRule) -> None:
        self.rule = rule
        self.entries: list[list[EvaluationQuestion]] = []
        self._parts: list[_Part] = []
        self._enter(questions)
        columns = [self._runs_of(number, part) for number, part in enumerate(self._parts)]
        columns += [_no_runs()]
        hashes, parts, offsets = (np.concatenate(column) for column in zip(*columns))
        order = np.lexsort((offsets, parts, hashes))
        hashes, parts, offsets = hashes[order], parts[order], offsets[order]
        entries = np.array([part.entry for part in self._parts], np.int64)[parts]
        is_common = _is_common(hashes, entries, rule.max_questions)
        self.ignored_runs = len(np.unique(hashes[is_common]))
        keep = ~is_common
        self._hashes, self._part_R, self._offsets = hashes[keep], parts[keep], offsets[keep]
        self.unmatchable = sorted(set(range(len(self.entries))) - set(entries[keep].tolist()))
        bits = max(16, (len(self._hashes) * _FILTER_CELLS_A_RUN).bit_length())
        self._filter = _Filter(self._hashes, bits)
        self._prepare_short()

    @property
    def runs(self) -> int:
        """Runs in the index."""
        return len(self._hashes)

    def search(self, batch: WordBatch) -> list[Found]:
        """The longest run that each text shares with each part of a question, text by text.

        Of equally long ones it is one of the strongest kind.
        """
        best: dict[tuple[int, int], Found] = {}
        ends: dict[tuple[int, int], int] = {}
        for place, run in self._candidates(batch):
            number, offset = int(self._part_R[run]), int(self._offsets[run])
            # Where words of the part repeat, one place belongs to several runs, begun elsewhere.
            begun = (number, place - offset)
            if place < ends.get(begun, 0):
                continue  # A later part of a run that was found from its beginning.
            text = int(batch.text_W[place])
            found = self._grown(batch, text, self._parts[number], place, offset)
            if found is None:
                continue
            ends[begun] = found.first + found.words
            known = best.get((text, number))
            if known is None or _strength(found) > _strength(known):
                best[text, number] = found
        kept = [found for found in best.values() if found.coverage >= self.rule.min_coverage]
        return sorted(kept, key=lambda found: (found.text, found.entry, found.part))

    def _enter(self, questions: Iterable[EvaluationQuestion]) -> None:
        """Fills entries and parts."""
        known: dict[tuple[bytes, ...], int] = {}
        for chunk in _chunks(questions, _INDEXED_AT_ONCE):
            texts = [text for question in chunk for text in question.parts.values()]
            texts += ["\n".join(sorted(question.options)) for question in chunk]
            batch = WordBatch(texts)
            hashes = [
                batch.hashes_W[first:end].copy()
                for first, end in itertools.pairwise(batch.first_word_T.tolist())
            ]
            of_options = hashes[len(hashes) - len(chunk) :]
            of_parts = iter(hashes)
            for question, options_W in zip(chunk, of_options):
                parts = {name: next(of_parts) for name in question.parts}
                key = (options_W.tobytes(), *(part_W.tobytes() for part_W in parts.values()))
                entry = known.setdefault(key, len(self.entries))
                if entry == len(self.entries):
                    self.entries.append([])
                    self._enter_parts(entry, parts)
                self.entries[entry].append(question)

    def _enter_parts(self, entry: int, parts: Mapping[str, np.ndarray]) -> None:
        longest = max(map(len, parts.values()), default=0)
        least = min(longest, _LEAST_OF_SEVERAL)
        self._parts += [
            _Part(entry, name, part_W)
            for name, part_W in parts.items()
            if len(part_W) >= max(least, 1)
        ]

    def _runs_of(self, number: int, part: _Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hashes, part and offsets of the runs that a part is found by."""
        length = min(len(part.hashes_W), self.rule.ngram)
        first_R = np.arange(len(part.hashes_W) - length + 1)
        hashes_R = Runs(part.hashes_W).hashes_R(first_R, first_R + length)
        return hashes_R, np.full(len(first_R), number), first_R

    def _prepare_short(self) -> None:
        """What short parts need: which lengths there are, and which words one may begin with."""
        least, ngram = self.rule.min_whole, self.rule.ngram
        lengths = {len(part.hashes_W) for part in self._parts}
        self._short_lengths = sorted(length for length in lengths if least <= length < ngram)
        self._has_tiny = any(length < least for length in lengths)
        heads = [
            part.hashes_W[:least] for part in self._parts if least <= len(part.hashes_W) < ngram
        ]
        first = np.arange(len(heads)) * least
        hashes = Runs(np.concatenate([np.zeros(0, np.uint64), *heads]))
        self._heads = _Filter(hashes.hashes_R(first, first + least), _HEAD_FILTER_BITS)

    def _candidates(self, batch: WordBatch) -> Iterator[tuple[int, int]]:
        """First words in the batch, and numbers of runs of the index with the same hash."""
        places, hashes = [], []
        for first_R, end_R in self._runs_to_look_up(batch):
            hashes_R = batch.runs.hashes_R(first_R, end_R)
            is_likely = self._filter.may_hold(hashes_R)
            places.append(first_R[is_likely])
            hashes.append(hashes_R[is_likely])
        place_C, hash_C = np.concatenate(places), np.concatenate(hashes)
        low_C = np.searchsorted(self._hashes, hash_C, side="left")
        high_C = np.searchsorted(self._hashes, hash_C, side="right")
        hit_C = np.flatnonzero(high_C > low_C)
        for hit in hit_C[np.argsort(place_C[hit_C], kind="stable")].tolist():
            for run in range(int(low_C[hit]), int(high_C[hit])):
                yield int(place_C[hit]), run

    def _runs_to_look_up(self, batch: WordBatch) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """First words and ends of runs of the batch, of each length that the index has."""
        least = self.rule.min_whole
        first_R = batch.first_words_R(self.rule.ngram)
        yield first_R, first_R + self.rule.ngram
        if self._short_lengths:
            first_R = batch.first_words_R(least)
            is_likely = self._heads.may_hold(batch.runs.hashes_R(first_R, first_R + least))
            first_R = first_R[is_likely]
            text_end_R = batch.first_word_T[batch.text_W[first_R] + 1]
            for length in self._short_lengths:
                fitting_R = first_R[first_R + length <= text_end_R]
                yield fitting_R, fitting_R + length
        if self._has_tiny:
            lines_L2 = batch.lines_L2()
            tiny = lines_L2[lines_L2[:, 1] - lines_L2[:, 0] < least]
            yield tiny[:, 0], tiny[:, 1]

    def _grown(
        self, batch: WordBatch, text: int, part: _Part, place: int, offset: int
    ) -> Found | None:
        """The run around a candidate, as long as it gets; None: only the hashes were equal."""
        first, end = batch.first_word_T[text : text + 2].tolist()
        size = len(part.hashes_W)
        before = _common(batch.hashes_W[first:place][::-1], part.hashes_W[:offset][::-1])
        after = _common(batch.hashes_W[place:end], part.hashes_W[offset:])
        if after < min(size, self.rule.ngram):
            return None
        words = before + after
        begin = place - before
        kind = NGRAM
        if words == size:
            kind = EXACT if batch.are_lines(begin, begin + words) else WHOLE
        return Found(text, part.entry, part.name, begin, words, kind, words / size)


class _Filter:
    """Says of most hashes that are not in a set that they are not, by one look into memory."""

    def __init__(self, hashes: np.ndarray, bits: int) -> None:
        self._shift = np.uint64(64 - bits)
        self._cells = np.zeros(1 << bits, bool)
        self._cells[hashes >> self._shift] = True

    def may_hold(self, hashes_R: np.ndarray) -> np.ndarray:
        return self._cells[hashes_R >> self._shift]


def _strength(found: Found) -> tuple[int, int]:
    return found.words, -KINDS.index(found.kind)


def _is_common(hashes: np.ndarray, entries: np.ndarray, max_entries: int) -> np.ndarray:
    """Which of the sorted runs stand in too many entries."""
    if not len(hashes):
        return np.zeros(0, bool)
    is_new_hash = np.concatenate([[True], hashes[1:] != hashes[:-1]])
    is_new = is_new_hash | np.concatenate([[True], entries[1:] != entries[:-1]])
    group = np.cumsum(is_new_hash) - 1
    return np.bincount(group, weights=is_new)[group] > max_entries


def _common(left: np.ndarray, right: np.ndarray) -> int:
    """How many elements are equal from the beginning on."""
    length = min(len(left), len(right))
    differ = np.flatnonzero(left[:length] != right[:length])
    return int(differ[0]) if len(differ) else length


def _chunks(
    questions: Iterable[EvaluationQuestion], size: int
) -> Iterator[list[EvaluationQuestion]]:
    remaining = iter(questions)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk


def _no_runs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64)
