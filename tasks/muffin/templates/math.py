"""Words for linear equations."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "math_dataset": (
        Template("plain", "{question}", "{answer}"),
        Template("label", "Problem: {question}\nSolution:", "{answer}"),
        Template(
            "homework",
            "This is from my algebra homework: {question} What number comes out?",
            "{answer}",
        ),
        Template(
            "number_alone", "{question}\n\nGive the value alone, without the steps.", "{answer}"
        ),
        Template(
            "problem_of_solution",
            "Make up a linear equation with one unknown that has the solution {answer}, and ask"
            " for the unknown.",
            "{question}",
            is_inverted=True,
        ),
    ),
}
"""By the name of the data set."""
