"""Gold explanations: what a perfect teacher writes, by program, every sentence true."""

from __future__ import annotations

import numpy as np

from teacherlm_jax.tasks.world import sentences as say
from teacherlm_jax.tasks.world.draws import choice, generator
from teacherlm_jax.tasks.world.facts import SLOTS, Facts, Property
from teacherlm_jax.tasks.world.questions import Question
from teacherlm_jax.teacher.prompts import EXPLANATION_FIELDS, option_letters


def gold_explanation(seed: int, facts: Facts, question: Question, field: str) -> str:
    """Returns the gold explanation of a question.

    Args:
        seed: the world's seed.
        facts: what is so.
        question: of mc the sentences follow the order of its options.
        field: one of `prompts.EXPLANATION_FIELDS`.
    """
    if field == "fundamentals":
        sentences = _fundamentals(seed, facts, question)
    elif field == "chain_of_thought":
        sentences = _chain_of_thought(facts, question)
    elif field == "common_mistakes":
        sentences = _common_mistakes(seed, facts, question)
    else:
        raise ValueError(
            f"field = {field!r}, but an explanation is one of {', '.join(EXPLANATION_FIELDS)}."
        )
    return " ".join(sentences)


def _generator(seed: int, question: Question, name: str, purpose: str) -> np.random.Generator:
    """Draws for one animal of a question: the same for every order of the options."""
    return generator(seed, purpose, question.id, name)


def _fundamentals(seed: int, facts: Facts, question: Question) -> list[str]:
    """tf: all base facts; mc: each option's that decides; both: that and one other."""
    slot = question.prop.slot
    sentences = []
    for name in question.animals:
        animal = facts.animals[name]
        if question.type == "tf":
            slots = list(SLOTS)
        elif question.type == "mc":
            slots = [slot]
        else:
            others = [other for other in SLOTS if other != slot]
            slots = [slot, choice(_generator(seed, question, name, "fundamentals"), others)]
        sentences += [say.animal_fact(animal, each) for each in slots]
    return sentences


def _chain_of_thought(facts: Facts, question: Question) -> list[str]:
    """Base fact, rule, conclusion, for those animals that decide the answer."""
    prop = question.prop
    if question.type == "mc":
        deciding = [question.animals[option_letters(len(question.choices)).index(question.answer)]]
    elif question.label:
        deciding = list(question.animals)
    else:
        deciding = [name for name in question.animals if not facts.animal_has(name, prop)][:1]
    sentences = []
    for name in deciding:
        animal, holds = facts.animals[name], facts.animal_has(name, prop)
        conclusion = say.conclusion(name, prop, holds)
        sentences += [
            say.animal_fact(animal, prop.slot),
            say.rule(animal.value(prop.slot), prop, holds),
            say.CONSEQUENCE + conclusion,
        ]
    return sentences


def _common_mistakes(seed: int, facts: Facts, question: Question) -> list[str]:
    """What one could wrongly believe that would lead to the other answer, put right.

    tf: with the rule that would mislead; mc: of the two wrong options; both: of both animals.
    """
    prop = question.prop
    sentences = []
    for name in question.animals:
        holds = facts.animal_has(name, prop)
        if question.type == "mc" and holds:
            continue
        right = facts.animals[name].value(prop.slot)
        wrong = _misleading_value(seed, facts, question, name, prop)
        sentences.append(say.correction(name, prop.slot, wrong, right))
        if question.type == "tf":
            sentences.append(say.rule(wrong, prop, not holds))
    return [say.WARNING + sentences[0], *sentences[1:]]


def _misleading_value(
    seed: int, facts: Facts, question: Question, name: str, prop: Property
) -> str:
    """Returns a value of the deciding base fact from which the contrary would follow."""
    holds = facts.animal_has(name, prop)
    values = [v for v in facts.values[prop.slot] if facts.value_has(v, prop) != holds]
    return choice(_generator(seed, question, name, "common mistakes"), values)
