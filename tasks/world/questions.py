"""The questions of a world: true or false, which animal, and would both."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

from teacherlm_jax.data.records import TeacherDataRecord, content_id
from teacherlm_jax.tasks.world.draws import generator, shuffled
from teacherlm_jax.tasks.world.facts import PROPERTIES, PROPERTY_OF_KEY, Facts, Property
from teacherlm_jax.tasks.world.splits import SPLITS
from teacherlm_jax.teacher.prompts import option_letters

QUESTION_TYPES = ("tf", "mc", "both")
NUM_MC_OPTIONS = 3

# Questions per split of the types mc and both, or as many as there are. Of tf there is one question
# per pair of animal and property, and all are asked that leave the labels balanced.
_TARGET_COUNTS: Mapping[str, int] = {
    "base": 2000,
    "base_test": 200,
    "student": 375,
    "teacher": 425,
    "validation": 175,
    "test": 475,
}


@dataclasses.dataclass(frozen=True)
class Question:
    """A question about one property of one, two or three animals.

    Attributes:
        id: the question's content hash; other orders of its options keep it.
        type: one of `QUESTION_TYPES`.
        split: one of `splits.SPLITS`.
        prop: the property asked for.
        animals: those that it is about; of mc in the order of the options.
        text: the question without its options.
        choices: the options' texts.
        answer: the letter of the right option.
    """

    id: str
    type: str
    split: str
    prop: Property
    animals: tuple[str, ...]
    text: str
    choices: tuple[str, ...]
    answer: str

    @property
    def label(self) -> bool:
        """Whether the answer is "true" or "yes"; of mc always False."""
        return self.type != "mc" and self.answer == "A"

    def orders(self) -> list[Question]:
        """Returns the question with its options in every order; of tf and both the order is fixed.

        The first is the question itself.
        """
        if self.type != "mc":
            return [self]
        right = self.choices[option_letters(NUM_MC_OPTIONS).index(self.answer)]
        return [
            dataclasses.replace(
                self,
                animals=order,
                choices=order,
                answer=option_letters(NUM_MC_OPTIONS)[order.index(right)],
            )
            for order in itertools.permutations(self.choices)
        ]

    def record(self, task: str) -> TeacherDataRecord:
        """Returns the question as a record without explanations."""
        return TeacherDataRecord(
            id=self.id,
            question=self.text,
            choices=self.choices,
            answer=self.answer,
            task=task,
            split=self.split,
        )


def make_questions(
    seed: int, facts: Facts, split_of: Mapping[tuple[str, str], str], split: str
) -> tuple[Question, ...]:
    """Returns the questions of a split, all tf, then all mc, then all both.

    Of every property as many questions have the answer true (or yes) as false (or no), so that
    nothing but facts about the animals tells the answer. Correct letters of mc are balanced.

    Args:
        seed: the world's seed.
        facts: what is so.
        split_of: as `splits.make_splits` returns it.
        split: one of `splits.SPLITS`.
    """
    if split not in SPLITS:
        raise ValueError(f"split = {split!r}, but it must be one of {', '.join(SPLITS)}.")
    has: dict[str, list[str]] = {}
    lacks: dict[str, list[str]] = {}
    for prop in PROPERTIES:
        rng = generator(seed, "animals", split, prop.key)
        asked = [n for n in facts.animals if split_of[n, prop.family] == split]
        asked = shuffled(rng, asked)
        has[prop.key] = [name for name in asked if facts.animal_has(name, prop)]
        lacks[prop.key] = [name for name in asked if not facts.animal_has(name, prop)]
    questions = (
        *_true_or_false(seed, split, has, lacks),
        *_which_animal(seed, split, has, lacks),
        *_would_both(seed, split, has, lacks),
    )
    check_split(questions, split_of)
    return questions


def check_split(questions: Iterable[Question], split_of: Mapping[tuple[str, str], str]) -> None:
    """Raises unless every pair of animal and family asked for belongs to the question's split."""
    for question in questions:
        for name in question.animals:
            owner = split_of[name, question.prop.family]
            if owner != question.split:
                raise ValueError(
                    f"question {question.text!r} of split {question.split!r} asks for"
                    f" {question.prop.family!r} of {name!r}, but that belongs to split {owner!r}:"
                    " splits must share no pair of animal and family."
                )


