"""The report of a students' experiment: results.json, report.md, report.html and the charts.

`write_report` writes them all through epath, so that the folder may be on gs://. report.html stands
alone: its charts are inside it, it loads nothing from elsewhere, and everything that a model or a
data set wrote is escaped. `table` gives the same numbers as text for the end of a run.

`report_schema.RESULTS` says what a results mapping holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.metrics import pages
from teacherlm_jax.scoring.words import counted
from teacherlm_jax.students import plots, report_view
from teacherlm_jax.students.report_schema import check_results, plain_data
from teacherlm_jax.students.report_view import Arm

# Longer explanations are folded in the page and cut in report.md; results.json has them whole.
LONG_EXPLANATION = 700
# With more runs than this, the terminal's table gives the single runs in a block of their own.
RUNS_BESIDE_MEANS = 4


def write_report(results: Mapping[str, Any], directory: epath.PathLike) -> epath.Path:
    """Writes results.json, report.md, report.html and a PNG for each chart.

    results.json is written first, before the results are checked and drawn: a mistake in the
    report never costs the numbers of a finished run.

    Args:
      results: as `report_schema.RESULTS` describes it; accuracies in percent.
      directory: folder to write into, local or gs://; made if it is missing.

    Returns:
      The path of report.html.

    Raises:
      TypeError: results hold something that JSON cannot; the message names its key.
      ValueError: a key is missing or malformed; the message names it.
    """
    folder = epath.Path(directory)
    data = plain_data(results)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "results.json", json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    try:
        check_results(data)
    except ValueError as error:
        raise ValueError(
            f"{error} The results as given are in {folder / 'results.json'}."
        ) from error
    arms = report_view.arms_of(data)
    charts = plots.charts(arms, report_view.number(data.get("chance")))
    for chart in charts:
        (folder / f"{chart.name}.png").write_bytes(chart.png)
    context = _context(data, arms, charts)
    _write(folder / "report.md", _render("report.md.jinja", context))
    _write(folder / "report.html", _render("report.html.jinja", context))
    return folder / "report.html"


def table(results: Mapping[str, Any]) -> str:
    """The arms as an aligned plain-text table: mean ± sd, difference to plain, types, runs.

    Args:
      results: as for `write_report`.

    Returns:
      Lines of text without a final newline.

    Raises:
      ValueError: a key is missing or malformed; the message names it.
    """
    data = plain_data(results)
    check_results(data)
    arms = report_view.arms_of(data)
    types, runs = _types(arms), _run_columns(arms)
    spread = any(math.isfinite(arm.std) for arm in arms)
    compared = any(arm.difference is not None for arm in arms)
    beside = len(runs) <= RUNS_BESIDE_MEANS
    header = ["arm", "mean ± sd" if spread else "accuracy"]
    header += ["to plain (min to max)" if len(runs) > 1 else "to plain"] if compared else []
    header += types + ["tokens"] + ([short for _, short in runs] if beside else [])
    rows = []
    for arm in arms:
        row = [arm.key, _mean_cell(arm)]
        row += [_difference_cell(arm)] if compared else []
        row += [report_view.percent(arm.by_type.get(name, math.nan)) for name in types]
        row += [report_view.count(arm.tokens)]
        rows.append(row + (_run_cells(arm, runs) if beside else []))
    lines = [_terminal_title(data, len(runs)), "", *_aligned(header, rows)]
    if not beside:
        rows = [[arm.key, *_run_cells(arm, runs)] for arm in arms]
        lines += ["", "every run", "", *_aligned(["arm"] + [short for _, short in runs], rows)]
    # A terminal's font may lack the true minus; a hyphen is what other tools print.
    return "\n".join(line.rstrip() for line in lines).replace(report_view.MINUS, "-")


def _terminal_title(data: Mapping[str, Any], runs: int) -> str:
    chance = report_view.number(data.get("chance"))
    guess = f", chance {report_view.percent(chance)}" if math.isfinite(chance) else ""
    return f"accuracy in percent over {counted(runs, 'run')} of each arm{guess}"


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Header, rule and rows; the first column to the left, the others to the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]

    def line(cells: Sequence[str]) -> str:
        rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
        return "  ".join([cells[0].ljust(widths[0]), *rest])

    return [line(header), "  ".join("-" * width for width in widths), *map(line, rows)]


def _mean_cell(arm: Arm) -> str:
    mean = report_view.percent(arm.mean)
    return f"{mean} ± {report_view.percent(arm.std)}" if math.isfinite(arm.std) else mean


def _difference_cell(arm: Arm) -> str:
    gap = arm.difference
    if gap is None:
        return ""
    mean = report_view.signed(gap.mean)
    if len(arm.runs) < 2 or not math.isfinite(gap.minimum):
        return mean
    return f"{mean} ({report_view.signed(gap.minimum)} to {report_view.signed(gap.maximum)})"


def _types(arms: Sequence[Arm]) -> list[str]:
    """The question types that any arm was scored on, known ones first."""
    found = list(dict.fromkeys(name for arm in arms for name in arm.by_type))
    known = [name for name in report_view.QUESTION_TYPES if name in found]
    return known + [name for name in found if name not in known]


def _run_columns(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Name and short name of every run that any arm has, in the order of the arms."""
    return list(dict.fromkeys((run.name, run.short) for arm in arms for run in arm.runs))


