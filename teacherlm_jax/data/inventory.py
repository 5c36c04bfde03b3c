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
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import seqio
from etils import epath

from teacherlm_jax.data import data_setup
from teacherlm_jax.data.dataset_source import DatasetSource

# A check of a folder on an object store waits for an answer; many wait together.
_CHECKS_AT_ONCE = 32
_SLICE = re.compile(r"(?P<split>[^\[\]]+)(?:\[(?P<first>-?\d+%?)?:(?P<last>-?\d+%?)?\])?")

HERE, ABSENT, UNKNOWN = "here", "absent", "unknown"


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a source has its rows from.

    Attributes:
      kind: "mirror", "tfds", "hub" (a mirror has to be made of its files), "memory", "files" or
        "function".
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
        groups = sorted({group_of(name) for name in known})
        hint = f"the nearest are {near}" if near else f"names begin with {', '.join(groups)}"
        raise ValueError(f"no task or mixture is called {pattern!r}, or like it; {hint}.")
    return found


def group_of(name: str) -> str:
    """The pattern of a name's group: "muffin_*" for "muffin_rte"."""
    first, separator, _ = name.partition("_")
    return f"{first}_*" if separator else name


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
    entries = {name: _task_entry(task, origins[name]) for name, task in tasks.items()}
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


def _task_entry(task: seqio.Task, origin: Origin) -> TaskEntry:
    # TfdsDataSource would load its builder for the names of its splits.
    splits = tuple(task.splits) if not _is_unprepared_tfds(task.source, origin) else ()
    counts = {split: _count(task.source, split, origin) for split in splits}
    return TaskEntry(task.name, splits, counts, origin)


def _is_unprepared_tfds(source: seqio.DataSource, origin: Origin) -> bool:
    return isinstance(source, seqio.TfdsDataSource) and origin.state != HERE


def _count(source: seqio.DataSource, split: str, origin: Origin) -> int | None:
    if isinstance(source, DatasetSource):
        return expected_rows(source, split)
    if isinstance(source, seqio.FunctionDataSource) or _is_unprepared_tfds(source, origin):
        return None
    count = source.num_input_examples(split)
    return None if count is None else int(count)


# Sources of the catalogue


def expected_rows(source: DatasetSource, split: str) -> int | None:
    """Rows of a split after its cap: by the mirror's manifest, else by the source's own table."""
    counts = {**source.counts, **(_manifest_counts(source.name) or {})}
    rows = rows_of_slice(source.slices[split], counts)
    cap = source.max_examples.get(split)
    return rows if rows is None or cap is None else min(rows, cap)


def rows_of_slice(spec: str, counts: Mapping[str, int]) -> int | None:
    """How many rows TFDS's words for a split or a slice of one mean; None: they are not known.

    Args:
      spec: such as "train", "train[:-200]", "train[10%:]" or sums of those.
      counts: rows of whole splits.
    """
    total = 0
    for part in spec.split("+"):
        match = _SLICE.fullmatch(part.strip())
        if match is None or match["split"] not in counts:
            return None
        size = counts[match["split"]]
        first, last = (_boundary(match[name], size) for name in ("first", "last"))
        total += max((size if last is None else last) - (first or 0), 0)
    return total


def _boundary(text: str | None, size: int) -> int | None:
    if text is None:
        return None
    # TFDS rounds percents to the closest row.
    number = round(int(text[:-1]) * size / 100) if text.endswith("%") else int(text)
    return min(max(number + size if number < 0 else number, 0), size)


def _manifest(name: str) -> epath.Path:
    return epath.Path(data_setup.data_dir()) / name / "manifest.json"


def _manifest_counts(name: str) -> dict[str, int] | None:
    """Rows of a mirror's splits; None: there is no mirror, or its manifest cannot be read."""
    path = _manifest(name)
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text())
        return {
            split: int(entry["rows"] if isinstance(entry, Mapping) else entry)
            for split, entry in manifest["splits"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class _Finder:
    """Finds origins; looks for each data set once."""

    def __init__(self) -> None:
        self._prepared = functools.cache(is_prepared)

    def origin(self, source: seqio.DataSource) -> Origin:
        for kind, find in self._kinds().items():
            if isinstance(source, kind):
                return find(source)
        return Origin("memory", type(source).__name__, HERE)

    def _kinds(self) -> dict[type, Callable[[Any], Origin]]:
        return {
            DatasetSource: self._of_catalogue,
            seqio.TfdsDataSource: self._of_tfds,
            seqio.FunctionDataSource: lambda source: Origin(
                "function", seqio.utils.function_name(source._dataset_fn), UNKNOWN
            ),
            seqio.FileDataSource: _of_files,
        }

    def _of_catalogue(self, source: DatasetSource) -> Origin:
        if _manifest(source.name).exists():
            return Origin("mirror", source.name, HERE)
        if source.tfds is not None:
            return Origin("tfds", source.tfds, HERE if self._prepared(source.tfds) else ABSENT)
        return Origin("hub", source.hub or "(local files)", ABSENT)

    def _of_tfds(self, source: seqio.TfdsDataSource) -> Origin:
        name = str(source.tfds_dataset.name)
        return Origin("tfds", name, HERE if self._prepared(name) else ABSENT)


def _of_files(source: seqio.FileDataSource) -> Origin:
    patterns = [str(pattern) for pattern in source._split_to_filepattern.values()]
    try:
        # Where a name holds no pattern, seqio lists it whether or not it is there.
        shards = [source.list_shards(split)[:1] for split in source.splits]
        is_here = all(shard and epath.Path(shard[0]).exists() for shard in shards)
    except (OSError, ValueError):
        is_here = False
    return Origin("files", ", ".join(patterns), HERE if is_here else ABSENT)


def is_prepared(name: str, data_dirs: Sequence[epath.PathLike] | None = None) -> bool:
    """Whether TFDS has a data set prepared; loads no builder and asks no server.

    Args:
      name: of the data set, with a config and a version where it has them.
      data_dirs: where to look; None: where TFDS does.
    """
    if data_dirs is None:
        from tensorflow_datasets.core.utils import file_utils

        data_dirs = file_utils.list_data_dirs()
    path, _, version = name.partition(":")
    pattern = f"{version.replace('*.*.*', '*') or '*'}/dataset_info.json"
    for data_dir in data_dirs:
        folder = epath.Path(data_dir) / path
        if folder.exists() and any(folder.glob(pattern)):
            return True
    return False
