"""A search for evaluation questions in training data, from its rows to the files that it writes.

report.json, report.md   counts by evaluation task, by source, and some matches; in the first the
                         settings of the run
matches-*.jsonl          matches with both texts
drop-*.jsonl             rows of the training data with matches (see `exclusions`)
clean_subset.json        ids of the questions without and with matches, by task and split
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import ledger, run_claim
from teacherlm_jax.data.decontamination import Findings, Match, dropped_row, search
from teacherlm_jax.data.question_index import KINDS, QuestionIndex
from teacherlm_jax.data.row_shards import RowShards
from teacherlm_jax.data.text_rows import TextRow

REPORT, MARKDOWN, CLEAN_SUBSET = "report.json", "report.md", "clean_subset.json"
MATCHES, DROP = "matches", "drop"
_IN_MARKDOWN = 40


def write(
    rows: Iterable[TextRow],
    index: QuestionIndex,
    folder: epath.PathLike,
    *,
    searched: Sequence[str],
    not_searched_for: Mapping[str, str] | None = None,
    shown: int = 3,
    claimed: run_claim.RunClaim | None = None,
) -> dict[str, Any]:
    """Searches rows and writes what is found; the report last.

    Args:
      rows: the training data.
      index: the questions.
      folder: where to write; what an earlier search wrote there is replaced.
      searched: names of the training data, for the report.
      not_searched_for: evaluation task -> why its questions are not in the index.
      shown: most matches of a question that are written; all are counted.
      claimed: the folder, as this run took it; None: nobody else writes there.

    Returns:
      The report.

    Raises:
      FolderTakenError: another run took the folder.
    """
    folder = epath.Path(folder)
    check = claimed.check if claimed is not None else lambda: None
    check()
    for name in (REPORT, MARKDOWN, CLEAN_SUBSET):
        ledger.remove(folder / name)
    findings = Findings(index)
    matches, drop = (RowShards(folder, name, check=check) for name in (MATCHES, DROP))
    examples: list[dict[str, Any]] = []
    for found in search(rows, index):
        findings.add(found)
        if not found.matches:
            continue
        drop.add(dropped_row(found))
        for match in _first_of_each(found.matches):
            if findings.matches_of[match.found.entry] <= shown:
                matches.add(match.as_json())
                _keep_example(examples, match)
    matches.finish()
    drop.finish()
    check()
    clean = json.dumps(findings.clean_subset(), indent=1, ensure_ascii=True)
    ledger.write_whole(folder / CLEAN_SUBSET, clean + "\n")
    report = _report(findings, index, searched, dict(not_searched_for or {}), drop.rows)
    report[run_claim.SETTINGS] = {} if claimed is None else dict(claimed.settings)
    ledger.write_whole(folder / MARKDOWN, markdown(report, examples))
    check()
    ledger.write_whole(folder / REPORT, json.dumps(report, indent=2) + "\n")
    return report


def _first_of_each(matches: Sequence[Match]) -> Iterable[Match]:
    """The best match of a row with each question."""
    best: dict[int, Match] = {}
    for match in matches:
        known = best.get(match.found.entry)
        if known is None or _strength(match) > _strength(known):
            best[match.found.entry] = match
    return best.values()


def _strength(match: Match) -> tuple[int, int]:
    return (-KINDS.index(match.found.kind), match.found.words)


def _keep_example(examples: list[dict[str, Any]], match: Match) -> None:
    """Keeps some matches of each task for the Markdown."""
    task = match.questions[0].task
    of_task = sum(example["task"] == task for example in examples)
    if of_task < 3 and len(examples) < _IN_MARKDOWN:
        examples.append(match.as_json())


def _report(
    findings: Findings,
    index: QuestionIndex,
    searched: Sequence[str],
    not_searched_for: Mapping[str, str],
    rows_to_drop: int,
) -> dict[str, Any]:
    tasks: dict[str, dict[str, Any]] = {}
    for (task, split), counts in findings.counts().items():
        tasks.setdefault(task, {})[split] = dataclasses.asdict(counts)
    return {
        "training": list(searched),
        "rule": dataclasses.asdict(index.rule),
        "evaluation": tasks,
        "not_searched_for": dict(not_searched_for),
        "different_questions": len(index.entries),
        "questions_touched": len(findings.matches_of),
        "unmatchable_questions": len(index.unmatchable),
        "common_runs_ignored": index.ignored_runs,
        "sources": findings.sources,
        "rows_to_drop": rows_to_drop,
    }


def markdown(report: Mapping[str, Any], examples: Sequence[Mapping[str, Any]]) -> str:
    """The report for reading."""
    rule = report["rule"]
    lines = [
        "# Evaluation questions in training data",
        "",
        f"Training data: {', '.join(report['training'])}. A question is touched where"
        f" {rule['ngram']} words in a row of it, or all of a shorter one, stand in a training"
        f" text; case and punctuation do not count. Runs in more than {rule['max_questions']}"
        f" different questions are ignored: {report['common_runs_ignored']:,}. Of"
        f" {report['different_questions']:,} different questions {report['questions_touched']:,}"
        f" are touched; {report['unmatchable_questions']:,} cannot be told from others.",
        "",
        "| evaluation task | split | questions | touched | exact | whole | n-gram | common |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for task, splits in report["evaluation"].items():
        for split, counts in splits.items():
            kinds = " | ".join(f"{counts['kinds'][kind]:,}" for kind in KINDS)
            lines.append(
                f"| {task} | {split} | {counts['questions']:,} | {counts['touched']:,} | {kinds}"
                f" | {counts['unmatchable']:,} |"
            )
    lines += ["", "| training data | rows | rows with matches |", "|---|--:|--:|"]
    lines += [
        f"| {source} | {counts['rows']:,} | {counts['rows_with_matches']:,} |"
        for source, counts in report["sources"].items()
    ]
    if report["not_searched_for"]:
        lines += ["", "Not searched for, so nothing is known of them:", ""]
        lines += [f"- {task}: {why}" for task, why in report["not_searched_for"].items()]
    lines += ["", f"Matches, some of each task (all are in {MATCHES}-*.jsonl):"]
    for match in examples:
        text = " ".join(f"{match['before']}**{match['matched']}**{match['after']}".split())
        lines += [
            "",
            f"- {match['task']} {match['id']}, {match['part']}, {match['kind']}, {match['words']}"
            f" words, {100 * match['coverage']:.0f} %: {' '.join(match['question'].split())}",
            f"  - {match['where']}, {match['field']}: {text}",
        ]
    return "\n".join(lines) + "\n"
