"""seqio tasks and mixtures of a world. Their rows are made when a data set is first read.

For a world with seed s (type is tf, mc or both; field one of `prompts.EXPLANATION_FIELDS`):

    base       world{s}_base_text, world{s}_base_plain_{type}; mixture world{s}_base
    teacher    world{s}_corpus, world{s}_gold_{known,rare}_{field}_{type}, with a mixture of types
               world{s}_gold_{known,rare}_{field}; mixture world{s}_teacher, and of one
               field alone mixtures world{s}_teacher_{field} for specialists
    annotate   world{s}_questions: records of the students' questions
    students   world{s}_plain_{type}; mixture world{s}_replay; `register_arm` adds the arms
    evaluate   world{s}_{type}_eval and mixture world{s}_eval, splits validation and test;
               world{s}_base_{type}_eval and mixture world{s}_base_eval, split test

Mixtures hold tasks, never mixtures, so their rates can be read off.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import seqio

from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.scoring.metrics import index_and_correctness, rank_classification
from teacherlm_jax.tasks.world import arms, examples
from teacherlm_jax.tasks.world.questions import QUESTION_TYPES, Question
from teacherlm_jax.tasks.world.sources import RowsSource
from teacherlm_jax.tasks.world.world import World, get_world
from teacherlm_jax.teacher.prompts import EXPLANATION_FIELDS

# Shares of rows. Within a share, question types (and fields) are even.
BASE_PLAIN_SHARE = 0.7  # the rest is running text
TEACHER_ANNOTATED_SHARE = 0.75  # half known, half rare animals; the rest is the corpus
STUDENT_ARM_SHARE = 0.6  # the rest is replay of plain questions about known animals

_GOLD_SPLITS = {"known": "base", "rare": "teacher"}

_Rows = Callable[[], Sequence[examples.Row]]


def register_world(seed: int) -> World:
    """Registers all tasks and mixtures of a world that are not registered yet.

    Args:
        seed: the world's seed, an integer, 0 or more.

    Returns:
        The world.
    """
    world = get_world(seed)
    _register_base(world)
    _register_teacher(world)
    _register_students(world)
    _register_evaluation(world)
    return world


def task_name(seed: int, template: str) -> str:
    """A task's or mixture's name from a template such as "world{world}_eval", for gin files.

    The world is registered, so that the name can be found.
    """
    register_world(seed)
    return template.format(world=seed)


def name_values(seed: int) -> dict[str, int]:
    """What fills the braces of a curriculum's mixture names; the world is registered."""
    return {"world": register_world(seed).seed}


def register_arm(seed: int, arm: str, records: Sequence[TeacherDataRecord], tag: str) -> str:
    """Registers what students of an arm train on, in place of an earlier arm of the same name.

    Args:
        seed: the world's seed.
        arm: a key of `arms.ARMS`.
        records: questions of the split "student", annotated where the arm needs it; see
            `arms.arm_rows` for what they must fulfil.
        tag: tells apart arms with different records; letters, digits and underscores.

    Returns:
        The mixture's name: world{seed}_student_{arm}_{tag}.
    """
    if not re.fullmatch(r"\w+", tag, re.ASCII):
        raise ValueError(
            f"tag = {tag!r}, but it becomes part of a task's name: use letters, digits and"
            " underscores."
        )
    world = register_world(seed)
    name = f"world{seed}_student_{arm}_{tag}"
    rates: dict[str, float] = {}
    for type_, rows in arms.arm_rows(world, arm, records).items():
        task = f"{name}_{type_}"
        seqio.TaskRegistry.remove(task)
        _add_training_task(world, task, functools.partial(_given, rows))
        rates[task] = STUDENT_ARM_SHARE / len(QUESTION_TYPES)
    for task in _replay_tasks(world):
        rates[task] = (1 - STUDENT_ARM_SHARE) / len(QUESTION_TYPES)
    seqio.MixtureRegistry.remove(name)
    _add_mixture(name, rates)
    return name


def _register_base(world: World) -> None:
    prefix = f"world{world.seed}_base"
    text = f"{prefix}_text"
    _add_training_task(world, text, functools.partial(examples.base_text_rows, world))
    for type_, task in zip(QUESTION_TYPES, _replay_tasks(world)):
        _add_training_task(world, task, functools.partial(_plain, world, "base", type_))
    plain_rate = BASE_PLAIN_SHARE / len(QUESTION_TYPES)
    rates = dict.fromkeys(_replay_tasks(world), plain_rate)
    _add_mixture(prefix, {**rates, text: 1 - BASE_PLAIN_SHARE})


