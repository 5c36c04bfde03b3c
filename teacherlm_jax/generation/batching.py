"""Batches of few shapes: length buckets, masked filler rows, and a count of compilations.

Shape legend: B batch, T positions.
"""

import collections
import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

_traces: collections.Counter[str] = collections.Counter()


def count_trace(name: str) -> None:
    """Called inside a jitted function: its Python body runs once for each compilation."""
    _traces[name] += 1


class CompilationCount:
    """Counts what `count_trace` reported while `watch` was open."""

    def __init__(self) -> None:
        self.by_name: collections.Counter[str] = collections.Counter()

    @property
    def total(self) -> int:
        """Compilations of all functions together."""
        return sum(self.by_name.values())

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Adds the compilations made inside the block."""
        before = _traces.copy()
        try:
            yield
        finally:
            self.by_name.update(_traces - before)


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """Rows that run together.

    Attributes:
      rows: indices into the caller's sequence, at most the batch size.
      length: the bucket, in positions.
    """

    rows: tuple[int, ...]
    length: int


def default_buckets(max_length: int, smallest: int = 32, factor: int = 2) -> tuple[int, ...]:
    """`smallest` times the powers of `factor`, then `max_length` itself."""
    if max_length < 1:
        raise ValueError(f"max_length = {max_length}, but a row holds at least 1 token.")
    buckets = []
    length = smallest
    while length < max_length:
        buckets.append(length)
        length *= factor
    return (*buckets, max_length)


def resolve_buckets(buckets: Sequence[int] | None, max_length: int) -> tuple[int, ...]:
    """Returns the given buckets sorted and unique, or the default ones for None.

    Raises:
      ValueError: there is none, or one is outside [1, max_length].
    """
    if buckets is None:
        return default_buckets(max_length)
    if not buckets or min(buckets) < 1 or max(buckets) > max_length:
        raise ValueError(
            f"buckets = {tuple(buckets)}, but at least one length is needed and each must lie in "
            f"[1, {max_length}], the most tokens a row may have: leave it None for powers of two."
        )
    return tuple(sorted(set(buckets)))


def bucket_for(length: int, buckets: Sequence[int]) -> int:
    """The smallest bucket that holds `length` positions.

    Raises:
      ValueError: none does.
    """
    for bucket in buckets:
        if length <= bucket:
            return bucket
    raise ValueError(
        f"{length} positions do not fit the largest bucket, {buckets[-1]}: add a bucket of at "
        f"least {length}."
    )


def plan_batches(
    lengths: Sequence[int], batch_size: int, buckets: Sequence[int]
) -> list[BatchPlan]:
    """Sorts rows by length and cuts them into batches, the longest first.

    Longest first: what does not fit in memory fails at once, and estimates of the time left err
    on the safe side. Equal lengths keep their order. Only the last batch may be part full.

    Args:
      lengths: positions each row needs.
      batch_size: rows a batch.
      buckets: allowed batch lengths, rising.

    Returns:
      The batches; every row stands in exactly one.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size = {batch_size}, but it must be at least 1.")
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    plans = []
    for start in range(0, len(order), batch_size):
        rows = tuple(order[start : start + batch_size])
        plans.append(BatchPlan(rows, bucket_for(max(1, lengths[rows[0]]), buckets)))
    return plans


def pad_rows(
    rows: Sequence[Sequence[int]], batch_size: int, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Right-pads token rows to one rectangle.

    The filler is id 0, which may be a real token elsewhere: lengths alone say what is real.
    Filler rows at the end have length 0.

    Args:
      rows: at most `batch_size` rows of at most `length` tokens.
      batch_size: rows of the result.
      length: positions of the result.

    Returns:
      int32 tokens_BT and lengths_B.
    """
    tokens_BT = np.zeros((batch_size, length), np.int32)
    lengths_B = np.zeros((batch_size,), np.int32)
    for index, row in enumerate(rows):
        tokens_BT[index, : len(row)] = row
        lengths_B[index] = len(row)
    return tokens_BT, lengths_B
