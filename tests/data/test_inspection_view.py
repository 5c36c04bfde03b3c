"""Samples as text and as a page."""

import re
from html.parser import HTMLParser

from teacherlm_jax.data import inspection_view
from teacherlm_jax.data.inspection import Row, Segment, Token

NASTY = "<script>alert('x')</script>&\x1b[31m\u202e"
SEGMENT = Segment(
    "t/train:0",
    (
        Token(0, "", "bos", "BOS", False),
        Token(5, "Q: a\nb", "input", "", False),
        Token(6, NASTY, "input", "", False),
        Token(7, " yes", "target", "", True),
        Token(1, "", "target", "EOS", True),
    ),
)
OTHER = Segment("t/train:1", (Token(7, "no", "target", "", True),))
PAGE = inspection_view.Page(
    "t/train",
    [("vocabulary", f"of {NASTY}")],
    [f"beware of {NASTY}"],
    [Row((SEGMENT, OTHER), 5, 8)],
)
ANSI = re.compile(r"\x1b\[[0-9;]+m")


def test_marked_text():
    text = inspection_view.as_text(PAGE, colour=False)
    assert "\x1b" not in text and "\u202e" not in text
    assert "¦⟨BOS⟩Q: a↵\n  b<script>" in text
    assert "« yes⟨EOS⟩»" in text and "¦«no»" in text
    assert "5 of 8 positions used, 2 examples" in text
    assert "inputs 2, targets 2 tokens; 2 with loss; EOS carries loss" in text
    assert "targets 1 tokens; 1 with loss; no EOS" in text


def test_colours_say_the_same_and_steer_nothing_else():
    coloured = inspection_view.as_text(PAGE, colour=True)
    plain = ANSI.sub("", coloured)
    assert "\x1b" not in plain and "Q: a↵\n  b<script>" in plain
    assert "\x1b[1;30;46;4m yes\x1b[0m" in coloured  # carries loss, first segment
    assert "\x1b[1;30;43mno\x1b[0m" in coloured  # second segment
    assert "\x1b[36;4mQ: a↵\x1b[0m\n" in coloured  # does not, and ends with its line


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text, self.classes = set(), "", []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.classes.append(dict(attrs).get("class") or "")

    def handle_data(self, data):
        self.text += data


def test_the_page_escapes_what_data_holds():
    html = inspection_view.as_html(PAGE)
    parser = _Tags()
    parser.feed(html)
    assert "script" not in parser.tags and "\x1b" not in html
    assert "<script>alert('x')</script>&" in parser.text
    assert "token target loss odd" in parser.classes
    assert any(name.startswith("token bos context special") for name in parser.classes)
    assert [name for name in parser.classes if name.startswith("segment")] == [
        "segment of0",
        "segment of1",
    ]
    assert "http" not in html.replace("http-equiv", "")


def test_an_eos_without_loss_is_said():
    silent = Segment("t/train:2", (Token(1, "", "target", "EOS", False),))
    assert "EOS carries NO loss" in inspection_view.summary(silent)
