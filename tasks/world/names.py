"""Invented names of animals and places; each is one token of the world's vocabulary."""

from __future__ import annotations

import dataclasses

from teacherlm_jax.tasks.world.draws import generator, shuffled

NUM_KNOWN = 48
NUM_RARE = 48
NUM_PLACES = 8

# All 24 x 22 names were looked up in word lists of ten languages; `_TAKEN` is what was found. An
# invented animal must not call up a known one.
_FIRST_SYLLABLES = (
    *("bre", "cho", "dri", "fe", "fla", "go", "gri", "ji", "ka", "kwi", "lu", "mo"),
    *("nau", "plo", "qua", "sho", "sni", "tha", "tri", "vu", "wa", "wu", "yo", "ze"),
)
_SECOND_SYLLABLES = (
    *("bix", "dox", "fim", "gath", "gul", "jun", "kif", "lif", "lorn", "mip", "mus"),
    *("nuf", "pog", "rup", "sha", "tez", "vik", "vop", "wok", "yad", "zek", "zot"),
)
_TAKEN = frozenset(
    (
        *("brevik", "brewok", "flasha", "godox", "gosha", "grisha", "kalif", "kamus"),
        *("karup", "kasha", "kazek", "lumus", "lurup", "mogul", "momus", "qualif"),
        *("thamus", "trisha", "vurup", "wakif", "wamus", "washa"),
    )
)
_PLACE_STEMS = (
    *("brerin", "dulmar", "fesken", "glumor", "gobos", "kranel", "mivern", "nostel"),
    *("pludan", "ruskel", "shomer", "trelis", "vumbar", "wexal", "yarrol", "zimber"),
)
_PLACE_ENDINGS = ("bury", "by", "ford", "ham", "stow", "thorpe", "ton", "wick")


@dataclasses.dataclass(frozen=True)
class Names:
    """The names of a world: `known` animals, `rare` animals and `places`, all distinct."""

    known: tuple[str, ...]
    rare: tuple[str, ...]
    places: tuple[str, ...]

    @property
    def animals(self) -> tuple[str, ...]:
        """All animals, the known ones first."""
        return self.known + self.rare


def make_names(seed: int) -> Names:
    """Returns the names of the world with this seed."""
    rng = generator(seed, "names")
    possible = [
        first + second
        for first in _FIRST_SYLLABLES
        for second in _SECOND_SYLLABLES
        if first + second not in _TAKEN
    ]
    animals = shuffled(rng, possible)[: NUM_KNOWN + NUM_RARE]
    stems = shuffled(rng, _PLACE_STEMS)[:NUM_PLACES]
    endings = shuffled(rng, _PLACE_ENDINGS)[:NUM_PLACES]
    places = tuple(stem + ending for stem, ending in zip(stems, endings))
    return Names(tuple(animals[:NUM_KNOWN]), tuple(animals[NUM_KNOWN:]), places)
