"""What a mixture costs: token lengths, what does not fit, how full rows are, how many epochs.

Shape legend: K tasks; N examples of a table; 2 (inputs, targets).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio
from etils import epath

from teacherlm_jax.data import inventory, ledger, pipeline, row_fit, token_cache, tokenization
from teacherlm_jax.data.examples import ExampleTable, TokenizedExample
from teacherlm_jax.data.row_format import RowFormat, UsableTable

# Lengths are suggested in multiples of this: XLA pads what is no multiple of its tiles.
ROUNDED_TO = 8


@dataclasses.dataclass(frozen=True)
class Measured:
    """A task's examples, or the first of them.

    Attributes:
      table: their lengths.
      examples: in the whole split; None: not known.
      is_whole: the table holds them all.
    """

    table: ExampleTable
    examples: int | None
    is_whole: bool


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Of some token counts: the mean, percentiles that are lengths of examples, and the highest."""

    mean: float
    median: int
    p95: int
    p99: int
    max: int


@dataclasses.dataclass(frozen=True)
class TaskStatistics:
    """A task in the mixture.

    Attributes:
      name: of the task.
      examples: in the whole split; None: not known.
      measured: whose lengths these are.
      unusable: of those measured, examples without a token to learn from.
      inputs: tokens of inputs.
      targets: tokens of targets, EOS included where the task adds it.
      total: tokens of both.
      share: of draws.
      token_share: of all tokens that training reads.
      loss_share: of all tokens of targets.
      epochs: times that training sees each example that fits its rows; None: not known, or no steps
        were given.
    """

    name: str
    examples: int | None
    measured: int
    unusable: int
    inputs: Lengths
    targets: Lengths
    total: Lengths
    share: float
    token_share: float
    loss_share: float
    epochs: float | None


@dataclasses.dataclass(frozen=True)
class MixtureStatistics:
    """All of it.

    Attributes:
      name: of the task or mixture.
      split: of its tasks.
      tasks: in the order of their share of tokens.
      fits: for each row length.
      needed: shortest row that holds every example measured.
      suggested: TASK_FEATURE_LENGTHS that cut nothing, in multiples of `ROUNDED_TO`.
      suggested_p99: the same for 99 % of the draws of each feature.
      schedule: train_steps, batch_size, rows, and of training without what is too long the draws
        and the positions that are no padding, as tokens; empty: no steps were given.
    """

    name: str
    split: str
    tasks: Sequence[TaskStatistics]
    fits: Sequence[row_fit.Fit]
    needed: int
    suggested: Mapping[str, int]
    suggested_p99: Mapping[str, int]
    schedule: Mapping[str, float]

    @property
    def is_whole(self) -> bool:
        """Whether all examples were measured."""
        return all(task.examples == task.measured for task in self.tasks)

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**dataclasses.asdict(self), "is_whole": self.is_whole}


def measure(
    provider: seqio.Task | seqio.Mixture,
    split: str,
    limit: int,
    token_cache_dir: epath.PathLike | None = None,
) -> tuple[list[Measured], list[float]]:
    """Token lengths of each task, and the mixture's rates.

    Args:
      provider: a task or mixture.
      split: of every task.
      limit: examples of a task at most; the first of them.
      token_cache_dir: tasks that have a complete cache there are measured whole, and nothing of
        them is tokenized but the first rows. Nothing is written.

    Raises:
      ValueError: a task has no such split.
    """
    tasks = provider.tasks if isinstance(provider, seqio.Mixture) else [provider]
    known = inventory.take([task.name for task in tasks]).tasks
    measured: dict[str, Measured] = {}

    def load(task: seqio.Task, split: str) -> ExampleTable:
        expected = known[task.name].examples.get(split)
        measured[task.name] = _measured(task, split, limit, token_cache_dir, expected)
        return measured[task.name].table

    _, rates = pipeline.load_tables(provider.name, split, load)
    return list(measured.values()), rates


def _measured(
    task: seqio.Task,
    split: str,
    limit: int,
    token_cache_dir: epath.PathLike | None,
    expected: int | None,
) -> Measured:
    if token_cache_dir is not None and _is_cached(token_cache_dir, task.name, split):
        table = token_cache.cached_table(task, split, token_cache_dir)
        return Measured(table, len(table), True)
    # One more tells whether these are all. Only lengths are kept: tokens of many tasks are large.
    rows = _lengths(task, split, limit + 1)
    lengths_N2 = np.array(rows[:limit], np.int32).reshape(-1, 2)
    table = ExampleTable(
        task.name,
        [_NO_TOKENS] * len(lengths_N2),
        lengths_N2,
        [f"{task.name}/{split}:{number}" for number in range(len(lengths_N2))],
    )
    is_whole = len(rows) <= limit
    return Measured(table, len(table) if is_whole else expected, is_whole)


_NO_TOKENS = TokenizedExample("", np.zeros(0, np.int32), np.zeros(0, np.int32))


def _lengths(task: seqio.Task, split: str, limit: int) -> list[tuple[int, int]]:
    rows = tokenization.tokenized_rows(task, split, limit)
    return [(len(inputs), len(targets)) for inputs, targets in rows]


