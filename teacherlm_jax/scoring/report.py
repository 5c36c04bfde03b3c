"""The report of an evaluation: results.json, report.md, report.html and the charts as PNGs.

report.html stands alone: its charts are inside it, it loads nothing from elsewhere, and everything
that a model or a data set wrote is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import ledger
from teacherlm_jax.metrics import pages
from teacherlm_jax.scoring import comparison, plots, report_view
from teacherlm_jax.scoring.receipts import Receipt
from teacherlm_jax.scoring.results import Results

# Longer tables of tasks are folded in the page: the charts show the same.
FOLDED_ROWS = 30


def write(
    results: Results,
    receipts: Sequence[Receipt],
    folder: epath.PathLike,
    title: str = "Evaluation",
    details: Mapping[str, Any] | None = None,
) -> epath.Path:
    """Writes the report of one model; files of an earlier report are written over.

    results.json comes first, so that a mistake in drawing costs no figures.

    Args:
      results: of `results.summarize`.
      receipts: what it summarized; the page shows some of them.
      folder: to write into, local or gs://; made if it is missing.
      title: of the page.
      details: names and values that say what was run, such as the checkpoint and BOS.

    Returns:
      The path of report.html.

    Raises:
      ValueError: the receipts are not those of the results.
      TypeError: details hold something that JSON cannot.
    """
    folder = epath.Path(folder)
    details = {"checkpoint_digest": results.checkpoint_digest, **(details or {})}
    told = {"title": title, "details": details, **results.as_json()}
    _write(folder / "results.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    _check(results, receipts)
    charts = {
        "accuracies": plots.accuracies(results),
        "reliabilities": plots.reliabilities(results),
        "confusions": plots.confusions(results),
    }
    names = {f"{chart.name}.png" for several in charts.values() for chart in several}
    for path in ledger.list_complete(folder, "*.png"):
        # Of an earlier report that had more of them.
        if path.name not in names and path.name.startswith(plots.NAMES):
            ledger.remove(path)
    for several in charts.values():
        for chart in several:
            _write(folder / f"{chart.name}.png", chart.png)
    context = {
        "title": title,
        "details": report_view.pairs(details),
        "mistakes": report_view.mistakes(results, receipts),
        "of_a_task": report_view.OF_A_TASK,
        "json_name": "results.json",
        **charts,
        **_tables(results),
    }
    for name in ("report.md", "report.html"):
        _write(folder / name, _render(name, context))
    return folder / "report.html"


def write_comparison(
    models: Sequence[tuple[str, Results]],
    folder: epath.PathLike,
    title: str = "Comparison",
    details: Mapping[str, Any] | None = None,
) -> epath.Path:
    """Writes comparison.json, comparison.md and comparison.html: several models side by side.

    Args:
      models: labels, each another, and results over the same tasks, such as those of replicas.
      folder: to write into, local or gs://; made if it is missing.
      title: of the page.
      details: names and values that say what was run.

    Returns:
      The path of comparison.html.

    Raises:
      ValueError: there are no models, two have one label, or they differ in what was scored.
      TypeError: details hold something that JSON cannot.
    """
    compared = comparison.compare(models)
    folder = epath.Path(folder)
    details = dict(details or {})
    told = {"title": title, "details": details, **compared.as_json()}
    _write(folder / "comparison.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    context = {
        "title": title,
        "details": report_view.pairs(details),
        "json_name": "comparison.json",
        "finding": comparison.finding(compared),
        "notes": comparison.notes(compared),
        "header": comparison.header(compared),
        "rows": comparison.rows(compared),
    }
    for name in ("comparison.md", "comparison.html"):
        _write(folder / name, _render(name, context))
    return folder / "comparison.html"


def _tables(results: Results) -> dict[str, Any]:
    averages = report_view.average_rows(results)
    tasks = report_view.task_rows(results)
    others = report_view.others(results)
    words = report_view.NORMALISATION_WORDS
    average_columns = {
        "name": "",
        "parts": "tasks",
        "questions": "questions",
        "accuracy": f"accuracy ({words[results.headline]})",
        "macro": "mean over tasks",
        "chance": "chance",
        "calibration": "calibration error",
        "near_ties": "near-ties",
        "truncated": "cut",
    }
    task_columns = {
        "name": "task",
        "questions": "questions",
        "accuracy": words[results.headline],
    }
    if any(task.parts for task in results.tasks):
        task_columns["macro"] = "mean over subjects"
    last_columns = {
        "chance": "chance",
        "calibration": "calibration error",
        "near_ties": "near-ties",
        "truncated": "cut",
    }
    return {
        "finding": report_view.finding(results),
        "notes": report_view.notes(results),
        "average_header": list(average_columns.values()),
        "average_rows": [[row[key] for key in average_columns] for row in averages],
        "task_header": [*task_columns.values()]
        + [words[name] for name in others]
        + [*last_columns.values()],
        "task_rows": [
            [row[key] for key in task_columns] + row["others"] + [row[key] for key in last_columns]
            for row in tasks
        ],
        **_normalisation_table(results),
        "folded": len(tasks) > FOLDED_ROWS,
    }


def _normalisation_table(results: Results) -> dict[str, Any]:
    columns = {
        "name": "log-likelihood",
        "headline": "",
        "lm_eval": "in lm-eval",
        "accuracy": "accuracy",
        "over_tasks": "mean over tasks",
        "over_subjects": "mean over subjects",
        "ties": "ties",
        "near_ties": "near-ties",
    }
    rows = report_view.normalisation_rows(results)
    for name in ("over_tasks", "over_subjects"):
        if all(row[name] == report_view.DASH for row in rows):
            del columns[name]
    return {
        "normalisation_header": list(columns.values()),
        "normalisation_rows": [[row[key] for key in columns] for row in rows],
    }


def _check(results: Results, receipts: Sequence[Receipt]) -> None:
    questions = sum(whole.questions for whole in results.overall)
    digests = {one.checkpoint_digest for one in receipts}
    if len(receipts) != questions or digests != {results.checkpoint_digest}:
        raise ValueError(
            f"{len(receipts)} receipts of the checkpoints {sorted(digests)}, but the results are of"
            f" {questions} questions and {results.checkpoint_digest!r}: give the receipts that were"
            " summarized. The results as given are written."
        )


def _render(name: str, context: Mapping[str, Any]) -> str:
    folder = epath.resource_path("teacherlm_jax") / "scoring"
    filters: dict[str, Callable[..., Any]] = {
        "percent": report_view.percent,
        "shortened": report_view.shortened,
    }
    return pages.render(folder, f"{name}.jinja", context, filters)


def _write(path: epath.Path, content: bytes | str) -> None:
    # A report follows from its receipts: a new one takes the place of an old one.
    ledger.remove(path)
    ledger.write_whole(path, content)
