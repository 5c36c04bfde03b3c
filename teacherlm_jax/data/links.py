"""Links among files of rows that lead to nothing, as a folder that was copied without them has."""

from __future__ import annotations

import os

from etils import epath


def checked(path: epath.Path) -> epath.Path:
    """A path that was found, unless it is a link to what is not there.

    Raises:
      FileNotFoundError: it is.
    """
    if os.path.islink(path) and not path.exists():
        raise FileNotFoundError(
            f"{str(path)!r} is a link to {os.readlink(path)!r}, which is not there: fetch that file"
            " (copies of a folder need `cp -L`), mend the link, or remove it."
        )
    return path
