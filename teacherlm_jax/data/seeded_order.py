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
