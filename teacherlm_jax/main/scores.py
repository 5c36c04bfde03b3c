"""`teacherlm scores diff A B`: where two evaluations disagree, and why."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from teacherlm_jax.main.command_line import run_plain_command

if TYPE_CHECKING:
    from etils import epath


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives the parser the subcommand and its arguments."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    summary = "compare two evaluations of the same questions, and say why they disagree"
    diff = commands.add_parser("diff", help=summary, description=summary)
    sources = "receipts, or lm-eval's samples_*.jsonl (--log_samples): a file, or a folder of them"
    diff.add_argument("a", metavar="A", help=sources)
    diff.add_argument("b", metavar="B", help="the same")
    diff.add_argument(
        "--by",
        choices=("sum", "tokens", "bytes", "characters", "unconditional"),
        help="what both rank by; otherwise each by its own",
    )
    diff.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        metavar="NATS",
        help="largest difference of log-likelihoods that is none (1e-4)",
    )
    diff.add_argument(
        "--vocabulary",
        metavar="FOLDER",
        help="the tokenizer of lm-eval's run: its texts are tokenized as it does, and tokens "
        "compared",
    )
    diff.add_argument("--examples", type=int, default=6, metavar="N", help="shown at most (6)")
    diff.add_argument("--json", metavar="FILE", help="write all of it there as well")


def run(flags: argparse.Namespace) -> None:
    """Reads, compares and prints."""
    from etils import epath

    from teacherlm_jax.data import ledger
    from teacherlm_jax.scoring import compared, lm_eval_logs, score_diff, score_diff_view

    tokenizer = None
    if flags.vocabulary:
        from teacherlm_jax.metrics.start_up import without_chatter

        with without_chatter():
            from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary

        encode_many = HuggingFaceVocabulary(flags.vocabulary).encode_many
        tokenizer = lm_eval_logs.Tokenizer(encode_many, lm_eval_logs.adds_bos(flags.vocabulary))
    a, b = (compared.read(path, tokenizer) for path in (flags.a, flags.b))
    if flags.json:
        _check_output(epath.Path(flags.json), {one.where.rpartition(":")[0] for one in (*a, *b)})
    result = score_diff.compare(a, b, flags.by, flags.tolerance)
    for line in score_diff_view.lines(result, flags.a, flags.b, flags.examples):
        print(line)
    if flags.json:
        path = epath.Path(flags.json)
        ledger.remove(path)
        text = json.dumps(score_diff.as_json(result), indent=2, ensure_ascii=False)
        ledger.write_whole(path, text + "\n")
        print(f"\nall {len(result.pairs):,} questions: {flags.json}")


def _check_output(path: epath.Path, read: Collection[str]) -> None:
    """Whether the file may be written, before anything is printed.

    Raises:
      ValueError: it is a folder, or one of the files that were read.
    """
    if path.is_dir():
        raise ValueError(f"--json {path} is a folder: name a file.")
    if path.exists() and any(path.resolve() == type(path)(one).resolve() for one in read):
        raise ValueError(f"--json {path} is compared, and would be lost: name another file.")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run_plain_command(
        "scores",
        "Compares evaluations question by question.",
        add_arguments,
        run,
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
