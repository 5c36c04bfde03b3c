"""Tokens of a task, written once and read at random ever after.

DIRECTORY/TASK/SPLIT/tokens-00000.array_record  ArrayRecord, a record an example: inputs and targets
DIRECTORY/TASK/SPLIT/lengths.npy                int32 [N, 2]
DIRECTORY/TASK/SPLIT/manifest.json              what was tokenized, and the shards; written last

Beside each stands its marker (`data.ledger`). Without a complete manifest there is no cache: what a
killed process left is written again.

Shape legend: N examples; 2 (inputs, targets).
"""

import array
import hashlib
import io
import json
import urllib.parse
from collections.abc import Iterable
from typing import Any

import numpy as np
import seqio
from absl import logging
from array_record.python import array_record_module
from etils import epath

from teacherlm_jax.data import cached_examples, ledger, task_settings
from teacherlm_jax.data.cached_examples import DamagedCacheError
from teacherlm_jax.data.examples import ContentDigest, ExampleTable
from teacherlm_jax.data.tokenization import Row, check_split, tokenized_rows
from teacherlm_jax.partitioning import hosts

FORMAT = 1
MANIFEST_NAME = "manifest.json"
LENGTHS_NAME = "lengths.npy"
FIRST_ROWS = 32
SHARD_BYTES = 64 * 2**20

_LONGEST_NAME = 160


class StaleCacheError(ValueError):
    """A cache holds other tokens than the task gives now."""


def cached_table(task: seqio.Task, split: str, directory: epath.PathLike) -> ExampleTable:
    """The examples of a task's split, tokenized once and read from the cache when asked for.

    To be called on every host: the first one writes what is missing, the others wait. On opening,
    the first rows are tokenized again and compared, since nothing else tells whether the text or
    the preprocessors are still those of the cache.

    Args:
      task: a seqio task.
      split: one of its splits.
      directory: of all caches; every host must see it. A cache on an object store (gs://) is copied
        into a local temporary folder when its first example is read.

    Raises:
      ValueError: the task has no such split, or a token id that its vocabulary has no room for.
      StaleCacheError: the cache is of another vocabulary, other features or other text.
      DamagedCacheError: a file is missing or not what was written.
    """
    check_split(task, split)
    folder = epath.Path(directory) / escaped(task.name) / escaped(split)
    settings = _settings(task, split)

    def write_where_missing() -> None:
        if not ledger.is_complete(folder / MANIFEST_NAME):
            logging.info("Tokenizing %s/%s into %s.", task.name, split, folder)
            _write(folder, settings, tokenized_rows(task, split))

    hosts.on_first_host(f"tokenizing {task.name}/{split} into {folder}", write_where_missing)
    return hosts.on_every_host(f"opening {folder}", lambda: _opened(task, split, folder, settings))


def escaped(name: str) -> str:
    """A name as one folder's name: different for different names, on every file system."""
    quoted = urllib.parse.quote(name, safe="")
    if not quoted.strip("."):  # "." and ".." are folders of their own.
        return quoted.replace(".", "%2E")
    if len(quoted) > _LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()
        return f"{quoted[:_LONGEST_NAME]}-{digest[:32]}"
    return quoted


# Writing


def _write(folder: epath.Path, settings: dict[str, Any], rows: Iterable[Row]) -> None:
    """Writes a cache: shards, then lengths, then the manifest that makes it one."""
    name, dtype = f"{settings['task']}/{settings['split']}", np.dtype(settings["dtype"])
    highest = np.iinfo(dtype).max
    shards = _Shards(folder)
    whole, first = ContentDigest(), ContentDigest()
    lengths = array.array("i")  # Of two million examples: 16 MB.
    for index, (inputs, targets) in enumerate(rows):
        tokens = np.concatenate([inputs, targets])
        if len(tokens) and not 0 <= tokens.min() <= tokens.max() <= highest:
            raise ValueError(
                f"{name}:{index} has token ids {int(tokens.min())} to {int(tokens.max())}, but "
                f"those of its vocabulary go from 0 to {settings['vocab_size'] - 1}: mend the "
                "task's preprocessors, or the vocab_size of its vocabulary."
            )
        shards.add(tokens.astype(dtype).tobytes())
        whole.add(inputs, targets)
        if index < FIRST_ROWS:
            first.add(inputs, targets)
        lengths.extend((len(inputs), len(targets)))
    shards.close()
    stream = io.BytesIO()
    lengths_N2 = np.array(lengths, np.int32).reshape(-1, 2)
    np.save(stream, lengths_N2, allow_pickle=False)
    _write_anew(folder / LENGTHS_NAME, stream.getvalue())
    manifest = {
        "settings": settings,
        "examples": len(lengths_N2),
        "first_rows": first.hexdigest(),
        "content_digest": whole.hexdigest(),
        "shards": shards.written,
    }
    _write_anew(folder / MANIFEST_NAME, json.dumps(manifest, indent=2, sort_keys=True) + "\n")


