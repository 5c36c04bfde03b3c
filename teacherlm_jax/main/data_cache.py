"""`teacherlm data cache`: seqio's offline cache, by Apache Beam."""

import argparse
import importlib.util
import json
from typing import Any

from teacherlm_jax.main import data_tasks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives the parser its arguments."""
    parser.add_argument("name", metavar="TASK", help="a task, or a mixture for all of its tasks")
    parser.add_argument(
        "--to", required=True, metavar="FOLDER", help="folder of caches; workers must see it"
    )
    parser.add_argument(
        "--runner",
        default="DirectRunner",
        help="Beam's: DirectRunner works on this machine, DataflowRunner on Google's "
        "(default: DirectRunner)",
    )
    parser.add_argument(
        "--pipeline_options",
        action="append",
        metavar="=OPTION",
        help="an option of Beam's, such as --pipeline_options=--project=my-project; may be given "
        "several times",
    )
    parser.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help="files of a split, each of which one worker sorts in memory (default: 16, or as many "
        "as its source has)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the order, and of draws in preprocessors (0)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="write caches that differ anew, not an error"
    )
    data_tasks.add_arguments(parser)


def run(flags: argparse.Namespace) -> None:
    """Caches, and says how to read what was cached."""
    if flags.shards is not None and flags.shards < 1:
        raise ValueError(f"--shards {flags.shards}: it must be at least 1.")
    if importlib.util.find_spec("apache_beam") is None:
        raise ValueError(
            "data cache needs Apache Beam, which is not installed: "
            "pip install 'teacherlm_jax[cache]'."
        )
    modules = data_tasks.register(flags, flags.name)
    import seqio

    from teacherlm_jax.data import pipeline, seqio_cache

    provider = pipeline.registered(flags.name)
    data_tasks.check_vocabulary(provider)
    tasks = _cacheable(provider) if isinstance(provider, seqio.Mixture) else [provider]
    settings = seqio_cache.Settings(
        flags.to,
        shards=flags.shards,
        seed=flags.seed,
        overwrite=flags.overwrite,
        modules=modules,
        setup=data_tasks.setup_of(flags),
        runner=flags.runner,
        options=flags.pipeline_options or (),
    )
    for name, outcome in seqio_cache.write(tasks, settings).items():
        print(f"{name}: {outcome}")
        _print_splits(seqio.TaskRegistry.get(name), flags.to)
    print(
        f"\nTo read it: seqio.add_global_cache_dirs([{flags.to!r}]), or DataSetup.seqio_cache_dirs "
        "in gin; then training reads it, and seqio with use_cached=True."
    )


def _cacheable(mixture: Any) -> list[Any]:
    tasks = []
    for task in mixture.tasks:
        if task.supports_caching:
            tasks.append(task)
        else:
            print(f"{task.name}: left out, since it cannot be cached")
    if not tasks:
        raise ValueError(f"{mixture.name} has no task that can be cached.")
    return tasks


def _print_splits(task: Any, to: str) -> None:
    import seqio
    from etils import epath

    from teacherlm_jax.data import seqio_cache

    folder = seqio_cache.folder_of(task, to)
    for split in task.splits:
        stats = json.loads(epath.Path(seqio.get_cached_stats_path(folder, split)).read_text())
        tokens = sum(stats.get(f"{name}_tokens", 0) for name in task.output_features)
        print(f"  {split:12} {stats['examples']:,} examples, {tokens:,} tokens without EOS")
