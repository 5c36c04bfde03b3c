"""Prompts of our own for every data set of P3: name in the catalogue -> prompts.

A prompt is told only of samples that have what it names: one that asks for the sentence that
answers a question is left out where no sentence does.
"""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template
from teacherlm_jax.tasks.p3.templates import (
    choice_from_knowledge,
    choice_from_text,
    from_memory,
    labels,
    sentence_pairs,
    span_of_text,
    writing,
)

TEMPLATES: dict[str, tuple[Template, ...]] = {
    **from_memory.TEMPLATES,
    **span_of_text.TEMPLATES,
    **choice_from_knowledge.TEMPLATES,
    **choice_from_text.TEMPLATES,
    **sentence_pairs.TEMPLATES,
    **labels.TEMPLATES,
    **writing.TEMPLATES,
}
