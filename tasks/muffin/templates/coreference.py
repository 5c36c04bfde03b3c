"""Words for finding what a pronoun, or a gap, stands for."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "definite_pronoun_resolution": (
        Template(
            "stands_for",
            '{sentence}\n\nWhom or what does "{pronoun}" stand for in this sentence?\n{options}',
            "{answer}",
        ),
        Template(
            "instead",
            'Which of these could be written for "{pronoun}" without changing what is meant?\n'
            "{options}\n\n{sentence}",
            "{answer}",
        ),
        Template(
            "letter",
            "Sentence: {sentence}\nPronoun: {pronoun}\nIt refers to: {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "confused",
            'I read "{sentence}" and do not see who or what is meant by "{pronoun}". Is it'
            " {lettered_options}?",
            "{answer}",
        ),
        Template(
            "sentence_of_answer",
            'Write a sentence with both of these and with "{pronoun}", which should stand for'
            ' "{answer}":\n{options}',
            "{sentence}",
            is_inverted=True,
        ),
    ),
    "winogrande": (
        Template(
            "gap",
            "Which of these belongs in the gap (_)?\n{sentence}\n{options}",
            "{answer}",
        ),
        Template(
            "makes_sense",
            "{sentence}\n\nWhich of the two must _ be, for the sentence to make sense?\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "{sentence} What does _ stand for? {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "smudge",
            'There is a smudge on the page, and all that I can read is "{sentence}" What is'
            " under the smudge, {lettered_options}?",
            "{answer}",
        ),
        Template("bare", "Fill in the blank: {sentence}\nWhat goes there?", "{answer}"),
        Template(
            "sentence_of_answer",
            "Write a sentence with a gap, marked by _. Both of these should fit into it by grammar,"
            ' but only "{answer}" by sense.\n{options}',
            "{sentence}",
            is_inverted=True,
        ),
    ),
    "super_glue_wsc": (
        Template(
            "stands_for",
            '{text}\n\nDoes the pronoun "*{pronoun}*" stand for "{noun}"?\n{options}',
            "{answer}",
        ),
        Template(
            "same",
            'Read the text below. By "*{pronoun}*", does it mean "{noun}"?\n\n{text}\n\n{options}',
            "{answer}",
        ),
        Template(
            "letter",
            'Text: {text}\nCould "{noun}" be written in the place of *{pronoun}* and mean the same?'
            " {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "reader",
            'A reader of "{text}" takes *{pronoun}* to be {noun}. Is the reader right?'
            " {lettered_options}",
            "{answer}",
        ),
        Template(
            "text_of_answer",
            'Write a text with "{noun}" and with the pronoun "{pronoun}" between asterisks. To the'
            ' question whether the pronoun stands for the noun, one should say "{answer}".',
            "{text}",
            is_inverted=True,
        ),
    ),
    "wsc273": (
        Template(
            "stands_for",
            '{text}\n\nWhom or what does "*{pronoun}*" stand for?\n{options}',
            "{answer}",
        ),
        Template(
            "meant",
            'Decide what is meant by "{pronoun}" where it stands between asterisks.\n{text}\n'
            "{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "{text} What is *{pronoun}*? {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "text_of_answer",
            'Write a text that names both of these, and has the pronoun "{pronoun}" between'
            ' asterisks for "{answer}".\n{options}',
            "{text}",
            is_inverted=True,
        ),
    ),
}
"""By the name of the data set."""
