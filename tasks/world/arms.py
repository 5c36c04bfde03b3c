"""The arms of the experiment: what students of a world train on."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.tasks.world.draws import generator, shuffled
from teacherlm_jax.tasks.world.examples import Row, question_row
from teacherlm_jax.tasks.world.questions import QUESTION_TYPES, Question
from teacherlm_jax.tasks.world.world import World
from teacherlm_jax.teacher.prompts import EXPLANATION_FIELDS

# Rows of each question type in the scrambled arm: enough that a student of the default run (500
# steps of 16 rows, a fifth of them of each type) meets none twice, so no false name stays.
SCRAMBLED_ROWS = 3600

_WORD = re.compile(r"[a-z]+")


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to train students.

    Attributes:
        fields: the explanations that follow the answer, of `prompts.EXPLANATION_FIELDS`.
        source: where they come from: "none", "teacher", "gold" or "scrambled".
        meaning: one sentence for the report.
    """

    fields: tuple[str, ...]
    source: str
    meaning: str


ARMS: Mapping[str, Arm] = {
    "plain": Arm((), "none", "Questions with their answers alone: the baseline."),
    "fundamentals": Arm(
        ("fundamentals",),
        "teacher",
        "The answer is followed by the facts that it rests on, as the teacher wrote them.",
    ),
    "cot": Arm(
        ("chain_of_thought",),
        "teacher",
        "The answer is followed by the steps that lead to it, as the teacher wrote them.",
    ),
    "mistakes": Arm(
        ("common_mistakes",),
        "teacher",
        "The answer is followed by mistakes that lead elsewhere, put right by the teacher.",
    ),
    "all": Arm(
        EXPLANATION_FIELDS,
        "teacher",
        "The answer is followed by all three explanations of the teacher, one after the other.",
    ),
    "gold_fundamentals": Arm(
        ("fundamentals",),
        "gold",
        "As fundamentals, but written by the world itself: what a perfect teacher would give.",
    ),
    "scrambled_fundamentals": Arm(
        ("fundamentals",),
        "scrambled",
        "Control: the teacher's fundamentals of another question about other animals, drawn anew"
        " for every sample, so that form and length stay but the facts are false.",
    ),
}


def get_arm(name: str) -> Arm:
    """Returns the arm with this name.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    if name not in ARMS:
        close = difflib.get_close_matches(name, ARMS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"arm = {name!r}, but it must be one of {', '.join(ARMS)}.{hint}")
    return ARMS[name]


def arm_rows(world: World, arm: str, records: Sequence[TeacherDataRecord]) -> dict[str, list[Row]]:
    """Returns the training rows of an arm by question type.

    Of an mc question there is a row for each order of its options; its explanations keep the order
    in which they were written.

    Args:
        world: the world that the records belong to.
        arm: a key of `ARMS`.
        records: questions of the split "student", with the teacher's explanations where the arm
            takes them. A record without the arm's explanation trains as a plain one.

    Raises:
        ValueError: a record stands twice or is of another split, a question type has no record, or
            no record has an explanation that the arm takes.
        KeyError: a record is of another world.
    """
    recipe = get_arm(arm)
    by_type = _by_type(world, records)
    if recipe.source in ("teacher", "scrambled"):
        _check_explained(arm, recipe, records)
    rows: dict[str, list[Row]] = {}
    for type_, pairs in by_type.items():
        if recipe.source == "scrambled":
            rows[type_] = _scrambled_rows(world, type_, pairs, recipe.fields[0])
            continue
        rows[type_] = []
        for question, record in pairs:
            if recipe.source == "gold":
                explanations = {field: world.gold(question, field) for field in recipe.fields}
            else:
                explanations = {field: getattr(record, field) for field in recipe.fields}
            for order in question.orders():
                rows[type_].append(question_row(order, order.choices, order.answer, explanations))
    return rows


def arm_texts(world: World, arm: str, records: Sequence[TeacherDataRecord]) -> list[str]:
    """Returns what students of an arm learn to write: the targets of all its rows."""
    rows = arm_rows(world, arm, records)
    return [row["targets"] for type_ in rows for row in rows[type_]]


_Pair = tuple[Question, TeacherDataRecord]


def _by_type(world: World, records: Sequence[TeacherDataRecord]) -> dict[str, list[_Pair]]:
    """Returns the records with their questions by question type, checked."""
    by_type: dict[str, list[_Pair]] = {type_: [] for type_ in QUESTION_TYPES}
    seen: set[str] = set()
    for record in records:
        question = world.question(record.id)
        if question.split != "student":
            raise ValueError(
                f"record {record.id!r} is of split {question.split!r} of world {world.seed}, but"
                " students train on the split 'student' alone: annotate the questions of"
                f" world{world.seed}_questions."
            )
        content = (record.question, record.choices, record.answer)
        if content != (question.text, question.choices, question.answer):
            raise ValueError(
                f"record {record.id!r} reads {content}, but the question with this id is"
                f" {(question.text, question.choices, question.answer)}: annotation must not change"
                " the question."
            )
        if record.id in seen:
            raise ValueError(f"record {record.id!r} stands twice; a question belongs in once.")
        seen.add(record.id)
        by_type[question.type].append((question, record))
    missing = [type_ for type_, pairs in by_type.items() if not pairs]
    if missing:
        raise ValueError(
            f"{len(records)} records hold no question of type {', '.join(missing)}, but an arm"
            " trains on all types evenly: annotate questions of each type."
        )
    return by_type


def _check_explained(arm: str, recipe: Arm, records: Sequence[TeacherDataRecord]) -> None:
    for field in recipe.fields:
        if not any(getattr(record, field) for record in records):
            raise ValueError(
                f"none of {len(records)} records has {field}, but the arm {arm!r} trains on them:"
                " give the records that the teacher annotated."
            )


def _scrambled_rows(world: World, type_: str, pairs: Sequence[_Pair], field: str) -> list[Row]:
    """Returns rows that pair each question with a false text, another one in every row.

    The text is another question's explanation with every animal replaced by a random one. It is not
    enough to exchange explanations, since they name their animals and stay true; nor to exchange
    names by one fixed table, since the question beside them would tell who is meant.
    """
    donors = [(q.id, text) for q, record in pairs if (text := getattr(record, field))]
    orders = [order for q, _ in pairs for order in q.orders()]
    copies = -(-SCRAMBLED_ROWS // len(orders))
    rng = generator(world.seed, "scrambled", type_)
    rows = []
    for order in orders * copies:
        start = int(rng.integers(len(donors))) if donors else 0
        # The donor, or the next one where it is the question itself.
        texts = [t for id_, t in (donors[start:] + donors[:start])[:2] if id_ != order.id]
        text = _with_random_names(rng, texts[0], world) if texts else ""
        rows.append(question_row(order, order.choices, order.answer, {field: text}))
    return rows


def _with_random_names(rng: np.random.Generator, text: str, world: World) -> str:
    """Replaces each animal of a text by one drawn from all; two stay two."""
    animals = world.facts.animals
    old = list(dict.fromkeys(word for word in _WORD.findall(text) if word in animals))
    new = dict(zip(old, shuffled(rng, world.names.animals)))
    return _WORD.sub(lambda match: new.get(match[0], match[0]), text)
