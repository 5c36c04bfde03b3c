"""The sentences of a world, and how a text is taken apart into them."""

from __future__ import annotations

import re

from teacherlm_jax.tasks.world.facts import Animal, Property

# What may stand before a sentence without changing what it says.
CONSEQUENCE = "so "
WARNING = "beware: "
_CONNECTIVE = re.compile(f"^(?:{CONSEQUENCE}|{WARNING})")
_SENTENCE = re.compile(r"[^.]+\.?")
_SPACE_BEFORE_MARK = re.compile(r" ([.,:;?!])")


def with_article(noun: str) -> str:
    """Returns the noun with "a" or "an"."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def base_fact(name: str, slot: str, value: str) -> str:
    """As in "the luvik is a bird.", "the luvik lives in brerinham.", "the luvik eats ferns."."""
    predicate = {
        "kind": f"is {with_article(value)}",
        "home": f"lives in {value}",
        "food": f"eats {value}",
    }[slot]
    return f"the {name} {predicate}."


def animal_fact(animal: Animal, slot: str) -> str:
    """Returns the animal's base fact."""
    return base_fact(animal.name, slot, animal.value(slot))


def not_base_fact(name: str, slot: str, value: str) -> str:
    """As in "the luvik is not a fish.", "the luvik does not live in gobosford."."""
    predicate = {
        "kind": f"is not {with_article(value)}",
        "home": f"does not live in {value}",
        "food": f"does not eat {value}",
    }[slot]
    return f"the {name} {predicate}."


def correction(name: str, slot: str, wrong: str, right: str) -> str:
    """As in "the luvik does not live in gobosford but in brerinham."."""
    ending = {
        "kind": f"but {with_article(right)}",
        "home": f"but in {right}",
        "food": f"but {right}",
    }[slot]
    return f"{not_base_fact(name, slot, wrong).removesuffix('.')} {ending}."


def conclusion(name: str, prop: Property, holds: bool) -> str:
    """As in "the luvik has fur.", "the luvik does not have fur."."""
    return f"the {name} {prop.singular if holds else f'does not {prop.plural}'}."


def rule(value: str, prop: Property, holds: bool) -> str:
    """As in "every bird has wings.", "brerinham is near a lake.", "ferns are not animals."."""
    if prop.slot == "kind":
        return f"{'every' if holds else 'no'} {value} {prop.singular}."
    verb = "is" if prop.slot == "home" else "are"
    return f"{value} {verb} {'' if holds else 'not '}{prop.predicate}."


def split_sentences(text: str) -> list[str]:
    """Returns the sentences of a text, with single spaces and their full stops.

    What follows the last full stop comes as a sentence without one: text that breaks off.
    """
    text = _SPACE_BEFORE_MARK.sub(r"\1", " ".join(text.split()))
    return [sentence for part in _SENTENCE.findall(text) if (sentence := part.strip())]


def statement(sentence: str) -> str:
    """Returns what a sentence says: without "so" or "beware:" before it."""
    return _CONNECTIVE.sub("", sentence, count=1)
