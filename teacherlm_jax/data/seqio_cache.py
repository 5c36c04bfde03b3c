"""seqio's offline cache of a task, written by Apache Beam, and the same whenever it is written.

TO/TASK/SPLIT.tfrecord-00000-of-00016  tf.Examples of what stands before CacheDatasetPlaceholder
TO/TASK/info.SPLIT.json                features and number of shards, as seqio reads them
TO/TASK/stats.SPLIT.json               examples and tokens
TO/TASK/shards.SPLIT.json              examples, bytes and SHA-256 of each shard
TO/TASK/COMPLETED                      what was cached; written last, and only if all is there

The job is made of seqio's own parts (`seqio.beam_utils`). Only the writing of records is ours:
seqio's would shuffle them by random keys. Here a hash of the seed, the task, and an example's place
in its source decides its shard and its place there, which is a shuffle over the whole split too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import seqio
from etils import epath

from teacherlm_jax.data import task_settings
from teacherlm_jax.data.data_setup import DataSetup

FORMAT = 1
COMPLETED = "COMPLETED"
DIRECT = "DirectRunner"
LEAST_SHARDS = 16

Record = tuple[str, bytes]


class StaleSeqioCacheError(ValueError):
    """A cache holds other tokens than the task gives now."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of a job.

    Attributes:
      to: folder of all caches; workers must see it.
      shards: files of a split at least; None: `LEAST_SHARDS`, or as many as the source has. A shard
        is sorted in a worker's memory.
      seed: of preprocessors that draw, and of the order of examples.
      overwrite: write what is complete, but differs, anew.
      modules: workers import them for the tasks.
      setup: workers apply it.
      runner: Beam's; `DIRECT` for this machine.
      options: of Beam, such as "--project=my-project" for Dataflow.
    """

    to: str
    shards: int | None = None
    seed: int = 0
    overwrite: bool = False
    modules: Sequence[str] = ()
    setup: DataSetup = DataSetup()
    runner: str = DIRECT
    options: Sequence[str] = ()


def folder_of(task: seqio.Task, to: epath.PathLike) -> epath.Path:
    """Where seqio looks for a task's cache."""
    return epath.Path(to) / seqio.get_task_dir_from_name(task.name)


def is_complete(folder: epath.PathLike) -> bool:
    """Whether a folder holds a whole cache."""
    return (epath.Path(folder) / COMPLETED).exists()


def check_cacheable(task: seqio.Task) -> None:
    """Raises ValueError unless a task says where its cache is taken."""
    if not task.supports_caching:
        raise ValueError(
            f"{task.name} cannot be cached: it has no seqio.CacheDatasetPlaceholder() among its "
            "preprocessors, or its source does not permit it."
        )


def check(task: seqio.Task, folder: epath.PathLike) -> None:
    """Checks that a complete cache is of a task as it is now, as far as the task tells.

    seqio itself reads any cache of the task's name, whatever vocabulary it was made with.

    Raises:
      StaleSeqioCacheError: it is of another vocabulary or other features.
    """
    path = epath.Path(folder) / COMPLETED
    try:
        found = json.loads(path.read_text())["features"]
    except (ValueError, KeyError, TypeError):
        return  # seqio's own job wrote it, which says nothing of its vocabulary.
    differences = task_settings.differences(found, task_settings.of_features(task))
    if differences:
        raise StaleSeqioCacheError(
            f"the seqio cache {str(folder)!r} is not of {task.name} as it is now: "
            f"{'; '.join(differences)}. Write it anew (`teacherlm data cache --overwrite`), or "
            "name another folder."
        )


def write(tasks: Sequence[seqio.Task], settings: Settings) -> dict[str, str]:
    """Caches what is not cached yet.

    Args:
      tasks: that can be cached.
      settings: of the job.

    Returns:
      Task name -> "written", or "there already".

    Raises:
      ValueError: a task cannot be cached, gives no examples, or has a cache that differs or is
        damaged.
    """
    outcome, missing = {}, []
    for task in tasks:
        check_cacheable(task)
        folder = folder_of(task, settings.to)
        if is_complete(folder) and not _differs(task, folder, settings):
            outcome[task.name] = "there already"
            continue
        missing.append(task)
    for task in missing:
        clear(folder_of(task, settings.to))
        folder_of(task, settings.to).mkdir(parents=True, exist_ok=True)
    if missing:
        _run(missing, settings)
    for task in missing:
        complete(task, settings)
        outcome[task.name] = "written"
    return outcome


