"""How a mixture's examples fit rows of a length, and what that makes of a training.

Shape legend: N examples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from teacherlm_jax.data import mixture_plan
from teacherlm_jax.data.examples import ExampleTable
from teacherlm_jax.data.row_format import RowFormat


@dataclasses.dataclass(frozen=True)
class Fit:
    """What rows of a length do to the mixture.

    Attributes:
      length: positions of a row.
      too_long: task name -> examples that do not fit, where there are any. "error" stops at the
        first, "drop" loses them, "trim" keeps their last tokens.
      too_long_share: of draws, at the mixture's rates.
      lost_by_drop: share of tokens, at the mixture's rates.
      lost_by_trim: likewise.
      fill_packed: share of positions that are no padding; None: no example fits.
      fill_single: with an example a row.
      examples_per_row: packed.
    """

    length: int
    too_long: Mapping[str, int]
    too_long_share: float
    lost_by_drop: float
    lost_by_trim: float
    fill_packed: float | None
    fill_single: float | None
    examples_per_row: float


def fit_of(
    tables: Sequence[ExampleTable], shares: Sequence[float], row_format: RowFormat, seed: int
) -> Fit:
    """Counts what fits.

    Args:
      tables: of the tasks.
      shares: of draws.
      row_format: of the rows.
      seed: of the order of packing.
    """
    dropping = dataclasses.replace(row_format, too_long="drop")
    too_long, long_share, dropped, trimmed, tokens = {}, 0.0, 0.0, 0.0, 0.0
    for table, share in zip(tables, shares, strict=True):
        total_N = table.lengths_N2.sum(axis=1, dtype=np.int64)
        over_N = np.maximum(total_N - row_format.room, 0)
        if over_N.any():
            too_long[table.name] = int((over_N > 0).sum())
        each = share / len(table)
        long_share += each * float((over_N > 0).sum())
        dropped += each * float(total_N[over_N > 0].sum())
        trimmed += each * float(over_N.sum())
        tokens += each * float(total_N.sum())
    kept = [(dropping.usable(table).table, share) for table, share in zip(tables, shares)]
    kept = [(table, share) for table, share in kept if len(table)]
    packed = single = None
    per_row = 0.0
    if kept:
        used = [dropping.used_N(table) for table, _ in kept]
        stream = mixture_plan.PackedRows(
            used, [share for _, share in kept], row_format.length, seed
        )
        packed = stream.fill()
        per_row = sum(map(len, used)) / stream.count(1)
        left = sum(share for _, share in kept)
        mean = sum(float(own.mean()) * share / left for own, (_, share) in zip(used, kept))
        single = mean / row_format.length
    return Fit(
        length=row_format.length,
        too_long=too_long,
        too_long_share=long_share,
        lost_by_drop=dropped / tokens,
        lost_by_trim=trimmed / tokens,
        fill_packed=packed,
        fill_single=single,
        examples_per_row=per_row,
    )


def times_seen(
    tables: Sequence[ExampleTable], shares: Sequence[float], fit: Fit, draws: float | None
) -> list[float | None]:
    """Draws of each task, were all of its examples drawn as often as those that fit.

    Args:
      tables: of the tasks.
      shares: of draws.
      fit: of the rows.
      draws: of all tasks together; None: not known, and so are those of each.
    """
    fitting = [1 - fit.too_long.get(table.name, 0) / len(table) for table in tables]
    left = sum(share for share, part in zip(shares, fitting) if part)
    if draws is None or not left:
        return [None] * len(tables)
    return [draws * share / left / part if part else 0.0 for share, part in zip(shares, fitting)]


def schedule_of(train_steps: int, batch_size: int, fit: Fit, pack: bool) -> dict[str, float]:
    """What steps of rows of that fit read, without what is too long.

    Args:
      train_steps: steps.
      batch_size: rows of a step.
      fit: of the rows.
      pack: whether a row holds several examples.
    """
    rows = train_steps * batch_size
    fill = (fit.fill_packed if pack else fit.fill_single) or 0.0
    return {
        "train_steps": train_steps,
        "batch_size": batch_size,
        "length": fit.length,
        "is_packed": pack,
        "rows": rows,
        "draws": rows * (fit.examples_per_row if pack else 1),
        "tokens": rows * fit.length * fill,
    }
