"""What seqio's registries hold: names, splits, counts, where rows come from, what is here.

Nothing is downloaded and no row of a data set is read: counts come from manifests of mirrors, from
the tables that sources carry, and from sources that hold their rows in memory.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import difflib
import fnmatch
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import seqio
from etils import epath

from teacherlm_jax.data import mirror, prepared_tfds, split_slices
from teacherlm_jax.data.dataset_source import DatasetSource
from teacherlm_jax.data.record_source import TeacherDataSource

# A check of a folder on an object store waits for an answer; many wait together.
_CHECKS_AT_ONCE = 32
_BEGINNINGS_OF_AN_END = 8

HERE, ABSENT, UNKNOWN = "here", "absent", "unknown"


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a source has its rows from.

    Attributes:
      kind: "mirror", "tfds", "hub" (a mirror has to be made of its files), "records" (of
        TeacherData), "files", "memory" or "function".
      name: in the kind's words, such as "super_glue/cb:1.0.2".
      state: HERE, ABSENT or UNKNOWN.
    """

    kind: str
    name: str
    state: str


@dataclasses.dataclass(frozen=True)
class TaskEntry:
    """A task.

    Attributes:
      name: in the registry.
      splits: of the task.
      examples: split -> rows of its source, after a cap; None: not known before it is read. A row
        becomes one example in most tasks, and several or none in some.
      origin: of its rows.
    """

    name: str
    splits: tuple[str, ...]
    examples: Mapping[str, int | None]
    origin: Origin

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"kind": "task", **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class MixtureEntry:
    """A mixture.

    Attributes:
      name: in the registry.
      tasks: name -> share of the mixture, where rates were asked for; else None.
    """

    name: str
    tasks: Mapping[str, float | None]

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"kind": "mixture", **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class Inventory:
    """Tasks and mixtures, by name."""

    tasks: Mapping[str, TaskEntry]
    mixtures: Mapping[str, MixtureEntry]


def names() -> list[str]:
    """All names of seqio's two registries, sorted."""
    return sorted({*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()})


def matching(pattern: str | None) -> list[str]:
    """The registered names that a pattern means.

    Args:
      pattern: a name; or a shell pattern such as "p3_*"; or else a part of names. None: all.

    Raises:
      ValueError: none does; says which are near.
    """
    known = names()
    if pattern is None:
        return known
    if pattern in known:
        return [pattern]
    is_shell_pattern = any(letter in pattern for letter in "*?[")
    found = fnmatch.filter(known, pattern if is_shell_pattern else f"*{pattern}*")
    if not found:
        near = difflib.get_close_matches(pattern, known, n=3)
        patterns = sorted(set(groups(known).values()))
        hint = f"the nearest are {near}" if near else f"there are {', '.join(patterns)}"
        raise ValueError(f"no task or mixture is called {pattern!r}, or like it; {hint}.")
    return found


def groups(of: Iterable[str]) -> dict[str, str]:
    """Name -> pattern of the group that it is shown in.

    "muffin_*" for all that begins so; but "*_letters" where many names, of many beginnings, end so.
    """
    of = sorted(of)
    beginnings: dict[str, set[str]] = {}
    for name in of:
        beginnings.setdefault(name.rpartition("_")[2], set()).add(name.partition("_")[0])
    often = {end for end, found in beginnings.items() if len(found) >= _BEGINNINGS_OF_AN_END}
    found = {}
    for name in of:
        first, separator, _ = name.partition("_")
        end = name.rpartition("_")[2]
        by_beginning = f"{first}_*" if separator else name
        found[name] = f"*_{end}" if separator and end in often else by_beginning
    return found


def take(chosen: Iterable[str], with_rates: bool = False) -> Inventory:
    """Looks at registered tasks and mixtures, and at the tasks of these mixtures.

    Args:
      chosen: names.
      with_rates: ask for rates too; some are functions that count a task's rows.
    """
    chosen = list(chosen)
    mixtures = {name: seqio.MixtureRegistry.get(name) for name in chosen if _is_mixture(name)}
    tasks = {name: seqio.TaskRegistry.get(name) for name in chosen if name not in mixtures}
    for mixture in mixtures.values():
        tasks |= {task.name: task for task in mixture.tasks}
    find = _Finder()
    with concurrent.futures.ThreadPoolExecutor(_CHECKS_AT_ONCE) as pool:
        origins = dict(zip(tasks, pool.map(find.origin, (task.source for task in tasks.values()))))
    entries = {name: _task_entry(task, origins[name], find) for name, task in tasks.items()}
    return Inventory(
        {name: entries[name] for name in sorted(entries)},
        {name: _mixture_entry(mixture, with_rates) for name, mixture in mixtures.items()},
    )