def _differs(task: seqio.Task, folder: epath.Path, settings: Settings) -> bool:
    """Whether a complete cache is to be replaced; an error where it should be, and must not."""
    try:
        found = json.loads((folder / COMPLETED).read_text())
    except ValueError:
        found = {}  # seqio's own job wrote it.
    asked = described(task, settings)
    damaged = [
        f"{shard['name']} is not as it was written"
        for split in (task.splits if found else ())
        for shard in json.loads(shards_path(folder, split).read_text())
        if not _has_size(folder / shard["name"], shard["bytes"])
    ]
    if settings.overwrite:
        return bool(damaged or found != asked)
    check(task, folder)
    for name in ("seed", *(("shards",) if settings.shards is not None else ())):
        if found and found.get(name) != asked[name]:
            damaged.append(f"{name}: the cache has {found.get(name)}, not {asked[name]}")
    if damaged:
        raise StaleSeqioCacheError(
            f"the seqio cache {str(folder)!r} is there, but {'; '.join(damaged[:3])}. Write it anew"
            " (`teacherlm data cache --overwrite`), or name another folder."
        )
    return False


def _has_size(path: epath.Path, size: int) -> bool:
    try:
        return bool(path.stat().length == size)
    except FileNotFoundError:
        return False


def described(task: seqio.Task, settings: Settings) -> dict[str, Any]:
    """What `COMPLETED` says: JSON values."""
    return {
        "format": FORMAT,
        "task": task.name,
        "seed": settings.seed,
        "shards": {split: shard_count(task, split, settings) for split in task.splits},
        "features": task_settings.of_features(task),
    }


def shard_count(task: seqio.Task, split: str, settings: Settings) -> int:
    """Files of a split."""
    if settings.shards is not None:
        return settings.shards
    return max(len(task.source.list_shards(split)), LEAST_SHARDS)


def clear(folder: epath.PathLike) -> None:
    """Removes a cache, or what a killed job left of one; first of all, what says it is whole."""
    folder = epath.Path(folder)
    (folder / COMPLETED).unlink(missing_ok=True)
    if folder.exists():
        folder.rmtree()


def complete(task: seqio.Task, settings: Settings) -> None:
    """Marks a cache as complete, once all of it is there.

    Raises:
      ValueError: something is missing.
    """
    folder = folder_of(task, settings.to)
    for split in task.splits:
        try:
            stats = json.loads(epath.Path(seqio.get_cached_stats_path(folder, split)).read_text())
            shards = json.loads(shards_path(folder, split).read_text())
        except FileNotFoundError as error:
            raise ValueError(
                f"the job left no {error.filename}: it failed; see its log."
            ) from error
        if not stats.get("examples"):
            raise ValueError(
                f"{task.name}/{split} gives no examples, so there is nothing to cache: look at it "
                "with `teacherlm data inspect`."
            )
        there = {shard["name"]: (folder / shard["name"]).stat().length for shard in shards}
        wrong = [shard["name"] for shard in shards if there[shard["name"]] != shard["bytes"]]
        total = sum(shard["examples"] for shard in shards)
        if wrong or len(shards) != shard_count(task, split, settings) or total != stats["examples"]:
            raise ValueError(
                f"{folder}: shards of {split} hold {total} of {stats['examples']} examples, and "
                f"{wrong} are not as they were written: run the job again."
            )
    text = json.dumps(described(task, settings), indent=2, sort_keys=True)
    (folder / COMPLETED).write_text(f"{text}\n")


def shards_path(folder: epath.PathLike, split: str) -> epath.Path:
    """Where the list of a split's shards lies."""
    return epath.Path(folder) / f"shards.{split}.json"


# The job


def _run(tasks: Sequence[seqio.Task], settings: Settings) -> None:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    options = PipelineOptions([f"--runner={settings.runner}", *settings.options])
    with _interrupts(), beam.Pipeline(_local_runner(settings.runner), options) as pipeline:
        for task in tasks:
            for split in task.splits:
                _add_split(pipeline, task, split, settings)


