"""Evaluation tasks with solved examples before the question.

Which examples stand there follows from a seed and their ids alone, and is the same for every
question of a task, so that what was scored can be told in a line. But no question is told its own
answer: one that is itself among the examples gets the next one drawn in its place, as in
lm-evaluation-harness. They are joined by an empty line, as there; the paper's own evaluation is
zero-shot.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import heapq
from collections.abc import Iterable

import seqio

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.evaluation import forms, registry
from teacherlm_jax.tasks.evaluation.questions import Question

BETWEEN = "\n\n"

_WITHOUT_TRAIN = (
    " Give its file of solved questions, in the same form: files.task_name(path, train=FILE), in"
    " gin --gin.files.task_name.train=FILE. split = 'evaluation' takes the examples from the"
    " questions themselves, but for the one that is asked."
)

_Content = tuple[str, tuple[str, ...]]
"""What a question asks, by which it is known in another split or under another id."""


def task_name(
    name: str = "paper_evaluation_letters", shots: int = 5, seed: int = 0, split: str = "train"
) -> str:
    """Registers a task or mixture of evaluation with solved examples, and returns its name.

    Args:
      name: of an evaluation task (that of a file, too: `files.task_name`), or a mixture of such.
      shots: how many examples; 0: the task or mixture itself.
      seed: decides which.
      split: of each task, from which they are taken; MMLU's "train" is its five examples for this.
        It may be the one that is asked: a question is no example of its own.

    Returns:
      NAME_5shot_seed0 and the like, with the split's name where it is not "train".

    Raises:
      ValueError: there is no such evaluation task or split, it has examples already, or shots is no
        whole number.
    """
    if isinstance(shots, bool) or not isinstance(shots, int) or shots < 0:
        raise ValueError(f"shots = {shots!r}, but it must be a whole number of at least 0.")
    if shots == 0:
        return name
    tag = f"{shots}shot_seed{seed}" + ("" if split == "train" else f"_{split}")
    new = f"{name}_{tag}"
    if name in seqio.MixtureRegistry.names():
        if new not in seqio.MixtureRegistry.names():
            rates = seqio.MixtureRegistry.get(name).rate_per_task_name
            members = [(task_name(m, shots, seed, split), rate) for m, rate in rates.items()]
            seqio.MixtureRegistry.add(new, members)
        return new
    if name not in forms.ADDED:
        raise ValueError(
            f"{name!r} is no evaluation task, nor a mixture; there are {len(forms.ADDED)}, such as"
            f" {', '.join(sorted(forms.ADDED)[:3])}."
        )
    if new not in seqio.TaskRegistry.names():
        _add(new, _Examples(name, shots, seed, split))
    return new


def _add(new: str, examples: _Examples) -> None:
    name, split = examples.name, examples.split
    added = forms.ADDED[name]
    if added.examples is not None:
        raise ValueError(f"{name} has solved examples already: give the task without them.")
    source = seqio.TaskRegistry.get(name).source
    if split not in source.splits:
        is_told = name in registry.TASKS or "train" in source.splits
        raise ValueError(
            f"{name} has no split {split!r} to take examples from; it has"
            f" {sorted(source.splits)}.{'' if is_told else _WITHOUT_TRAIN}"
        )
    forms.add(new, added.form, source, added.asked, examples.before)
    if name in registry.TASKS:
        registry.TASKS[new] = registry.TASKS[name]


@dataclasses.dataclass(frozen=True)
class _Examples:
    """The solved questions before the questions of a task, which are drawn when they are needed."""

    name: str
    shots: int
    seed: int
    split: str

    def before(self, question: Question) -> str:
        """What stands between a task's prefix and a question.

        Raises:
          RowError: the split has too few questions besides this one.
        """
        asked = _content(question)
        others = [solved for content, solved in self._drawn if content != asked]
        if len(others) < self.shots:
            raise RowError(
                f"question {question.id!r} of {self.name} is itself one of the {self.shots}"
                f" different questions that split {self.split!r} has, so that it cannot have"
                f" shots = {self.shots}: ask for fewer, or take them from another split."
            )
        return BETWEEN.join([*others[: self.shots], ""])

    @functools.cached_property
    def _drawn(self) -> list[tuple[_Content, str]]:
        """One more than is shown, for a question that is itself among them.

        Raises:
          RowError: the split has fewer than are shown, or a malformed row.
        """
        form = forms.ADDED[self.name].form
        try:
            chosen = self._first(forms.questions_of(self.name, self.split), self.shots + 1)
        except RowError as error:
            raise RowError(
                f"the examples before it cannot be read: {error} Mend or remove that row, or leave"
                " such rows out by data_setup.DataSetup.malformed_rows = 'skip'."
            ) from None
        if len(chosen) < self.shots:
            raise RowError(
                f"{self.name}: split {self.split!r} has {len(chosen)} different questions, but"
                f" shots = {self.shots}: ask for fewer."
            )
        return [(_content(each), forms.answered(form, each)) for each in chosen]

    def _first(self, questions: Iterable[Question], count: int) -> list[Question]:
        """So many in the order of the seed; of those that ask the same, the first of that order."""
        of_set = self.name.removesuffix(f"_{forms.ADDED[self.name].form}")

        def place(question: Question) -> bytes:
            return hashlib.sha256(f"{self.seed} {of_set} {question.id}".encode()).digest()

        kept: dict[_Content, tuple[bytes, Question]] = {}
        for question in questions:
            content, placed = _content(question), place(question)
            if content not in kept or placed < kept[content][0]:
                kept[content] = (placed, question)
            # Splits are large, and few are wanted of them.
            if len(kept) > 1000 + 2 * count:
                kept = dict(heapq.nsmallest(count, kept.items(), key=lambda item: item[1][0]))
        chosen = heapq.nsmallest(count, kept.values(), key=lambda item: item[0])
        return [question for _, question in chosen]


def _content(question: Question) -> _Content:
    """Question and options, whatever their spaces, their case and the options' order.

    Ids tell nothing of this: many sets, and files, count them from 0 in each split.
    """
    question_text, *choices = (
        " ".join(text.split()).casefold() for text in (question.question, *question.choices)
    )
    return question_text, tuple(sorted(choices))
