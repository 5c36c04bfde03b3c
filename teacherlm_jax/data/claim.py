"""An output folder belongs to one configuration: the first run claims it, others are refused."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.data import ledger

CONFIGURATION_NAME = "configuration.json"

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
      ConfigurationMismatchError: the folder has another; lists what differs.
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
        return wanted
    try:
        ledger.write_whole(path, text)
    except OSError as error:
        raise PermissionError(
            f"cannot write into the output folder {str(folder)!r}: {error}. Choose a folder that "
            "you may write to."
        ) from error
    return wanted


def check_folder(folder: epath.PathLike, configuration: Mapping[str, Any]) -> None:
    """Checks the configuration in a folder, if it has one, and writes nothing.

    Raises:
      ConfigurationMismatchError: as `claim_folder`.
    """
    path = epath.Path(folder) / CONFIGURATION_NAME
    if ledger.is_complete(path):
        wanted = json.loads(json.dumps(configuration))
        _check_same(epath.Path(folder), json.loads(ledger.read_text(path)), wanted)


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


def _check_same(folder: epath.Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
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
            f"output folder {str(folder)!r} belongs to another configuration:\n"
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
