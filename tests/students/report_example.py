"""Made-up results of a students' experiment, shaped like real ones, for the report's tests.

The numbers are drawn around those of an early measurement of the embedded world; they are no
measurement themselves. `python -m tests.students.report_example FOLDER` writes their report, to
look at.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Sequence
from typing import Any

ARMS: dict[str, tuple[float, tuple[float, float, float], int, str]] = {
    "plain": (50.4, (52, 46, 53), 393_000, "Questions and answers alone."),
    "fundamentals": (68.3, (75, 62, 68), 540_000, "The answer, then the facts it rests on."),
    "cot": (58.8, (65, 52, 60), 560_000, "The answer, then the steps from question to answer."),
    "mistakes": (
        60.0,
        (65, 52, 63),
        525_000,
        "The answer, then wrong turns and why they are wrong.",
    ),
    "all": (64.8, (73, 56, 65), 840_000, "The answer, then all three explanations."),
    "gold_fundamentals": (
        66.6,
        (74, 60, 66),
        541_000,
        "True fundamentals, written by the program.",
    ),
    "scrambled_fundamentals": (
        46.7,
        (51, 38, 52),
        540_000,
        "Fundamentals of another question, with names drawn at random: the form without the facts.",
    ),
}


def example_results(
    worlds: Sequence[int] = (0,),
    seeds: Sequence[int] = (0, 1),
    only: Sequence[str] = tuple(ARMS),
    curves: bool = True,
) -> dict[str, Any]:
    """Results of one run for each world and seed, the same on every call.

    Without curves and with few arms a report is drawn in a fraction of the time.
    """
    noise = random.Random(3)
    arms: dict[str, Any] = {}
    for key in ARMS:
        arms[key] = _arm(noise, key, [(world, seed) for world in worlds for seed in seeds], curves)
        if key != "plain":
            arms[key]["paired_difference"] = _difference(arms[key], arms["plain"])
    return {
        "unit": "percent",
        "chance": 44.4,
        "worlds": list(worlds),
        "seeds": list(seeds),
        "steps": {"base": 9000, "teacher corpus": 400, "teacher": 3000, "student": 800},
        "arms": {key: arms[key] for key in only},
        "teacher": _teacher(),
        "samples": _samples(),
        "timings_s": {
            "base": 74.2,
            "teacher": 41.0,
            "annotate": 6.3,
            "students": 171.9,
            "evaluate": 12.4,
            "report": 3.1,
            "total": 308.9,
        },
        "environment": {
            "jax": "0.10.2",
            "devices": ["TFRT_CPU_0", "TFRT_CPU_1"],
            "platform": "cpu",
            "python": "3.11.7",
        },
        "command": "teacherlm quickstart \\\n  --gin.SEEDS=2",
        "caveats": [
            "Plain students are near chance by construction: they rarely see the facts they need. "
            "This shows that knowledge is transferred, not that students reason better.",
            "Teacher and students have the same size and start from the same base model.",
        ],
    }


def _arm(
    noise: random.Random, key: str, places: Sequence[tuple[int, int]], curves: bool
) -> dict[str, Any]:
    mean, kinds, tokens, meaning = ARMS[key]
    runs = [_run(noise, mean - 3.0 * world, kinds, world, seed) for world, seed in places]
    accuracies = [run["accuracy"] for run in runs]
    return {
        "accuracy_mean": statistics.fmean(accuracies),
        "accuracy_std": statistics.stdev(accuracies) if len(runs) > 1 else float("nan"),
        "accuracy_per_seed": accuracies,
        "by_type": {
            name: statistics.fmean(run["by_type"][name] for run in runs)
            for name in ("tf", "mc", "both")
        },
        "runs": runs,
        "validation_mean": statistics.fmean(run["validation"] for run in runs),
        "trained_tokens": tokens,
        "learning_curve": _curve(noise, mean) if curves else [],
        "meaning": meaning,
    }


def _difference(arm: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    pairs = zip(arm["accuracy_per_seed"], plain["accuracy_per_seed"], strict=True)
    gaps = [mine - other for mine, other in pairs]
    return {
        "mean": statistics.fmean(gaps),
        "min": min(gaps),
        "max": max(gaps),
        "per_run": gaps,
    }


def small(**changes: Any) -> dict[str, Any]:
    """Results of two arms without curves, with some keys replaced."""
    return {**example_results(only=("plain", "fundamentals"), curves=False), **changes}


def two_arms(plain: list[float | None], other: list[float | None], name: str) -> dict[str, Any]:
    """Bare results of plain and one other arm with these accuracies, a seed each."""

    def arm(accuracies: list[float | None]) -> dict[str, Any]:
        finite = [value for value in accuracies if value is not None]
        mean = sum(finite) / len(finite) if len(finite) == len(accuracies) else None
        return {"accuracy_mean": mean, "accuracy_std": 1.0, "accuracy_per_seed": accuracies}

    seeds = list(range(len(plain)))
    return {"arms": {"plain": arm(plain), name: arm(other)}, "worlds": [0], "seeds": seeds}


def _run(
    noise: random.Random, mean: float, kinds: Sequence[float], world: int, seed: int
) -> dict[str, Any]:
    by_type = {
        name: min(max(kind + (mean - sum(kinds) / 3) + noise.gauss(0, 4), 0), 100)
        for name, kind in zip(("tf", "mc", "both"), kinds, strict=True)
    }
    accuracy = statistics.fmean(by_type.values())
    return {
        "world": world,
        "seed": seed,
        "accuracy": accuracy,
        "by_type": by_type,
        "validation": accuracy + noise.gauss(0, 1.5),
    }


def _curve(noise: random.Random, mean: float) -> list[dict[str, float]]:
    return [
        {
            "step": step,
            "loss": 0.35 + 2.1 * 0.99 ** (step * 60 / mean) + noise.gauss(0, 0.03),
            "accuracy_validation": mean - (mean - 44.4) * 0.994**step + noise.gauss(0, 1.0),
        }
        for step in range(0, 801, 25)
    ]


def _teacher() -> dict[str, Any]:
    return {
        "truth_rate": {"fundamentals": 95.3, "chain_of_thought": 84.1, "common_mistakes": 90.8},
        "only_question_names": {
            "fundamentals": 91.0,
            "chain_of_thought": 78.2,
            "common_mistakes": 87.4,
        },
        "coverage": {
            "plain": 0.0,
            "fundamentals": 97.9,
            "cot": 44.0,
            "mistakes": 45.2,
            "all": 98.3,
        },
        "dropped_held_out": {"fundamentals": 0, "chain_of_thought": 23, "common_mistakes": 1},
        "base_accuracy": {"tf": 93.1, "mc": 88.0, "both": 91.5, "mean": 90.9},
    }


def _samples() -> list[dict[str, Any]]:
    facts = "the luvik is a bird. the luvik lives in gobosford. the luvik eats clover."
    return [
        {
            "question": "true or false: the luvik lives near a lake.",
            "choices": ["true", "false"],
            "answer": "B",
            "type": "tf",
            "explanations": {
                "fundamentals": {"teacher": facts, "gold": facts, "true": True},
                "chain_of_thought": {
                    "teacher": "the luvik lives in gobosford. gobosford lies near a lake. so the "
                    "luvik lives near a lake.",
                    "gold": "the luvik lives in gobosford. gobosford lies near a forest. so the "
                    "luvik does not live near a lake.",
                    "true": False,
                },
                "common_mistakes": {
                    "teacher": "beware: the luvik does not live in brerinham but in gobosford.",
                    "gold": "beware: the luvik does not live in brerinham but in gobosford.",
                    "true": True,
                },
            },
        },
        {
            "question": "which animal has fur?",
            "choices": ["molif", "qualif", "kamus"],
            "answer": "B",
            "type": "mc",
            "explanations": {
                "fundamentals": {
                    "teacher": "the molif is a fish. the qualif is a mammal. the kamus is a fish.",
                    "gold": "the molif is a fish. the qualif is a mammal. the kamus is an insect.",
                    "true": False,
                },
            },
        },
    ]


if __name__ == "__main__":
    from teacherlm_jax.students import report

    example = example_results()
    print(report.table(example))
    print(report.write_report(example, sys.argv[1]))
