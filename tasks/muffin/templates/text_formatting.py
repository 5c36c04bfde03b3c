"""Words for mending case, punctuation and spaces."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "true_case": (
        Template(
            "mend",
            "{lower}\n\nWrite this again with capital letters where they belong.",
            "{answer}",
        ),
        Template(
            "keyboard",
            "The shift key of my keyboard is broken. Please put the capitals into this: {lower}",
            "{answer}",
        ),
        Template("label", "Lower case: {lower}\nProper case:", "{answer}"),
        Template(
            "lower",
            "Write this without a single capital letter: {answer}",
            "{lower}",
            is_inverted=True,
        ),
    ),
    "fix_punct": (
        Template("mend", "{bare}\n\nAdd the punctuation that is missing here.", "{answer}"),
        Template(
            "transcript",
            "Software has written down speech, and left out every punctuation mark. Put them in:"
            " {bare}",
            "{answer}",
        ),
        Template("label", "Without punctuation: {bare}\nWith punctuation:", "{answer}"),
        Template(
            "bare",
            "Take all punctuation marks out of this: {answer}",
            "{bare}",
            is_inverted=True,
        ),
    ),
    "word_segment": (
        Template("mend", "{joined}\n\nPut the spaces back in.", "{answer}"),
        Template(
            "hashtag",
            "Words have been run together, as in a hashtag. Write them apart: {joined}",
            "{answer}",
        ),
        Template("label", "Joined: {joined}\nWith spaces:", "{answer}"),
        Template(
            "join",
            "Leave out the spaces of this text: {answer}",
            "{joined}",
            is_inverted=True,
        ),
    ),
}
"""By the name of the data set."""
