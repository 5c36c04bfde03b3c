"""Log-likelihoods on disk: files of lines, each named by what it holds, marked when whole.

A line is one (context, option): its key, its log-likelihood and whether it was greedy. The key is a
hash of the tokens, the computation type, the model and the digest of its parameters, so it means
the same whatever the task, the form and the order of the options.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from absl import logging
from etils import epath

from teacherlm_jax.data import ledger

SUFFIX = ".jsonl"

_FIELDS = {"key", "log_likelihood", "is_greedy"}


class Value(NamedTuple):
    """What is known of one option after one context.

    Attributes:
      log_likelihood: natural, summed over the option's tokens.
      is_greedy: whether each of them was the likeliest.
    """

    log_likelihood: float
    is_greedy: bool


class Keys:
    """Makes the keys of one model's scores."""

    def __init__(self, identity: str) -> None:
        """`identity`: all but the tokens that decides what a score is."""
        self._start = hashlib.sha256(identity.encode())

    def of(self, context: tuple[int, ...], options: Collection[tuple[int, ...]]) -> list[str]:
        """The key of each option after a context."""
        start = self._start.copy()
        _update(start, context)
        keys = []
        for option in options:
            whole = start.copy()
            _update(whole, option)
            keys.append(whole.hexdigest())
        return keys


def _update(digest: hashlib._Hash, tokens: tuple[int, ...]) -> None:
    # The number of tokens first: [1], [2, 3] must not look like [1, 2], [3].
    digest.update(np.array([len(tokens), *tokens], "<i8").tobytes())


def write(folder: epath.Path, values: Mapping[str, Value], name: str | None = None) -> epath.Path:
    """Writes a shard whole, then its marker.

    Args:
      folder: made if needed.
      values: by key.
      name: of the file, without its suffix; by default a hash of its content, so that processes
        that write at once never want the same name for different contents.
    """
    text = "".join(
        json.dumps({"key": key, **value._asdict()}, allow_nan=False) + "\n"
        for key, value in values.items()
    )
    if name is None:
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return ledger.write_whole(folder / (name + SUFFIX), text)


def read(path: epath.Path, wanted: Collection[str]) -> dict[str, Value]:
    """The values of a shard under the keys that are wanted.

    Raises:
      ledger.TornFileError: the file is not what its marker says.
      ValueError: a line is malformed; names the file and the line.
    """
    found = {}
    # The whole file is checked before a line of it is believed.
    for number, line in enumerate(ledger.read_text(path).splitlines(), start=1):
        key, value = _parse(line, f"{path}:{number}")
        if key in wanted:
            found[key] = value
    return found


def _parse(line: str, where: str) -> tuple[str, Value]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: not JSON ({error}): delete the file.") from None
    if not isinstance(row, dict) or row.keys() != _FIELDS:
        raise ValueError(
            f"{where}: {line!r:.80}, but a line must be an object of {sorted(_FIELDS)}: delete "
            "the file."
        )
    key, log_likelihood, is_greedy = row["key"], row["log_likelihood"], row["is_greedy"]
    is_number = isinstance(log_likelihood, float) and math.isfinite(log_likelihood)
    if not isinstance(key, str) or not is_number or not isinstance(is_greedy, bool):
        raise ValueError(
            f"{where}: {line!r:.80}, but it must be a text, a finite float and true or false: "
            "delete the file."
        )
    return key, Value(log_likelihood, is_greedy)


def read_all(
    paths: Collection[epath.Path], wanted: Collection[str]
) -> tuple[dict[str, Value], list[str]]:
    """The values under the keys that are wanted; what cannot be believed is removed.

    Reads a file at a time, and remembers of it what is wanted alone.

    Returns:
      The values, and the files that were torn or changed and are gone now; each is warned of.
    """
    found: dict[str, Value] = {}
    removed = []
    for path in paths:
        try:
            found |= read(path, wanted)
        except ValueError as error:  # A torn file, text that is not UTF-8, a malformed line.
            logging.warning("%s Removed; what it held is scored anew.", error)
            ledger.remove(path)
            removed.append(str(path))
        except FileNotFoundError:
            continue  # Another process found it torn.
    return found, removed


def complete(folder: epath.Path) -> Iterator[epath.Path]:
    """The shards of a folder that are marked as whole, by name.

    Those of another size than their marker says, which `ledger.list_complete` leaves out as not
    written, are among them: reading tells of them.
    """
    suffix = SUFFIX + ledger.MARKER_SUFFIX
    for marker in sorted(folder.glob("*" + suffix), key=str):
        yield folder / marker.name.removesuffix(ledger.MARKER_SUFFIX)
