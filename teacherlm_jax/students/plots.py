"""The report's charts, drawn with matplotlib's object interface and returned as bytes.

matplotlib is imported inside the functions: it costs a second, and only the report needs it. No
pyplot, no display, no file paths: the caller writes the bytes wherever it writes the rest.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from teacherlm_jax.metrics import drawing
from teacherlm_jax.metrics.drawing import FAINT, FONT_FAMILY, INK, LINE, MUTED, PAGE
from teacherlm_jax.students import report_view
from teacherlm_jax.students.report_view import Arm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Colours on a light page. The groups differ in lightness too, and each has its own marker, so that
# the charts read without colour vision.
GROUP_COLOURS = {
    report_view.BASELINE: MUTED,
    report_view.TEACHER: drawing.BLUE,
    report_view.GOLD: drawing.OCHRE,
    report_view.CONTROL: drawing.RED,
}
# What each of them becomes on a dark page.
DARK = {
    PAGE: "#14171b",
    INK: "#e6e9ed",
    MUTED: "#9aa4af",
    LINE: "#343b44",
    FAINT: "#434c57",
    GROUP_COLOURS[report_view.TEACHER]: "#79aef5",
    GROUP_COLOURS[report_view.GOLD]: "#e3b04b",
    GROUP_COLOURS[report_view.CONTROL]: "#f08a80",
}
MARKERS = {
    report_view.BASELINE: "o",
    report_view.TEACHER: "o",
    report_view.GOLD: "D",
    report_view.CONTROL: "s",
}

# Inches; the page shows them at 100 pixels an inch, so that chart text is as large as page text.
WIDE, NARROW = 8.6, 3.5
FONT_STACK = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
# Longer curves than this are drawn as a faint line under their running mean.
POINTS_BEFORE_SMOOTHING = 100


@dataclasses.dataclass(frozen=True)
class Chart:
    """One chart: `png` for files, `svg` for the page by variant, and what they show in words.

    The variants are wide_light, wide_dark, narrow_light and narrow_dark.
    """

    name: str
    alt: str
    caption: str
    png: bytes
    svg: Mapping[str, bytes]


def charts(arms: Sequence[Arm], chance: float) -> list[Chart]:
    """All charts that these arms have data for; `chance` is percent, NaN if not known."""
    found = [_chart("arms", functools.partial(_arms_figure, arms, chance), _arms_words(arms))]
    for name, field, unit in (
        ("learning_curves", "loss", "training loss"),
        ("validation_curves", "validation", "validation accuracy in percent"),
    ):
        drawn = [
            arm for arm in arms if any(math.isfinite(getattr(point, field)) for point in arm.curve)
        ]
        if drawn:
            line = chance if field == "validation" else math.nan
            draw = functools.partial(_curves_figure, drawn, field, unit, line)
            found.append(_chart(name, draw, _curves_words(drawn, field, unit)))
    return found


def _chart(name: str, draw: Callable[[bool], Figure], words: tuple[str, str]) -> Chart:
    svg = {}
    for shape in ("narrow", "wide"):
        with drawing.settings(f"{name}-{shape}"):
            figure = draw(shape == "wide")
            light = _svg(figure)
            figure.set_layout_engine("none")  # what was laid out once stays
            png = drawing.png(figure) if shape == "wide" else b""
        svg[f"{shape}_light"] = light.encode("utf-8")
        svg[f"{shape}_dark"] = _darkened(light).encode("utf-8")
    return Chart(name=name, alt=words[0], caption=words[1], png=png, svg=svg)


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue().decode("utf-8")
    # The font is named once, not with every label.
    text = text.replace(f"font-family: '{FONT_FAMILY}'; ", "")
    text = text.replace("</style>", f"text {{font-family: {FONT_STACK}}}</style>", 1)
    # Coordinates come with six decimals; two are a hundredth of a point, and half the size.
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)


def _darkened(svg: str) -> str:
    """The same drawing in the colours of a dark page."""

    def recolour(style: re.Match[str]) -> str:
        return re.sub("#[0-9a-f]{6}", lambda colour: DARK.get(colour[0], colour[0]), style[0])

    return re.sub(r'style="[^"]*"', recolour, svg)


def _arms_figure(arms: Sequence[Arm], chance: float, wide: bool) -> Figure:
    """A row for each arm: every run a dot, the mean a bar, the spread a line; twice."""
    from matplotlib.figure import Figure

    compared = any(arm.difference is not None for arm in arms)
    panels = 2 if compared else 1
    height = 0.42 * len(arms) + 0.75
    if wide:
        figure = Figure(figsize=(WIDE, height + 0.3), layout="constrained")
        grid = figure.subplots(1, panels, sharey=True, squeeze=False, width_ratios=[3, 2][:panels])
    else:
        figure = Figure(figsize=(NARROW, height * panels + 0.6), layout="constrained")
        figure.get_layout_engine().set(hspace=0.06)  # type: ignore[union-attr, call-arg]
        grid = figure.subplots(panels, 1, squeeze=False)
    axes = list(grid.flat)
    for row, arm in enumerate(arms):
        spread = arm.std if math.isfinite(arm.std) else 0.0
        values = [run.accuracy for run in arm.runs]
        _row(axes[0], row, arm, values, arm.mean, (arm.mean - spread, arm.mean + spread))
        if compared:
            gap = arm.difference
            if gap is not None:
                ends = (gap.minimum, gap.maximum)
                _row(axes[1], row, arm, gap.per_run, gap.mean, ends, sign=True)
    _finish_rows(axes[0], arms, "Accuracy, percent", wide, labels=True)
    if math.isfinite(chance):
        _reference(axes[0], chance, f"chance {chance:.1f}")
    if compared:
        title = "Difference to plain, points"
        _finish_rows(axes[1], arms, title, wide, labels=not wide)
        _reference(axes[1], 0.0, "")
    _group_legend(figure, arms, columns=4 if wide else 2)
    return figure


def _row(
    axes: Axes,
    row: int,
    arm: Arm,
    values: Sequence[float],
    mean: float,
    ends: tuple[float, float],
    sign: bool = False,
) -> None:
    """Draws the runs, the mean and the spread of one arm, and its mean in figures at the right."""
    colour = GROUP_COLOURS[arm.group]
    shown = [value for value in values if math.isfinite(value)]
    # Dots of one row are set apart a little, in a fixed order, so that equal values stay visible.
    offsets = [0.26 * (index / max(len(shown) - 1, 1) - 0.5) for index in range(len(shown))]
    heights = [row + offset for offset in (offsets if len(shown) > 1 else [0.0] * len(shown))]
    if math.isfinite(mean):
        if all(math.isfinite(end) for end in ends):
            axes.plot(ends, (row, row), color=colour, linewidth=1.4, alpha=0.55, zorder=2)
        axes.plot([mean, mean], [row - 0.3, row + 0.3], color=colour, linewidth=2.6, zorder=3)
    axes.scatter(
        shown,
        heights,
        s=26,
        marker=MARKERS[arm.group],
        facecolor=PAGE if arm.group == report_view.BASELINE else colour,
        edgecolor=colour,
        linewidth=1.1,
        alpha=0.85,
        zorder=4,
    )
    figures = report_view.signed(mean) if sign else report_view.percent(mean)
    place = axes.get_yaxis_transform()
    axes.text(1.02, row, figures, transform=place, va="center", color=INK, fontweight="bold")


def _finish_rows(axes: Axes, arms: Sequence[Arm], title: str, wide: bool, labels: bool) -> None:
    axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold", pad=18)
    names = [textwrap.fill(_short(arm.label, 40), 26 if wide else 14) for arm in arms]
    axes.set_yticks(range(len(arms)), names)
    axes.tick_params(axis="y", length=0, labelleft=labels, pad=6)
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.grid(axis="x", color=LINE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)


def _short(label: str, length: int) -> str:
    return label if len(label) <= length else label[: length - 1] + "…"


def _reference(axes: Axes, value: float, words: str) -> None:
    axes.axvline(value, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    place = axes.get_xaxis_transform()
    axes.text(value, 1.01, words, transform=place, ha="left", va="bottom", color=MUTED)


def _group_legend(figure: Figure, arms: Sequence[Arm], columns: int) -> None:
    from matplotlib.lines import Line2D

    groups = [group for group in MARKERS if any(arm.group == group for arm in arms)]
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=MARKERS[group],
            markersize=5.5,
            color=GROUP_COLOURS[group],
            markerfacecolor=PAGE if group == report_view.BASELINE else GROUP_COLOURS[group],
            label=report_view.GROUP_NAMES[group],
        )
        for group in groups
    ]
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=columns,
        frameon=False,
        labelcolor=MUTED,
        handletextpad=0.2,
        columnspacing=1.2,
    )


def _curves_figure(arms: Sequence[Arm], field: str, unit: str, chance: float, wide: bool) -> Figure:
    """A small panel for each arm, on the same axes, the other arms faint behind it."""
    from matplotlib.figure import Figure

    columns = min(4 if wide else 2, len(arms))
    rows = -(-len(arms) // columns)
    size = (WIDE if wide else NARROW, 1.65 * rows + 0.35)
    figure = Figure(figsize=size, layout="constrained")
    title = f"{unit[0].upper()}{unit[1:]}, by step"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    curves = {arm.key: _smooth_curve(arm, field) for arm in arms}
    for axes, arm in zip(grid.flat, arms, strict=False):
        for other in arms:
            if other is not arm:
                axes.plot(*_thinned(*curves[other.key]), color=FAINT, linewidth=0.9, zorder=1)
        colour = GROUP_COLOURS[arm.group]
        steps = [point.step for point in arm.curve]
        if len(steps) > POINTS_BEFORE_SMOOTHING:
            raw = [getattr(point, field) for point in arm.curve]
            axes.plot(steps, raw, color=colour, linewidth=0.6, alpha=0.35, zorder=2)
        marker = "o" if len(curves[arm.key][0]) == 1 else None
        axes.plot(*curves[arm.key], color=colour, linewidth=1.7, marker=marker, zorder=3)
        axes.set_title(_short(arm.label, 24), loc="left", fontsize=9, pad=4)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(length=0, labelcolor=MUTED)
        axes.grid(axis="y", color=LINE, linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
        axes.locator_params(axis="both", nbins=4)
        if math.isfinite(chance):
            axes.axhline(chance, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    for axes in list(grid.flat)[len(arms) :]:
        axes.set_visible(False)
    # A panel with nothing under it carries the step axis itself.
    for axes in list(grid.flat)[max(len(arms) - columns, 0) : len(arms)]:
        axes.tick_params(labelbottom=True)
    return figure


def _smooth_curve(arm: Arm, field: str) -> tuple[list[float], list[float]]:
    """Steps and values of a curve without its gaps; a long one as its running mean."""
    points = [(point.step, getattr(point, field)) for point in arm.curve]
    points = [(step, value) for step, value in points if math.isfinite(value)]
    steps = [float(step) for step, _ in points]
    values = [value for _, value in points]
    if len(values) > POINTS_BEFORE_SMOOTHING:
        half = len(values) // 40
        windows = [values[max(i - half, 0) : i + half + 1] for i in range(len(values))]
        values = [sum(window) / len(window) for window in windows]
    return steps, values


def _thinned(steps: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    """About forty points of a curve: enough for one that is only a backdrop."""
    stride = max(len(steps) // 40, 1)
    return steps[::stride], values[::stride]


def _arms_words(arms: Sequence[Arm]) -> tuple[str, str]:
    """Alternative text and caption of the chart of arms."""
    told = []
    for arm in arms:
        gap = arm.difference
        against = f" ({report_view.signed(gap.mean)} to plain)" if gap is not None else ""
        told.append(f"{arm.label} {report_view.percent(arm.mean)}{against}")
    alt = "Dot chart of accuracy by arm, percent: " + "; ".join(told) + "."
    caption = "Each mark is one run, each upright bar a mean."
    if any(math.isfinite(arm.std) for arm in arms):
        caption += " The line behind accuracies is one standard deviation either way"
        caption += "; behind differences it runs from the smallest to the largest."
    if any(arm.difference is not None for arm in arms):
        caption += " A difference compares two students of the same world and seed."
    return alt, caption


def _curves_words(arms: Sequence[Arm], field: str, unit: str) -> tuple[str, str]:
    """Alternative text and caption of the learning curves."""
    told = []
    for arm in arms:
        steps, values = _smooth_curve(arm, field)
        told.append(f"{arm.label} from {values[0]:.2f} to {values[-1]:.2f} at step {steps[-1]:.0f}")
    alt = f"Curves of {unit} by step: " + "; ".join(told) + "."
    caption = "One panel for each arm, the other arms faint behind it."
    if field == "validation":
        caption += " The dashed line is chance."
    else:
        caption += " The loss is that of each arm's own texts: its height does not rank the arms."
    if any(len(arm.curve) > POINTS_BEFORE_SMOOTHING for arm in arms):
        caption += " The strong line is a running mean."
    return alt, caption
