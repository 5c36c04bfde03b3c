"""Functions and classes for the gin files of these tests."""

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Oven:
    temperature: int
    fan: bool = False


class Timer:
    def __init__(self, minutes: float = 1.0) -> None:
        self.minutes = minutes


def bake(steps: Any, rate: Any = 0.1, name: Any = "", oven: Oven | None = None) -> tuple:
    return steps, rate, name, oven


def serve(make: Callable[..., Any] | None, plates: Any = ()) -> tuple:
    return make, plates


def anything(**ingredients: Any) -> dict[str, Any]:
    return ingredients


def burn() -> None:
    raise ValueError("the cake is at 300 C; bake at 200.")


NOT_CALLABLE = 3
