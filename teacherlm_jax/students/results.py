"""Results of all worlds and seeds in one mapping: what results.json holds."""

import dataclasses
import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from teacherlm_jax.students.experiment import Students

CAVEATS = (
    "Plain students are near chance by construction: they rarely see the facts that the test "
    "questions need. The gain shows knowledge carried over by explanations, not better reasoning.",
    "The scrambled control keeps form and length of the fundamentals but draws fresh names for "
    "every sample, so it must not help; if it does, something leaks.",
    "Teacher and students are of the same size and share the base model.",
    "A small synthetic world in invented language: nothing here is a claim about real data.",
    "The default settings were chosen on the validation split and on held-out questions about "
    "known animals; test accuracies of worlds 0 to 2 were seen on the way.",
)


@dataclasses.dataclass(frozen=True)
class WorldResult:
    """What came out of one world.

    Attributes:
      seed: the world's.
      arms: as `experiment.run` returns them.
      meanings: a sentence an arm.
      chance: accuracy of guessing, percent.
      teacher: truth rates, coverage and the like, percent.
      samples: explanations beside the truth.
      seconds: a phase.
    """

    seed: int
    arms: Mapping[str, Mapping[str, Any]]
    meanings: Mapping[str, str]
    chance: float
    teacher: Mapping[str, Any]
    samples: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, float]


def merge(students: Sequence[Students], worlds: Sequence[WorldResult]) -> dict[str, Any]:
    """Puts the results of all worlds together, in percent.

    Args:
      students: the settings, one a world, alike but for folders.
      worlds: the results in the same order.
    """
    timings: dict[str, float] = {}
    for world in worlds:
        for phase, value in world.seconds.items():
            timings[phase] = timings.get(phase, 0.0) + value
    devices = jax.devices()
    return {
        "unit": "percent",
        "chance": worlds[0].chance,
        "worlds": [world.seed for world in worlds],
        "seeds": list(students[0].seeds),
        "steps": {"student": students[0].train_steps},
        "arms": {arm: _arm(worlds, arm) for arm in students[0].arms},
        "teacher": _mean([world.teacher for world in worlds]),
        "samples": list(worlds[0].samples),
        "timings_s": {phase: round(seconds, 1) for phase, seconds in timings.items()},
        "environment": {
            "jax": jax.__version__,
            "devices": len(devices),
            "platform": devices[0].platform,
            "python": platform.python_version(),
        },
        "caveats": list(CAVEATS),
    }


def _runs(worlds: Sequence[WorldResult], arm: str) -> list[dict[str, Any]]:
    return [{"world": world.seed, **run} for world in worlds for run in world.arms[arm]["runs"]]


def _arm(worlds: Sequence[WorldResult], arm: str) -> dict[str, Any]:
    runs = _runs(worlds, arm)
    accuracies = [run["accuracy"] for run in runs]
    entry: dict[str, Any] = {
        "accuracy_mean": float(np.mean(accuracies)),
        "accuracy_std": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else math.nan,
        "accuracy_per_seed": accuracies,
        "by_type": _mean([run["by_type"] for run in runs]),
        "runs": runs,
        "validation_mean": float(np.mean([run["validation"] for run in runs])),
        "trained_tokens": round(float(np.mean([world.arms[arm]["tokens"] for world in worlds]))),
        "learning_curve": [
            {"step": rows[0]["step"], "loss": float(np.mean([row["loss"] for row in rows]))}
            for rows in zip(*(world.arms[arm]["rows"] for world in worlds), strict=True)
        ],
        "meaning": worlds[0].meanings[arm],
    }
    if arm != "plain" and "plain" in worlds[0].arms:
        plain = [run["accuracy"] for run in _runs(worlds, "plain")]
        differences = [a - b for a, b in zip(accuracies, plain, strict=True)]
        entry["paired_difference"] = {
            "mean": float(np.mean(differences)),
            "min": min(differences),
            "max": max(differences),
            "per_run": differences,
        }
    return entry


def _mean(values: Sequence[Any]) -> Any:
    """Means of nested mappings of numbers."""
    if isinstance(values[0], Mapping):
        return {key: _mean([value[key] for value in values]) for key in values[0]}
    return float(np.mean(values))
