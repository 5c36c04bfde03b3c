"""Receipts for tests of results and reports."""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from teacherlm_jax.scoring.receipts import Receipt

GROUPS = {
    "both": ["small_stem", "large_stem", "other"],
    "stem": ["small_stem", "large_stem"],
}


def receipt(
    values: tuple[float, ...] = (-1.0, -2.0),
    answer: int = 0,
    *,
    task: str = "task",
    question_id: str = "0",
    **other: Any,
) -> Receipt:
    """A question whose options are letters of one token each, unless told otherwise."""
    count = len(values)
    letters = tuple(string.ascii_uppercase[place % 26] for place in range(count))
    fields: dict[str, Any] = {
        "task": task,
        "split": "test",
        "question_id": question_id,
        "subject": "",
        "prompt": "Q: Which? A: The answer is (",
        "continuations": letters,
        "option_texts": letters,
        "answer": answer,
        "boundary": "apart",
        "moved": 0,
        "bos_id": 1,
        "context": (1, 5, 6),
        "options": ((7,),) * count,
        "truncated": 0,
        "log_likelihoods": tuple(values),
        "is_greedy": (False,) * count,
        "unconditional_prompt": None,
        "unconditional": None,
        "dtype": "float32",
        "checkpoint_digest": "1234",
    }
    return Receipt(**{**fields, **other})


def example() -> list[Receipt]:
    """Questions of three tasks, of which two make up the group "stem"; the same every time."""
    random = np.random.default_rng(0)
    found = []
    for task, questions, options in (("small_stem", 9, 4), ("large_stem", 40, 4), ("other", 21, 2)):
        for number in range(questions):
            # Tokens, bytes and characters differ, and by different factors.
            lengths = random.integers(1, 9, (3, options)).tolist()
            texts = tuple("é" * two + "x" * one for one, two, _ in zip(*lengths, strict=True))
            found.append(
                receipt(
                    tuple((random.normal(size=options) - 3).round(3).tolist()),
                    int(random.integers(options)),
                    task=task,
                    question_id=f"id {number}",
                    subject="" if task == "other" else task,
                    option_texts=texts,
                    options=tuple((7,) * length for length in lengths[2]),
                    unconditional=tuple(random.normal(size=options).tolist()),
                    unconditional_prompt=(),
                    truncated=int(number % 10 == 0) * 3,
                    moved=int(number % 20 == 1),
                )
            )
    return found


def mixed() -> list[Receipt]:
    """A task of two subjects, one with 2 of 2 questions right, the other with 1 of 4."""
    return [
        receipt(
            answer=int(subject == "music" and number > 0),
            task="mixed",
            question_id=f"{subject} {number}",
            subject=subject,
        )
        for subject, questions in (("art", 2), ("music", 4))
        for number in range(questions)
    ]
