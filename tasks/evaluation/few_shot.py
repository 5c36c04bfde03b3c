"""Evaluation tasks with solved examples before the question.

Which examples stand there follows from a seed and their ids alone, and is the same for every
question of a task, so that what was scored can be told in a line. They are joined by an empty line,
as lm-evaluation-harness joins its own; the paper's own evaluation is zero-shot.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import heapq

import seqio

from teacherlm_jax.data.row_rendering import RawRow
from teacherlm_jax.tasks.evaluation import forms, registry
from teacherlm_jax.tasks.evaluation.questions import EvaluationSet, Question

BETWEEN = "\n\n"


def task_name(
    name: str = "paper_evaluation_letters", shots: int = 5, seed: int = 0, split: str = "train"
) -> str:
    """Registers a task or mixture of evaluation with solved examples, and returns its name.

    Args:
      name: of an evaluation task, or a mixture of such.
      shots: how many examples; 0: the task or mixture itself.
      seed: decides which.
      split: of each task, from which they are taken; MMLU's "train" is its five examples for this.

    Returns:
      NAME_5shot_seed0 and the like, with the split's name where it is not "train".

    Raises:
      ValueError: there is no such evaluation task or split, or shots is no whole number.
    """
    if isinstance(shots, bool) or not isinstance(shots, int) or shots < 0:
        raise ValueError(f"shots = {shots!r}, but it must be a whole number of at least 0.")
    if shots == 0:
        return name
    tag = f"{shots}shot_seed{seed}" + ("" if split == "train" else f"_{split}")
    if name in seqio.MixtureRegistry.names():
        new = f"{name}_{tag}"
        if new not in seqio.MixtureRegistry.names():
            rates = seqio.MixtureRegistry.get(name).rate_per_task_name
            members = [(task_name(m, shots, seed, split), rate) for m, rate in rates.items()]
            seqio.MixtureRegistry.add(new, members)
        return new
    if name not in registry.TASKS:
        raise ValueError(
            f"{name!r} is no evaluation task, nor a mixture; there are {len(registry.TASKS)}, such "
            f"as {', '.join(sorted(registry.TASKS)[:3])}."
        )
    if f"{name}_{tag}" not in seqio.TaskRegistry.names():
        _add(name, tag, shots, seed, split)
    return f"{name}_{tag}"


def _add(name: str, tag: str, shots: int, seed: int, split: str) -> None:
    asked = registry.TASKS[name]
    form = name.rpartition("_")[2]
    if split not in asked.seqio_splits:
        raise ValueError(
            f"{name} has no split {split!r} to take examples from; it has "
            f"{sorted(asked.seqio_splits)}."
        )

    new = f"{name}_{tag}"
    forms.add(
        new, form, forms.source_of(asked), _WithExamples(asked, name, form, shots, seed, split)
    )
    registry.TASKS[new] = asked


@dataclasses.dataclass(frozen=True)
class _WithExamples:
    """A set whose prompts begin with solved questions, which are drawn when they are needed."""

    asked: EvaluationSet
    name: str
    form: str
    shots: int
    seed: int
    split: str

    @property
    def subject(self) -> str:
        return self.asked.subject

    def questions(self, row: RawRow) -> list[Question]:
        return self.asked.questions(row)

    @functools.cached_property
    def prefix(self) -> str:
        return _examples(self.name, self.asked, self.form, self.shots, self.seed, self.split)


def _examples(name: str, asked: EvaluationSet, form: str, shots: int, seed: int, split: str) -> str:
    """The prefix of the set, and so many solved questions.

    Raises:
      ValueError: the split has fewer.
    """

    def place(identity: str) -> bytes:
        return hashlib.sha256(f"{seed} {asked.name} {identity}".encode()).digest()

    questions = registry.evaluation_texts(name, split)
    chosen = heapq.nsmallest(shots, questions, key=lambda question: place(question.id))
    if len(chosen) < shots:
        raise ValueError(
            f"{name}: split {split!r} has {len(chosen)} questions, but shots = {shots}: ask for "
            "fewer."
        )
    solved = [forms.answered(form, question) for question in chosen]
    return asked.prefix + BETWEEN.join([*solved, ""])
