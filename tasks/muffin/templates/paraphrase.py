"""Words for telling whether two sentences mean the same."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "glue_mrpc": (
        Template(
            "same",
            "{sentence1}\n{sentence2}\n\nDo these two sentences say the same thing?\n{options}",
            "{answer}",
        ),
        Template(
            "newspapers",
            'One newspaper writes "{sentence1}", another one "{sentence2}". Do they report the same'
            "?\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "Sentence A: {sentence1}\nSentence B: {sentence2}\nCould B stand for A without changing"
            " what is meant? {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "label",
            "First: {sentence1}\nSecond: {sentence2}\nParaphrases? {lettered_options}\nAnswer:",
            "{answer}",
        ),
        Template(
            "sentence_of_answer",
            "{sentence1}\n\nWrite a sentence that resembles this one. Does it mean the same?"
            " {answer}",
            "{sentence2}",
            is_inverted=True,
        ),
    ),
    "glue_qqp": (
        Template(
            "duplicate",
            "{question1}\n{question2}\n\nWould one answer do for both questions?\n{options}",
            "{answer}",
        ),
        Template(
            "moderator",
            "A moderator of a forum closes questions that were asked before.\nAsked before:"
            " {question1}\nAsked now: {question2}\nIs the new one a duplicate?\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "Question 1: {question1}\nQuestion 2: {question2}\nDo they ask the same?"
            " {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "same_wish",
            'Does a person who asks "{question1}" want to know what a person who asks'
            ' "{question2}" wants to know? {lettered_options}',
            "{answer}",
        ),
        Template(
            "question_of_answer",
            'Somebody asked: {question1}\nWrite another question. To "Is it a duplicate of the'
            ' first?" the reply should be "{answer}".',
            "{question2}",
            is_inverted=True,
        ),
    ),
    "paws_wiki": (
        Template(
            "same",
            "Many words of these two sentences are the same. Is their meaning the same too?\n"
            "{sentence1}\n{sentence2}\n{options}",
            "{answer}",
        ),
        Template(
            "editor",
            'An editor has put "{sentence2}" in the place of "{sentence1}" in an article. Does the'
            " article still say what it said?\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "1. {sentence1}\n2. {sentence2}\nAre these paraphrases of each other?"
            " {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "true_when",
            'Is "{sentence1}" true exactly when "{sentence2}" is? {lettered_options}',
            "{answer}",
        ),
        Template(
            "sentence_of_answer",
            "{sentence1}\n\nMake another sentence out of much the same words. Is it a paraphrase?"
            " {answer}",
            "{sentence2}",
            is_inverted=True,
        ),
    ),
    "glue_stsb": (
        Template(
            "scale",
            "{sentence1}\n{sentence2}\n\nHow alike are these sentences in what they mean? 0 is not"
            " at all, 5 is fully.\n{options}",
            "{answer}",
        ),
        Template(
            "rate",
            "Rate how near the second sentence comes to saying what the first one says, from 0 (it"
            " is about something else) to 5 (it says just that).\nFirst: {sentence1}\nSecond:"
            " {sentence2}\nOne of these:\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "Sentence 1: {sentence1}\nSentence 2: {sentence2}\nWhat similarity of meaning do they"
            " have, where 5 is the most? {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "short",
            'On a scale from 0 to 5, how close in meaning are "{sentence1}" and "{sentence2}"?',
            "{answer}",
        ),
        Template(
            "sentence_of_answer",
            "{sentence1}\n\nWrite a sentence that is like this one in meaning to a degree of"
            " {answer}, where 0 is not at all and 5 is fully.",
            "{sentence2}",
            is_inverted=True,
        ),
    ),
}
"""By the name of the data set."""
