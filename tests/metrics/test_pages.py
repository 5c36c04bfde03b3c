"""Templates: what is put into them cannot become a tag, a link or a table's cell."""

import jinja2
import pytest
from etils import epath

from teacherlm_jax.metrics import pages

EVIL = "<b onclick='x'>|*a*\n# `b` [c](d) &amp;"


def rendered(folder, name, text, **context):
    (epath.Path(folder) / name).write_text(text)
    return pages.render(epath.Path(folder), name, context, {"shout": str.upper})


def test_html_is_escaped_and_filters_are_there(tmp_path):
    text = rendered(tmp_path, "page.html.jinja", "<p>{{ evil }}</p>{{ 'a' | shout }}", evil=EVIL)
    assert text.startswith("<p>&lt;b onclick=&#39;x&#39;&gt;") and text.endswith("</p>A")
    assert "&amp;amp;" in text and text.count("<") == 2


def test_markdown_is_escaped_and_stays_in_its_line(tmp_path):
    text = rendered(tmp_path, "page.md.jinja", "| {{ evil }} | {{ 3 }} |", evil=EVIL)
    assert text == r"| \<b onclick='x'\>\|\*a\* # \`b\` \[c\](d) \&amp; | 3 |"
    block = rendered(tmp_path, "block.md.jinja", "{{ evil | code_block }}", evil=EVIL)
    assert block.splitlines() == ["    " + line for line in EVIL.splitlines()]


def test_what_the_context_lacks_is_an_error(tmp_path):
    with pytest.raises(jinja2.UndefinedError, match="absent"):
        rendered(tmp_path, "page.html.jinja", "{{ absent }}")
