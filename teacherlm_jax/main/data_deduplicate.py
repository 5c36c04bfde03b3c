"""`teacherlm data deduplicate`: rows without their near-duplicates, which name a row."""

import argparse

from teacherlm_jax.main import data_tasks, data_texts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives the parser its arguments."""
    parser.add_argument(
        "names",
        nargs="+",
        metavar="DATA",
        help="files (JSON lines, Parquet, CSV, TSV; .gz), folders, patterns; or mixtures and tasks",
    )
    parser.add_argument("--to", required=True, metavar="FOLDER", help="where the rows go")
    data_texts.add_arguments(parser)
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.8,
        metavar="SIMILARITY",
        help="least Jaccard similarity of duplicates (0.8)",
    )
    parser.add_argument(
        "--shingle", type=int, default=5, metavar="N", help="words in a row that are compared (5)"
    )
    parser.add_argument(
        "--permutations", type=int, default=128, metavar="N", help="of MinHash (128)"
    )
    data_tasks.add_arguments(parser)


def run(flags: argparse.Namespace) -> None:
    """Compares, writes and prints."""
    data_tasks.register(flags, *flags.names)
    from teacherlm_jax.data import deduplication_report, run_claim
    from teacherlm_jax.data.deduplication import DuplicateRule

    rule = DuplicateRule(flags.threshold, flags.shingle, flags.permutations)
    sizes = data_texts.check(flags.names, flags.split)
    settings = data_texts.settings(flags, file_sizes=sizes)
    report = run_claim.finished(flags.to, deduplication_report.REPORT, settings)
    if report is not None:
        print(f"{flags.to} is done already:")
    else:
        claimed = run_claim.take(flags.to, settings)
        report = deduplication_report.write(
            lambda: data_texts.training_rows(flags.names, flags), flags.to, rule, claimed
        )
    print(
        f"  {report['rows']:,} rows: {report['kept']:,} kept, {report['duplicates']:,} duplicates,"
        f" of them {report['exact']:,} with the same words\n\n"
        f"{flags.to}/{deduplication_report.KEPT} holds rows to train on;"
        f" {deduplication_report.DUPLICATES} says of each other one which row it is like"
    )
