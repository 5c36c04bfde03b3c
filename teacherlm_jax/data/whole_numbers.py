"""Checks of settings that count something."""

from typing import Any


def check_whole(owner: str, least: int = 1, **values: Any) -> None:
    """Raises ValueError unless every value is a whole number that is large enough.

    Args:
      owner: names whose settings they are.
      least: the smallest that is allowed.
      **values: name -> value.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(
                f"{owner}: {name} = {value!r}, but it must be a whole number of at least {least}."
            )