@contextlib.contextmanager
def _interrupts() -> Iterator[None]:
    """Raises Ctrl-C as such, which Beam reports as a failure of what it was doing."""
    try:
        yield
    except RuntimeError as error:
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from error
        raise


def _local_runner(name: str) -> Any:
    """Beam's runner in Python for work on this machine; None for all other names.

    Its DirectRunner would first fetch a runner in Go from the network.
    """
    if name != DIRECT:
        return None
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    return FnApiRunner()


def _add_split(pipeline: Any, task: seqio.Task, split: str, settings: Settings) -> None:
    import apache_beam as beam
    from seqio import beam_utils

    label, folder = f"{task.name}/{split}", str(folder_of(task, settings.to))
    count = shard_count(task, split, settings)
    examples = pipeline | f"{label}: examples" >> beam_utils.PreprocessTask(
        task,
        split,
        preprocessors_seed=settings.seed,
        setup_fn=functools.partial(_set_up, settings.setup),
        modules_to_import=list(settings.modules),
        add_provenance=True,
    )
    prefix = seqio.get_cached_tfrecord_prefix(folder, split)
    keyed = functools.partial(_keyed_record, seed=settings.seed, shards=count)
    records = examples | f"{label}: records" >> beam.Map(keyed)
    # A shard without records is a file all the same: seqio counts them.
    empty = pipeline | f"{label}: shards" >> beam.Create([(n, None) for n in range(count)])
    _ = (
        (records, empty)
        | f"{label}: all" >> beam.Flatten()
        | f"{label}: by shard" >> beam.GroupByKey()
        | f"{label}: write" >> beam.MapTuple(functools.partial(write_shard, prefix, count))
        | f"{label}: shards written" >> beam.combiners.ToList()
        | f"{label}: in order" >> beam.Map(_by_name)
        | f"{label}: write their list" >> beam_utils.WriteJson(str(shards_path(folder, split)))
    )
    _ = (
        examples
        | f"{label}: info" >> beam_utils.GetInfo(count)
        | f"{label}: write info" >> beam_utils.WriteJson(seqio.get_cached_info_path(folder, split))
    )
    _ = (
        examples
        | f"{label}: stats" >> beam_utils.GetStats(task.output_features)
        | f"{label}: write stats"
        >> beam_utils.WriteJson(seqio.get_cached_stats_path(folder, split))
    )


def _set_up(setup: DataSetup) -> None:
    setup.apply()


def _by_name(shards: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(shards, key=lambda shard: str(shard["name"]))


def _keyed_record(example: Mapping[str, Any], seed: int, shards: int) -> tuple[int, Record]:
    """(shard, (place, record)) of an example that tells where it comes from."""
    from seqio import beam_utils

    keys = (
        beam_utils.TASK_PROVENANCE_KEY,
        beam_utils.SOURCE_SHARD_ID_PROVENANCE_KEY,
        beam_utils.ID_WITHIN_SHARD_PROVENANCE_KEY,
    )
    place = place_of(seed, *(example[key] for key in keys))
    kept = {name: example[name] for name in example if name not in beam_utils.PROVENANCE_KEYS}
    record = seqio.dict_to_tfexample(kept).SerializeToString(deterministic=True)
    return int(place, 16) % shards, (place, record)


def place_of(seed: int, task: str, source_shard: int, index: int) -> str:
    """Where an example stands among all: hexadecimal digits that are as good as random."""
    text = f"{seed} {source_shard} {index} {task}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def write_shard(
    prefix: str, count: int, shard: int, records: Iterable[Record | None]
) -> dict[str, Any]:
    """Writes one shard whole, its records in order; the same file whoever writes it again.

    Returns:
      Its name, examples, bytes and SHA-256.
    """
    import tensorflow as tf

    path = f"{prefix}-{shard:05d}-of-{count:05d}"
    ordered = sorted(record for record in records if record is not None)
    with tf.io.TFRecordWriter(path) as writer:
        for _, record in ordered:
            writer.write(record)
    written = epath.Path(path).read_bytes()
    return {
        "name": os.path.basename(path),
        "examples": len(ordered),
        "bytes": len(written),
        "sha256": hashlib.sha256(written).hexdigest(),
    }
