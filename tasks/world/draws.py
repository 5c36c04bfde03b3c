"""Seeded randomness that is the same on every machine: PCG64 keyed by seed and purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Returns a random generator of its own for a purpose, whatever else was drawn before.

    Args:
        seed: the world's seed.
        purpose: what the numbers are for; other words give independent numbers.
    """
    digest = hashlib.sha256("\n".join(map(str, (seed, *purpose))).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def shuffled(rng: np.random.Generator, items: Sequence[Item]) -> list[Item]:
    """Returns the items in random order."""
    return [items[index] for index in rng.permutation(len(items))]


def choice(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    """Returns one of the items."""
    return items[int(rng.integers(len(items)))]


def evenly(rng: np.random.Generator, items: Sequence[Item], count: int) -> list[Item]:
    """Returns `count` items in random order, each as often as any other (give or take one)."""
    repeated = [items[index % len(items)] for index in range(count)]
    return shuffled(rng, repeated)
