"""A second module, with a name that `kitchen` has too."""

from typing import Any

from tests.main.kitchen import Timer

__all__ = ["Timer", "serve", "stock"]


def serve(tray: Any = None) -> Any:
    return tray


def stock(size: int = 3) -> int:
    return size
