"""Words for questions of a conversation about a text."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "quac": (
        Template(
            "after",
            "{title}\n{background}\n\n{section}\n{context}\n\n{question} (If the text does not tell"
            ': "unanswerable".)',
            "{answer}",
        ),
        Template(
            "talk",
            'Two people talk about {title}. One of them has this text on "{section}":\n{context}'
            '\n\nThe other asks: "{question}" What is the reply, in words of the text? Where it is'
            " silent, the reply is unanswerable.",
            "{answer}",
        ),
        Template(
            "label",
            "About: {title} ({section})\nText: {context}\nQuestion: {question}\nAnswer, or"
            " unanswerable:",
            "{answer}",
        ),
        Template(
            "question_of_answer",
            "{background}\n\n{context}\n\nWhat would a curious listener ask to get this reply:"
            ' {answer}\n("unanswerable" is the reply where the text is silent.)',
            "{question}",
            is_inverted=True,
        ),
    ),
    "coqa": (
        Template(
            "after",
            "{story}\n\nAnswer these questions one after the other, with the same numbers.\n"
            "{questions}",
            "{answer}",
        ),
        Template(
            "before",
            "You will be asked this:\n{questions}\n\nRead the text and write a numbered list of"
            " short answers.\n\n{story}",
            "{answer}",
        ),
        Template("label", "Text: {story}\nQuestions:\n{questions}\nAnswers:", "{answer}"),
        Template(
            "child",
            "A child has heard a story and wants to know more.\nThe story: {story}\nWhat the child"
            " asks:\n{questions}\nWhat do you say to each?",
            "{answer}",
        ),
        Template(
            "questions_of_answers",
            "{story}\n\nIn a conversation about this text, these were the answers:\n{answer}\n\n"
            "Write the questions, with the same numbers.",
            "{questions}",
            is_inverted=True,
        ),
    ),
}
"""By the name of the data set."""
