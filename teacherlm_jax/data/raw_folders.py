"""Which files of a folder hold which split: saved by `datasets`, downloaded, or put together."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import links
from teacherlm_jax.data.raw_files import SUFFIXES, FileError, kind_of

_SPLIT_OF_WORD = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "development": "validation",
    "test": "test",
    "testing": "test",
}
_NO_ROWS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_NO_ROWS_TOO = ("config.json", "package.json", "manifest.json", "source.json")
_SHARD = re.compile(r"(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})(?:-[0-9a-f]+)?")
_PLAIN_NAME = re.compile(r"(?!\.)[^/\\\0]+")
_NUMBERED = re.compile(r"(?P<stem>.*?)[-_.]?\d+")

Splits = dict[str, list[epath.Path]]


def named(patterns: Mapping[str, Sequence[str]]) -> Splits:
    """The files of splits that were named one by one.

    Args:
      patterns: split -> files, patterns, or folders, whose files of rows are all taken.

    Raises:
      FileError: one of them matches nothing.
      FileNotFoundError: a file is a link to what is not there.
    """
    found: Splits = {}
    for split, places in patterns.items():
        found[split] = []
        for place in places:
            files = [links.checked(file) for file in _matching(epath.Path(place))]
            if not files:
                raise FileError(f"split {split!r}: no file of rows matches {place!r}.")
            _check_is_whole(files)
            found[split] += files
        repeated = {file for file in found[split] if found[split].count(file) > 1}
        if repeated:
            raise FileError(f"split {split!r} names {sorted(map(str, repeated))[0]} twice.")
    return found


def find(path: epath.PathLike, config: str = "") -> Splits:
    """Split -> its files in order, by the metadata of a saved data set, or by the files' names.

    Args:
      path: a file; a folder that `datasets` saved; a downloaded repository; a folder of files whose
        names, or whose folders' names, tell the split.
      config: of a repository with several: a folder in it.

    Raises:
      FileError: nothing is there, or it is not clear which file is which.
      FileNotFoundError: a file is a link to what is not there.
    """
    path = links.checked(epath.Path(path))
    if not path.exists():
        raise FileError(f"{str(path)!r} is not there.")
    if not path.is_dir():
        return _by_names([path], path.parent)
    if config and (path / config).is_dir():
        path = path / config
    if (path / "dataset_dict.json").exists():
        splits = _names_in(path / "dataset_dict.json", "splits")
        return {split: _saved_files(path / split) for split in splits}
    if (path / "state.json").exists():
        split = _json(path / "state.json").get("_split") or "train"
        return {str(split): _saved_files(path)}
    files = list(_walk(path))
    if not files:
        raise FileError(
            f"{str(path)!r} holds no file whose name ends in one of {', '.join(SUFFIXES)}."
        )
    return _by_names(files, path)


def _matching(place: epath.Path) -> Iterator[epath.Path]:
    if re.search(r"[*?\[]", place.name):
        yield from sorted(
            (file for file in place.parent.glob(place.name) if kind_of(file)), key=str
        )
    elif place.is_dir():
        saved = (place / "state.json").exists()
        yield from _saved_files(place) if saved else _walk(place)
    elif links.checked(place).exists():
        yield place


def walk(folder: epath.Path, may_hold_rows: Callable[[epath.Path], bool]) -> Iterator[epath.Path]:
    """Files of a folder and of those in it, in the order of their names; none that is hidden."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from walk(entry, may_hold_rows)
        elif may_hold_rows(entry):
            yield links.checked(entry)


def _walk(folder: epath.Path) -> Iterator[epath.Path]:
    no_rows = (*_NO_ROWS, *_NO_ROWS_TOO)
    return walk(folder, lambda file: bool(kind_of(file)) and file.name not in no_rows)


def _saved_files(folder: epath.Path) -> list[epath.Path]:
    """The files of one saved split, in the order that its state names."""
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        raise FileError(
            f"{folder}: saved with an order beside its rows, by a version of `datasets` before 2:"
            " load it and save it again."
        )
    files = [folder / name for name in _names_in(folder / "state.json", "_data_files", "filename")]
    missing = [str(file) for file in files if not file.exists()]
    if missing:
        raise FileError(f"{folder}: its state.json names {missing}, not there.")
    return files