def _run_cells(arm: Arm, runs: Sequence[tuple[str, str]]) -> list[str]:
    accuracies = {run.name: run.accuracy for run in arm.runs}
    return [report_view.percent(accuracies.get(name, math.nan)) for name, _ in runs]


def _context(
    data: Mapping[str, Any], arms: Sequence[Arm], charts: Sequence[plots.Chart]
) -> dict[str, Any]:
    """Everything that the two templates show."""
    runs, types = _run_columns(arms), _types(arms)
    return {
        "headline": report_view.headline(data, arms),
        "facts": _facts(data, len(runs)),
        "charts": {chart.name: chart for chart in charts},
        "arms": [
            {
                "arm": arm,
                "mean": _mean_cell(arm),
                "difference": _difference_cell(arm),
                "types": [report_view.percent(arm.by_type.get(name, math.nan)) for name in types],
                "runs": _run_cells(arm, runs),
            }
            for arm in arms
        ],
        "types": [(name, report_view.QUESTION_TYPES.get(name, "")) for name in types],
        "runs": runs,
        "has_validation": any(math.isfinite(arm.validation) for arm in arms),
        "has_spread": any(math.isfinite(arm.std) for arm in arms),
        "teacher": _teacher(data.get("teacher") or {}, arms),
        "samples": data.get("samples", []),
        "caveats": data.get("caveats", []),
        "timings": [
            (key.replace("_", " "), report_view.duration(report_view.number(value)))
            for key, value in data.get("timings_s", {}).items()
        ],
        "environment": _pairs(data.get("environment", {})),
        "steps": _pairs(data.get("steps", {})),
        "command": data.get("command", ""),
        "long": LONG_EXPLANATION,
    }


def _facts(data: Mapping[str, Any], runs: int) -> list[tuple[str, str]]:
    """The few figures that say how large the experiment was."""
    facts = [("runs of each arm", str(runs))]
    for key in ("worlds", "seeds"):
        if data.get(key):
            facts.append((key, ", ".join(str(value) for value in data[key])))
    chance = report_view.number(data.get("chance"))
    if math.isfinite(chance):
        facts.append(("chance", f"{report_view.percent(chance)}%"))
    total = report_view.number(data.get("timings_s", {}).get("total"))
    if math.isfinite(total):
        facts.append(("time", report_view.duration(total)))
    return facts


def _teacher(teacher: Mapping[str, Any], arms: Sequence[Arm]) -> dict[str, Any]:
    """The teacher's section: a table by field, coverage by arm, and the base model's accuracy."""
    columns = [
        ("truth_rate", "true, %"),
        ("only_question_names", "names only its question's animals, %"),
        ("dropped_held_out", "dropped, as they told held-out facts"),
    ]
    columns = [(key, title) for key, title in columns if teacher.get(key)]
    fields = list(dict.fromkeys(field for key, _ in columns for field in teacher[key]))
    rows = [
        (
            field.replace("_", " "),
            [_teacher_cell(key, report_view.number(teacher[key].get(field))) for key, _ in columns],
        )
        for field in fields
    ]
    labels = {arm.key: arm.label for arm in arms}
    coverage = [
        (labels.get(key, key.replace("_", " ")), report_view.percent(report_view.number(value)))
        for key, value in teacher.get("coverage", {}).items()
    ]
    base = [
        (key, report_view.percent(report_view.number(value)))
        for key, value in teacher.get("base_accuracy", {}).items()
    ]
    titles = [title for _, title in columns]
    return {"columns": titles, "rows": rows, "coverage": coverage, "base": base}


def _teacher_cell(key: str, value: float) -> str:
    if key == "dropped_held_out":
        return f"{value:.0f}" if math.isfinite(value) else report_view.DASH
    return report_view.percent(value)


def _pairs(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as texts; lists are joined, nested mappings written as JSON."""
    pairs = []
    for key, value in mapping.items():
        if isinstance(value, list):
            value = ", ".join(str(item) for item in value)
        elif isinstance(value, dict):
            value = json.dumps(value, ensure_ascii=False)
        pairs.append(
            (str(key).replace("_", " "), report_view.DASH if value is None else str(value))
        )
    return pairs


def _shortened(text: str) -> str:
    """The text, or the start of a long one with a note of its length."""
    if len(text) <= LONG_EXPLANATION:
        return text
    return f"{text[:LONG_EXPLANATION]}… ({len(text)} characters, whole in results.json)"


def _render(name: str, context: Mapping[str, Any]) -> str:
    filters = {
        "percent": report_view.percent,
        "count": report_view.count,
        "letter": lambda index: chr(ord("A") + index),
        "shortened": _shortened,
    }
    return pages.render(epath.resource_path("teacherlm_jax") / "students", name, context, filters)


def _write(path: epath.Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8"))
