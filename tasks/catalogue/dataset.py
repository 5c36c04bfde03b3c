"""What the catalogue says of a data set: where its rows are, and how one is read.

A definition is used by everything that wants the data set: Muffin's and P3's templates, the
questions that a teacher annotates, and evaluation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError


@dataclasses.dataclass(frozen=True)
class Sample:
    """One row, read.

    Attributes:
      fields: texts that templates may name, such as premise and hypothesis. None is empty, unless
        its data set says so.
      answer: the right answer's text; one of the options where there are any.
      options: what the answer is chosen from; empty: the answer is open.
      id: the data set's own id of the row; "": it has none.
      answer_index: the answer's place among the options; None: where its text stands. Options may
        be equal only where it is given: a few questions of MMLU and ECQA list a text twice.

    Raises:
      RowError: a field, an option or the answer is no text or empty, options are equal, or the
        answer is not among them, or not at its place.
    """

    fields: Mapping[str, str]
    answer: str
    options: tuple[str, ...] = ()
    id: str = ""
    answer_index: int | None = None

    def __post_init__(self) -> None:
        texts = {**self.fields, "answer": self.answer}
        texts |= {f"option {number}": option for number, option in enumerate(self.options)}
        for name, text in texts.items():
            if not isinstance(text, str) or not text.strip():
                raise RowError(f"{name} is {text!r:.80}; it must be a text that is not empty.")
        if self.answer_index is not None:
            if self.answer not in self.options[self.answer_index : self.answer_index + 1]:
                raise RowError(
                    f"answer {self.answer!r:.80} is not option {self.answer_index} of"
                    f" {list(self.options)}."
                )
        elif len(set(self.options)) < len(self.options):
            raise RowError(f"options {list(self.options)} hold a text twice; they must differ.")
        if self.options and self.answer not in self.options:
            raise RowError(
                f"answer {self.answer!r:.80} is not among the options {list(self.options)}."
            )


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
      name: of the catalogue, such as "glue_mnli"; names its mirror's folder too.
      tfds: TFDS name with config and version, such as "glue/mnli:2.0.0"; None: TFDS has none.
      splits: seqio's split -> a split of the source or a slice of one, in TFDS's words, such as
        {"train": "train[:-200]", "validation": "train[-200:]"}.
      counts: rows of a source's whole split, from public tables, for rates before anything is
        read; checked when the data is.
      read: raw row -> sample, or samples where a row holds several, as an article with its
        questions does; None leaves the row out, as where labels are hidden. It knows TFDS's names
        of fields and, where they differ, those of the hub's files. Raises KeyError or RowError for
        a malformed row. `samples` calls it.
      question: a template over the sample's fields: the question as a teacher or an evaluation
        asks it, without options.
      hub: the repository on the Hugging Face hub whose files `read` understands, with "/CONFIG"
        after it where it has one; None: not known.
      manual: for TFDS builders that need files fetched by hand: which, and where they go.
      reconstructed: what about the definition is a reconstruction, for the docs; "": nothing.
    """

    name: str
    splits: Mapping[str, str]
    read: Callable[[Mapping[str, Any]], Sample | list[Sample] | None]
    question: str
    tfds: str | None = None
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    hub: str | None = None
    manual: str | None = None
    reconstructed: str = ""


def samples(dataset: Dataset, row: Mapping[str, Any]) -> list[Sample]:
    """The samples of a raw row: none, one, or several.

    Raises:
      KeyError, RowError: the row is malformed.
    """
    found = dataset.read(row)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


DATASETS: dict[str, Dataset] = {}
"""All of the catalogue, by name."""


def define(**attributes: Any) -> Dataset:
    """Adds a data set to the catalogue.

    Raises:
      ValueError: the name is taken.
    """
    dataset = Dataset(**attributes)
    if dataset.name in DATASETS:
        raise ValueError(f"the catalogue has {dataset.name!r} already: a name stands for one set.")
    DATASETS[dataset.name] = dataset
    return dataset