def _is_mixture(name: str) -> bool:
    return name in seqio.MixtureRegistry.names()


def _mixture_entry(mixture: seqio.Mixture, with_rates: bool) -> MixtureEntry:
    tasks = {task.name: task for task in mixture.tasks}
    if not with_rates:
        return MixtureEntry(mixture.name, dict.fromkeys(sorted(tasks)))
    rates = {name: float(mixture.get_rate(tasks[name])) for name in sorted(tasks)}
    total = sum(rates.values())
    return MixtureEntry(mixture.name, {name: rate / total for name, rate in rates.items()})


def _task_entry(task: seqio.Task, origin: Origin, find: _Finder) -> TaskEntry:
    # TfdsDataSource would load its builder for the names of its splits.
    is_unprepared = isinstance(task.source, seqio.TfdsDataSource) and origin.state != HERE
    splits = tuple(task.splits) if not is_unprepared or task.source._splits else ()
    counts = {split: find.count(task.source, split, origin) for split in splits}
    return TaskEntry(task.name, splits, counts, origin)


# Where sources have their rows from


class _Finder:
    """Finds origins and counts; looks for each data set once."""

    def __init__(self) -> None:
        self._is_prepared = functools.cache(prepared_tfds.is_prepared)
        self._mirror = functools.cache(mirror.find)

    def origin(self, source: seqio.DataSource) -> Origin:
        """Where a source's rows are."""
        if isinstance(source, DatasetSource):
            return self._of_catalogue(source)
        if isinstance(source, seqio.TfdsDataSource):
            return self._of_tfds(str(source.tfds_dataset.name))
        if isinstance(source, seqio.FunctionDataSource):
            name = seqio.utils.function_name(source._dataset_fn)
            return Origin("function", name, UNKNOWN)
        if isinstance(source, seqio.FileDataSource):
            return _of_files(source)
        if isinstance(source, TeacherDataSource):
            return _of_records(source, self._is_prepared)
        return Origin("memory", type(source).__name__, HERE)

    def count(self, source: seqio.DataSource, split: str, origin: Origin) -> int | None:
        """Rows of a split after its cap, where they are known before they are read."""
        if origin.state == ABSENT and isinstance(source, DatasetSource):
            if source.keep is not None:
                return None
            rows = split_slices.count(source.slices[split], source.counts)
            most = source.max_examples.get(split)
            return rows if rows is None or most is None else min(rows, most)
        if origin.state != HERE:
            return None
        try:
            count = source.num_input_examples(split)
        except mirror.MirrorError:  # Of a split that the mirror lacks.
            return None
        return None if count is None else int(count)

    def _of_catalogue(self, source: DatasetSource) -> Origin:
        try:
            if self._mirror(source.name) is not None:
                return Origin("mirror", source.name, HERE)
        except mirror.MirrorError:
            return Origin("mirror", f"{source.name} (unfinished or damaged)", ABSENT)
        if source.tfds is not None:
            return self._of_tfds(source.tfds)
        return Origin("hub", source.hub or "(files of your own)", ABSENT)

    def _of_tfds(self, name: str) -> Origin:
        return Origin("tfds", name, HERE if self._is_prepared(name) else ABSENT)


def _of_records(source: TeacherDataSource, is_prepared: Callable[[str], bool]) -> Origin:
    try:
        found = source.find(source.splits[0])
    except FileNotFoundError:
        return Origin("records", "TeacherData" if source.path is None else str(source.path), ABSENT)
    if isinstance(found, str):
        return Origin("tfds", found, HERE if is_prepared(found) else ABSENT)
    return Origin("records", str(found[0].parent), HERE)


def _of_files(source: seqio.FileDataSource) -> Origin:
    patterns = [str(pattern) for pattern in source._split_to_filepattern.values()]
    try:
        # Where a name holds no pattern, seqio lists it whether or not it is there.
        shards = [source.list_shards(split)[:1] for split in source.splits]
        is_here = all(shard and epath.Path(shard[0]).exists() for shard in shards)
    except (OSError, ValueError):
        is_here = False
    return Origin("files", ", ".join(patterns), HERE if is_here else ABSENT)
