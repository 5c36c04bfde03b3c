"""The charts of an evaluation's report, as bytes; the caller writes them.

matplotlib is imported inside the functions: it costs a second, and only the report needs it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import string
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from teacherlm_jax.metrics import drawing
from teacherlm_jax.metrics.drawing import BLUE, FAINT, INK, LINE, MUTED
from teacherlm_jax.scoring import bars
from teacherlm_jax.scoring.calibration import MOST_PLACES, Calibration, Places
from teacherlm_jax.scoring.results import Results, Summary, standard_error
from teacherlm_jax.scoring.words import counted, listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("accuracies", "reliability", "letters")
"""What the names of charts begin with."""

# Numbers of options whose places are drawn, those of most questions first.
MOST_MATRICES = 4
# Matrices of more places have no counts in their cells.
MOST_WRITTEN = 10


@dataclasses.dataclass(frozen=True)
class Chart:
    """One chart: a file's name without its ending, what it shows in words, and its PNG.

    Attributes:
      name: of the file.
      alt: what it shows, for those who do not see it.
      caption: how to read it.
      png: the picture.
      width: inches.
    """

    name: str
    alt: str
    caption: str
    png: bytes
    width: float


def accuracies(results: Results) -> list[Chart]:
    """Bars of all tasks and subjects; none where there is only one task."""
    blocks = bars.blocks(results)
    if sum(len(block.bars) for block in blocks) < 2:
        return []
    laid_out = bars.charts(blocks)
    found = []
    for number, columns in enumerate(laid_out):
        own = [block for column in columns for block in column]
        alt = f"Bars of the accuracy of {sum(len(block.bars) for block in own)} tasks or subjects"
        alt += "".join(f"; {block.heading}" for block in own if block.heading) + "."
        caption = (
            "Accuracy in percent, the best first. The dark line is one standard error either way,"
            " the red one is chance."
        )
        if number < len(laid_out) - 1:
            caption = ""
        found.append(
            _chart(
                _name("accuracies", number),
                functools.partial(bars.figure, columns, results.headline),
                (alt, caption),
            )
        )
    return found


def reliabilities(results: Results) -> list[Chart]:
    """The reliability of the chosen options' probabilities, for each split."""
    found = []
    for number, whole in enumerate(results.overall):
        measured = whole.calibration
        alt = (
            f"Reliability over {whole.questions} questions: mean probability"
            f" {measured.mean_probability:.1f}, accuracy"
            f" {whole.by_normalisation[results.headline].accuracy:.1f}, expected calibration error"
            f" {measured.expected_error:.1f} percent."
        )
        caption = (
            "Accuracy by the probability of the chosen option among the options. On the dashed"
            " line, probabilities are as high as they should be; below it, too high. Whiskers are"
            " one standard error. Below, the share of the questions."
        )
        found.append(
            _chart(
                _name("reliability", number),
                functools.partial(reliability_figure, measured),
                (alt, caption),
            )
        )
    return found


def confusions(results: Results) -> list[Chart]:
    """Places of right and chosen options, for each split."""
    found = []
    for number, whole in enumerate(results.overall):
        shown = most_asked(whole)
        told = "; ".join(
            f"of {counted(place.options, 'option')}, {counted(sum(place.right), 'question')}, bias"
            f" {place.bias:.1f}"
            for place in shown
        )
        found.append(
            _chart(
                _name("letters", number),
                functools.partial(matrices_figure, shown),
                (f"Right and chosen places: {told}.", _letters_caption(whole, shown)),
            )
        )
    return found


def _letters_caption(whole: Summary, shown: Sequence[Places]) -> str:
    """How to read the matrices, and what is not in them."""
    told = [
        "Questions by the place of the right option (rows) and of the chosen one (columns), with"
        " the share of each; colours are shares of the row."
    ]
    if any(len(place.counts) > MOST_WRITTEN for place in shown):
        told.append(f"Above {MOST_WRITTEN} options, counts are not written.")
    if any(place.options > MOST_PLACES for place in shown):
        told.append("Options after Z are one, +.")
    told.append(
        "Bias is the percentage of questions that would have to be answered otherwise for every"
        " place to be chosen as often as it is right."
    )
    left = [place for place in whole.places if place not in shown]
    if left:
        questions = sum(sum(place.right) for place in left)
        told.append(
            f"{counted(questions, 'question')} with {listed([place.options for place in left])}"
            f" options {'is' if questions == 1 else 'are'} not drawn; results.json has"
            f" {'it' if questions == 1 else 'them'}."
        )
    return " ".join(told)


