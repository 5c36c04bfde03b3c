"""Words for questions that are answered from memory."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

_ARC = (
    Template("options_after", "{question}\n{options}", "{answer}"),
    Template(
        "pick",
        "Pick the right answer to this question from a science exam.\n\nQuestion: {question}\n"
        "Choices:\n{options}\nAnswer:",
        "{answer}",
    ),
    Template(
        "letter",
        "{question} {lettered_options}\nWhich letter stands before the right answer?",
        "{letter}",
    ),
    Template(
        "lettered",
        "Question: {question}\nPossible answers: {lettered_options}\nThe right one is",
        "{answer}",
    ),
    Template(
        "question_of_options",
        "Write an exam question that can be answered by one of these:\n{options}\n\nThe right"
        " answer should be: {answer}",
        "{question}",
        is_inverted=True,
    ),
    Template(
        "question_of_answer",
        'A pupil was asked about science and rightly answered "{answer}". What could the question'
        " have been?",
        "{question}",
        is_inverted=True,
    ),
)

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "trivia_qa": (
        Template("plain", "{question}", "{answer}"),
        Template("label", "Trivia question: {question}\nAnswer:", "{answer}"),
        Template(
            "quiz",
            "You are on a quiz show, and this is what you are asked: {question} What do you say?",
            "{answer}",
        ),
        Template("short", "Answer in a few words. {question}", "{answer}"),
        Template(
            "question_of_answer",
            'Write a trivia question to which the answer is "{answer}".',
            "{question}",
            is_inverted=True,
        ),
    ),
    "natural_questions": (
        Template("plain", "{question}", "{answer}"),
        Template("label", "Q: {question}\nA:", "{answer}"),
        Template(
            "searched",
            "Somebody typed this into a search engine: {question} Give the answer alone.",
            "{answer}",
        ),
        Template("knowledge", "From what you know, answer the question: {question}", "{answer}"),
        Template(
            "question_of_answer",
            'The right answer is "{answer}". What may have been asked of a search engine?',
            "{question}",
            is_inverted=True,
        ),
    ),
    "arc_challenge": _ARC,
    "arc_easy": _ARC,
}
"""By the name of the data set."""
