"""Which rows run together, and in which size: few sizes, and little padding.

Every size is a program to compile. So sizes are fitted to the rows: for so many of them, those with
the least padding.

Shape legend: N rows, U different values.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from teacherlm_jax.generation import batching
from teacherlm_jax.scoring.likelihood import RowSize

# Lengths are rounded up to whole multiples: hardware pads to such anyway, and sizes that nearly
# agree become one.
_MULTIPLE = 8
_MOST_LENGTHS, MOST_PLACES = 4, 3


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows that run together.

    Attributes:
      numbers: which, at most the batch size.
      size: of each.
    """

    numbers: tuple[int, ...]
    size: RowSize


def plan(
    sizes: Sequence[RowSize],
    batch_size: int,
    buckets: Sequence[int] | None = None,
    most_places: int = MOST_PLACES,
) -> list[Batch]:
    """Cuts rows into batches, those with the most predictions and the longest first.

    Questions whose options are single tokens need one prediction, and are kept apart; but what is
    left of others' last batch is filled with them, rather than with nothing.

    Args:
      sizes: of the rows.
      batch_size: rows of a batch.
      buckets: lengths that rows may have, rising; None: fitted to the rows.
      most_places: different numbers of predictions above 1.

    Returns:
      The batches; every row stands in exactly one.
    """
    if not sizes:
        return []
    options = max(size.options for size in sizes)
    places_N = np.array([size.places for size in sizes], np.int64)
    lengths_N = np.array([size.positions for size in sizes], np.int64)
    edges = [0, *fitted_buckets(places_N[places_N == 1], 1, 1)]
    edges += fitted_buckets(places_N[places_N > 1], most_places, 1)
    # Longest first: what does not fit in memory fails at once.
    order_N = np.argsort(-lengths_N, kind="stable")
    is_left_N = np.ones(len(sizes), bool)
    batches = []
    for low, high in reversed(list(itertools.pairwise(edges))):
        is_own_N = is_left_N & (places_N > low)
        allowed = buckets or fitted_buckets(lengths_N[is_own_N], _MOST_LENGTHS, _MULTIPLE)
        own = order_N[is_own_N[order_N]]
        for start in range(0, len(own), batch_size):
            chosen = own[start : start + batch_size]
            length = batching.bucket_for(int(lengths_N[chosen[0]]), allowed)
            is_left_N[chosen] = False
            others = order_N[(is_left_N & (places_N <= low) & (lengths_N <= length))[order_N]]
            chosen = np.concatenate([chosen, others[: batch_size - len(chosen)]])
            is_left_N[chosen] = False
            batches.append(Batch(tuple(chosen.tolist()), RowSize(length, high, options)))
    return batches


def evenly(rows: int, most: int, shards: int) -> int:
    """Rows of a batch where there are as few batches as can be, none emptier than it must be.

    Args:
      rows: how many there are, at least 1.
      most: of a batch on each shard.
      shards: over which a batch is spread.
    """
    count = -(-rows // (most * shards))
    return shards * -(-rows // (count * shards))


def fitted_buckets(values_N: np.ndarray, most: int, multiple: int) -> list[int]:
    """At most so many sizes that hold all values, with the least sum over the values.

    Args:
      values_N: whole numbers of at least 1.
      most: how many sizes.
      multiple: of which each is one.

    Returns:
      The sizes, rising; none for no values.
    """
    rounded_N = -(-np.asarray(values_N, np.int64) // multiple) * multiple
    sizes_U, counts_U = np.unique(rounded_N, return_counts=True)
    count = len(sizes_U)
    if count <= most:
        return sizes_U.tolist()
    # cost[u] is that of the first u sizes with the buckets so far; the next bucket ends at v and
    # holds those from u on.
    before_U1 = np.concatenate([[0], np.cumsum(counts_U)])
    cost_U1 = np.where(np.arange(count + 1) == 0, 0, np.iinfo(np.int64).max // 4)
    starts = []
    for _ in range(most):
        held_UU = before_U1[None, 1:] - before_U1[:-1, None]
        total_UU = np.where(held_UU > 0, cost_U1[:-1, None] + held_UU * sizes_U[None, :], 2**62)
        starts.append(total_UU.argmin(axis=0))
        cost_U1 = np.concatenate([[0], total_UU.min(axis=0)])
    chosen, end = [], count
    for start_U in reversed(starts):
        if end == 0:
            break
        chosen.append(int(sizes_U[end - 1]))
        end = int(start_U[end - 1])
    return chosen[::-1]