def most_asked(whole: Summary) -> list[Places]:
    """The numbers of options that most questions have, the smallest number first."""
    ranked = sorted(whole.places, key=lambda place: -sum(place.right))[:MOST_MATRICES]
    return sorted(ranked, key=lambda place: place.options)


def letter(place: int) -> str:
    """The name of an option by its number."""
    return string.ascii_uppercase[place] if place < MOST_PLACES else "+"


def _name(name: str, number: int) -> str:
    return name if not number else f"{name}_{number + 1}"


def _chart(name: str, draw: Callable[[], Figure], words: tuple[str, str]) -> Chart:
    with drawing.settings(name):
        figure = draw()
        png = drawing.png(figure)
    return Chart(name, words[0], words[1], png, float(figure.get_figwidth()))


def reliability_figure(measured: Calibration) -> Figure:
    """Accuracy by probability above, the share of the questions below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    bins = len(measured.questions)
    width = 100 / bins
    middles = [(number + 0.5) * width for number in range(bins)]
    above.plot((0, 100), (0, 100), color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for count, probability, accuracy in zip(
        measured.questions, measured.probability, measured.accuracy, strict=True
    ):
        if not count:
            continue
        error = 100 * standard_error(round(count * accuracy / 100), count)
        if math.isfinite(error):
            ends = (max(accuracy - error, 0), min(accuracy + error, 100))
            above.plot((probability,) * 2, ends, color=BLUE, linewidth=1.2, alpha=0.6, zorder=2)
        above.scatter([probability], [accuracy], s=26, color=BLUE, zorder=3, clip_on=False)
    shares = [100 * count / sum(measured.questions) for count in measured.questions]
    below.bar(middles, shares, width=width * 0.88, color=FAINT, edgecolor=MUTED, linewidth=0.6)
    above.set_title(
        f"Expected calibration error {measured.expected_error:.1f}",
        loc="left",
        fontsize=9.5,
        fontweight="bold",
    )
    above.set_ylabel("right, percent")
    below.set_ylabel("questions,\npercent")
    below.set_xlabel("probability of the chosen option, percent")
    above.set_ylim(0, 100)
    below.set_xlim(0, 100)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(length=0, labelcolor=MUTED)
        axes.grid(color=LINE, linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
    return figure


def matrices_figure(shown: Sequence[Places]) -> Figure:
    """A matrix for each number of options."""
    from matplotlib.figure import Figure

    columns = min(len(shown), 2)
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.5 * columns, 3.6 * rows), layout="constrained")
    figure.get_layout_engine().set(hspace=0.08, wspace=0.06)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, place in zip(grid.flat, shown, strict=False):
        _matrix(axes, place)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    return figure


def _matrix(axes: Axes, place: Places) -> None:
    counts = np.array(place.counts)
    size, total = len(counts), counts.sum()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    highest = float(shares.max())
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=highest, aspect="equal")
    written = size <= MOST_WRITTEN
    if written:
        for row in range(size):
            for column in range(size):
                colour = "white" if shares[row, column] > 0.55 * highest else INK
                count = f"{counts[row, column]:,}"
                fontsize = 9 if size <= 5 else 6.5
                axes.text(
                    column, row, count, ha="center", va="center", color=colour, fontsize=fontsize
                )
    names = [letter(number) for number in range(size)]
    right = [f"{100 * count / total:.0f}%" for count in place.right]
    chosen = [f"{100 * count / total:.0f}%" for count in place.chosen]
    fontsize = 8 if written else 5.5
    # Many columns are too narrow for shares side by side: these are turned.
    between = "\n" if written else "  "
    axes.set_xticks(
        range(size),
        [f"{name}{between}{share}" for name, share in zip(names, chosen, strict=True)],
        fontsize=fontsize,
        rotation="horizontal" if written else "vertical",
    )
    axes.set_yticks(
        range(size),
        [f"{name}  {share}" for name, share in zip(names, right, strict=True)],
        fontsize=fontsize,
    )
    axes.tick_params(length=0, labelcolor=INK)
    axes.set_xlabel(f"chosen, of {counted(int(total), 'question')}")
    axes.set_ylabel("right")
    axes.spines[:].set_visible(False)
    axes.set_title(
        f"{place.options} options: bias {place.bias:.1f}",
        loc="left",
        fontsize=9.5,
        fontweight="bold",
    )
