"""Questions as an evaluation asks them: which set, which splits, which words, which order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from teacherlm_jax.data.records import content_id
from teacherlm_jax.data.row_rendering import RawRow, RowError
from teacherlm_jax.tasks.catalogue.dataset import DATASETS, Dataset, Sample, samples
from teacherlm_jax.teacher.prompts import option_letters

REPORTED = "evaluation"
"""The split, in every task, that its set's figures are published for."""

WITH_TEST = ("train", "validation", "test")
WITHOUT_TEST = ("train", "validation")


@dataclasses.dataclass(frozen=True)
class Question:
    """A question with its options.

    Attributes:
      id: the set's own, or a hash of the content.
      question: as it is asked, without options.
      choices: the options' texts, in the order of the letters.
      answer: the right option's letter.
      fields: the row's own texts by name, without words that every question of the set has.
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: str
    fields: Mapping[str, str]


def _of_catalogue(dataset: Dataset, sample: Sample) -> str:
    return dataset.question.format_map(sample.fields)


@dataclasses.dataclass(frozen=True)
class EvaluationSet:
    """A set of questions, and how they are asked.

    Attributes:
      name: of its tasks, before "_letters" or "_options".
      dataset: its name in the catalogue.
      reported: the split of the source that figures are published for.
      splits: of the source that have answers; or seqio's split -> the source's.
      ask: the sample's question, without options; None: as the catalogue has it.
      prefix: stands before "Q: ".
      subject: "" where the set has none.
      has: tells rows of the set among the data set's; None: all are.
      may_have: as `has`, but told a row's JSON, and it may say yes too often: rows that it refuses
        are not parsed. None: it is not known so cheaply.
    """

    name: str
    dataset: str
    reported: str
    splits: tuple[str, ...] | Mapping[str, str] = WITH_TEST
    ask: Callable[[Sample], str] | None = None
    prefix: str = ""
    subject: str = ""
    has: Callable[[Mapping[str, Any]], bool] | None = None
    may_have: Callable[[bytes], bool] | None = None

    @property
    def definition(self) -> Dataset:
        """Of the catalogue."""
        return DATASETS[self.dataset]

    @property
    def seqio_splits(self) -> dict[str, str]:
        """Splits of the task -> those of the source."""
        splits = self.splits
        named = dict(splits if isinstance(splits, Mapping) else zip(splits, splits))
        return {**named, REPORTED: self.reported}

    def questions(self, row: RawRow) -> list[Question]:
        """The questions of a row; none where it has no answer, or is of another set.

        Raises:
          RowError: it is malformed, or lists no options.
        """
        if self.has is not None and not self.has(row.values):
            return []
        return [self._question(sample) for sample in samples(self.definition, row.values)]

    def _question(self, sample: Sample) -> Question:
        if len(sample.options) < 2:
            raise RowError(f"there are {len(sample.options)} options; to rank them takes two.")
        asked = self.ask(sample) if self.ask else _of_catalogue(self.definition, sample)
        place = sample.answer_index
        if place is None:
            place = sample.options.index(sample.answer)
        answer = option_letters(len(sample.options))[place]
        identity = sample.id or content_id(asked, sample.options, answer)
        return Question(identity, asked, sample.options, answer, sample.fields)
