"""The paper's text formats: plain, evaluation, annotation and training text of one question.

A wrong prompt gets a wrong kind of explanation, so these strings are those of the authors' released
scripts for TeacherLM (He et al. 2023, arXiv 2310.19019), to the letter:

    plain         Q: {question} (A) {a} (B) {b} ... A: The answer is ({letter}).
    annotation    {plain} {marker}
    training      {plain} {marker}{explanation}
    evaluation    Q: {question} (A) {a} (B) {b} ... A: The answer is (

Double spaces are collapsed once, in annotation and training text alone. Training text is cut where
evaluation stops, after "is (", so that the letter is learned and scored at the same place.

The scripts have multiple-choice questions alone. Where a question has no options its answer is a
text, and the formats are a reconstruction: no options, and the text in the place of "({letter})":

    plain         Q: {question} A: The answer is {answer}.
    evaluation    Q: {question} A: The answer is

The full stop is left out where the answer ends in one of `. ! ?`. The space before the answer is
part of the targets, as tokenizers that join a space to the word after it want it.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping, Sequence

EXPLANATION_FIELDS = ("fundamentals", "chain_of_thought", "common_mistakes")

MARKERS: Mapping[str, str] = {
    "fundamentals": "The fundamental of this question is:",
    "chain_of_thought": "Let's think step by step.",
    "common_mistakes": "The common mistakes are:",
}

_MAX_OPTIONS = len(string.ascii_uppercase)


def option_letters(count: int) -> list[str]:
    """Returns the letters of `count` options: A, B, ...

    Raises:
        ValueError: `count` is not in 1..26.
    """
    if not 1 <= count <= _MAX_OPTIONS:
        raise ValueError(
            f"count = {count}, but a question has 1 to {_MAX_OPTIONS} options: letters end at Z."
        )
    return list(string.ascii_uppercase[:count])


def evaluation_prompt(question: str, choices: Sequence[str]) -> str:
    """Returns the text after which the option letters are compared; spaces stay as they are.

    Args:
        question: the question's text.
        choices: the option texts, in order; empty: the answer is open.
    """
    if not choices:
        return f"Q: {question} A: The answer is"
    letters = option_letters(len(choices))
    options = "".join(f"({letter}) {choice} " for letter, choice in zip(letters, choices))
    return f"Q: {question} {options}A: The answer is ("


def plain_text(question: str, choices: Sequence[str], answer: str) -> str:
    """Returns question and answer without explanation; spaces stay as they are.

    Args:
        question: the question's text.
        choices: the option texts, in order; empty: the answer is open.
        answer: the letter of the right option; an open answer's text.
    """
    _check_answer(answer, choices)
    return f"{evaluation_prompt(question, choices)}{_conclusion(choices, answer)}"


def annotation_prompt(
    question: str,
    choices: Sequence[str],
    answer: str,
    field: str,
    condition_on_answer: bool = True,
) -> str:
    """Returns the text that the teacher continues with an explanation.

    Args:
        question: the question's text.
        choices: the option texts, in order; empty: the answer is open.
        answer: the letter of the right option; an open answer's text.
        field: one of `EXPLANATION_FIELDS`.
        condition_on_answer: whether the teacher is told the right answer, as in the authors'
            scripts. Without it " The answer is (X)." is left out.

    Raises:
        ValueError: an unknown field, or an answer that is no option's letter.
    """
    marker = _marker(field)
    plain = plain_text(question, choices, answer)
    if not condition_on_answer:
        opening = " The answer is (" if choices else " The answer is"
        plain = plain.removesuffix(opening + _conclusion(choices, answer))
    return _collapse_once(f"{plain} {marker}")


def training_text(
    question: str, choices: Sequence[str], answer: str, explanations: Mapping[str, str]
) -> tuple[str, str]:
    """Returns (inputs, targets): the evaluation prompt, and the answer with its explanations.

    Args:
        question: the question's text.
        choices: the option texts, in order; empty: the answer is open.
        answer: the letter of the right option; an open answer's text.
        explanations: explanation field to text; they follow the answer in the order of
            `EXPLANATION_FIELDS`. A text comes right after its marker: let it begin with a space
            where there should be one.

    Raises:
        ValueError: an unknown field, or an answer that is no option's letter.
    """
    for field in explanations:
        _marker(field)
    _check_answer(answer, choices)
    targets = _conclusion(choices, answer)
    for field in EXPLANATION_FIELDS:
        if field in explanations:
            targets += f" {MARKERS[field]}{explanations[field]}"
    # No space stands before the cut, so collapsing the halves is collapsing the whole.
    return _collapse_once(evaluation_prompt(question, choices)), _collapse_once(targets)


def prompt_id(field: str, condition_on_answer: bool = True) -> str:
    """Returns a short stable name of an annotation prompt: it changes when the template does."""
    template = annotation_prompt("{question}", ["{a}", "{b}"], "A", field, condition_on_answer)
    return f"{field}-{hashlib.sha256(template.encode()).hexdigest()[:8]}"


def _conclusion(choices: Sequence[str], answer: str) -> str:
    """What follows the evaluation prompt in plain text."""
    if choices:
        return f"{answer})."
    return f" {answer}" if answer.rstrip().endswith((".", "!", "?")) else f" {answer}."


def _marker(field: str) -> str:
    if field not in MARKERS:
        raise ValueError(
            f"field = {field!r}, but an explanation is one of {', '.join(EXPLANATION_FIELDS)}."
        )
    return MARKERS[field]


def _check_answer(answer: str, choices: Sequence[str]) -> None:
    if not choices:
        if not answer.strip():
            raise ValueError("answer is empty, but without options it must be a text.")
        return
    letters = option_letters(len(choices))
    if answer not in letters:
        raise ValueError(
            f"answer = {answer!r}, but it must be the letter of one of the {len(choices)} options:"
            f" {', '.join(letters)}."
        )


def _collapse_once(text: str) -> str:
    return text.replace("  ", " ")


# Of the prompts that give the right answer, as the authors' scripts do.
PROMPT_IDS: Mapping[str, str] = {field: prompt_id(field) for field in EXPLANATION_FIELDS}
