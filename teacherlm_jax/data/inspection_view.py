"""Shows `inspection` rows: as text, with colours or marks, and as a page of HTML.

Both show the same: inputs and targets, what carries loss, special tokens, and where each example of
a packed row begins.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

import jinja2

from teacherlm_jax.data.inspection import INPUT, TARGET, Row, Segment, Token

WIDTH = 100
SEGMENT_COLOURS = 5

_RESET, _BOLD, _DIM = "\x1b[0m", "\x1b[1m", "\x1b[2m"
# Of segments in turn: cyan, yellow, magenta, green, blue.
_FOREGROUND = (36, 33, 35, 32, 34)
_OPEN, _CLOSE = "«", "»"
_LEGEND_MARKED = f"{_OPEN}text{_CLOSE} carries loss; ⟨NAME⟩ is a special token, ¦ begins an example"


@dataclasses.dataclass(frozen=True)
class Page:
    """All that is shown.

    Attributes:
      title: what was inspected.
      facts: (name, value) of the settings.
      findings: warnings.
      rows: samples.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    findings: Sequence[str]
    rows: Sequence[Row]


def _safe(page: Page) -> Page:
    """Its words without what would steer a terminal or a reader's eye; tokens are left to later."""
    return dataclasses.replace(
        page,
        title=visible(page.title),
        facts=[(name, visible(value)) for name, value in page.facts],
        findings=[visible(finding) for finding in page.findings],
    )


def summary(segment: Segment) -> str:
    """Its counts, in a line."""
    ends = segment.tokens[-1]
    if ends.special != "EOS":
        end = "no EOS"
    else:
        end = "EOS carries loss" if ends.has_loss else "EOS carries NO loss"
    return (
        f"inputs {segment.count(INPUT)}, targets {segment.count(TARGET)} tokens; "
        f"{segment.with_loss} with loss; {end}"
    )


def visible(text: str) -> str:
    """Text without what would steer a terminal: control characters are spelled out.

    A new line is an arrow and a new line.
    """
    return "".join(map(_visible, text))


def _visible(letter: str) -> str:
    if letter == "\n":
        return "↵\n"
    if letter == "\t" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs"):
        return letter
    return letter.encode("unicode_escape").decode("ascii")


# Text


def as_text(page: Page, colour: bool) -> str:
    """For a terminal.

    Args:
      page: what to show.
      colour: by ANSI's escape sequences; otherwise by marks.
    """
    page = _safe(page)
    width = max((len(name) for name, _ in page.facts), default=0)
    lines = [_strong(page.title, colour)]
    lines += [f"  {name:{width}}  {value}" for name, value in page.facts]
    lines += ["", *_legend(colour)]
    for number, row in enumerate(page.rows):
        many = f", {len(row.segments)} examples" if len(row.segments) != 1 else ""
        used = f"row {number}: {row.used} of {row.length} positions used{many}"
        lines += ["", _strong(used, colour)]
        for place, segment in enumerate(row.segments):
            shade = _FOREGROUND[place % SEGMENT_COLOURS]
            lines.append(_dim(f"  {segment.example_id}: {summary(segment)}", colour))
            body = _coloured(segment, shade) if colour else _marked(segment)
            lines.append(textwrap.indent(body, "  "))
    for finding in page.findings:
        lines += ["", *textwrap.wrap(f"warning: {finding}", WIDTH)]
    return "\n".join(lines)


def _legend(colour: bool) -> list[str]:
    if not colour:
        return [_LEGEND_MARKED]
    shown = (Token(0, "carries loss", TARGET, "", True), Token(0, "does not", INPUT, "", False))
    shades = "".join(f"\x1b[{shade}m■{_RESET}" for shade in _FOREGROUND)
    words = " ".join(_ansi(token, _FOREGROUND[0], 0) for token in shown)
    return [
        f"{words}  {_special('EOS', True)} a special token  every other token underlined  "
        f"{shades} examples of a row"
    ]


def _strong(text: str, colour: bool) -> str:
    return f"{_BOLD}{text}{_RESET}" if colour else text


def _dim(text: str, colour: bool) -> str:
    return f"{_DIM}{text}{_RESET}" if colour else text


def _coloured(segment: Segment, shade: int) -> str:
    return "".join(_ansi(token, shade, place) for place, token in enumerate(segment.tokens))


def _ansi(token: Token, shade: int, place: int) -> str:
    if token.special:
        return _special(token.special, token.has_loss)
    # Bold black on the segment's colour carries loss; the segment's colour alone does not.
    underline = ";4" if place % 2 else ""
    style = f"\x1b[{f'1;30;{shade + 10}' if token.has_loss else shade}{underline}m"
    # A colour must not reach over the end of a line.
    return "\n".join(
        f"{style}{part}{_RESET}" if part else "" for part in visible(token.text).split("\n")
    )


def _special(name: str, has_loss: bool) -> str:
    return f"\x1b[{'1;97;41' if has_loss else '31'}m⟨{name}⟩{_RESET}"


def _marked(segment: Segment) -> str:
    parts, inside = ["¦"], False
    for token in segment.tokens:
        if token.has_loss != inside:
            parts.append(_OPEN if token.has_loss else _CLOSE)
            inside = token.has_loss
        parts.append(f"⟨{token.special}⟩" if token.special else visible(token.text))
    return "".join([*parts, _CLOSE if inside else ""])


# HTML


@dataclasses.dataclass(frozen=True)
class Run:
    """Tokens side by side that are shown alike, or one token.

    Attributes:
      classes: of CSS.
      text: what is shown.
      title: what a pointer over it tells.
    """

    classes: str
    text: str
    title: str


def as_html(page: Page) -> str:
    """A page that stands alone; everything that data holds is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("teacherlm_jax.data", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("inspection.html.jinja")
    shown = [
        (row, [(segment, summary(segment), list(_runs(segment))) for segment in row.segments])
        for row in page.rows
    ]
    return template.render(page=_safe(page), rows=shown, colours=SEGMENT_COLOURS)


def _runs(segment: Segment) -> Iterator[Run]:
    for place, token in enumerate(segment.tokens):
        loss = "carries loss" if token.has_loss else "no loss"
        title = f"{token.role}, {loss}; position {place}, id {token.id}"
        classes = ["token", token.role, "loss" if token.has_loss else "context"]
        if token.special:
            yield Run(" ".join([*classes, "special"]), token.special, title)
            continue
        for line in re.split(r"(?<=\n)", visible(token.text)) if token.text else [""]:
            yield Run(" ".join([*classes, "odd" if place % 2 else "even"]), line, title)
