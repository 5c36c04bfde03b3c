"""`teacherlm data inspect`: samples as the model reads them, token by token."""

import argparse
import sys
from typing import Any

from teacherlm_jax.main import data_tasks

VOCABULARY, NONE = "vocabulary", "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives the parser its arguments."""
    parser.add_argument("name", metavar="TASK", help="a task or mixture")
    parser.add_argument("--split", default="train", help="(default: train)")
    parser.add_argument("--count", type=int, default=3, metavar="N", help="rows to show (3)")
    parser.add_argument("--seed", type=int, default=0, help="which rows: as training's (0)")
    parser.add_argument(
        "--pool",
        type=int,
        default=1000,
        metavar="N",
        help="rows are drawn from the first N examples of each task, which are checked too (1000)",
    )
    parser.add_argument("--html", metavar="FILE", help="write a page instead")
    parser.add_argument(
        "--color",
        action=argparse.BooleanOptionalAction,
        help="colours, whether or not this is a terminal",
    )
    add_row_arguments(parser)
    parser.add_argument("--pack", action="store_true", help="several examples a row")
    data_tasks.add_arguments(parser)


def add_row_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives a parser the flags of rows."""
    parser.add_argument("--length", type=int, metavar="N", help="positions of a row")
    add_bos(parser)
    parser.add_argument(
        "--loss_on", choices=("targets", "all"), default="targets", help="(default: targets)"
    )
    parser.add_argument(
        "--too_long",
        choices=("error", "drop", "trim"),
        default="error",
        help="what becomes of examples longer than a row (default: error)",
    )


def add_bos(parser: argparse.ArgumentParser) -> None:
    """Gives a parser --bos, which `bos_id_of` reads."""
    parser.add_argument(
        "--bos",
        default=VOCABULARY,
        metavar="ID",
        help=f"token before every text: an id, {NONE!r}, or {VOCABULARY!r} for the vocabulary's "
        f"own (default: {VOCABULARY})",
    )


def bos_id_of(flag: str, vocabulary: Any) -> int | None:
    """The id that --bos means.

    Raises:
      ValueError: it is none.
    """
    if flag == VOCABULARY:
        return None if vocabulary.bos_id is None else int(vocabulary.bos_id)
    if flag == NONE:
        return None
    if not flag.isdecimal() or int(flag) >= vocabulary.vocab_size:
        raise ValueError(
            f"--bos {flag}: it must be an id from 0 to {vocabulary.vocab_size - 1}, {NONE!r}, or "
            f"{VOCABULARY!r}."
        )
    return int(flag)


def run(flags: argparse.Namespace) -> None:
    """Prints samples, or writes a page of them."""
    data_tasks.register(flags, flags.name)
    for name, least in (("count", 1), ("pool", 1), ("seed", 0)):
        if getattr(flags, name) < least:
            raise ValueError(f"--{name} {getattr(flags, name)}: it must be at least {least}.")
    from etils import epath

    from teacherlm_jax.data import inspection_view

    page = _page(flags)
    if flags.html:
        epath.Path(flags.html).write_text(inspection_view.as_html(page))
        print(f"wrote {flags.html}: {len(page.rows)} rows")
        for finding in page.findings:
            print(f"warning: {finding}")
        return
    colour = sys.stdout.isatty() if flags.color is None else flags.color
    print(inspection_view.as_text(page, colour))


def _page(flags: argparse.Namespace) -> Any:
    import seqio

    from teacherlm_jax.data import inspection, inspection_view, pipeline
    from teacherlm_jax.data.row_format import RowFormat

    provider = pipeline.registered(flags.name)
    data_tasks.check_vocabulary(provider)
    tasks = provider.tasks if isinstance(provider, seqio.Mixture) else [provider]
    vocabulary = provider.output_features["targets"].vocabulary
    bos_id = bos_id_of(flags.bos, vocabulary)
    tables, rates = inspection.read_tables(provider, flags.split, flags.pool)
    length = flags.length or inspection.longest(tables)
    row_format = RowFormat(length, bos_id, flags.loss_on, flags.too_long, flags.pack)
    is_evaluation = all(
        task.metric_fns and not task.output_features["targets"].add_eos for task in tasks
    )
    looked_at = sum(map(len, tables))
    facts = [
        ("tasks", str(len(tasks))),
        ("split", f"{flags.split}; {looked_at:,} examples looked at (--pool {flags.pool})"),
        ("vocabulary", f"{_vocabulary_name(vocabulary)}, {vocabulary.vocab_size} tokens"),
        ("BOS", "none: the first token is context alone" if bos_id is None else str(bos_id)),
        ("EOS", str(vocabulary.eos_id)),
        (
            "rows",
            f"{length} positions, {'packed' if flags.pack else 'an example each'}, loss on "
            f"{flags.loss_on}",
        ),
    ]
    if len(tasks) == 1:
        facts.pop(0)
    if is_evaluation:
        facts.append(("use", "evaluation: it is scored, not trained on, and needs no EOS"))
    return inspection_view.Page(
        f"{flags.name}/{flags.split}",
        facts,
        inspection.findings(tables, row_format, vocabulary, is_evaluation),
        inspection.rows(tables, rates, row_format, vocabulary, flags.count, flags.seed),
    )


def _vocabulary_name(vocabulary: Any) -> str:
    from teacherlm_jax.data.default_vocabulary import DefaultVocabulary

    if isinstance(vocabulary, DefaultVocabulary):
        vocabulary = vocabulary.chosen
    return type(vocabulary).__name__
