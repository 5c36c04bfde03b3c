"""Training and evaluation rows of a world's tasks, as texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from teacherlm_jax.data.vocabularies import split_words
from teacherlm_jax.tasks.world import checker
from teacherlm_jax.tasks.world import sentences as say
from teacherlm_jax.tasks.world.draws import generator, shuffled
from teacherlm_jax.tasks.world.facts import PROPERTIES, SLOTS
from teacherlm_jax.tasks.world.questions import Question
from teacherlm_jax.tasks.world.splits import HELD_OUT_SPLITS
from teacherlm_jax.tasks.world.world import World
from teacherlm_jax.teacher.prompts import evaluation_prompt, option_letters, training_text

# Feature name to text, number or list of numbers.
Row = dict[str, Any]

# A row of running text has at most this many tokens, the end of sequence included: about as many
# as a plain question, so that base rows waste no padding.
MAX_TEXT_TOKENS = 40
# Every pass over the sentences is in an order of its own.
_PASSES = 16
# In a pass an animal gets this many paragraphs of this many conclusions, so that base facts and
# rules keep half of the text.
_CONCLUSION_PARAGRAPHS = 2
_CONCLUSIONS_PER_PARAGRAPH = 3


def question_row(
    question: Question, choices: Sequence[str], answer: str, explanations: dict[str, str]
) -> Row:
    """Returns the row that trains on a question and its explanations; empty ones are left out."""
    spaced = {field: f" {text}" for field, text in explanations.items() if text}
    inputs, targets = training_text(question.text, choices, answer, spaced)
    return {"inputs": inputs, "targets": targets}


def plain_rows(questions: Iterable[Question]) -> list[Row]:
    """Returns rows without explanations, one for each order of a question's options."""
    return [
        question_row(order, order.choices, order.answer, {})
        for question in questions
        for order in question.orders()
    ]


def gold_rows(
    world: World, questions: Iterable[Question], field: str, every_order: bool = True
) -> list[Row]:
    """Returns rows with one gold explanation, which follows the order of the options.

    Args:
        world: the world.
        questions: the questions to explain.
        field: one of `prompts.EXPLANATION_FIELDS`.
        every_order: whether there is a row for each order of a question's options, or for its own
            order alone.
    """
    return [
        question_row(order, order.choices, order.answer, {field: world.gold(order, field)})
        for question in questions
        for order in (question.orders() if every_order else [question])
    ]


def evaluation_rows(questions: Iterable[Question]) -> list[Row]:
    """Returns a row per question and option, in the question's own order.

    Features: `inputs` the evaluation prompt, `targets` the option's letter, `idx` the numbers of
    question and option, `is_correct`.
    """
    rows = []
    for number, question in enumerate(questions):
        prompt = evaluation_prompt(question.text, question.choices)
        for option, letter in enumerate(option_letters(len(question.choices))):
            rows.append(
                {
                    "inputs": prompt,
                    "targets": letter,
                    "idx": [number, option],
                    "is_correct": letter == question.answer,
                }
            )
    return rows


def corpus_rows(world: World) -> list[Row]:
    """Returns running text with the rare animals' base facts and the rules, and nothing else."""
    rng = generator(world.seed, "corpus")
    return _text_rows(rng, [_facts_and_rules(rng, world, world.names.rare) for _ in range(_PASSES)])


def base_text_rows(world: World) -> list[Row]:
    """Returns running text about the known animals: base facts, rules, and conclusions.

    Conclusions that are asked for in the split "base_test" are left out.
    """
    rng = generator(world.seed, "base text")
    conclusions = {
        name: [
            say.conclusion(name, prop, world.facts.animal_has(name, prop))
            for prop in PROPERTIES
            if world.split_of[name, prop.family] not in HELD_OUT_SPLITS
        ]
        for name in world.names.known
    }
    passes = []
    size = _CONCLUSIONS_PER_PARAGRAPH
    for _ in range(_PASSES):
        paragraphs = _facts_and_rules(rng, world, world.names.known)
        for name in world.names.known:
            chosen = shuffled(rng, conclusions[name])
            for part in range(_CONCLUSION_PARAGRAPHS):
                paragraphs.append(" ".join(chosen[part * size : (part + 1) * size]))
        passes.append(paragraphs)
    return _text_rows(rng, passes)


def _facts_and_rules(rng: np.random.Generator, world: World, names: Sequence[str]) -> list[str]:
    """Returns paragraphs: the base facts of each animal in random order, and each rule alone."""
    paragraphs = checker.enumerate_rules(world.facts)
    for name in names:
        facts = [say.animal_fact(world.facts.animals[name], slot) for slot in SLOTS]
        paragraphs.append(" ".join(shuffled(rng, facts)))
    return paragraphs


def _text_rows(rng: np.random.Generator, passes: Iterable[Sequence[str]]) -> list[Row]:
    """Fills rows with the paragraphs of each pass in random order; none is cut."""
    rows: list[Row] = []
    for paragraphs in passes:
        text: list[str] = []
        tokens = 1  # the end of the sequence
        for paragraph in shuffled(rng, paragraphs):
            length = len(split_words(paragraph))
            if text and tokens + length > MAX_TEXT_TOKENS:
                rows.append({"inputs": "", "targets": " ".join(text)})
                text, tokens = [], 1
            text.append(paragraph)
            tokens += length
        rows.append({"inputs": "", "targets": " ".join(text)})
    return rows
