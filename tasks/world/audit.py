"""How good a teacher's explanations are, measured by what is true in the world."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.tasks.world import sentences as say
from teacherlm_jax.tasks.world.checker import ExplanationVerdict
from teacherlm_jax.tasks.world.questions import Question
from teacherlm_jax.tasks.world.splits import HELD_OUT_SPLITS, SPLITS
from teacherlm_jax.tasks.world.world import World
from teacherlm_jax.teacher.prompts import EXPLANATION_FIELDS


def truth_rates(world: World, records: Sequence[TeacherDataRecord]) -> dict[str, float]:
    """Returns for each field the percentage of explanations with every sentence true.

    A record without the explanation counts as not true.

    Raises:
        ValueError: there are no records.
        KeyError: a record is not of this world.
    """
    return {
        field: _percent([verdict.true for verdict in _verdicts(world, records, field)], "records")
        for field in EXPLANATION_FIELDS
    }


def only_question_names(world: World, records: Sequence[TeacherDataRecord]) -> dict[str, float]:
    """Returns for each field the percentage of explanations that are also to the point.

    That is: every sentence is true, and none names an animal that the question does not. Errors as
    `truth_rates`.
    """
    return {
        field: _percent(
            [v.true and v.only_names for v in _verdicts(world, records, field)], "records"
        )
        for field in EXPLANATION_FIELDS
    }


def coverage(
    world: World, texts_by_arm: Mapping[str, Iterable[str]], split: str = "test"
) -> dict[str, float]:
    """Returns for each arm the percentage of questions whose facts its texts teach.

    A question counts if for each of its animals the base fact that decides is stated, as a sentence
    or as a mistake put right, and more often than any other value: false statements that happen to
    hit the truth among others do not teach it.

    Args:
        world: the world.
        texts_by_arm: arm to explanations or to the targets of its training rows (`arms.arm_texts`).
        split: the split whose questions are counted.
    """
    rates = {}
    for arm, texts in texts_by_arm.items():
        beliefs = world.believed_base_facts(texts)
        covered = []
        for question in world.questions(split):
            slot = question.prop.slot
            animals = [world.facts.animals[name] for name in question.animals]
            covered.append(all(beliefs.get((a.name, slot)) == a.value(slot) for a in animals))
        rates[arm] = _percent(covered, "questions")
    return rates


def drop_held_out(
    world: World, records: Sequence[TeacherDataRecord]
) -> tuple[list[TeacherDataRecord], dict[str, int]]:
    """Takes out the sentences that give away what evaluation asks (`World.states_held_out`).

    Returns:
        The records, in their order, and for each field the number of sentences taken out.
    """
    dropped = dict.fromkeys(EXPLANATION_FIELDS, 0)
    kept_records = []
    for record in records:
        changes: dict[str, Any] = {}
        for field in EXPLANATION_FIELDS:
            sentences = say.split_sentences(getattr(record, field))
            kept = [sentence for sentence in sentences if not world.states_held_out(sentence)]
            if len(kept) < len(sentences):
                dropped[field] += len(sentences) - len(kept)
                changes[field] = " ".join(kept)
        kept_records.append(dataclasses.replace(record, **changes))
    return kept_records, dropped


def gold_record(world: World, record: TeacherDataRecord) -> TeacherDataRecord:
    """Returns the record with the gold explanations of its question.

    Raises:
        KeyError: the record is not of this world.
    """
    question = world.question(record.id)
    gold: dict[str, Any] = {field: world.gold(question, field) for field in EXPLANATION_FIELDS}
    origin = {"annotator": "world", "seed": world.seed}
    return dataclasses.replace(
        record, **gold, provenance={field: dict(origin) for field in EXPLANATION_FIELDS}
    )


def check_gold(world: World, splits: Iterable[str] = SPLITS) -> int:
    """Checks every gold explanation; other orders of options have the same sentences.

    Returns:
        The number of sentences checked.

    Raises:
        ValueError: a sentence is not true, names another animal, or gives away what evaluation
            asks elsewhere.
    """
    count = 0
    for split in splits:
        for question in world.questions(split):
            for field in EXPLANATION_FIELDS:
                count += _check_gold_text(world, split, question, world.gold(question, field))
    return count


def _check_gold_text(world: World, split: str, question: Question, text: str) -> int:
    verdict = world.check_explanation(text, question.animals)
    leaks = [v.sentence for v in verdict.sentences if world.states_held_out(v.sentence)]
    # What a question of a held-out split asks may stand in its own explanation.
    own = split in HELD_OUT_SPLITS
    if not verdict.true or not verdict.only_names or (leaks and not own):
        raise ValueError(
            f"the gold explanation {text!r} of {question.text!r} in world {world.seed} must be"
            f" true, name {', '.join(question.animals)} alone and give away nothing held out."
        )
    return len(verdict.sentences)


def _verdicts(
    world: World, records: Sequence[TeacherDataRecord], field: str
) -> list[ExplanationVerdict]:
    return [
        world.check_explanation(getattr(record, field), world.question(record.id).animals)
        for record in records
    ]


def _percent(outcomes: Sequence[bool], of_what: str) -> float:
    if not outcomes:
        raise ValueError(f"there are no {of_what} to take a percentage of; give at least one.")
    return 100.0 * sum(outcomes) / len(outcomes)