class _Shards:
    """Writes records into shards of a bounded size, each first in a local file."""

    def __init__(self, folder: epath.Path) -> None:
        self._folder = folder
        self._writer: Any = None
        self._bytes = self._records = 0
        self._temporary = cached_examples.TemporaryFolder()
        self.written: list[dict[str, Any]] = []

    def add(self, record: bytes) -> None:
        if self._writer is None:
            # Random access reads a group for every record.
            self._writer = array_record_module.ArrayRecordWriter(
                str(self._temporary.path / "shard"), "group_size:1"
            )
        self._writer.write(record)
        self._bytes += len(record)
        self._records += 1
        if self._bytes >= SHARD_BYTES:
            self.close()

    def close(self) -> None:
        """Ends the shard under way."""
        if self._writer is None:
            return
        self._writer.close()
        data = (self._temporary.path / "shard").read_bytes()
        name = f"tokens-{len(self.written):05d}.array_record"
        _write_anew(self._folder / name, data)
        self.written.append(
            {
                "name": name,
                "examples": self._records,
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
        self._writer, self._bytes, self._records = None, 0, 0


def _write_anew(path: epath.Path, content: bytes | str) -> None:
    """Writes a file that no manifest counts yet, over what a killed process left of another try."""
    try:
        ledger.write_whole(path, content)
    except ledger.AlreadyWrittenError:
        ledger.remove(path)
        ledger.write_whole(path, content)


# Reading


def _opened(
    task: seqio.Task, split: str, folder: epath.Path, settings: dict[str, Any]
) -> ExampleTable:
    """The table of a complete cache; examples are read when they are asked for."""
    if not ledger.is_complete(folder / MANIFEST_NAME):
        raise DamagedCacheError(
            f"the first host has written the token cache {str(folder)!r}, but this one cannot see "
            "it: name a directory that all hosts share, such as one on gs://."
        )
    try:
        manifest = json.loads(ledger.read_text(folder / MANIFEST_NAME))
        lengths_N2 = np.load(
            io.BytesIO(ledger.read_whole(folder / LENGTHS_NAME)), allow_pickle=False
        )
    except (FileNotFoundError, ledger.TornFileError) as error:
        raise DamagedCacheError(
            f"the token cache {str(folder)!r} is damaged: {error} Delete that folder to have it "
            "written again."
        ) from error
    _check_settings(folder, manifest["settings"], settings)
    first = ContentDigest()
    for inputs, targets in tokenized_rows(task, split, FIRST_ROWS):
        first.add(inputs, targets)
    if first.hexdigest() != manifest["first_rows"]:
        raise _stale(
            folder,
            f"the first {FIRST_ROWS} rows that the task gives now are not those of the cache "
            "(its text or preprocessors have changed, or they draw without seqio's seeds)",
        )
    ids = cached_examples.NumberedIds(f"{task.name}/{split}", manifest["examples"])
    examples = cached_examples.CachedExamples(
        folder, manifest["shards"], np.dtype(settings["dtype"]), lengths_N2, ids
    )
    return ExampleTable(
        task.name, examples, lengths_N2, ids, lambda: str(manifest["content_digest"])
    )


def _check_settings(folder: epath.Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    differences = task_settings.differences(found, wanted)
    if differences:
        raise _stale(folder, "; ".join(differences))


def _stale(folder: epath.Path, reason: str) -> StaleCacheError:
    return StaleCacheError(
        f"the token cache {str(folder)!r} is not of this task as it is now: {reason}. Delete that "
        "folder, or name another directory."
    )


def _settings(task: seqio.Task, split: str) -> dict[str, Any]:
    """What decides the tokens, as far as a task tells: JSON values."""
    features = task_settings.of_features(task)
    return {
        "format": FORMAT,
        "task": task.name,
        "split": split,
        "dtype": "<u2" if features["vocab_size"] <= 2**16 else "<i4",
        **features,
    }
