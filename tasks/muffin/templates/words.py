"""Words for tasks about words, sentences and questions themselves."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "super_glue_wic": (
        Template(
            "senses",
            'Look at the word "{word}" in both sentences.\n1. {sentence1}\n2. {sentence2}\nIt has'
            " one of these:\n{options}",
            "{answer}",
        ),
        Template(
            "dictionary",
            "{sentence1}\n{sentence2}\n\nA dictionary numbers the meanings of a word. Would"
            ' "{word}" have the same number in the two sentences? Say it by one of these:\n'
            "{options}",
            "{answer}",
        ),
        Template(
            "letter",
            'In "{sentence1}" and "{sentence2}", the word "{word}" has {lettered_options}. Letter:',
            "{letter}",
        ),
        Template(
            "label",
            "Word: {word}\nUse 1: {sentence1}\nUse 2: {sentence2}\nDifferent meanings or the same"
            " meaning? {lettered_options}",
            "{answer}",
        ),
        Template(
            "sentence_of_answer",
            '{sentence1}\n\nWrite another sentence with the word "{word}" in some form, so that it'
            " has {answer} in the two.",
            "{sentence2}",
            is_inverted=True,
        ),
    ),
    "glue_cola": (
        Template(
            "judge",
            "{sentence}\n\nWould a native speaker of English find this sentence acceptable?\n"
            "{options}",
            "{answer}",
        ),
        Template(
            "teacher",
            "A teacher of English looks at the grammar of a pupil's sentence.\nSentence:"
            " {sentence}\nThe teacher's judgement:\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            'The sentence "{sentence}" is {lettered_options}. Letter:',
            "{letter}",
        ),
        Template(
            "sounds_right",
            'Can one say "{sentence}" in English? Choose from {lettered_options}.',
            "{answer}",
        ),
        Template(
            "write",
            "Write a sentence as an example of what is {answer} by the grammar of English.",
            "{sentence}",
            is_inverted=True,
        ),
    ),
    "trec": (
        Template(
            "kind",
            "{question}\n\nWhat kind of answer does this question want?\n{options}",
            "{answer}",
        ),
        Template(
            "librarian",
            "Before looking anything up, a librarian notes what a question is after. What is the"
            ' note for "{question}"?\n{options}',
            "{answer}",
        ),
        Template(
            "letter",
            "Question: {question}\nType of its answer: {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "classes",
            "Questions fall into classes by what they ask for: {lettered_options}. Name the class"
            " of this one: {question}",
            "{answer}",
        ),
        Template(
            "question_of_kind",
            'Answers are of these kinds:\n{options}\nAsk for something of the kind "{answer}".',
            "{question}",
            is_inverted=True,
        ),
    ),
}
"""By the name of the data set."""