def _is_cached(directory: epath.PathLike, name: str, split: str) -> bool:
    folder = epath.Path(directory) / token_cache.escaped(name) / token_cache.escaped(split)
    return ledger.is_complete(folder / token_cache.MANIFEST_NAME)


def statistics(
    name: str,
    split: str,
    measured: Sequence[Measured],
    rates: Sequence[float],
    lengths: Sequence[int],
    *,
    bos_id: int | None = 0,
    pack: bool = True,
    train_steps: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> MixtureStatistics:
    """Computes all of it from lengths alone.

    Args:
      name: of the task or mixture.
      split: of its tasks.
      measured: its tasks.
      rates: of them.
      lengths: of rows; the schedule is of the first. Empty: a row that holds every example.
      bos_id: as in `RowFormat`.
      pack: whether the schedule's rows are packed.
      train_steps: of the schedule; None: there is none.
      batch_size: rows of a step.
      seed: of the order of packing.

    Raises:
      ValueError: there is nothing to learn from.
    """
    whole = RowFormat(_longest(measured) + 1, bos_id, too_long="drop")
    usable = [_usable(part.table, split, whole) for part in measured]
    tables = [part.table for part in usable]
    shares = [rate / sum(rates) for rate in rates]
    needed = max(int(whole.used_N(table).max()) for table in tables)
    fits = [
        row_fit.fit_of(tables, shares, RowFormat(length, bos_id), seed)
        for length in (lengths or [_rounded(needed)])
    ]
    tokens_K2 = np.array([t.lengths_N2.mean(axis=0) * share for t, share in zip(tables, shares)])
    schedule = {}
    if train_steps is not None and batch_size is not None:
        schedule = row_fit.schedule_of(train_steps, batch_size, fits[0], pack)
    seen = row_fit.times_seen(tables, shares, fits[0], schedule.get("draws"))
    each = zip(measured, usable, shares, tokens_K2, seen, strict=True)
    tasks = [
        _task_statistics(part, kept, share, own_2, tokens_K2.sum(axis=0), times)
        for part, kept, share, own_2, times in each
    ]
    return MixtureStatistics(
        name=name,
        split=split,
        tasks=sorted(tasks, key=lambda task: (-task.token_share, task.name)),
        fits=fits,
        needed=needed,
        suggested=_suggested(tables, shares, 1.0),
        suggested_p99=_suggested(tables, shares, 0.99),
        schedule=schedule,
    )


def _usable(table: ExampleTable, split: str, row_format: RowFormat) -> UsableTable:
    usable = row_format.usable(table)
    if not len(usable.table):
        raise ValueError(
            f"{table.name}/{split}: none of its {len(table)} examples has a token to learn from, "
            "so there is nothing to count: look at it with `teacherlm data inspect`."
        )
    return usable


def _task_statistics(
    part: Measured,
    kept: UsableTable,
    share: float,
    tokens_2: np.ndarray,
    all_tokens_2: np.ndarray,
    times_seen: float | None,
) -> TaskStatistics:
    """Of one task, whose share of a draw has these tokens of those of all tasks."""
    lengths_N2 = kept.table.lengths_N2
    return TaskStatistics(
        name=part.table.name,
        examples=part.examples,
        measured=len(part.table),
        unusable=kept.dropped,
        inputs=_summary(lengths_N2[:, 0]),
        targets=_summary(lengths_N2[:, 1]),
        total=_summary(lengths_N2.sum(axis=1)),
        share=share,
        token_share=float(tokens_2.sum() / all_tokens_2.sum()),
        loss_share=float(tokens_2[1] / all_tokens_2[1]),
        epochs=times_seen / part.examples if times_seen is not None and part.examples else None,
    )


def _longest(measured: Sequence[Measured]) -> int:
    return max(int(part.table.lengths_N2.sum(axis=1).max(initial=1)) for part in measured)


def _rounded(length: int) -> int:
    return max(math.ceil(length / ROUNDED_TO) * ROUNDED_TO, ROUNDED_TO)


def _summary(lengths_N: np.ndarray) -> Lengths:
    found = np.percentile(lengths_N, [50, 95, 99, 100], method="inverted_cdf")
    return Lengths(float(lengths_N.mean()), *(int(value) for value in found))


def _suggested(
    tables: Sequence[ExampleTable], shares: Sequence[float], part: float
) -> dict[str, int]:
    """Lengths of each feature that hold this part of its draws."""
    found = {}
    for column, feature in enumerate(("inputs", "targets")):
        lengths = np.concatenate([table.lengths_N2[:, column] for table in tables])
        weights = np.concatenate(
            [np.full(len(table), share / len(table)) for table, share in zip(tables, shares)]
        )
        order = np.argsort(lengths, kind="stable")
        reached = np.cumsum(weights[order])
        place = min(int(np.searchsorted(reached, part * reached[-1])), len(lengths) - 1)
        longest = int(lengths.max() if part == 1 else lengths[order][place])
        found[feature] = _rounded(longest) if longest else 0
    return found
