"""Several models side by side: the accuracies of each, and their mean and spread."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Any

from teacherlm_jax.scoring import report_view
from teacherlm_jax.scoring.results import Results, Summary


@dataclasses.dataclass(frozen=True)
class Row:
    """One accuracy under every model, in percent.

    Attributes:
      name: of the task, group or subject.
      kind: as of a `Summary`.
      split: of it.
      average: "micro", or "macro" for the mean over parts.
      questions: how many.
      accuracies: of each model.
      standard_errors: of each; NaN where there is none.
      mean: over models.
      deviation: sample standard deviation over models; NaN for one.
    """

    name: str
    kind: str
    split: str
    average: str
    questions: int
    accuracies: tuple[float, ...]
    standard_errors: tuple[float, ...]
    mean: float
    deviation: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Accuracies of several models under one headline normalisation."""

    headline: str
    labels: tuple[str, ...]
    checkpoint_digests: tuple[str, ...]
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as mappings, lists and numbers, with null for NaN."""
        told = dataclasses.asdict(self)
        for row in told["rows"]:
            if not math.isfinite(row["deviation"]):
                row["deviation"] = None
            row["standard_errors"] = [
                error if math.isfinite(error) else None for error in row["standard_errors"]
            ]
        return {"unit": "percent", **told}


def compare(models: Sequence[tuple[str, Results]]) -> Comparison:
    """Puts the results of models side by side.

    Raises:
      ValueError: there are no models, two have one label, or they differ in what was scored.
    """
    if not models:
        raise ValueError("there are no models to compare: give the results of one at least.")
    labels = [label for label, _ in models]
    if len(set(labels)) < len(labels):
        raise ValueError(f"models are labelled {labels}: give each a label of its own.")
    (first_label, first), *_ = models
    wanted = _scored(first)
    for label, results in models:
        if results.headline != first.headline or _scored(results) != wanted:
            raise ValueError(
                f"models {first_label!r} and {label!r} were not scored alike: headlines"
                f" {first.headline!r} and {results.headline!r}, {len(wanted)} and"
                f" {len(_scored(results))} tasks and groups, or other numbers of questions in them."
                " Score both with the same tasks, groups and headline."
            )
    rows = []
    for several in zip(*(_summaries(results) for _, results in models), strict=True):
        # The first row is the headline: of several tasks their mean, as in a report.
        if len(several[0].parts) > 1:
            rows.append(_row(several, first, "macro"))
        rows.append(_row(several, first, "micro"))
    return Comparison(
        headline=first.headline,
        labels=tuple(labels),
        checkpoint_digests=tuple(results.checkpoint_digest for _, results in models),
        rows=tuple(rows),
    )


def _summaries(results: Results) -> tuple[Summary, ...]:
    return (*report_view.averages(results), *results.tasks, *results.subjects)


def _scored(results: Results) -> list[tuple[Any, ...]]:
    return [(s.kind, s.name, s.split, s.task, s.parts, s.questions) for s in _summaries(results)]


def _row(several: Sequence[Summary], results: Results, average: str) -> Row:
    found = [summary.by_normalisation[results.headline] for summary in several]
    macro = average == "macro"
    accuracies = tuple(one.macro if macro else one.accuracy for one in found)
    return Row(
        name=report_view.name_of(several[0], results),
        kind=several[0].kind,
        split=several[0].split,
        average=average,
        questions=several[0].questions,
        accuracies=accuracies,
        standard_errors=tuple(
            one.macro_standard_error if macro else one.standard_error for one in found
        ),
        mean=statistics.fmean(accuracies),
        deviation=statistics.stdev(accuracies) if len(accuracies) > 1 else math.nan,
    )


def finding(compared: Comparison) -> str:
    """The sentence that the page begins with."""
    row = compared.rows[0]
    of = ", means over tasks" if row.average == "macro" else ""
    best = max(range(len(row.accuracies)), key=row.accuracies.__getitem__)
    return (
        f"{report_view.with_error(row.mean, row.deviation)} percent over"
        f" {len(compared.labels)} models{of}; best is {compared.labels[best]} with"
        f" {report_view.percent(row.accuracies[best])}."
    )


def notes(compared: Comparison) -> list[str]:
    """How the table is to be read."""
    words = report_view.NORMALISATION_WORDS[compared.headline]
    return [
        f"Options are ranked by their log-likelihoods ({words}).",
        "± is one standard error of a model's accuracy; beside a mean over models, it is one"
        " standard deviation.",
    ]


def header(compared: Comparison) -> list[str]:
    """Columns of the table."""
    return ["", "questions", "mean", *compared.labels]


def rows(compared: Comparison) -> list[list[str]]:
    """Rows of the table."""
    return [
        [
            f"{row.name}, mean of parts" if row.average == "macro" else row.name,
            f"{row.questions:,}",
            report_view.with_error(row.mean, row.deviation),
            *(
                report_view.with_error(value, error)
                for value, error in zip(row.accuracies, row.standard_errors, strict=True)
            ),
        ]
        for row in compared.rows
    ]