def _register_teacher(world: World) -> None:
    prefix = f"world{world.seed}"
    corpus = f"{prefix}_corpus"
    _add_training_task(world, corpus, functools.partial(examples.corpus_rows, world))
    gold_tasks: dict[str, list[str]] = {field: [] for field in EXPLANATION_FIELDS}
    every_task: list[str] = []
    for group, split in _GOLD_SPLITS.items():
        for field in EXPLANATION_FIELDS:
            name = f"{prefix}_gold_{group}_{field}"
            tasks = [f"{name}_{type_}" for type_ in QUESTION_TYPES]
            for type_, task in zip(QUESTION_TYPES, tasks):
                rows = functools.partial(_gold, world, split, type_, field)
                _add_training_task(world, task, rows)
            _add_mixture(name, dict.fromkeys(tasks, 1 / len(tasks)))
            gold_tasks[field] += tasks
            every_task += tasks
    mixtures = {f"{prefix}_teacher": every_task}
    mixtures |= {f"{prefix}_teacher_{field}": tasks for field, tasks in gold_tasks.items()}
    for name, tasks in mixtures.items():
        rates = dict.fromkeys(tasks, TEACHER_ANNOTATED_SHARE / len(tasks))
        _add_mixture(name, {**rates, corpus: 1 - TEACHER_ANNOTATED_SHARE})


def _register_students(world: World) -> None:
    prefix = f"world{world.seed}"
    _add_task(
        f"{prefix}_questions",
        RowsSource({"train": functools.partial(_records, world, "student")}),
        _features(world),
        preprocessors=[_question_and_letter, seqio.preprocessors.tokenize],
    )
    for type_ in QUESTION_TYPES:
        rows = functools.partial(_plain, world, "student", type_)
        _add_training_task(world, f"{prefix}_plain_{type_}", rows)
    replay = _replay_tasks(world)
    _add_mixture(f"{prefix}_replay", dict.fromkeys(replay, 1 / len(replay)))


def _register_evaluation(world: World) -> None:
    prefix = f"world{world.seed}"
    sets = {
        prefix: {"validation": "validation", "test": "test"},
        f"{prefix}_base": {"test": "base_test"},
    }
    for name, splits in sets.items():
        tasks = [f"{name}_{type_}_eval" for type_ in QUESTION_TYPES]
        for type_, task in zip(QUESTION_TYPES, tasks):
            source = RowsSource(
                {
                    seqio_split: functools.partial(_evaluation, world, split, type_)
                    for seqio_split, split in splits.items()
                }
            )
            _add_task(
                task,
                source,
                _features(world, add_eos=False),
                preprocessors=[seqio.preprocessors.tokenize],
                postprocess_fn=index_and_correctness,
                metric_fns=[rank_classification],
            )
        _add_mixture(f"{name}_eval", dict.fromkeys(tasks, 1 / len(tasks)))


def _replay_tasks(world: World) -> list[str]:
    return [f"world{world.seed}_base_plain_{type_}" for type_ in QUESTION_TYPES]


def _add_training_task(world: World, name: str, rows: _Rows) -> None:
    _add_task(
        name,
        RowsSource({"train": rows}),
        _features(world),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
    )


def _add_task(name: str, source: RowsSource, features: Mapping[str, Any], **others: Any) -> None:
    if name not in seqio.TaskRegistry.names():
        seqio.TaskRegistry.add(name, source=source, output_features=features, **others)


def _add_mixture(name: str, rates: Mapping[str, float]) -> None:
    if name not in seqio.MixtureRegistry.names():
        seqio.MixtureRegistry.add(name, list(rates.items()))


def _features(world: World, add_eos: bool = True) -> dict[str, Any]:
    """Returns the output features; an evaluated letter is followed by no end of sequence."""
    vocabulary = world.vocabulary()
    return {
        "inputs": seqio.Feature(vocabulary, add_eos=False, required=False),
        "targets": seqio.Feature(vocabulary, add_eos=add_eos),
    }


def _questions(world: World, split: str, type_: str) -> list[Question]:
    return [question for question in world.questions(split) if question.type == type_]


def _given(rows: Sequence[examples.Row]) -> Sequence[examples.Row]:
    return rows


def _plain(world: World, split: str, type_: str) -> list[examples.Row]:
    return examples.plain_rows(_questions(world, split, type_))


def _gold(world: World, split: str, type_: str, field: str) -> list[examples.Row]:
    # Known animals give more questions than a teacher sees, so one order of each is enough.
    every_order = split == _GOLD_SPLITS["rare"]
    return examples.gold_rows(world, _questions(world, split, type_), field, every_order)


def _evaluation(world: World, split: str, type_: str) -> list[examples.Row]:
    return examples.evaluation_rows(_questions(world, split, type_))


def _records(world: World, split: str) -> list[examples.Row]:
    return [record.to_features() for record in world.records(split)]


def _question_and_letter(dataset: Any) -> Any:
    """Gives records the two output features that seqio asks for: question and answer letter."""
    return dataset.map(lambda ex: {**ex, "inputs": ex["question"], "targets": ex["answer"]})
