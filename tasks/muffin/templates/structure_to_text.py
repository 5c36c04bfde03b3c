"""Words for telling data as sentences, and for finding data in them."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "web_nlg_en": (
        Template(
            "facts_to_text",
            "Each line below states a fact as subject | relation | object.\n{triples}\n\nTell all"
            " of it in plain English.",
            "{answer}",
        ),
        Template("label", "Data:\n{triples}\nText:", "{answer}"),
        Template(
            "encyclopedia",
            "Write what an encyclopedia could say if it knew the following, and nothing else."
            "\n\n{triples}",
            "{answer}",
        ),
        Template(
            "triples_of_text",
            "{answer}\n\nWrite the facts of this text, one a line, as subject | relation | object.",
            "{triples}",
            is_inverted=True,
        ),
    ),
    "common_gen": (
        Template(
            "sentence_with",
            "Write a sentence about an everyday scene that uses these words: {concepts}",
            "{answer}",
        ),
        Template("label", "Words: {concepts}\nSentence:", "{answer}"),
        Template(
            "imagine",
            "{concepts}\n\nImagine something that brings all of these together, and describe it in"
            " one sentence. Words may change their form.",
            "{answer}",
        ),
        Template(
            "concepts_of_sentence",
            "{answer}\n\nName the words that this sentence was built around, in their plain form"
            " and with commas between them.",
            "{concepts}",
            is_inverted=True,
        ),
    ),
    "e2e_nlg": (
        Template(
            "describe",
            "Describe a place to eat that has these attributes: {description}",
            "{answer}",
        ),
        Template("label", "Attributes: {description}\nDescription:", "{answer}"),
        Template(
            "guide_book",
            "A guide to restaurants keeps its entries as name[value]. Write out this entry for its"
            " readers.\n\n{description}",
            "{answer}",
        ),
        Template(
            "attributes_of_text",
            "{answer}\n\nWrite the attributes that this tells, as name[value] with commas between"
            " them.",
            "{description}",
            is_inverted=True,
        ),
    ),
    "dart": (
        Template(
            "facts_to_sentence",
            "{triples}\n\nEvery line is a fact out of a table. Put all of them into English.",
            "{answer}",
        ),
        Template("label", "Facts:\n{triples}\nIn words:", "{answer}"),
        Template(
            "read_table",
            "How would you tell somebody what follows, if they cannot see the table that it is"
            " from?\n\n{triples}",
            "{answer}",
        ),
        Template(
            "facts_of_sentence",
            "{answer}\n\nBreak this down into facts of a table, one a line.",
            "{triples}",
            is_inverted=True,
        ),
    ),
}
"""By the name of the data set."""
