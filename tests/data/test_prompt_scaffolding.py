"""Prompts, down to the question."""

import json
import pathlib

import pytest

from teacherlm_jax.data.prompt_scaffolding import question_parts
from teacherlm_jax.teacher.prompts import evaluation_prompt

PAPER = pathlib.Path(__file__).parents[3] / "shared" / "data" / "paper_eval"


@pytest.mark.parametrize(
    "prompt",
    [
        "Is it f(A) or g(B)?",
        "Q: Is it f(A) or g(B)? (A) True (B) False A: The answer is (",
        "Q: Q: Is it f(A) or g(B)? (A) yes\n(B) no\nA: The answer is (B).",
        "Determine the correctness of the following sentence. Is it f(A) or g(B)?",
        "The following are multiple choice questions (with answers) about high school us history."
        " Q: Is it f(A) or g(B)? (A) x (B) y (C) z A: The answer is (",
        "Question: Is it f(A) or g(B)?\nOptions:\n- yes\n- no\nAnswer:",
        "Is it f(A) or g(B)? Let's think step by step.",
    ],
)
def test_the_question_alone_is_left(prompt):
    assert question_parts(prompt) == {"question": "Is it f(A) or g(B)?"}


@pytest.mark.skipif(not PAPER.exists(), reason="the authors' samples are not here")
@pytest.mark.parametrize("name", ["creak", "ecqa", "strategyqa"])
def test_the_authors_prompts(name):
    for line in (PAPER / f"{name}.jsonl").read_text().splitlines():
        row = json.loads(line)
        parts = question_parts(evaluation_prompt(row["prompted_question"], []) + " (")
        assert parts["question"].lower() == row["question"].strip().lower()
        assert ("facts" in parts) == (name == "strategyqa")
