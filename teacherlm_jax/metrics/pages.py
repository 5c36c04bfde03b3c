"""Pages out of jinja templates: HTML and Markdown, in which whatever was put is escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath


class Verbatim(str):
    """Text that goes into Markdown as it is."""


def render(
    folder: epath.Path,
    name: str,
    context: Mapping[str, Any],
    filters: Mapping[str, Callable[..., Any]],
) -> str:
    """Renders a template.

    Args:
      folder: where templates are.
      name: of the template: what ends in `.md.jinja` is escaped for Markdown, all else for HTML.
      context: what the template may name; naming another thing is an error.
      filters: beside `base64`, of bytes, and `verbatim` and `code_block`, for Markdown.
    """
    import jinja2

    markdown = name.endswith(".md.jinja")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=not markdown,
        finalize=markdown_text if markdown else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        base64=lambda data: base64.b64encode(data).decode("ascii"),
        verbatim=Verbatim,
        code_block=lambda text: Verbatim("\n".join("    " + line for line in text.splitlines())),
    )
    environment.filters.update(filters)
    return environment.get_template(name).render(context)


def markdown_text(value: Any) -> Any:
    """Text on one line with Markdown's and HTML's signs escaped; what is not text as it is."""
    if not isinstance(value, str) or isinstance(value, Verbatim):
        return value
    return re.sub(r"([\\`*_\[\]<>|&])", r"\\\1", re.sub(r"\s+", " ", value))
