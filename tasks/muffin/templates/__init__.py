"""Templates of Muffin's data sets: a module a kind, gathered here."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template
from teacherlm_jax.tasks.muffin.templates import (
    closed_book_qa,
    common_sense,
    conversation,
    coreference,
    math,
    nli,
    paraphrase,
    reading_comprehension,
    sentiment,
    structure_to_text,
    summarization,
    text_formatting,
    translation,
    words,
)

TEMPLATES: dict[str, tuple[Template, ...]] = {}
"""By the name of the data set in the catalogue."""

for _module in (
    closed_book_qa,
    common_sense,
    conversation,
    coreference,
    math,
    nli,
    paraphrase,
    reading_comprehension,
    sentiment,
    structure_to_text,
    summarization,
    text_formatting,
    translation,
    words,
):
    TEMPLATES |= _module.TEMPLATES
