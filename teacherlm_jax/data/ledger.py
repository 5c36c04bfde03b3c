"""A write-once store of whole files: written, then marked, on local disk and object stores alike.

Stage ledgers, annotation shards and caches live in it. A file is written whole under its final
name; then a marker is written beside it (`NAME.complete`) with its size and SHA-256. A file
without a sound marker does not count, so a process killed at any moment leaves either a finished
file or one to be written again. Nothing appends, renames, replaces or locks, because object stores
(gs://) have none of these.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator

from absl import logging
from etils import epath

MARKER_SUFFIX = ".complete"


class TornFileError(ValueError):
    """A file differs from what its marker says, or its marker cannot be read."""


class NoSpaceError(OSError):
    """There is no space left for a file that was to be written; says where, and what to do."""


class AlreadyWrittenError(FileExistsError):
    """A complete file was to be written again with another content."""


def write_whole(path: epath.PathLike, content: bytes | str) -> epath.Path:
    """Writes a file whole, then its marker. Folders are made as needed.

    Writing the same content again does nothing. An unmarked file, left by a killed process, is
    written over. When several hosts write the same content at once, the outcome is that content.

    Args:
        path: where to write; its name must not end in `.complete`.
        content: bytes, or text to be stored as UTF-8.

    Returns:
        The path.

    Raises:
        AlreadyWrittenError: the file is complete and holds another content.
        NoSpaceError: the disk, or a quota, is full.
    """
    path = _checked_path(path)
    data = content.encode("utf-8") if isinstance(content, str) else bytes(content)
    marker = _marker_content(data)
    if is_complete(path):
        if marker_path(path).read_bytes() == marker:
            return path
        raise AlreadyWrittenError(
            f"{str(path)!r} is complete and holds another content than the {len(data)} bytes to be"
            " written; complete files are never changed. Write to another path, or delete it and"
            f" {marker_path(path).name!r} first."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A marker of another content must be gone before the file is written again. One of this
        # content stays: another host, writing the same, may have set it a moment ago.
        if _read_marker(path) is not None and marker_path(path).read_bytes() != marker:
            marker_path(path).unlink(missing_ok=True)
        _write_bytes(path, data)
        _write_bytes(marker_path(path), marker)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoSpaceError(
            f"no space is left in {str(path.parent)!r} for {path.name!r}, {len(data):,} bytes"
            f" ({error.strerror}): free some there and run the command again, or name a folder on"
            " another disk. Files that are complete are kept."
        ) from error
    return path


def is_complete(path: epath.PathLike) -> bool:
    """Returns whether a file was written to its end: marked, and of the size in its marker.

    This reads the marker, not the file; `read_whole` compares the content as well.
    """
    path = _checked_path(path)
    marker = _read_marker(path)
    if marker is None:
        return False
    try:
        size = path.stat().length
    except FileNotFoundError:
        size = None
    if size != marker["size"]:
        logging.warning(
            "%s has %s bytes but its marker says %s: taken as not written.",
            path,
            "no" if size is None else size,
            marker["size"],
        )
        return False
    return True


def read_whole(path: epath.PathLike) -> bytes:
    """Reads a complete file and compares it with its marker.

    Raises:
        FileNotFoundError: the file has no marker, so it was never finished, or does not exist.
        TornFileError: size or SHA-256 of the file differ from the marker.
    """
    path = _checked_path(path)
    marker = _read_marker(path)
    if marker is None:
        state = "was not written to its end" if path.exists() else "does not exist"
        raise FileNotFoundError(
            f"{str(path)!r} {state}: there is no sound {marker_path(path).name!r} beside it. Run"
            " the command that writes it again."
        )
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    digest = hashlib.sha256(data).hexdigest()
    if (len(data), digest) != (marker["size"], marker["sha256"]):
        raise TornFileError(
            f"{str(path)!r} is torn or was changed: it has {len(data)} bytes with SHA-256"
            f" {digest[:12]}..., its marker says {marker['size']} bytes with"
            f" {str(marker['sha256'])[:12]}.... Delete it and {marker_path(path).name!r}, and run"
            " the command that writes it again."
        )
    return data


def read_text(path: epath.PathLike) -> str:
    """Reads a complete file as UTF-8 text; raises as `read_whole`."""
    return read_whole(path).decode("utf-8")


def list_complete(folder: epath.PathLike, pattern: str = "*") -> list[epath.Path]:
    """Returns the complete files of a folder whose names match a glob pattern, sorted by name.

    A folder that does not exist holds none.
    """
    return list(_iterate_complete(epath.Path(folder), pattern))


def remove(path: epath.PathLike) -> None:
    """Removes a file and its marker, the marker first; a file that is not there is no error."""
    path = _checked_path(path)
    marker_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def marker_path(path: epath.PathLike) -> epath.Path:
    """Returns the path of a file's marker."""
    path = epath.Path(path)
    return path.parent / (path.name + MARKER_SUFFIX)


def _iterate_complete(folder: epath.Path, pattern: str) -> Iterator[epath.Path]:
    if not folder.is_dir():
        return
    for marker in sorted(folder.glob(pattern + MARKER_SUFFIX), key=str):
        path = folder / marker.name.removesuffix(MARKER_SUFFIX)
        if is_complete(path):
            yield path


def _checked_path(path: epath.PathLike) -> epath.Path:
    path = epath.Path(path)
    if path.name.endswith(MARKER_SUFFIX):
        raise ValueError(
            f"{str(path)!r} is the name of a marker; give the path of the file that it marks,"
            f" without {MARKER_SUFFIX!r}."
        )
    return path


def _marker_content(data: bytes) -> bytes:
    marker = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return (json.dumps(marker) + "\n").encode("ascii")


def _read_marker(path: epath.Path) -> dict[str, int | str] | None:
    """Returns a file's marker; None where it is missing or was itself not written to its end."""
    try:
        marker = json.loads(marker_path(path).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    if not isinstance(marker, dict) or not {"size", "sha256"} <= set(marker):
        return None
    return marker


def _write_bytes(path: epath.Path, data: bytes) -> None:
    # One call of write: an object store shows nothing until the file is closed, and then all of it.
    with path.open("wb") as stream:
        stream.write(data)
        try:
            descriptor = stream.fileno()
        except (AttributeError, OSError):
            return  # Not a local file.
        # After a power failure a marker must not stand beside blocks that never reached the disk.
        stream.flush()
        os.fsync(descriptor)