def share_evenly(total: int, capacities: Mapping[str, int]) -> dict[str, int]:
    """Shares `total` out as evenly as the capacities permit.

    Returns:
        A share for each key, at most its capacity; they add up to `total`, or to all capacities.
    """
    shares = dict.fromkeys(capacities, 0)
    left = min(total, sum(capacities.values()))
    while left:
        open_keys = [key for key in capacities if shares[key] < capacities[key]]
        for key in open_keys[:left]:
            shares[key] += 1
        left -= min(left, len(open_keys))
    return shares


_Group = Mapping[str, Sequence[str]]


def _question(
    type_: str, split: str, prop: Property, animals: tuple[str, ...], right: str
) -> Question:
    """Makes a question; `right` is the right option's text."""
    if type_ == "tf":
        text = f"true or false: the {animals[0]} {prop.singular}."
        choices: tuple[str, ...] = ("true", "false")
    elif type_ == "mc":
        text, choices = f"which animal {prop.singular}?", animals
    else:
        both = f"the {animals[0]} and the {animals[1]}"
        text = f"would it be right to say that both {both} {prop.plural}?"
        choices = ("yes", "no")
    answer = option_letters(len(choices))[choices.index(right)]
    identity = content_id(text, choices, answer)
    return Question(identity, type_, split, prop, animals, text, choices, answer)


def _true_or_false(seed: int, split: str, has: _Group, lacks: _Group) -> list[Question]:
    questions = []
    for prop in PROPERTIES:
        for name, other in zip(has[prop.key], lacks[prop.key]):
            questions.append(_question("tf", split, prop, (name,), "true"))
            questions.append(_question("tf", split, prop, (other,), "false"))
    return shuffled(generator(seed, "tf", split), questions)


def _which_animal(seed: int, split: str, has: _Group, lacks: _Group) -> list[Question]:
    rng = generator(seed, "mc", split)
    possible = {}
    for prop in PROPERTIES:
        pairs = list(itertools.combinations(lacks[prop.key], NUM_MC_OPTIONS - 1))
        # In turns, so that every animal is right about equally often.
        of_each = [[(name, *pair) for pair in shuffled(rng, pairs)] for name in has[prop.key]]
        turns = zip(*of_each)
        possible[prop.key] = [animals for turn in turns for animals in turn]
    shares = share_evenly(_TARGET_COUNTS[split], {key: len(p) for key, p in possible.items()})
    chosen = [(key, animals) for key, count in shares.items() for animals in possible[key][:count]]
    questions = []
    for index, (key, (right, *wrong)) in enumerate(shuffled(rng, chosen)):
        options = shuffled(rng, wrong)
        options.insert(index % NUM_MC_OPTIONS, right)
        prop = PROPERTY_OF_KEY[key]
        questions.append(_question("mc", split, prop, tuple(options), right))
    return questions


def _would_both(seed: int, split: str, has: _Group, lacks: _Group) -> list[Question]:
    rng = generator(seed, "both", split)
    yes: dict[str, list[tuple[str, str]]] = {}
    no: dict[str, list[tuple[str, str]]] = {}
    for prop in PROPERTIES:
        true, false = has[prop.key], lacks[prop.key]
        yes[prop.key] = shuffled(rng, list(itertools.combinations(true, 2)))
        one = shuffled(rng, list(itertools.product(true, false)))
        none = shuffled(rng, list(itertools.combinations(false, 2)))
        no[prop.key] = _two_to_one(one, none)
    capacities = {key: min(len(yes[key]), len(no[key])) for key in yes}
    shares = share_evenly(_TARGET_COUNTS[split] // 2, capacities)
    questions = []
    for key, count in shares.items():
        labelled = [(pair, "yes") for pair in yes[key][:count]]
        labelled += [(pair, "no") for pair in no[key][:count]]
        for pair, right in labelled:
            animals = tuple(shuffled(rng, pair))
            questions.append(_question("both", split, PROPERTY_OF_KEY[key], animals, right))
    return shuffled(rng, questions)


def _two_to_one(
    more: Sequence[tuple[str, str]], fewer: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Merges two of the first for one of the second, then what is left.

    So a "no" has one animal with the property twice as often as none, as it would be if each had it
    with probability 1/2, and knowing one of two animals tells little.
    """
    merged: list[tuple[str, str]] = []
    first, second = iter(more), iter(fewer)
    while True:
        turn = [*itertools.islice(first, 2), *itertools.islice(second, 1)]
        if not turn:
            return merged
        merged += turn
