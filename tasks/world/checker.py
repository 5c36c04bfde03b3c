"""Whether what a text says is so: every true sentence of a world is enumerated."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping

from teacherlm_jax.tasks.world import sentences as say
from teacherlm_jax.tasks.world.facts import PROPERTIES, SLOTS, Facts, Property

_WORD = re.compile(r"[a-z]+")
# Both forms of a property, as in "has fur" and "does not have fur".
_PROPERTY_OF_PHRASE = {
    phrase: prop for prop in PROPERTIES for phrase in (prop.singular, prop.plural)
}
_PHRASE = re.compile(rf"\b(?:{'|'.join(_PROPERTY_OF_PHRASE)})\b")


@dataclasses.dataclass(frozen=True)
class SentenceVerdict:
    """What is to be said of one sentence of an explanation.

    Attributes:
        sentence: the sentence.
        true: whether it is one of the world's true sentences.
        only_names: whether it names no animals but the permitted ones.
    """

    sentence: str
    true: bool
    only_names: bool


@dataclasses.dataclass(frozen=True)
class ExplanationVerdict:
    """What is to be said of an explanation; one without sentences is not true."""

    sentences: tuple[SentenceVerdict, ...]

    @property
    def true(self) -> bool:
        """Whether there is a sentence and all are true."""
        return bool(self.sentences) and all(verdict.true for verdict in self.sentences)

    @property
    def only_names(self) -> bool:
        """Whether there is a sentence and none names another animal."""
        return bool(self.sentences) and all(verdict.only_names for verdict in self.sentences)


def enumerate_base_statements(facts: Facts) -> dict[str, tuple[str, str, str]]:
    """Returns every sentence that states a base fact, true or not: (animal, slot, value)."""
    statements: dict[str, tuple[str, str, str]] = {}
    for name in facts.animals:
        for slot in SLOTS:
            for value in facts.values[slot]:
                stated = (name, slot, value)
                statements[say.base_fact(name, slot, value)] = stated
                for wrong in facts.values[slot]:
                    if wrong != value:
                        statements[say.correction(name, slot, wrong, value)] = stated
    return statements


def enumerate_rules(facts: Facts) -> list[str]:
    """Returns every rule: which property follows from each value of a base fact, and which not."""
    return [
        say.rule(value, prop, facts.value_has(value, prop))
        for slot in SLOTS
        for value in facts.values[slot]
        for prop in PROPERTIES
        if prop.slot == slot
    ]


def enumerate_true_sentences(facts: Facts) -> frozenset[str]:
    """Returns all true sentences, without "so" or "beware:" before them."""
    true = set(enumerate_rules(facts))
    for animal in facts.animals.values():
        for slot in SLOTS:
            true.add(say.animal_fact(animal, slot))
            right = animal.value(slot)
            for wrong in facts.values[slot]:
                if wrong != right:
                    true.add(say.not_base_fact(animal.name, slot, wrong))
                    true.add(say.correction(animal.name, slot, wrong, right))
        for prop in PROPERTIES:
            true.add(say.conclusion(animal.name, prop, facts.animal_has(animal.name, prop)))
    return frozenset(true)


def mentioned_animals(text: str, animals: Collection[str]) -> list[str]:
    """Returns the names of animals in a text, in order, as often as they stand there."""
    return [word for word in _WORD.findall(text) if word in animals]


def mentioned_properties(sentence: str) -> list[Property]:
    """Returns the properties that a sentence says of something, or denies."""
    return [_PROPERTY_OF_PHRASE[phrase] for phrase in _PHRASE.findall(sentence)]


def stated_base_facts(
    text: str, statements: Mapping[str, tuple[str, str, str]]
) -> list[tuple[str, str, str]]:
    """Returns the base facts that a text states, true or not: (animal, slot, value).

    Args:
        text: an explanation, or a training text with its answer and markers.
        statements: as `enumerate_base_statements` returns them.
    """
    # What stands before a colon is "beware:" or a marker.
    said = (sentence.rpartition(": ")[2] for sentence in say.split_sentences(text))
    return [statements[sentence] for sentence in said if sentence in statements]
