"""Shows `length_statistics`: as tables of at most 100 columns, and as a chart."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from teacherlm_jax.data.length_statistics import Measured, MixtureStatistics
from teacherlm_jax.data.row_fit import Fit

WIDTH = 100
TASKS_SHOWN = 30
TASKS_DRAWN = 30

_INPUTS, _TARGETS, _INK, _MUTED, _LINE = "#1f5fbf", "#a86800", "#1b1f24", "#59636e", "#d5dae0"
_SHORTEST_NAME = 12
_LONGEST_DRAWN = 44


def as_text(found: MixtureStatistics, everything: bool = False) -> str:
    """The tables.

    Args:
      found: what to show.
      everything: all tasks, not the first `TASKS_SHOWN` alone.
    """
    lines = [f"{found.name}/{found.split}: {_tasks(len(found.tasks))}"]
    if not found.is_whole:
        measured = sum(task.measured for task in found.tasks)
        lines.append(f"  from the first {measured:,} examples, since --limit ends each task there")
    lines += ["", *_task_table(found, everything), "", *_fit_table(found.fits), ""]
    lines += _suggestions(found)
    if found.schedule:
        lines += ["", *_schedule_lines(found)]
    return "\n".join(lines)


def _tasks(count: int) -> str:
    return "a task" if count == 1 else f"{count} tasks"


def _task_table(found: MixtureStatistics, everything: bool) -> list[str]:
    shown = found.tasks if everything else found.tasks[:TASKS_SHOWN]
    rows = []
    for task in shown:
        numbers = [
            f"{summary.mean:.0f} {summary.median} {summary.p95} {summary.p99} {summary.max}"
            for summary in (task.inputs, task.targets)
        ]
        cells = [value for text in numbers for value in text.split(" ")]
        examples = "?" if task.examples is None else f"{task.examples:,}"
        epochs = "" if task.epochs is None else f"{task.epochs:.3g}"
        shares = (f"{100 * task.share:.1f}", f"{100 * task.token_share:.1f}")
        rows.append((task.name, examples, *cells, *shares, epochs))
    heads = ("task", "examples", *("mean", "p50", "p95", "p99", "max") * 2, "draw%", "tok%")
    lines = _aligned([(*heads, "epochs" if found.schedule else ""), *rows])
    # Above the numbers of each feature stands its name.
    start = lines[0].index("mean")
    second = lines[0].index("mean", start + 1)
    named = f"{'':{start}}{'inputs':{second - start}}targets"
    left = len(found.tasks) - len(shown)
    more = [f"  and {_tasks(left)} with fewer tokens (--all shows them)"] if left else []
    unusable = sum(task.unusable for task in found.tasks)
    if unusable:
        more.append(f"  {unusable:,} examples have no token to learn from and are left out")
    return [named, *lines, *more]


def _fit_table(fits: Sequence[Fit]) -> list[str]:
    heads = ("row length", "too long", "of draws", "drop loses", "trim loses", "full, packed")
    rows = [(*heads, "full, single", "a row")]
    for fit in fits:
        rows.append(
            (
                f"{fit.length:,}",
                f"{sum(fit.too_long.values()):,}",
                _percent(fit.too_long_share),
                _percent(fit.lost_by_drop),
                _percent(fit.lost_by_trim),
                "-" if fit.fill_packed is None else _percent(fit.fill_packed),
                "-" if fit.fill_single is None else _percent(fit.fill_single),
                f"{fit.examples_per_row:.1f}",
            )
        )
    lines = _aligned(rows, gap="  ")
    for fit in fits:
        if fit.too_long:
            worst = sorted(fit.too_long.items(), key=lambda item: (-item[1], item[0]))
            named = ", ".join(f"{name} {count:,}" for name, count in worst[:3])
            more = f" and {_tasks(len(worst) - 3)} more" if len(worst) > 3 else ""
            text = f"too long for {fit.length}: {named}{more}; 'error' stops at the first"
            lines += textwrap.wrap(text, WIDTH - 2, initial_indent="  ", subsequent_indent="    ")
    return lines


def _suggestions(found: MixtureStatistics) -> list[str]:
    p99 = found.suggested_p99
    return [
        f"  TASK_FEATURE_LENGTHS = {dict(found.suggested)}  cuts nothing",
        f"  TASK_FEATURE_LENGTHS = {dict(p99)}  holds 99 % of the draws of each",
        f"  rows of {found.needed:,} hold every example; TASK_FEATURE_LENGTHS add up to a row",
    ]


def _schedule_lines(found: MixtureStatistics) -> list[str]:
    schedule = found.schedule
    epochs = [task.epochs for task in found.tasks if task.epochs is not None]
    packed = "packed " if schedule["is_packed"] else ""
    lines = [
        f"  {schedule['train_steps']:,} steps of {schedule['batch_size']:,} {packed}rows of "
        f"{schedule['length']:,}: {schedule['draws']:,.0f} examples, "
        f"{schedule['tokens']:,.0f} tokens"
    ]
    which = ""
    if found.fits[0].too_long:
        lines[0] += ", without those that are too long"
        which = " that fit"
    if epochs:
        lines.append(
            f"  epochs: {min(epochs):.3g} to {max(epochs):.3g} of a task's examples{which}"
        )
    if len(epochs) < len(found.tasks):
        lines.append("  epochs of a task whose size is not known are left out: raise --limit")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _short(name: str, most: int) -> str:
    if len(name) <= most:
        return name
    half = most // 2
    return f"{name[: half - 1]}…{name[-half:]}"


def _aligned(rows: Sequence[Sequence[str]], gap: str = " ") -> list[str]:
    """The first column to the left, shortened as far as it has to be; the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(1, len(rows[0]))]
    room = max(WIDTH - 2 - sum(widths) - len(gap) * len(widths), _SHORTEST_NAME)
    names = [_short(row[0], room) for row in rows]
    longest = max(map(len, names))
    lines = []
    for name, row in zip(names, rows, strict=True):
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths, strict=True)]
        lines.append("  " + gap.join([f"{name:{longest}}", *cells]).rstrip())
    return lines


