"""What a results mapping holds, and the check that names the key which does not fit.

`RESULTS` below is the reference for `results.json`. Accuracies and rates are percent, times are
seconds. A number that could not be measured is NaN in Python and null in JSON; keys that the
schema does not know are kept and ignored, so that an experiment may record more than is reported.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Number:
    """A number in [minimum, maximum]; NaN or None where it was not measured, if that may be."""

    minimum: float = -math.inf
    maximum: float = math.inf
    says: str = "a number"
    measured: bool = True


@dataclasses.dataclass(frozen=True)
class Kind:
    """A value of one of these Python types."""

    types: type | tuple[type, ...]
    says: str


@dataclasses.dataclass(frozen=True)
class ListOf:
    """A list whose items all follow one schema."""

    item: Any
    minimum: int = 0


@dataclasses.dataclass(frozen=True)
class MapOf:
    """A mapping from names to values that all follow one schema."""

    value: Any
    minimum: int = 0


@dataclasses.dataclass(frozen=True)
class Fields:
    """A mapping with named keys, some of which must be there."""

    required: Mapping[str, Any]
    optional: Mapping[str, Any]


TEXT = Kind(str, "a text")
FLAG = Kind((bool, type(None)), "true, false or, if it was not judged, null")
ANYTHING = Kind(object, "any JSON value")
NUMBER = Number()
INDEX = Number(0, says="a number of at least 0", measured=False)
COUNT = Number(0, says="a count of at least 0")
SECONDS = Number(0, says="a time in seconds of at least 0")
SPREAD = Number(0, says="a spread in points of at least 0")
PERCENT = Number(0, 100, "a percentage between 0 and 100")
DIFFERENCE = Number(-100, 100, "a difference in points between -100 and 100")

RUN = Fields(
    required={"world": INDEX, "seed": INDEX, "accuracy": PERCENT},
    optional={"by_type": MapOf(PERCENT), "validation": PERCENT},
)
ARM = Fields(
    required={"accuracy_mean": PERCENT, "accuracy_per_seed": ListOf(PERCENT, minimum=1)},
    optional={
        "accuracy_std": SPREAD,
        "by_type": MapOf(PERCENT),
        "runs": ListOf(RUN),
        "validation_mean": PERCENT,
        "paired_difference": Fields(
            required={"mean": DIFFERENCE, "min": DIFFERENCE, "max": DIFFERENCE},
            optional={"per_run": ListOf(DIFFERENCE)},
        ),
        "trained_tokens": COUNT,
        "learning_curve": ListOf(
            Fields(
                required={"step": INDEX, "loss": NUMBER}, optional={"accuracy_validation": PERCENT}
            )
        ),
        "meaning": TEXT,
    },
)
TEACHER = Fields(
    required={},
    optional={
        "truth_rate": MapOf(PERCENT),
        "only_question_names": MapOf(PERCENT),
        "coverage": MapOf(PERCENT),
        "dropped_held_out": MapOf(COUNT),
        "base_accuracy": MapOf(PERCENT),
    },
)
SAMPLE = Fields(
    required={"question": TEXT, "choices": ListOf(TEXT), "answer": TEXT},
    optional={
        "type": TEXT,
        "explanations": MapOf(
            Fields(required={"teacher": TEXT}, optional={"gold": TEXT, "true": FLAG})
        ),
    },
)
RESULTS = Fields(
    required={"arms": MapOf(ARM, minimum=1)},
    optional={
        "unit": TEXT,
        "chance": PERCENT,
        "worlds": ListOf(INDEX),
        "seeds": ListOf(INDEX),
        "steps": MapOf(ANYTHING),
        "teacher": TEACHER,
        "samples": ListOf(SAMPLE),
        "timings_s": MapOf(SECONDS),
        "environment": MapOf(ANYTHING),
        "command": TEXT,
        "caveats": ListOf(TEXT),
    },
)


def check_results(results: Any) -> None:
    """Raises ValueError naming the key, its value and what it must be, if results is malformed."""
    _check(results, RESULTS, "results")
    unit = results.get("unit", "percent")
    if unit != "percent":
        raise ValueError(
            f"results['unit'] is {unit!r} but must be 'percent': accuracies and rates are written "
            "between 0 and 100; multiply fractions by 100."
        )
    for name, arm in results["arms"].items():
        accuracies, runs = arm["accuracy_per_seed"], arm.get("runs")
        if runs is not None and len(runs) != len(accuracies):
            raise ValueError(
                f"results['arms'][{name!r}]['runs'] has {len(runs)} entries but "
                f"'accuracy_per_seed' has {len(accuracies)}: both need one for each run of the "
                "arm, in the same order."
            )


def _check(value: Any, schema: Any, where: str) -> None:
    """Checks one value; `where` is its path, written as Python would index it."""
    if isinstance(schema, Number):
        _check_number(value, schema, where)
    elif isinstance(schema, Kind):
        if not isinstance(value, schema.types):
            raise _misfit(where, value, schema.says)
    elif isinstance(schema, ListOf):
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise _misfit(where, value, "a list")
        if len(value) < schema.minimum:
            raise _misfit(where, value, f"a list of at least {schema.minimum} entries")
        for index, item in enumerate(value):
            _check(item, schema.item, f"{where}[{index}]")
    else:
        _check_mapping(value, schema, where)


def _check_mapping(value: Any, schema: MapOf | Fields, where: str) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _misfit(where, value, "a mapping with names as keys")
    if isinstance(schema, MapOf):
        if len(value) < schema.minimum:
            raise _misfit(where, value, f"a mapping of at least {schema.minimum} entries")
        for key, item in value.items():
            _check(item, schema.value, f"{where}[{key!r}]")
        return
    for key, inner in schema.required.items():
        if key not in value:
            raise ValueError(
                f"{where}[{key!r}] is missing; it must be {_describe(inner)}. "
                f"The keys there are {sorted(value)}."
            )
        _check(value[key], inner, f"{where}[{key!r}]")
    for key, inner in schema.optional.items():
        if key in value:
            _check(value[key], inner, f"{where}[{key!r}]")


def _check_number(value: Any, schema: Number, where: str) -> None:
    if value is None and schema.measured:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        null = ", or null where it was not measured" if schema.measured else ""
        raise _misfit(where, value, schema.says + null)
    if not math.isnan(value) and not schema.minimum <= value <= schema.maximum:
        raise _misfit(where, value, schema.says)


def _describe(schema: Any) -> str:
    if isinstance(schema, Number | Kind):
        return schema.says
    return "a list" if isinstance(schema, ListOf) else "a mapping"


def _misfit(where: str, value: Any, constraint: str) -> ValueError:
    shown = repr(value)
    if len(shown) > 80:
        shown = shown[:80] + "..."
    return ValueError(f"{where} is {shown} but must be {constraint}.")


def plain_data(value: Any, where: str = "results") -> Any:
    """The value as strict JSON types: NumPy and JAX numbers and arrays become Python's, NaN None.

    Raises:
      TypeError: something has no JSON form; the message names its key.
    """
    if isinstance(value, Mapping):
        return {str(key): plain_data(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float):
        # JSON has no NaN and no infinity; a bare NaN would make the file unreadable elsewhere.
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return plain_data(value.tolist(), where)
    raise TypeError(
        f"{where} is a {type(value).__name__}, which JSON cannot hold; convert it to numbers, "
        "texts, lists or mappings."
    )
