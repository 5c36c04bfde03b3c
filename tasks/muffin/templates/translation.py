"""Words for translating from English, and into it."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

# The fields name the language, so that one set of words is right for all.
_TRANSLATION = (
    Template("into", "Translate into {language}: {english}", "{answer}"),
    Template("how", "{english}\n\nWhat would that be in {language}?", "{answer}"),
    Template("label", "English: {english}\n{language}:", "{answer}"),
    Template(
        "traveller",
        "Somebody who speaks {language} but no English needs to understand the following. Write it"
        " for them.\n\n{english}",
        "{answer}",
    ),
    Template(
        "into_english",
        "Translate from {language} into English: {answer}",
        "{english}",
        is_inverted=True,
    ),
    Template(
        "label_english",
        "{language}: {answer}\nEnglish:",
        "{english}",
        is_inverted=True,
    ),
    Template(
        "what_english",
        "{answer}\n\nThis is {language}. What does it say in English?",
        "{english}",
        is_inverted=True,
    ),
)

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "para_crawl_enes": _TRANSLATION,
    "wmt14_enfr": _TRANSLATION,
    "wmt16_translate_csen": _TRANSLATION,
    "wmt16_translate_deen": _TRANSLATION,
    "wmt16_translate_fien": _TRANSLATION,
    "wmt16_translate_roen": _TRANSLATION,
    "wmt16_translate_ruen": _TRANSLATION,
    "wmt16_translate_tren": _TRANSLATION,
}
"""By the name of the data set."""
