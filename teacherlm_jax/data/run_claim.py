"""An output folder of a command that does its work anew until the report is there.

configuration.json   settings of the run that took the folder last, and a number of this run
the report           written last; holds the settings that made it

A run that was killed must not keep others out, and object stores have no locks: so whoever starts
takes a folder without a report. An earlier run that is still at work looks before each file that it
writes, and stops.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Mapping
from typing import Any

from etils import epath

from teacherlm_jax.data import claim, ledger

SETTINGS = "settings"
"""Name of the settings in a report."""

_RUN = "run"


class FolderTakenError(ValueError):
    """Another run took the output folder."""


@dataclasses.dataclass(frozen=True)
class RunClaim:
    """A folder that a run took.

    Attributes:
      folder: it.
      settings: JSON values; all that decides what will be written.
      run: tells this run from any other.
    """

    folder: epath.Path
    settings: Mapping[str, Any]
    run: str

    def check(self) -> None:
        """Checks that no other run took the folder since.

        Raises:
          FolderTakenError: one did; says how its settings differ.
        """
        found = _found(self.folder)
        if found.get(_RUN) == self.run:
            return
        other = {name: value for name, value in found.items() if name != _RUN}
        differences = [
            f"its {name} is {other.get(name)!r:.100}, this run's is {value!r:.100}"
            for name, value in self.settings.items()
            if other and other.get(name) != value
        ]
        raise FolderTakenError(
            f"another run took the output folder {str(self.folder)!r} while this one was at work"
            f"{': ' if differences else ''}{'; '.join(differences)}. What this run wrote there is"
            " not whole and is written over: let the other one finish, or run this again in another"
            " folder."
        )


def finished(folder: epath.PathLike, name: str, settings: Mapping[str, Any]) -> Any:
    """The report that a run with these settings wrote, or None.

    Args:
      folder: where it is.
      name: of its file.
      settings: JSON values.

    Raises:
      ConfigurationMismatchError: the report is of other settings; lists what differs.
    """
    folder = epath.Path(folder)
    if not ledger.is_complete(folder / name):
        return None
    report = json.loads(ledger.read_text(folder / name))
    made_with = report.get(SETTINGS)
    if made_with is None:  # Of a version that wrote them into the configuration alone.
        made_with = {key: value for key, value in _found(folder).items() if key != _RUN}
    claim.check_same(folder, made_with, _as_json(settings))
    return report


def take(folder: epath.PathLike, settings: Mapping[str, Any]) -> RunClaim:
    """Takes a folder without a report, from a run with whatever values of these settings.

    Whoever mends a malformed row, or leaves it out, has not to name another folder.

    Args:
      folder: made if it is not there.
      settings: JSON values; all that decides what will be written.

    Raises:
      ConfigurationMismatchError: the folder holds something else.
      PermissionError: the folder cannot be written to.
    """
    wanted = _as_json(settings)
    earlier = {name for name in _found(epath.Path(folder)) if name != _RUN}
    if earlier == wanted.keys():
        ledger.remove(epath.Path(folder) / claim.CONFIGURATION_NAME)
    run = uuid.uuid4().hex
    claim.claim_folder(folder, {**wanted, _RUN: run})
    return RunClaim(epath.Path(folder), wanted, run)


def _found(folder: epath.Path) -> dict[str, Any]:
    """What the configuration in a folder says; nothing where it is not there or is torn."""
    try:
        found = json.loads(ledger.read_text(folder / claim.CONFIGURATION_NAME))
    except (FileNotFoundError, ledger.TornFileError):
        return {}
    return dict(found)


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As they read back from a file."""
    return dict(json.loads(json.dumps(settings)))
