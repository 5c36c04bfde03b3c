"""An output folder that is either finished or gone.

While it is written it holds a marker that names its writer. An error removes all that was written;
a process that was killed leaves the marker, and the next run on the same folder starts over.
"""

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Iterator

import jax
from etils import epath

from teacherlm_jax.partitioning import hosts
from teacherlm_jax.weights.tensors import WeightsError

UNFINISHED = "UNFINISHED"


def check_new(folder: epath.Path) -> None:
    """Checks that a folder may be written to: it is not there, empty, or was never finished.

    Raises:
      WeightsError: it holds something else, or a process of this machine is writing it.
    """
    owner = _owner(folder)
    if owner.get("host") == socket.gethostname() and _is_running(owner.get("process")):
        raise WeightsError(
            f"{folder} is being written by process {owner['process']}: wait for it, or give "
            "another folder."
        )
    if folder.exists() and not folder.is_dir():
        raise WeightsError(f"{folder} is a file, but the output is a folder: give another path.")
    if folder.is_dir() and not (folder / UNFINISHED).exists():
        found = sorted(path.name for path in folder.iterdir())
        if found:
            raise WeightsError(
                f"{folder} is not empty (it holds {', '.join(found[:5])}): give a new folder, or "
                "delete this one first."
            )


def check_finished(folder: epath.Path) -> None:
    """Checks that a folder to be read was written to its end.

    Raises:
      WeightsError: a process was killed while it wrote there.
    """
    if (folder / UNFINISHED).exists():
        raise WeightsError(
            f"{folder} was never finished (it holds {UNFINISHED}): run the command that writes it "
            "again."
        )


@contextlib.contextmanager
def new_folder(folder: epath.Path) -> Iterator[None]:
    """Makes the folder; an error leaves nothing in it. Of several hosts the first acts.

    Of several hosts' folder the marker stays after an error: another host may still write, and what
    it writes is to be cleared away by the next run.

    Raises:
      WeightsError: as `check_new`; or another run has taken the folder over.
    """
    was_there = folder.is_dir()
    marker = {"host": socket.gethostname(), "process": os.getpid(), "run": uuid.uuid4().hex}

    def begin() -> None:
        check_new(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UNFINISHED).write_text(json.dumps(marker) + "\n", encoding="utf-8")
        _clear(folder)

    hosts.on_first_host(f"making {folder}", begin)
    try:
        yield
    except BaseException:
        if jax.process_index() == 0 and _owner(folder) == marker:
            with contextlib.suppress(OSError):
                _clear(folder)
                if jax.process_count() == 1:
                    (folder / UNFINISHED).unlink(missing_ok=True)
                    if not was_there:
                        folder.rmtree(missing_ok=True)
        raise

    def finish() -> None:
        if _owner(folder) != marker:
            raise WeightsError(
                f"another run has begun to write {folder} meanwhile, so what is there now may be "
                "of both: delete it, and run one of them again."
            )
        (folder / UNFINISHED).unlink()

    hosts.on_first_host(f"finishing {folder}", finish)


def _owner(folder: epath.Path) -> dict[str, object]:
    """What the marker says of its writer; empty where there is none, or none that can be read."""
    try:
        value = json.loads((folder / UNFINISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_running(process: object) -> bool:
    """Whether another process of this machine has this number."""
    if not isinstance(process, int) or process <= 0 or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # It is somebody else's.
    return True


def _clear(folder: epath.Path) -> None:
    """Removes all but the marker, so that no process killed meanwhile leaves half without it."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name == UNFINISHED:
            continue
        if path.is_dir():
            path.rmtree()
        else:
            path.unlink()
