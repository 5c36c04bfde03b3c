"""Accuracies as bars, by group: what stands in which chart, and drawing it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from teacherlm_jax.metrics.drawing import BLUE, INK, LINE, MUTED, RED
from teacherlm_jax.scoring.results import Results, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, ROW = 8.6, 0.178
# Rows of a column, so that a chart fits a screen; a chart of few rows has one column.
MOST_ROWS, ONE_COLUMN = 40, 16
LONGEST_LABEL = 38


@dataclasses.dataclass(frozen=True)
class Bar:
    """One task or subject."""

    label: str
    summary: Summary


@dataclasses.dataclass(frozen=True)
class Block:
    """Bars under a heading with figures of its own, the best first; heading "": none."""

    heading: str
    figures: str
    bars: tuple[Bar, ...]

    @property
    def rows(self) -> int:
        """How many it takes, with heading and a gap below."""
        return len(self.bars) + 1 + bool(self.heading)


Column = list[Block]


def blocks(results: Results) -> list[Block]:
    """Tasks under the smallest of the groups that they are in, then tasks by their subjects."""
    found = []
    several = len(results.overall) > 1
    for whole in results.overall:
        groups = [group for group in results.groups if group.split == whole.split]
        tasks = [task for task in results.tasks if task.split == whole.split]
        where = f", {whole.split}" if several else ""
        of_group: dict[str, list[Summary]] = {group.name: [] for group in groups}
        free = []
        for task in tasks:
            mine = [group for group in groups if task.name in group.parts]
            if mine:
                of_group[min(mine, key=lambda group: len(group.parts)).name].append(task)
            else:
                free.append(task)
        for group in groups:
            own = of_group[group.name]
            if own:
                # A group of groups names what is left: its figures are those of more than these.
                figures = _figures(group, results) if len(own) == len(group.parts) else ""
                found.append(_block(f"{group.name}{where}", figures, own, results))
        if free:
            heading = f"other tasks{where}" if groups else where.removeprefix(", ")
            found.append(_block(heading, "", free, results))
        for task in tasks:
            if task.parts:
                own = [s for s in results.subjects if (s.task, s.split) == (task.name, task.split)]
                found.append(_block(f"{task.name}{where}", _figures(task, results), own, results))
    return found


def _figures(summary: Summary, results: Results) -> str:
    accuracy = summary.by_normalisation[results.headline]
    return f"{accuracy.accuracy:.1f}, mean of {len(summary.parts)}: {accuracy.macro:.1f}"


def _block(heading: str, figures: str, summaries: Sequence[Summary], results: Results) -> Block:
    subjects = [summary.subject for summary in summaries]
    # Subjects name tasks well enough where each is there once.
    by_subject = all(subjects) and len(set(subjects)) == len(subjects) > 1
    bars = [
        Bar(summary.subject.replace("_", " ") if by_subject else summary.name, summary)
        for summary in summaries
    ]
    bars.sort(key=lambda bar: (-bar.summary.by_normalisation[results.headline].accuracy, bar.label))
    return Block(heading, figures, tuple(bars))


def charts(found: Sequence[Block]) -> list[list[Column]]:
    """Blocks laid out: charts of one or two columns of blocks."""
    pieces = [piece for block in found for piece in _pieces(block)]
    total = sum(piece.rows for piece in pieces)
    if total <= ONE_COLUMN:
        return [[pieces]]
    columns: list[Column] = []
    # As low as two columns can be, if two are enough.
    for rows in range(max(-(-total // 2), max(piece.rows for piece in pieces)), MOST_ROWS + 1):
        columns = _columns(pieces, rows)
        if len(columns) <= 2:
            break
    columns = columns or _columns(pieces, MOST_ROWS)
    return [columns[start : start + 2] for start in range(0, len(columns), 2)]


def _pieces(block: Block) -> Iterator[Block]:
    size = MOST_ROWS - 2
    for start in range(0, len(block.bars), size):
        heading = f"{block.heading or 'tasks'}, continued" if start else block.heading
        yield Block(heading, block.figures, block.bars[start : start + size])


def _columns(pieces: Sequence[Block], rows: int) -> list[Column]:
    columns: list[Column] = []
    left = 0
    for piece in pieces:
        if not columns or piece.rows > left:
            columns.append([])
            left = rows
        columns[-1].append(piece)
        left -= piece.rows
    return columns


def figure(columns: Sequence[Column], headline: str) -> Figure:
    """Draws a chart: bars from 0 to 100 with their standard errors, and chance."""
    from matplotlib.figure import Figure

    rows = max(sum(block.rows for block in column) for column in columns)
    drawn = Figure(figsize=(WIDTH, ROW * rows + 0.45), layout="constrained")
    drawn.get_layout_engine().set(wspace=0.04)  # type: ignore[union-attr, call-arg]
    grid = drawn.subplots(1, len(columns), squeeze=False)
    for axes, column in zip(grid.flat, columns, strict=True):
        _draw(axes, column, headline, rows)
    return drawn


def _draw(axes: Axes, column: Column, headline: str, rows: int) -> None:
    places: list[float] = []
    labels: list[str] = []
    bold: list[int] = []
    row = 0.0
    for block in column:
        if block.heading:
            places.append(row)
            labels.append(_short(block.heading, LONGEST_LABEL))
            bold.append(len(labels) - 1)
            axes.text(1, row, block.figures, va="center", fontsize=7.5, fontweight="bold")
            row += 1
        for bar in block.bars:
            accuracy = bar.summary.by_normalisation[headline]
            value, error = accuracy.accuracy, accuracy.standard_error
            axes.barh(row, value, height=0.68, color=BLUE, alpha=0.8, zorder=2)
            if math.isfinite(error):
                ends = (max(value - error, 0), min(value + error, 100))
                axes.plot(ends, (row, row), color=INK, linewidth=1.1, zorder=4)
            chance = bar.summary.chance
            axes.plot((chance, chance), (row - 0.5, row + 0.5), color=RED, linewidth=1.1, zorder=3)
            place = axes.get_yaxis_transform()
            axes.text(1.015, row, f"{value:.1f}", transform=place, va="center", fontsize=7.5)
            places.append(row)
            labels.append(_short(bar.label, LONGEST_LABEL))
            row += 1
        row += 1
    axes.set_yticks(places, labels, fontsize=7.5)
    for number in bold:
        axes.get_yticklabels()[number].set_fontweight("bold")
    axes.tick_params(length=0, pad=3)
    axes.tick_params(axis="x", labelsize=7.5, labelcolor=MUTED)
    axes.set_ylim(rows - 1.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xticks(range(0, 101, 25))
    axes.grid(axis="x", color=LINE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)


def _short(text: str, length: int) -> str:
    """Cut in the middle: names of tasks differ at their ends as well."""
    if len(text) <= length:
        return text
    start = (length - 1) // 2
    return f"{text[:start]}…{text[len(text) - (length - 1 - start) :]}"
