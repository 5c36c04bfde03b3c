"""An output folder belongs to one configuration: the first run claims it, others are refused.

Object stores cannot make a file only if there is none. So whoever claims a folder first announces
it in a file of its own, and then looks for the announcements of others: of two runs that start at
once at least one sees the other's, and stops.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.data import ledger

CONFIGURATION_NAME = "configuration.json"

_ANNOUNCEMENT = "claim-"
_ABSENT = object()


class ConfigurationMismatchError(ValueError):
    """The output folder holds the work of another configuration."""


def claim_folder(folder: epath.PathLike, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Writes `configuration.json` into a folder, or checks the one that is there.

    Args:
      folder: made if it is not there.
      configuration: JSON values; all that decides what will be written, and nothing else (no
        batch sizes of inference, no host counts).

    Returns:
      The configuration as it reads back from JSON.

    Raises:
      ConfigurationMismatchError: the folder has another; lists what differs. Or another run claims
        it at this moment.
      PermissionError: the folder cannot be written to.
    """
    if not os.fspath(folder):
        raise ValueError("the output folder is empty text: name a folder.")
    folder = epath.Path(folder)
    path = folder / CONFIGURATION_NAME
    text = json.dumps(configuration, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    wanted: dict[str, Any] = json.loads(text)
    if ledger.is_complete(path):
        check_folder(folder, wanted)
        _remove_announcements(folder, text)
        return wanted
    try:
        announcement = _announced(folder, text)
        try:
            _check_rivals(folder, text)
            check_folder(folder, wanted)  # A rival may have finished before it could be seen.
            ledger.write_whole(path, text)
        finally:
            announcement.unlink(missing_ok=True)
        _remove_announcements(folder, text)
    except OSError as error:
        raise PermissionError(
            f"cannot write into the output folder {str(folder)!r}: {error}. Choose a folder that "
            "you may write to."
        ) from error
    return wanted


def _announced(folder: epath.Path, text: str) -> epath.Path:
    """A new file that says by its name that a run is about to claim the folder, and with what."""
    folder.mkdir(parents=True, exist_ok=True)
    announcement = folder / f"{_announcement_of(text)}{uuid.uuid4().hex}"
    announcement.write_bytes(text.encode())
    return announcement


def _check_rivals(folder: epath.Path, text: str) -> None:
    for rival in folder.glob(f"{_ANNOUNCEMENT}*"):
        if not rival.name.startswith(_announcement_of(text)):
            raise ConfigurationMismatchError(
                f"another run, of another configuration, claims the output folder {str(folder)!r}"
                f" at this moment: choose another folder. If no run is at work there, delete"
                f" {str(rival)!r}, which a killed one left."
            )


def _remove_announcements(folder: epath.Path, text: str) -> None:
    """Removes what killed runs of a configuration left, and hosts of this one, once it is there."""
    for announcement in folder.glob(f"{_announcement_of(text)}*"):
        announcement.unlink(missing_ok=True)


def _announcement_of(text: str) -> str:
    """What names of announcements of a configuration begin with; hosts of one run have the same."""
    return f"{_ANNOUNCEMENT}{hashlib.sha256(text.encode()).hexdigest()[:16]}-"


def check_folder(folder: epath.PathLike, configuration: Mapping[str, Any]) -> None:
    """Checks the configuration in a folder, if it has one, and writes nothing.

    Raises:
      ConfigurationMismatchError: as `claim_folder`.
    """
    path = epath.Path(folder) / CONFIGURATION_NAME
    if ledger.is_complete(path):
        wanted = json.loads(json.dumps(configuration))
        check_same(folder, json.loads(ledger.read_text(path)), wanted)


def check_can_be_made(folder: epath.PathLike, name: str) -> None:
    """Checks, and makes nothing, that a local folder is there or that one could be made.

    Args:
      folder: one that is not local is not looked at.
      name: what it is for, in the error.

    Raises:
      ValueError: it is empty text.
      PermissionError: a file stands in its way, or what it would be made in may not be written to.
    """
    text = os.fspath(folder)
    if not text:
        raise ValueError(f"the {name} is empty text: name a folder.")
    if "://" in text:
        return
    place = epath.Path(os.path.abspath(text))
    while not place.exists() and place.parent != place:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        what = "may not be written to" if place.is_dir() else "is a file"
        raise PermissionError(
            f"cannot write into the {name} {text!r}, since {str(place)!r} {what}: choose a folder "
            "that you may write to."
        )


def check_same(folder: epath.PathLike, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Checks that what was found in a folder is this run's configuration; both as JSON values.

    Raises:
      ConfigurationMismatchError: it is not; lists what differs.
    """
    found_values, wanted_values = dict(_flatten(found)), dict(_flatten(wanted))
    differences = [
        f"  {key}: folder has {found_values.get(key, 'nothing')!r}, this run has "
        f"{wanted_values.get(key, 'nothing')!r}"
        # What the folder says comes first, since long lists are cut.
        for key in sorted(
            {**found_values, **wanted_values}, key=lambda k: (k not in found_values, k)
        )
        if found_values.get(key, _ABSENT) != wanted_values.get(key, _ABSENT)
    ]
    if differences:
        shown = differences[:12]
        if len(differences) > len(shown):
            shown.append(f"  ... and {len(differences) - len(shown)} more")
        raise ConfigurationMismatchError(
            f"output folder {os.fspath(folder)!r} belongs to another configuration:\n"
            + "\n".join(shown)
            + "\nRun with the folder's configuration to continue it, choose another output folder, "
            "or delete this one to start over."
        )


def _flatten(values: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping) and values:
        for name, value in values.items():
            yield from _flatten(value, f"{key}.{name}" if key else name)
    elif isinstance(values, list) and any(isinstance(value, Mapping) for value in values):
        for index, value in enumerate(values):
            yield from _flatten(value, f"{key}[{index}]")
    else:
        yield key, values
