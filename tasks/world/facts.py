"""What is so in a world: kinds, places and foods, their traits, and the animals' base facts.

An animal has three base facts: its kind, its home and its food. Each of these values has traits,
and an animal has the properties that are traits of its values. So an answer always takes two steps:
animal to base fact, base fact to trait.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

from teacherlm_jax.tasks.world.draws import evenly, generator, shuffled
from teacherlm_jax.tasks.world.names import Names

SLOTS = ("kind", "home", "food")

KINDS: Mapping[str, frozenset[str]] = {
    "amphibian": frozenset({"backbone", "eggs"}),
    "bird": frozenset({"feathers", "wings", "backbone", "eggs", "warm_blood"}),
    "fish": frozenset({"scales", "backbone", "eggs"}),
    "insect": frozenset({"wings", "eggs"}),
    "mammal": frozenset({"fur", "backbone", "warm_blood"}),
    "reptile": frozenset({"scales", "backbone", "eggs"}),
}
FOODS: Mapping[str, frozenset[str]] = {
    "berries": frozenset({"plants"}),
    "crabs": frozenset({"animals"}),
    "ferns": frozenset({"plants"}),
    "nuts": frozenset({"plants"}),
    "snails": frozenset({"animals"}),
    "worms": frozenset({"animals"}),
}
# A place has one trait of each pair; the eight places have the eight combinations.
PLACE_TRAITS = (("hot", "cold"), ("lake", "forest"), ("north", "south"))


@dataclasses.dataclass(frozen=True)
class Property:
    """Something that an animal has, does or is, because of one of its base facts.

    Attributes:
        key: its name, which is also the trait of the base fact's value that it follows from.
        family: opposites share a family, because each tells of the other.
        slot: the base fact that decides it.
        verb: as in "both live near a lake".
        verb_s: as in "the luvik lives near a lake".
        complement: what follows the verb, such as "near a lake".
        predicate: what follows "is" or "are" in the trait of a place or a food.
    """

    key: str
    family: str
    slot: str
    verb: str
    verb_s: str
    complement: str
    predicate: str = ""

    @property
    def singular(self) -> str:
        """As in "the luvik *lives near a lake*"."""
        return f"{self.verb_s} {self.complement}"

    @property
    def plural(self) -> str:
        """As in "both *live near a lake*", "does not *live near a lake*"."""
        return f"{self.verb} {self.complement}"


PROPERTIES = (
    Property("feathers", "feathers", "kind", "have", "has", "feathers"),
    Property("fur", "fur", "kind", "have", "has", "fur"),
    Property("scales", "scales", "kind", "have", "has", "scales"),
    Property("wings", "wings", "kind", "have", "has", "wings"),
    Property("backbone", "backbone", "kind", "have", "has", "a backbone"),
    Property("eggs", "eggs", "kind", "lay", "lays", "eggs"),
    Property("warm_blood", "warm_blood", "kind", "have", "has", "warm blood"),
    Property("hot", "climate", "home", "live", "lives", "in a hot place", "a hot place"),
    Property("cold", "climate", "home", "live", "lives", "in a cold place", "a cold place"),
    Property("lake", "landscape", "home", "live", "lives", "near a lake", "near a lake"),
    Property("forest", "landscape", "home", "live", "lives", "near a forest", "near a forest"),
    Property("north", "region", "home", "live", "lives", "in the north", "in the north"),
    Property("south", "region", "home", "live", "lives", "in the south", "in the south"),
    Property("plants", "diet", "food", "eat", "eats", "plants", "plants"),
    Property("animals", "diet", "food", "eat", "eats", "animals", "animals"),
)
PROPERTY_OF_KEY: Mapping[str, Property] = {prop.key: prop for prop in PROPERTIES}
FAMILIES = tuple(dict.fromkeys(prop.family for prop in PROPERTIES))


@dataclasses.dataclass(frozen=True)
class Animal:
    """An animal and its base facts: a key of `KINDS`, a place, and a key of `FOODS`."""

    name: str
    kind: str
    home: str
    food: str

    def value(self, slot: str) -> str:
        """Returns the base fact's value: its kind, home or food."""
        return {"kind": self.kind, "home": self.home, "food": self.food}[slot]


@dataclasses.dataclass(frozen=True)
class Facts:
    """All that is so.

    Attributes:
        animals: name to animal, the known ones first.
        values: slot to the values that a base fact can have.
        traits: value to its traits, which are keys of properties.
    """

    animals: Mapping[str, Animal]
    values: Mapping[str, tuple[str, ...]]
    traits: Mapping[str, frozenset[str]]

    def value_has(self, value: str, prop: Property) -> bool:
        """Returns whether the property follows from this value of its base fact."""
        return prop.key in self.traits[value]

    def animal_has(self, name: str, prop: Property) -> bool:
        """Returns whether the animal has the property."""
        return self.value_has(self.animals[name].value(prop.slot), prop)


def make_facts(seed: int, names: Names) -> Facts:
    """Returns the facts of the world with this seed.

    Known and rare animals each have every kind, home and food equally often.
    """
    rng = generator(seed, "facts")
    combinations = shuffled(rng, list(itertools.product(*PLACE_TRAITS)))
    places = {place: frozenset(traits) for place, traits in zip(names.places, combinations)}
    values = {"kind": tuple(KINDS), "home": tuple(places), "food": tuple(FOODS)}
    animals: dict[str, Animal] = {}
    for group in (names.known, names.rare):
        columns = [evenly(rng, values[slot], len(group)) for slot in SLOTS]
        for name, kind, home, food in zip(group, *columns):
            animals[name] = Animal(name, kind, home, food)
    return Facts(animals, values, {**KINDS, **places, **FOODS})
