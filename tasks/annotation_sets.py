"""Questions for a teacher to explain: a task a data set, and mixtures of lists of data sets.

`questions_NAME` gives TeacherData records: at most 3,000 of the training rows of a data set, a
fixed part. NAME is the data set's in the catalogue; "mnli_matched" and "mnli_mismatched", which
FLAN counts apart though their training rows are the same, are a half of those each. Which data sets
are the 58 is a matter of configuration: `gin/annotation/annotation_58.gin`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import seqio
from etils import epath

from teacherlm_jax.data import split_slices
from teacherlm_jax.data.record_fields import MAX_CHOICES
from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.data.row_rendering import RawRow, rendered
from teacherlm_jax.tasks import capping, exclusions, text_tasks
from teacherlm_jax.tasks.catalogue.dataset import DATASETS, Sample, samples
from teacherlm_jax.tasks.exclusions import Exclusions
from teacherlm_jax.tasks.muffin.flan_tasks import FLAN_TASKS
from teacherlm_jax.tasks.p3 import p3_sets

MAX_EXAMPLES = 3_000
"""Of each data set. How many the authors had annotated of which is not known."""

# Where explanations say little.
LEFT_OUT = ("translation", "text_formatting")


@dataclasses.dataclass(frozen=True)
class QuestionSet:
    """A data set whose questions can be annotated.

    Attributes:
      dataset: name in the catalogue.
      split: of the source, or a slice of one.
      examples: questions of it before any cap, by the public tables.
    """

    dataset: str
    split: str
    examples: int


def _question_sets() -> Iterator[tuple[str, QuestionSet]]:
    for part in p3_sets.PARTS:
        split = p3_sets.splits(DATASETS[part])["train"]
        yield part, QuestionSet(part, split, p3_sets.training_samples(part))
    for task in FLAN_TASKS.values():
        dataset = DATASETS[task.dataset]
        if task.cluster in LEFT_OUT or "train" not in dataset.splits:
            continue
        if task.dataset == "glue_mnli":
            name = task.name
            split = "train[:196251]" if name == "mnli_matched" else "train[196251:-200]"
        else:
            name, split = task.dataset, dataset.splits["train"]
        yield name, QuestionSet(task.dataset, split, split_slices.count(split, dataset.counts) or 0)


QUESTION_SETS: dict[str, QuestionSet] = {}
"""By name. Rows that Muffin and P3 validate on are in none."""

for _name, _question_set in _question_sets():
    QUESTION_SETS.setdefault(_name, _question_set)

GROUPS: dict[str, tuple[str, ...]] = {
    p3_set.name: p3_set.parts for p3_set in p3_sets.P3_SETS if len(p3_set.parts) > 1
}
"""Names that lists may have for several, which share a cap in proportion: "anli"."""


def task(
    name: str,
    max_examples: int = MAX_EXAMPLES,
    seed: int = 0,
    excluded_ids: epath.PathLike | None = None,
) -> str:
    """Registers a task where it is not yet, and returns its name in the registry.

    Args:
      name: a key of `QUESTION_SETS`.
      max_examples: most questions, a fixed part that the seed and the name decide.
      seed: of the part.
      excluded_ids: file with samples to leave out, as `exclusions` says.

    Raises:
      ValueError: an argument is not as said.
    """
    if name not in QUESTION_SETS:
        raise ValueError(f"name = {name!r}, but it must be one of {sorted(QUESTION_SETS)}.")
    return _task(name, max_examples, seed, exclusions.read(excluded_ids))


def mixture(
    lists: Mapping[str, Sequence[str]],
    chosen: str,
    max_examples: int = MAX_EXAMPLES,
    seed: int = 0,
    excluded_ids: epath.PathLike | None = None,
) -> str:
    """Registers the mixture of a list's tasks where it is not yet, and returns its name.

    Args:
      lists: name of a list -> names of data sets: keys of `QUESTION_SETS` or `GROUPS`, each once.
      chosen: which list.
      max_examples: most questions of each data set.
      seed: see `task`.
      excluded_ids: see `task`.

    Returns:
      "questions_CHOSEN_" and a hash of what is in the list. Rates are the questions after the cap.

    Raises:
      ValueError: an argument is not as said.
    """
    if chosen not in lists:
        raise ValueError(f"chosen = {chosen!r}, but the lists are {sorted(lists)}.")
    names = list(lists[chosen])
    unknown = [name for name in names if name not in QUESTION_SETS and name not in GROUPS]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"list {chosen!r} has {len(names)} names, {len(set(names))} of them different, and"
            f" {unknown} are no data sets with questions: name one or more of"
            " annotation_sets.QUESTION_SETS and GROUPS, each once."
        )
    excluded = exclusions.read(excluded_ids)
    digest = hashlib.sha256("\n".join(names).encode("utf-8")).hexdigest()[:8]
    suffix = capping.suffix(max_examples, MAX_EXAMPLES, seed) + excluded.suffix
    registered = f"questions_{chosen}_{digest}{suffix}"
    if registered not in seqio.MixtureRegistry.names():
        rates = [
            (_task(part, cap, seed, excluded), float(count))
            for part, cap, count in capped(names, max_examples)
        ]
        seqio.MixtureRegistry.add(registered, rates)
    return registered


def capped(names: Iterable[str], most: int = MAX_EXAMPLES) -> Iterator[tuple[str, int, int]]:
    """For each data set of these, those of groups one by one: its name, cap, and questions after.

    Args:
      names: keys of `QUESTION_SETS` or `GROUPS`.
      most: questions of each name.
    """
    for name in names:
        parts = GROUPS.get(name, (name,))
        counts = [QUESTION_SETS[part].examples for part in parts]
        must_share = len(parts) > 1 and sum(counts) > most
        for part, count in zip(parts, capping.shares(counts, most), strict=True):
            if count:
                yield part, count if must_share else most, count


def records(row: RawRow, name: str, excluded: Exclusions) -> Iterator[Mapping[str, Any]]:
    """Features of the records of a row."""
    dataset = DATASETS[QUESTION_SETS[name].dataset]
    for number, sample in enumerate(samples(dataset, row.values)):
        if not excluded.hold(dataset.name, sample):
            place = f"{row.index}.{number}" if number else str(row.index)
            yield _record(sample, dataset.question, f"{name}:{place}", name).to_features()


def _record(sample: Sample, question: str, id_: str, name: str) -> TeacherDataRecord:
    choices, answer = sample.options, sample.answer
    # Letters are few: ReCoRD and WikiHop have rows with more options, and with one alone.
    if 2 <= len(choices) <= MAX_CHOICES:
        place = sample.answer_index
        answer = chr(ord("A") + (choices.index(answer) if place is None else place))
    else:
        choices = ()
    return TeacherDataRecord(
        id_, question.format_map(sample.fields), choices, answer, task=name, split="train"
    )


def _task(name: str, most: int, seed: int, excluded: Exclusions) -> str:
    question_set = QUESTION_SETS[name]
    dataset = DATASETS[question_set.dataset]
    excluded = excluded.of(dataset.name)
    variant = f"questions_{name}"
    registered = variant + capping.suffix(most, MAX_EXAMPLES, seed) + excluded.suffix
    if registered in seqio.TaskRegistry.names():
        return registered
    rows = most * (p3_sets.ROWS_PER_EXAMPLE.get(name, 1) if excluded.ids else 1)
    source = text_tasks.source(
        dataset,
        splits={"train": question_set.split},
        max_examples={"train": rows},
        cap_seed=seed,
        cap_name=variant,
    )
    make_records = functools.partial(records, name=name, excluded=excluded)
    select = capping.at_most(most, seed, variant)
    seqio.TaskRegistry.add(
        registered,
        source=source.giving(lambda found: select(_records(make_records, registered)(found))),
        output_features=text_tasks.features(),
        preprocessors=[_question_and_answer, seqio.preprocessors.tokenize],
    )
    return registered


def _records(
    make_records: Callable[[RawRow], Iterable[Mapping[str, Any]]], name: str
) -> Callable[[Any], Any]:
    """Rows -> features as `TeacherDataRecord.to_features` gives them."""
    import tensorflow as tf

    signature = {
        field.name: tf.TensorSpec((None,) if field.name == "choices" else (), tf.string)
        for field in dataclasses.fields(TeacherDataRecord)
    }
    return rendered(make_records, signature, name)


def _question_and_answer(dataset: Any) -> Any:
    """Gives records the two output features that seqio asks for."""
    return dataset.map(lambda ex: {**ex, "inputs": ex["question"], "targets": ex["answer"]})


NAMES = tuple(task(name) for name in QUESTION_SETS)
"""What importing this module registers."""
