"""`teacherlm data mirror`: a data set's rows into a folder that tasks read, with hashes."""

import argparse
from typing import Any

from teacherlm_jax.main import data_tasks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives the parser its arguments."""
    parser.add_argument(
        "name",
        metavar="NAME",
        help="a data set of the catalogue, or a task, whose data set is meant; with --from, any "
        "name that a source of yours has",
    )
    parser.add_argument(
        "--to", metavar="DIR", help="an empty folder (default: NAME in the folder of mirrors)"
    )
    parser.add_argument(
        "--from",
        dest="path",
        metavar="PATH",
        help="files that you have: what `datasets` saved, a downloaded repository, or a folder or "
        "file of JSON lines, JSON, Parquet, Arrow, CSV or TSV; without it, what TFDS has prepared",
    )
    parser.add_argument(
        "--split",
        action="append",
        default=[],
        metavar="SPLIT[=FILES]",
        help="train=FILE, a pattern or a folder, may be given several times; or SPLIT alone, to "
        "take just those (default: all that there are)",
    )
    parser.add_argument("--format", default="jsonl", help="jsonl (default) or array_record")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N rows of each split")
    for flag, summary in (
        ("--columns", "the fields of CSV or TSV files without a first line that names them"),
        ("--integers", "fields of CSV or TSV files that are whole numbers; others are texts"),
        ("--drop", "fields to leave out, such as images"),
    ):
        parser.add_argument(flag, type=_names, default=(), metavar="A,B", help=summary)
    parser.add_argument(
        "--named",
        default="",
        metavar="FIELD=PATTERN",
        help="a field of CSV or TSV files that their names hold, where the one group of a regular "
        "expression finds it: 'subject=(.+)_test'",
    )
    parser.add_argument(
        "--prepare",
        action="store_true",
        help="let TFDS download and prepare the data set first, where it has not",
    )
    data_tasks.add_arguments(parser)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def run(flags: argparse.Namespace) -> None:
    """Writes the mirror."""
    named = {split: files for split, equals, files in _splits(flags) if equals}
    _check(flags, bool(named))
    source = _source(flags)
    from etils import epath

    from teacherlm_jax.data import mirror, mirror_writing

    settings = mirror_writing.Settings(flags.format, flags.limit, flags.malformed_rows == "skip")
    name = flags.name if source is None else source.name
    folder = epath.Path(flags.to) if flags.to else mirror.folder_of(name)
    if flags.path or named:
        origin = _origin_of_files(flags, source)
    else:
        origin = _origin_of_tfds(flags, source)
    made = mirror_writing.write(folder, origin, settings, lambda text: print(f"  {text}"))
    _print_summary(made, name, source, flags)


def _splits(flags: argparse.Namespace) -> list[tuple[str, str, str]]:
    return [entry.partition("=") for entry in flags.split]


def _check(flags: argparse.Namespace, names_files: bool) -> None:
    kinds = {bool(equals) for _, equals, _ in _splits(flags)}
    if len(kinds) > 1:
        raise ValueError("--split: give files to all splits (train=FILE), or to none (train).")
    if flags.path and names_files:
        raise ValueError("--from PATH finds the files; with --split SPLIT=FILES leave it out.")
    if flags.prepare and (flags.path or names_files):
        raise ValueError("--prepare is for TFDS: leave it out where the rows are in files.")
    for flag in ("columns", "integers", "drop", "named"):
        if getattr(flags, flag) and not (flags.path or names_files):
            raise ValueError(f"--{flag} is for files: give them with --from or --split.")


def _source(flags: argparse.Namespace) -> Any:
    """The source that the name means; None: it is nobody's, and files were given.

    Raises:
      ValueError: nobody's, and no files were given; or of another kind.
    """
    from teacherlm_jax.metrics.start_up import without_chatter

    with without_chatter():
        from teacherlm_jax.tasks import text_tasks
        from teacherlm_jax.tasks.catalogue.dataset import DATASETS
    from teacherlm_jax.data import data_setup, inventory
    from teacherlm_jax.data.dataset_source import DatasetSource

    if flags.name in DATASETS and not flags.module:
        data_setup.DataSetup(data_dir=flags.data_dir).apply()
        return text_tasks.source(DATASETS[flags.name])
    data_tasks.register(flags, flags.name)
    import seqio

    known = inventory.names()
    if flags.name in known:
        if flags.name in seqio.MixtureRegistry.names():
            raise ValueError(f"{flags.name!r} is a mixture: mirror its tasks one by one.")
        source = seqio.TaskRegistry.get(flags.name).source
        if isinstance(source, DatasetSource):
            return source
        raise ValueError(
            f"{flags.name!r} reads no mirror: its rows are in {type(source).__name__}."
        )
    if flags.path or flags.split:
        return None
    raise ValueError(_unknown(flags.name, [*DATASETS, *known]))


def _unknown(name: str, known: list[str]) -> str:
    from teacherlm_jax.main.gin_search import did_you_mean

    return (
        f"no data set or task is called {name!r}.{did_you_mean(name, known)} Give --from PATH to"
        " mirror files under a name of your own."
    )


def _origin_of_tfds(flags: argparse.Namespace, source: Any) -> Any:
    from teacherlm_jax.data import mirror_writing, prepared_tfds, split_slices, tfds_preparation
    from teacherlm_jax.metrics.start_up import without_chatter

    if source.tfds is None:
        raise ValueError(source.how_to_get("TFDS does not have it"))
    try:
        with without_chatter():
            if flags.prepare:
                tfds_preparation.prepare(source.tfds)
            there = prepared_tfds.counts(source.tfds)
            needed = [
                name for spec in source.slices.values() for name in split_slices.splits_of(spec)
            ]
            wanted = [split for split, _, _ in _splits(flags)] or list(
                there or dict.fromkeys(needed)
            )
            return mirror_writing.of_tfds(source.tfds, wanted)
    except prepared_tfds.NotPreparedError as error:
        raise ValueError(source.how_to_get(str(error))) from None


def _origin_of_files(flags: argparse.Namespace, source: Any) -> Any:
    from teacherlm_jax.data import mirror_writing, raw_files, raw_folders

    chosen = [(split, files) for split, _, files in _splits(flags)]
    if flags.path is None:
        patterns: dict[str, list[str]] = {}
        for split, files in chosen:
            patterns.setdefault(split, []).append(files)
        found = raw_folders.named(patterns)
    else:
        hub = ((source and source.hub) or "").split("/")
        found = raw_folders.find(flags.path, "/".join(hub[2:]))
        missing = [split for split, _ in chosen if split not in found]
        if missing:
            raise ValueError(f"--split {missing[0]}: the files hold {', '.join(found)}.")
        found = {split: found[split] for split in found if not chosen or (split, "") in chosen}
    for split, taken in found.items():
        more = f" to {taken[-1].name} ({len(taken)} files)" if len(taken) > 1 else ""
        print(f"  {split}: from {taken[0]}{more}")
    reading = raw_files.Reading(flags.columns, flags.integers, flags.drop, flags.named)
    return mirror_writing.of_files(found, reading)


def _print_summary(made: Any, name: str, source: Any, flags: argparse.Namespace) -> None:
    from teacherlm_jax.data import data_setup, mirror

    size = sum(shard.bytes for shards in made.splits.values() for shard in shards)
    counts = ", ".join(f"{split} {rows:,}" for split, rows in made.counts.items())
    print(f"  {made.folder}: rows of {counts}; {size / 1e6:,.1f} MB")
    if source is not None:
        for note in _notes(made, source, flags.limit is not None):
            print(f"  note: {note}")
    if str(mirror.folder_of(name)) != str(made.folder):
        print(
            f"  note: tasks look for {name!r} in {mirror.folder_of(name)};"
            f" {data_setup.DATA_DIR_VARIABLE} or --data_dir names the folder above it."
        )


def _notes(made: Any, source: Any, limited: bool) -> list[str]:
    """What about a mirror may not be as its data set's definition has it."""
    from teacherlm_jax.data import split_slices
    from teacherlm_jax.data.row_rendering import parsed, reason_of
    from teacherlm_jax.tasks.catalogue.dataset import DATASETS, samples

    needed = {name for spec in source.slices.values() for name in split_slices.splits_of(spec)}
    notes = [
        f"tasks read split {split!r} too, which is not here." for split in needed - {*made.counts}
    ]
    notes += [
        f"split {split!r} has {rows:,} rows; public tables say {source.counts[split]:,}."
        for split, rows in made.counts.items()
        if not limited and source.counts.get(split, rows) != rows
    ]
    for split in sorted(needed & {*made.counts}) if source.name in DATASETS else []:
        text, _, where = next(made.rows(split))
        try:
            samples(DATASETS[source.name], parsed(text))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            notes.append(
                f"tasks cannot read the first row of {split!r}, {where}: {reason_of(error)}"
            )
    return notes
