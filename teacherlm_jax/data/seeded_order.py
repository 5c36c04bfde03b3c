"""Orders that a seed decides, the same on every machine and after every upgrade.

numpy froze the streams of `RandomState` for good (NEP 19); those of its newer `Generator` may
change with a release. `SeedSequence`, whose algorithm is fixed too, keeps seeds that differ in
anything far apart, so that one seed's second epoch is never the next seed's first.

Shape legend: N things in an order.
"""

import hashlib

import numpy as np

# What an order is for: two uses of the same numbers must not give the same order.
PASS = 1
NEIGHBOURS = 2
ROWS = 3
_NAMED = 4
_SAMPLED = 5

_AT_ONCE = 2**20


def permutation(count: int, seed: int, *key: int) -> np.ndarray:
    """An order of `range(count)`, int64 [N].

    Args:
      count: how many.
      seed: a whole number from 0 on.
      *key: what tells this order from others of the same seed: one of the purposes above, then
        whole numbers below 2**32, such as a table and an epoch.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=key)
    return np.random.RandomState(np.random.MT19937(sequence)).permutation(count)


def named_permutation(count: int, seed: int, name: str) -> np.ndarray:
    """An order that depends on a name, int64 [N]."""
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4")
    return permutation(count, seed, _NAMED, *words.tolist())


def named_sample(count: int, most: int, seed: int, name: str) -> np.ndarray:
    """A part of `range(count)` that depends on a name, int64 [N], in rising order.

    Every number has a rank that count and most have no part in, and those of the lowest ranks are
    taken: a smaller sample is part of a larger one, and rows at the end of a table, or fewer of
    them, change little. Takes memory for the sample alone.

    Args:
      count: how many there are.
      most: how many are taken, where there are as many.
      seed: a whole number from 0 on.
      name: samples of other names are others.
    """
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4")
    sequence = np.random.SeedSequence(seed, spawn_key=(_SAMPLED, *words.tolist()))
    first_key, second_key = sequence.generate_state(2, np.uint64)
    ranks_N, taken_N = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    for first in range(0, count, _AT_ONCE):
        numbers_N = np.arange(first, min(first + _AT_ONCE, count), dtype=np.int64)
        ranks_N = np.concatenate(
            [ranks_N, _mixed(_mixed(numbers_N.astype(np.uint64) ^ first_key) ^ second_key)]
        )
        taken_N = np.concatenate([taken_N, numbers_N])
        if len(taken_N) > most:
            # No two numbers have one rank: the mixing can be undone.
            lowest_N = np.argpartition(ranks_N, most)[:most]
            ranks_N, taken_N = ranks_N[lowest_N], taken_N[lowest_N]
    return np.sort(taken_N)


def _mixed(words_N: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea and Flood 2014): spreads every bit over all, and loses none."""
    words_N = words_N + np.uint64(0x9E3779B97F4A7C15)
    words_N = (words_N ^ (words_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words_N = (words_N ^ (words_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words_N ^ (words_N >> np.uint64(31))