# The chart


def chart(found: MixtureStatistics, measured: Sequence[Measured]) -> bytes:
    """A PNG: how long examples are at the mixture's rates, and task by task."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure

    drawn = found.tasks[:TASKS_DRAWN] if len(found.tasks) > 1 else []
    height = 3.4 + (0.6 + 0.22 * len(drawn) if drawn else 0)
    figure = matplotlib.figure.Figure(figsize=(8.6, height), dpi=120, layout="constrained")
    matplotlib.backends.backend_agg.FigureCanvasAgg(figure)
    ratios = [3.4, 0.6 + 0.22 * len(drawn)] if drawn else [1]
    axes = figure.subplots(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
    _draw_histogram(axes[0], found, measured)
    if drawn:
        _draw_tasks(axes[1], drawn, len(found.tasks))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(_LINE)
        axis.tick_params(colors=_MUTED, labelsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _draw_histogram(axis: Any, found: MixtureStatistics, measured: Sequence[Measured]) -> None:
    share = {task.name: task.share for task in found.tasks}
    tables = [part.table for part in measured]
    weights = np.concatenate(
        [np.full(len(table), 100 * share[table.name] / len(table)) for table in tables]
    )
    lengths_N2 = np.concatenate([table.lengths_N2 for table in tables])
    highest = max(int(lengths_N2.max()), 1)
    # Whole tokens fall between the edges of bins.
    bins = np.arange(-0.5, highest + 1, max(1, int(np.ceil((highest + 1) / 60))))
    bins = np.append(bins, bins[-1] + np.diff(bins)[-1])
    for column, (name, colour) in enumerate((("inputs", _INPUTS), ("targets", _TARGETS))):
        values = lengths_N2[:, column]
        if values.any():
            axis.hist(
                values,
                bins,
                weights=weights,
                histtype="stepfilled",
                facecolor=f"{colour}40",
                edgecolor=colour,
                label=f"{name}: mean {np.average(values, weights=weights):.0f}, longest "
                f"{values.max():,}",
            )
    axis.set_title(f"{found.name}/{found.split}", loc="left", fontsize=11, color=_INK)
    axis.set_xlabel("tokens", fontsize=9, color=_MUTED)
    axis.set_ylabel("% of draws", fontsize=9, color=_MUTED)
    axis.set_xlim(0, highest * 1.02)
    axis.legend(frameon=False, fontsize=9, labelcolor=_INK)


def _draw_tasks(axis: Any, tasks: Iterable[Any], count: int) -> None:
    tasks = list(tasks)
    for place, task in enumerate(tasks):
        summary = task.total
        axis.plot([summary.median, summary.p99], [place, place], color=_INPUTS, linewidth=3)
        axis.plot(summary.median, place, "o", color=_INPUTS, markersize=5)
        axis.plot(summary.max, place, "|", color=_MUTED, markersize=8)
    axis.set_yticks(range(len(tasks)), [_short(task.name, _LONGEST_DRAWN) for task in tasks])
    axis.set_ylim(len(tasks) - 0.4, -0.6)
    axis.set_xlim(left=0)
    axis.grid(axis="x", color=_LINE, linewidth=0.6)
    axis.set_axisbelow(True)
    some = "" if len(tasks) == count else f" (the {len(tasks)} of {count} tasks with most tokens)"
    axis.set_xlabel(
        f"tokens of an example{some}: median (dot), 99 % (bar), longest (tick)",
        fontsize=9,
        color=_MUTED,
    )
