"""`teacherlm data decontaminate`: evaluation questions that stand in training data."""

import argparse
import itertools
from typing import Any

from teacherlm_jax.main import data_tasks, data_texts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives the parser its arguments."""
    parser.add_argument(
        "training",
        nargs="+",
        metavar="TRAINING",
        help="mixtures, tasks, or files (JSON lines, Parquet, CSV, TSV; .gz), folders and patterns",
    )
    parser.add_argument(
        "--against",
        action="append",
        metavar="EVALUATION",
        help="an evaluation task or mixture, or a file of questions; may be given several times "
        "(default: every evaluation task whose data is here)",
    )
    parser.add_argument("--to", required=True, metavar="FOLDER", help="where the reports go")
    data_texts.add_arguments(parser)
    parser.add_argument(
        "--against_split",
        default="evaluation",
        metavar="SPLIT",
        help="of evaluation tasks (default: evaluation, the one that figures are reported for)",
    )
    parser.add_argument(
        "--against_field",
        default="question",
        metavar="FIELD",
        help="of files of questions (default: question)",
    )
    _add_rule(parser)
    parser.add_argument(
        "--shown", type=int, default=3, metavar="N", help="matches of a question to write (3)"
    )
    data_tasks.add_arguments(parser)


def _add_rule(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ngram", type=int, default=13, metavar="N", help="words in a row (13)")
    parser.add_argument(
        "--min_whole",
        type=int,
        default=5,
        metavar="N",
        help="questions with fewer words must be all of a line (5)",
    )
    parser.add_argument(
        "--max_questions",
        type=int,
        default=10,
        metavar="N",
        help="ignore words in a row that more different questions have (10)",
    )
    parser.add_argument(
        "--min_coverage",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="least share of a question that must be found, from 0 to 1 (0)",
    )


def run(flags: argparse.Namespace) -> None:
    """Searches, writes and prints."""
    from teacherlm_jax.data.question_index import MatchRule

    if flags.shown < 0:
        raise ValueError(f"--shown is {flags.shown}, but it must be 0 (none) or more.")
    rule = MatchRule(flags.ngram, flags.min_whole, flags.max_questions, flags.min_coverage)
    data_tasks.register(flags, *flags.training, *(flags.against or []))
    from teacherlm_jax.data import decontamination_report, run_claim
    from teacherlm_jax.data.question_index import QuestionIndex
    from teacherlm_jax.main import evaluation_questions

    against = flags.against or [evaluation_questions.ALL]
    sizes = data_texts.check(flags.training, flags.split)
    sizes |= data_texts.check([name for name in against if data_texts.is_file(name)], flags.split)
    settings = data_texts.settings(flags, against=against, file_sizes=sizes)
    report = run_claim.finished(flags.to, decontamination_report.REPORT, settings)
    if report is not None:
        print(f"{flags.to} holds the report of this search already:")
    else:
        claimed = run_claim.take(flags.to, settings)
        questions = evaluation_questions.Questions(
            against, flags.against_split, flags.against_field
        )
        index = QuestionIndex(questions, rule)
        if not index.entries:
            raise ValueError(f"{', '.join(against)} has no questions, so none can be found.")
        report = decontamination_report.write(
            data_texts.training_rows(flags.training, flags),
            index,
            flags.to,
            searched=flags.training,
            not_searched_for=questions.absent,
            shown=flags.shown,
            claimed=claimed,
        )
    _print(report, flags.to)


def _print(report: Any, folder: str) -> None:
    print(f"  {'evaluation task':40} {'questions':>9} {'touched':>8} {'exact':>7} {'whole':>7}"
          f" {'n-gram':>7}")  # fmt: skip
    clean = 0
    for task, splits in report["evaluation"].items():
        for split, counts in splits.items():
            if not counts["touched"]:
                clean += 1
                continue
            kinds = " ".join(f"{count:7,}" for count in counts["kinds"].values())
            name = f"{task} {split}"
            print(f"  {name:40} {counts['questions']:9,} {counts['touched']:8,} {kinds}")
    print(f"  {clean} more without a match")
    for task, why in itertools.islice(report["not_searched_for"].items(), 1):
        print(f"  {len(report['not_searched_for'])} NOT SEARCHED FOR, such as {task}: {why}")
    for source, counts in report["sources"].items():
        print(f"  {source}: {counts['rows_with_matches']:,} of {counts['rows']:,} rows match")
    print(f"\nmatches, rows to drop and the clean subset are in {folder}; read report.md there")
