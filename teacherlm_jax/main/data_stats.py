"""`teacherlm data stats`: token lengths, truncation, packing, and what TRAIN_STEPS means."""

import argparse
import json
from typing import Any

from teacherlm_jax.main import data_tasks
from teacherlm_jax.main.data_inspect import add_bos, bos_id_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives the parser its arguments."""
    parser.add_argument("name", metavar="MIXTURE", help="a task or mixture")
    parser.add_argument("--split", default="train", help="(default: train)")
    parser.add_argument(
        "--length",
        type=int,
        action="append",
        metavar="N",
        help="positions of a row; may be given several times, the first counts for epochs "
        "(default: one that holds every example)",
    )
    parser.add_argument("--train_steps", type=int, metavar="N", help="as TRAIN_STEPS")
    parser.add_argument("--batch_size", type=int, metavar="N", help="as BATCH_SIZE: rows of a step")
    parser.add_argument(
        "--pack",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether training packs its rows (default: it does)",
    )
    add_bos(parser)
    parser.add_argument(
        "--limit",
        type=int,
        default=20_000,
        metavar="N",
        help="tokenize the first N examples of each task at most (20000)",
    )
    parser.add_argument(
        "--token_cache_dir",
        metavar="FOLDER",
        help="measure tasks that have a token cache there by it, whole; nothing is written",
    )
    parser.add_argument("--out", metavar="FOLDER", help="write stats.json and lengths.png there")
    parser.add_argument("--all", action="store_true", help="show every task")
    data_tasks.add_arguments(parser)


def run(flags: argparse.Namespace) -> None:
    """Prints the statistics, and writes them where asked to."""
    _check(flags)
    data_tasks.register(flags, flags.name)
    from teacherlm_jax.data import length_statistics, pipeline, statistics_view

    provider = pipeline.registered(flags.name)
    data_tasks.check_vocabulary(provider)
    vocabulary = provider.output_features["targets"].vocabulary
    measured, rates = length_statistics.measure(
        provider, flags.split, flags.limit, flags.token_cache_dir
    )
    found = length_statistics.statistics(
        flags.name,
        flags.split,
        measured,
        rates,
        flags.length or [],
        bos_id=bos_id_of(flags.bos, vocabulary),
        pack=flags.pack,
        train_steps=flags.train_steps,
        batch_size=flags.batch_size,
    )
    print(statistics_view.as_text(found, flags.all))
    if flags.out:
        _write(flags.out, found, statistics_view.chart(found, measured))


def _check(flags: argparse.Namespace) -> None:
    numbers = [(name, getattr(flags, name)) for name in ("limit", "train_steps", "batch_size")]
    for name, number in [*numbers, *(("length", length) for length in flags.length or [])]:
        if number is not None and number < 1:
            raise ValueError(f"--{name} {number}: it must be at least 1.")
    if (flags.train_steps is None) != (flags.batch_size is None):
        raise ValueError("--train_steps and --batch_size tell of epochs together: give both.")


def _write(folder: str, found: Any, png: bytes) -> None:
    from etils import epath

    path = epath.Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    (path / "stats.json").write_text(json.dumps(found.as_json(), indent=2) + "\n")
    (path / "lengths.png").write_bytes(png)
    print(f"\n  wrote {path / 'stats.json'} and {path / 'lengths.png'}")
