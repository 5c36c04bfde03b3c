"""Which evaluation questions stand in training texts: rows are searched as a stream."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.data.question_index import KINDS, EvaluationQuestion, Found, QuestionIndex
from teacherlm_jax.data.record_source import record_of
from teacherlm_jax.data.row_rendering import RawRow, RowError
from teacherlm_jax.data.text_rows import TextRow
from teacherlm_jax.data.word_runs import APOSTROPHES, WordBatch, normalized

# About what the arrays of a batch leave room for in a core's cache.
_CHARACTERS_AT_ONCE = 128_000
_EXCERPT = 400


@dataclasses.dataclass(frozen=True)
class Match:
    """A training text that holds words of a question.

    Attributes:
      row: of the training data.
      field: of the row.
      questions: the question in all of its tasks and splits.
      found: the words that they share.
      span: those words, in lower case and without punctuation.
      has_answer: whether the row has the right answer's text as well; None: it is not known.
    """

    row: TextRow
    field: str
    questions: Sequence[EvaluationQuestion]
    found: Found
    span: str
    has_answer: bool | None

    def as_json(self) -> dict[str, Any]:
        """Both texts, and where they are equal."""
        first, *others = self.questions
        text = self.row.texts[self.field]
        begin, end = find_span(text, self.span) or (0, 0)
        before = max(begin - _EXCERPT, 0)
        return {
            "task": first.task,
            "split": first.split,
            "id": first.id,
            "also": [[other.task, other.split, other.id] for other in others],
            "kind": self.found.kind,
            "part": self.found.part,
            "words": self.found.words,
            "coverage": round(self.found.coverage, 4),
            "span": self.span,
            "question": first.parts[self.found.part],
            "answer": first.answer,
            "answer_in_row": self.has_answer,
            "source": self.row.source,
            "row_id": self.row.id,
            "where": self.row.where,
            "field": self.field,
            "before": text[before:begin],
            "matched": text[begin:end],
            "after": text[end : end + _EXCERPT],
        }


@dataclasses.dataclass(frozen=True)
class SearchedRow:
    """A row of training data, and what was found in it."""

    row: TextRow
    matches: Sequence[Match]


def search(rows: Iterable[TextRow], index: QuestionIndex) -> Iterator[SearchedRow]:
    """Searches the texts of rows for questions; holds few rows at a time."""
    for chunk in _chunks(rows):
        places = [(row, field) for row in chunk for field in row.texts]
        batch = WordBatch([row.texts[field] for row, field in places])
        matches: dict[int, list[Match]] = {}
        for found in index.search(batch):
            row, field = places[found.text]
            questions = index.entries[found.entry]
            span = batch.words(found.first, found.first + found.words)
            has_answer = _has_answer(row, questions[0].answer)
            match = Match(row, field, questions, found, span, has_answer)
            matches.setdefault(id(row), []).append(match)
        for row in chunk:
            yield SearchedRow(row, matches.get(id(row), ()))


def _chunks(rows: Iterable[TextRow]) -> Iterator[list[TextRow]]:
    chunk: list[TextRow] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += sum(map(len, row.texts.values()))
        if characters >= _CHARACTERS_AT_ONCE:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _has_answer(row: TextRow, answer: str) -> bool | None:
    wanted = normalized(answer)
    if not wanted:
        return None
    return any(f" {wanted} " in f" {normalized(text)} " for text in row.texts.values())


def find_span(text: str, span: str) -> tuple[int, int] | None:
    """Where a text has these words, as characters; None where they cannot be told.

    Args:
      text: as it was written.
      span: words as `word_runs.normalized` writes them.
    """
    apostrophes = f"[{re.escape(APOSTROPHES)}]*"
    words = [apostrophes.join(map(re.escape, word)) for word in span.split()]
    between = r"(?:\\n|[\W_])+"
    found = re.search(r"(?<![^\W_])" + between.join(words) + r"(?![^\W_])", text, re.IGNORECASE)
    # A line break that is written out as \n ends in a letter, and the next word begins there.
    found = found or re.search(between.join(words), text, re.IGNORECASE)
    return found.span() if found else None


@dataclasses.dataclass
class SplitCounts:
    """Questions of a split of an evaluation task.

    Attributes:
      questions: in all.
      touched: with a match in the training data.
      kinds: of those, by the strongest kind of match, exact before whole before ngram.
      unmatchable: that cannot be found, since all of their runs are common or they have no words.
    """

    questions: int = 0
    touched: int = 0
    kinds: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    unmatchable: int = 0


class Findings:
    """What a search has found so far, in memory that does not grow with the training data."""

    def __init__(self, index: QuestionIndex) -> None:
        self._index = index
        self._kinds: dict[int, str] = {}
        self.matches_of: dict[int, int] = {}
        self.sources: dict[str, dict[str, int]] = {}

    def add(self, searched: SearchedRow) -> None:
        """Counts a row."""
        empty = {"rows": 0, "rows_with_matches": 0}
        source = self.sources.setdefault(searched.row.source, empty)
        source["rows"] += 1
        source["rows_with_matches"] += bool(searched.matches)
        for entry in {match.found.entry for match in searched.matches}:
            self.matches_of[entry] = self.matches_of.get(entry, 0) + 1
        for match in searched.matches:
            entry, kind = match.found.entry, match.found.kind
            self._kinds[entry] = min(self._kinds.get(entry, kind), kind, key=KINDS.index)

    def counts(self) -> dict[tuple[str, str], SplitCounts]:
        """Of each task and split."""
        counts: dict[tuple[str, str], SplitCounts] = {}
        unmatchable = set(self._index.unmatchable)
        for entry, questions in enumerate(self._index.entries):
            for question in questions:
                count = counts.setdefault((question.task, question.split), SplitCounts())
                count.questions += 1
                if kind := self._kinds.get(entry):
                    count.touched += 1
                    count.kinds[kind] += 1
                count.unmatchable += entry in unmatchable
        return dict(sorted(counts.items()))

    def clean_subset(self) -> dict[str, dict[str, dict[str, list[str]]]]:
        """Task -> split -> {"clean": ids, "touched": ids}.

        An id that stands twice is touched where one of its questions is.
        """
        touched: dict[tuple[str, str], dict[str, bool]] = {}
        for entry, questions in enumerate(self._index.entries):
            for question in questions:
                ids = touched.setdefault((question.task, question.split), {})
                ids[question.id] = ids.get(question.id, False) or entry in self._kinds
        subsets: dict[str, dict[str, dict[str, list[str]]]] = {}
        for (task, split), ids in sorted(touched.items()):
            subsets.setdefault(task, {})[split] = {
                "clean": sorted(name for name, is_touched in ids.items() if not is_touched),
                "touched": sorted(name for name, is_touched in ids.items() if is_touched),
            }
        return subsets


def _record_id(values: Mapping[str, Any]) -> str:
    """The id that tasks over TeacherData give a row which has none; "": it is no TeacherData."""
    with contextlib.suppress(RowError):
        return record_of(RawRow(values, 0, "")).id
    return ""


def dropped_row(searched: SearchedRow) -> Mapping[str, Any]:
    """What a list of rows to leave out says of a row."""
    row = searched.row
    tasks = {question.task for match in searched.matches for question in match.questions}
    return {
        "source": row.source,
        "is_example": row.is_example,
        "id": row.id or ("" if row.is_example else _record_id(row.values)),
        "where": row.where,
        "key": row.key,
        "tasks": sorted(tasks),
    }
