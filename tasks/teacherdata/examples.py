"""What a TeacherData record becomes in each of the paper's text formats.

The formats are `teacher.prompts`'; a record that lacks an explanation has no example in the forms
that need it.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from absl import logging

from teacherlm_jax.data import generators
from teacherlm_jax.data.record_source import record_of
from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.data.row_rendering import RawRow, rendered
from teacherlm_jax.teacher.prompts import EXPLANATION_FIELDS, training_text

FORMS: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "cot": ("chain_of_thought",),
    "fundamentals": ("fundamentals",),
    "mistakes": ("common_mistakes",),
    "five_fields": EXPLANATION_FIELDS,
}
"""Form -> the explanations in its text, all of which it needs."""


def example_of(record: TeacherDataRecord, form: str) -> dict[str, str] | None:
    """The texts id, inputs and targets of a record; None: it lacks an explanation.

    An explanation follows its marker after one space, unless it begins with white space itself.
    """
    explanations = {field: getattr(record, field) for field in FORMS[form]}
    if not all(text.strip() for text in explanations.values()):
        return None
    spaced = {
        field: text if text[0].isspace() else f" {text}" for field, text in explanations.items()
    }
    inputs, targets = training_text(record.question, record.choices, record.answer, spaced)
    return {"id": record.id, "inputs": inputs, "targets": targets}


class Rendering:
    """A seqio preprocessor: rows -> examples of a form; says how many rows lacked what it needs."""

    def __init__(self, task: str, form: str) -> None:
        """Makes it.

        Args:
            task: named in the log.
            form: a key of `FORMS`.
        """
        self.task, self.form = task, form

    def __call__(self, dataset: Any) -> Any:
        """Dataset -> dataset."""
        import tensorflow as tf

        counts: collections.Counter[str] = collections.Counter()

        def examples(row: RawRow) -> Iterable[Mapping[str, Any]]:
            example = example_of(record_of(row), self.form)
            counts["rows"] += 1
            counts["left out"] += example is None
            return () if example is None else (example,)

        def report() -> Iterator[Any]:
            if counts["left out"]:
                logging.info(
                    "%s: %d of %d rows have no example, since they lack %s.",
                    self.task,
                    counts["left out"],
                    counts["rows"],
                    " or ".join(FORMS[self.form]),
                )
            counts.clear()
            yield from ()

        text = tf.TensorSpec((), tf.string)
        signature = {"id": text, "inputs": text, "targets": text}
        end = generators.from_generator(report, signature)
        return rendered(examples, signature, self.task)(dataset).concatenate(end)
