"""Which property of which animal is asked in which split; the splits share none.

What is shared out are pairs of an animal and a family of properties. Opposites are one family, so
that "lives near a lake" in one split does not answer "lives near a forest" in another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from teacherlm_jax.tasks.world.draws import generator
from teacherlm_jax.tasks.world.facts import FAMILIES, PROPERTIES, Facts
from teacherlm_jax.tasks.world.names import Names

# Families per animal. The student's questions are annotated by the teacher, the teacher's come with
# gold explanations. Validation gets two families, since one leaves too few pairs of animals that
# can stand in one question.
RARE_SPLITS: Mapping[str, int] = {"student": 3, "teacher": 3, "validation": 2, "test": 3}
KNOWN_SPLITS: Mapping[str, int] = {"base": 9, "base_test": 2}
SPLITS = (*KNOWN_SPLITS, *RARE_SPLITS)
HELD_OUT_SPLITS = frozenset({"base_test", "validation", "test"})

# Random shares that each animal tries in turn, and how often all animals have their turn: with
# these nearly as many questions can be asked with balanced labels as there could be at all.
_TRIES = 20
_SWEEPS = 2

# Shape suffixes: A animals of a group, F families, P properties, S splits, 2 lacks it or has it.


def make_splits(seed: int, names: Names, facts: Facts) -> dict[tuple[str, str], str]:
    """Returns (animal, family) to the split that may ask for it.

    Within a group of animals every split gets, as nearly as can be found, its share of those who
    have each property and of those who lack it.
    """
    split_of: dict[tuple[str, str], str] = {}
    for group, sizes in ((names.known, KNOWN_SPLITS), (names.rare, RARE_SPLITS)):
        if sum(sizes.values()) != len(FAMILIES):
            raise ValueError(
                f"splits {dict(sizes)} share out {sum(sizes.values())} families, but there are"
                f" {len(FAMILIES)}: make the sizes add up to it."
            )
        split_AF = _balanced_shares(seed, group, tuple(sizes.values()), facts)
        for name, split_F in zip(group, split_AF):
            for family, split in zip(FAMILIES, split_F):
                split_of[name, family] = list(sizes)[split]
    return split_of


def _balanced_shares(
    seed: int, group: Sequence[str], sizes: tuple[int, ...], facts: Facts
) -> np.ndarray:
    """Returns the number of the split [A, F] of each animal's families, by descent."""
    rng = generator(seed, "splits", *sizes)
    share_F = np.repeat(np.arange(len(sizes)), sizes)
    family_P = np.array([FAMILIES.index(prop.family) for prop in PROPERTIES])
    each_P = np.arange(len(PROPERTIES))
    has_AP = np.array([[int(facts.animal_has(n, prop)) for prop in PROPERTIES] for n in group])
    split_AF = np.array([rng.permutation(share_F) for _ in group])
    count_SP2 = np.zeros((len(sizes), len(PROPERTIES), 2), np.int64)

    def add(animal: int, split_F: np.ndarray, amount: int) -> None:
        count_SP2[split_F[family_P], each_P, has_AP[animal]] += amount

    for animal, split_F in enumerate(split_AF):
        add(animal, split_F, 1)
    best = _imbalance(count_SP2, sizes)
    for animal in list(range(len(group))) * _SWEEPS:
        for _ in range(_TRIES):
            candidate_F = rng.permutation(share_F)
            add(animal, split_AF[animal], -1)
            add(animal, candidate_F, 1)
            imbalance = _imbalance(count_SP2, sizes)
            if imbalance < best:
                best, split_AF[animal] = imbalance, candidate_F
            else:
                add(animal, candidate_F, -1)
                add(animal, split_AF[animal], 1)
    return split_AF


def _imbalance(count_SP2: np.ndarray, sizes: Sequence[int]) -> int:
    """Returns by how much splits fall short of their share of balanced questions, squared.

    A split can ask about a property as often in either sense as the rarer sense occurs. Integers
    alone, so that every machine descends the same way.
    """
    rarer_SP = count_SP2.min(axis=-1)
    rarer_P = count_SP2.sum(axis=0).min(axis=-1)
    missing_SP = rarer_P * np.array(sizes)[:, None] - sum(sizes) * rarer_SP
    return int(np.square(np.maximum(missing_SP, 0)).sum())
