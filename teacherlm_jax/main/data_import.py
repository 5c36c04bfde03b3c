"""`teacherlm data import`: human annotations become TeacherData."""

import argparse
from collections.abc import Sequence
from typing import Any

_LAYOUTS = ("teacherdata", "creak", "ecqa", "strategyqa")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives the parser its flags."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="JSONL, Parquet, CSV or JSON, also .gz; patterns, folders",
    )
    parser.add_argument("--to", dest="target", required=True, metavar="FOLDER", help="to make")
    parser.add_argument(
        "--layout", choices=_LAYOUTS, default="teacherdata", help="names of the columns"
    )
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="FIELD=COLUMN,...",
        help="where a field stands, as question=q_text or choices=q_op1,q_op2; of several columns "
        "the texts are joined, but for choices. Fields: question, choices, answer, fundamentals, "
        "chain_of_thought, common_mistakes, annotator, task, split, source_id",
    )
    parser.add_argument("--annotator", metavar="NAME", help="of rows that name none")
    parser.add_argument("--task", default="", metavar="NAME", help="of rows that name none")
    parser.add_argument("--split", default="", metavar="NAME", help="of rows that name none")
    parser.add_argument(
        "--rows_per_shard", type=int, default=10_000, metavar="N", help="default 10000"
    )


def run(flags: argparse.Namespace) -> Any:
    """Imports, and says what came out."""
    from teacherlm_jax.data import annotations_import

    settings = annotations_import.ImportSettings(
        flags.layout,
        _columns(flags.column),
        flags.annotator,
        flags.task,
        flags.split,
        flags.rows_per_shard,
    )
    made = annotations_import.import_annotations(flags.files, flags.target, settings)
    explained = ", ".join(f"{name} {count:,}" for name, count in made["explanations"].items())
    print(
        f"\n  {made['records']:,} records from {made['rows']:,} rows, in {made['folder']}\n"
        f"  explanations: {explained}"
    )
    if made["records"] and not any(made["explanations"].values()):
        print("  note: no explanation was found; --layout or --column says where they stand")
    if made["alternatives"]:
        print(f"  explanations of further annotators: {made['alternatives']:,}, in alternatives/")
    for reason, count in made["reject_reasons"].items():
        print(f"  left out, {reason}: {count:,} (see human.rejects.jsonl)")
    _print_agreement(made["agreement"])


def _columns(flags: Sequence[str]) -> dict[str, list[str]]:
    columns = {}
    for flag in flags:
        field, equals, names = flag.partition("=")
        if not equals or not all(names.split(",")):
            raise ValueError(f"--column={flag}: write FIELD=COLUMN, or FIELD=COLUMN,COLUMN.")
        columns[field] = names.split(",")
    return columns


def _print_agreement(measured: dict[str, Any]) -> None:
    shared = measured["questions_with_several_annotators"]
    if not shared:
        return
    print(f"\n  {shared:,} questions have several annotators. Their agreement:")
    answers = measured["answers"]
    if answers["pairs"]:
        kappa = answers["kappa"]
        text = "cannot be told from chance" if kappa is None else f"Cohen's kappa {kappa:.3f}"
        print(f"  answers: {100 * answers['raw']:.1f} %, {text}")
    explanations = measured["explanations"]
    for field, found in explanations.items():
        if field != "measure" and found["pairs"]:
            print(f"  {field}: {found['mean']:.3f} ({explanations['measure']})")
