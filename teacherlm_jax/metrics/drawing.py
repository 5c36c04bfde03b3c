"""How charts look, whatever they show. matplotlib is imported inside: it costs a second."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE, INK, MUTED, LINE, FAINT = "#ffffff", "#1b1f24", "#59636e", "#d5dae0", "#dfe3e8"
BLUE, OCHRE, RED = "#1f5fbf", "#a86800", "#b3261e"
FONT_FAMILY = "DejaVu Sans"


@contextlib.contextmanager
def settings(salt: str) -> Iterator[None]:
    """Fonts and colours for what is drawn inside; matplotlib's own settings come back after.

    Args:
      salt: of the ids in an SVG: another for each one of a page.
    """
    import matplotlib

    values: dict[Any, Any] = {
        "font.family": [FONT_FAMILY],
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "axes.edgecolor": LINE,
        "axes.facecolor": PAGE,
        "figure.facecolor": PAGE,
        "xtick.color": MUTED,
        "ytick.color": INK,
        "text.parse_math": False,  # a name may hold a dollar sign
        "svg.fonttype": "none",  # text stays text, in the reader's own font
        "svg.hashsalt": salt,  # the same results give the same bytes
    }
    with matplotlib.rc_context(values):
        yield


def png(figure: Figure) -> bytes:
    """The figure as a PNG, sharp on screens of twice the usual density."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()