def _names_in(path: epath.Path, field: str, of_each: str = "") -> list[str]:
    """Names of files or folders beside a file of metadata, which has them in a list.

    Raises:
      FileError: it has none, or one that leads elsewhere.
    """
    entries = _json(path).get(field)
    names = entries if isinstance(entries, list) else []
    if of_each:
        names = [entry.get(of_each) if isinstance(entry, dict) else None for entry in names]
    is_plain = [isinstance(name, str) and _PLAIN_NAME.fullmatch(name) for name in names]
    if not names or not all(is_plain):
        raise FileError(
            f"{path}: field {field!r} is {entries!r:.80}; it must list names of what lies beside"
            " it: save the data set again."
        )
    return names


def _json(path: epath.Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileError(f"{path} is not there: the data set was not saved to its end.") from None
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: not valid JSON ({error}).") from None
    if not isinstance(values, dict):
        raise FileError(f"{path}: not a JSON object.")
    return values


def _by_names(files: Sequence[epath.Path], root: epath.Path) -> Splits:
    found: Splits = {}
    for file in files:
        split = split_of(file, root)
        if split is not None:
            found.setdefault(split, []).append(file)
    if not found:
        raise FileError(
            f"{str(root)!r}: no file's name tells its split (train, validation, test); they are"
            f" {_shown(files)}. Say which is which: --split train=FILE."
        )
    for split, members in found.items():
        _check_is_one_table(split, members)
        _check_is_whole(members)
    return found


def split_of(file: epath.Path, root: epath.Path) -> str | None:
    """The split that a file's name tells, or else the names of the folders up to a root."""
    stem = _stem(file)
    if shard := _SHARD.fullmatch(stem):
        # Only the last part can be a split's name, which holds no "-": "glue-train-00000-of-00001".
        last = shard["stem"].rpartition("-")[2]
        return _SPLIT_OF_WORD.get(last, last)
    words = {_SPLIT_OF_WORD[word] for word in re.split(r"[-_. ]", stem) if word in _SPLIT_OF_WORD}
    if words:
        return words.pop() if len(words) == 1 else None
    parents = [parent.name for parent in file.relative_to(root).parents if parent.name]
    return next((_SPLIT_OF_WORD[name] for name in parents if name in _SPLIT_OF_WORD), None)


def _stem(file: epath.Path) -> str:
    return file.name[: -len(kind_of(file) or "")].lower()


def _check_is_one_table(split: str, files: Sequence[epath.Path]) -> None:
    """Files of one split must be parts of one series: else they may hold the same rows twice."""
    series = set()
    for file in files:
        stem = _stem(file)
        shard = _SHARD.fullmatch(stem)
        match = shard or _NUMBERED.fullmatch(stem)
        # Series of two lengths come of two versions of the data.
        count = shard["count"] if shard else ""
        series.add((str(file.parent), match["stem"] if match else stem, count, kind_of(file)))
    if len(series) > 1:
        raise FileError(
            f"several files may be split {split!r}: {_shown(files)}. Say which: a folder with"
            f" --from, or --split {split}=FILE (several times for several files)."
        )


def _check_is_whole(files: Sequence[epath.Path]) -> None:
    """Files that say "00001-of-00003" must be there in full."""
    present: dict[tuple[str, int], set[int]] = {}
    for file in files:
        if match := _SHARD.fullmatch(_stem(file)):
            series = (str(file.parent / match["stem"]), int(match["count"]))
            present.setdefault(series, set()).add(int(match["index"]))
    for (stem, count), indices in present.items():
        if max(indices) >= count:
            raise FileError(
                f"{stem}-...: there is a file of number {max(indices):05d}, but {count} in all:"
                " remove what is of another version."
            )
        missing = sorted({*range(count)} - indices)
        if missing:
            raise FileError(
                f"{stem}-...: {len(missing)} of {count} files are missing, the first is number"
                f" {missing[0]:05d}. Fetch them all."
            )


def _shown(files: Sequence[epath.Path]) -> str:
    names = [str(file) for file in files[:6]]
    return ", ".join(names) + (f" and {len(files) - 6} more" if len(files) > 6 else "")
