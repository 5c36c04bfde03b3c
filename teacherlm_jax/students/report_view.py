"""The results of the students' experiment as the report shows them: names, order, differences.

Everything here is pure: a checked results mapping (see `report_schema`) in, values and sentences
out. The charts, the pages and the terminal's table all read these, so that they cannot disagree.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

BASELINE, TEACHER, GOLD, CONTROL = "baseline", "teacher", "gold", "control"
GROUP_NAMES = {
    BASELINE: "no explanations",
    TEACHER: "teacher's explanations",
    GOLD: "gold explanations",
    CONTROL: "control",
}

# Key of an arm -> (label, group, how a sentence about its students begins), in the order shown.
KNOWN_ARMS = {
    "plain": ("plain", BASELINE, "Plain students"),
    "fundamentals": (
        "+ fundamentals",
        TEACHER,
        "Students trained with the teacher's fundamentals",
    ),
    "cot": ("+ chain of thought", TEACHER, "Students trained with the teacher's chains of thought"),
    "mistakes": (
        "+ common mistakes",
        TEACHER,
        "Students trained with the teacher's mistakes texts",
    ),
    "all": ("+ all three", TEACHER, "Students trained with all three explanations"),
    "gold_fundamentals": ("gold fundamentals", GOLD, "Students trained with gold fundamentals"),
    "scrambled_fundamentals": (
        "scrambled fundamentals",
        CONTROL,
        "Students trained with scrambled fundamentals",
    ),
}

QUESTION_TYPES = {
    "tf": "true or false (the format of CREAK)",
    "mc": "multiple choice (the format of ECQA)",
    "both": "yes or no about two things (the format of StrategyQA)",
}

DASH = "\N{EN DASH}"  # stands for a number that is missing
MINUS = "\N{MINUS SIGN}"

# More runs than this are told as a count and a range, not one by one.
RUNS_IN_HEADLINE = 4


@dataclasses.dataclass(frozen=True)
class Run:
    """One student: its name ("world 0, seed 1"), a short name ("w0 s1") and accuracy, percent."""

    name: str
    short: str
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Difference:
    """Accuracy minus plain's in the same world with the same seed, points."""

    mean: float
    minimum: float
    maximum: float
    per_run: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Point:
    """One entry of a learning curve; validation is percent, NaN where it was not measured."""

    step: int
    loss: float
    validation: float


@dataclasses.dataclass(frozen=True)
class Arm:
    """One arm of the experiment, ready to show. Numbers that are missing are NaN."""

    key: str
    label: str
    group: str
    phrase: str
    mean: float
    std: float
    runs: tuple[Run, ...]
    by_type: Mapping[str, float]
    difference: Difference | None
    validation: float
    tokens: float
    curve: tuple[Point, ...]
    meaning: str


@dataclasses.dataclass(frozen=True)
class Headline:
    """What the run found: one sentence with the numbers, and the sentences that qualify it."""

    text: str
    details: tuple[str, ...]


def arms_of(results: Mapping[str, Any]) -> list[Arm]:
    """The arms in the order shown: the known ones first, then the others as they come."""
    arms = results["arms"]
    order = [key for key in KNOWN_ARMS if key in arms]
    order += [key for key in arms if key not in KNOWN_ARMS]
    plain_runs = _runs_of(arms["plain"], results) if "plain" in arms else ()
    return [_arm_of(key, arms[key], results, plain_runs) for key in order]


def _arm_of(
    key: str, arm: Mapping[str, Any], results: Mapping[str, Any], plain_runs: Sequence[Run]
) -> Arm:
    label, group, phrase = KNOWN_ARMS.get(key) or _unknown_arm(key)
    runs = _runs_of(arm, results)
    return Arm(
        key=key,
        label=label,
        group=group,
        phrase=phrase,
        mean=number(arm["accuracy_mean"]),
        # One run has no spread, whatever a standard deviation of one value may be.
        std=number(arm.get("accuracy_std")) if len(runs) > 1 else math.nan,
        runs=runs,
        by_type={name: number(value) for name, value in arm.get("by_type", {}).items()},
        difference=None if key == "plain" else _difference_of(arm, runs, plain_runs),
        validation=number(arm.get("validation_mean")),
        tokens=number(arm.get("trained_tokens")),
        curve=tuple(
            Point(point["step"], number(point["loss"]), number(point.get("accuracy_validation")))
            for point in arm.get("learning_curve", ())
        ),
        meaning=arm.get("meaning", ""),
    )


def _unknown_arm(key: str) -> tuple[str, str, str]:
    """Label, group and phrase of an arm that this module was not told of."""
    label = key.replace("_", " ")
    first = label.split(" ")[0]
    groups = dict.fromkeys(("scrambled", "shuffled", "wrong", "length", "control"), CONTROL)
    groups["gold"] = GOLD
    return label, groups.get(first, TEACHER), f"Students of the arm “{label}”"


def _runs_of(arm: Mapping[str, Any], results: Mapping[str, Any]) -> tuple[Run, ...]:
    accuracies = [number(value) for value in arm["accuracy_per_seed"]]
    runs, seeds = arm.get("runs"), results.get("seeds", ())
    worlds = results.get("worlds", ())
    if runs:
        many_worlds = len({run["world"] for run in runs} | set(worlds)) > 1
        places = [(run["world"] if many_worlds else None, run["seed"]) for run in runs]
    elif len(worlds) <= 1 and len(seeds) == len(accuracies):
        places = [(None, seed) for seed in seeds]
    else:
        names = [(f"run {index + 1}",) * 2 for index in range(len(accuracies))]
        return tuple(Run(*name, value) for name, value in zip(names, accuracies, strict=True))
    return tuple(
        Run(
            f"seed {seed}" if world is None else f"world {world}, seed {seed}",
            f"seed {seed}" if world is None else f"w{world} s{seed}",
            value,
        )
        for (world, seed), value in zip(places, accuracies, strict=True)
    )


def _difference_of(
    arm: Mapping[str, Any], runs: Sequence[Run], plain_runs: Sequence[Run]
) -> Difference | None:
    """The recorded paired difference; else the one that the runs of the same name give."""
    recorded = arm.get("paired_difference")
    if recorded is not None:
        return Difference(
            number(recorded["mean"]),
            number(recorded["min"]),
            number(recorded["max"]),
            tuple(number(value) for value in recorded.get("per_run", ())),
        )
    plain = {run.name: run.accuracy for run in plain_runs}
    pairs = tuple(run.accuracy - plain.get(run.name, math.nan) for run in runs)
    finite = [value for value in pairs if math.isfinite(value)]
    if not finite:
        return None
    return Difference(sum(finite) / len(finite), min(finite), max(finite), pairs)


def headline(results: Mapping[str, Any], arms: Sequence[Arm]) -> Headline:
    """What was found: the arm with the teacher's fundamentals (or the next one) against plain."""
    by_key = {arm.key: arm for arm in arms}
    plain = by_key.get("plain")
    others = [arm for arm in arms if arm.key != "plain"]
    details = []
    if "fundamentals" not in by_key and others:
        details.append(f"This run has no arm “fundamentals”; the arm shown is “{others[0].key}”.")
    if plain is None:
        scores = ", ".join(f"{arm.label} {percent(arm.mean)}" for arm in arms)
        return Headline(f"No plain students to compare with. Accuracies, percent: {scores}.", ())
    if not others:
        return Headline(f"Plain students score {_score(plain.mean)}; no other arm was run.", ())
    arm = others[0]
    if arm.difference is None or not math.isfinite(arm.difference.mean):
        text = (
            f"{arm.phrase} score {_score(arm.mean)}, plain students {_score(plain.mean)}: "
            "the runs cannot be compared, because accuracies are missing."
        )
        return Headline(text, tuple(details))
    gain = arm.difference.mean
    change = f"a {'gain' if gain >= 0 else 'loss'} of {abs(gain):.1f} points"
    text = f"{arm.phrase} score {_score(arm.mean)}, plain students {_score(plain.mean)}"
    details.insert(0, _run_sentence(arm, plain))
    for control in (one for one in others if one.group == CONTROL and one is not arm):
        if control.difference is not None:
            points = f"{signed(control.difference.mean)} points against plain"
            details.append(
                f"The control “{control.label}” scores {_score(control.mean)}: {points}."
            )
    if math.isfinite(number(results.get("chance"))):
        details.append(f"Guessing scores {percent(number(results['chance']))}%.")
    return Headline(f"{text}: {change}.", tuple(details))


def _run_sentence(arm: Arm, plain: Arm) -> str:
    """How the arm did against plain run by run, or over how many runs and how widely."""
    baseline = {run.name: run.accuracy for run in plain.runs}
    pairs = [(run, baseline.get(run.name, math.nan)) for run in arm.runs]
    measured = [(run, base) for run, base in pairs if math.isfinite(run.accuracy - base)]
    missing = len(pairs) - len(measured)
    note = f" {missing} of {len(pairs)} runs cannot be compared." if missing else ""
    if len(measured) <= RUNS_IN_HEADLINE:
        told = "; ".join(
            f"{run.name}: {percent(base)} → {percent(run.accuracy)} ({signed(run.accuracy - base)})"
            for run, base in measured
        )
        return (f"{told[:1].upper()}{told[1:]}." if told else "") + note
    ahead = sum(run.accuracy > base for run, base in measured)
    gains = [run.accuracy - base for run, base in measured]
    spread = f"{signed(min(gains))} to {signed(max(gains))}"
    return f"Ahead of plain in {ahead} of {len(measured)} runs ({spread} points).{note}"


def _score(value: float) -> str:
    return f"{percent(value)}%" if math.isfinite(value) else "(not measured)"


def number(value: Any) -> float:
    """The value as a float; NaN where it is missing."""
    return math.nan if value is None else float(value)


def percent(value: float) -> str:
    """A percentage with one decimal; a dash where it is missing."""
    return f"{value:.1f}" if math.isfinite(value) else DASH


def signed(value: float) -> str:
    """A difference with its sign (a real minus) and one decimal; a dash where it is missing."""
    return f"{value:+.1f}".replace("-", MINUS) if math.isfinite(value) else DASH


def count(value: float) -> str:
    """A count in at most four characters: 873, 393k, 1.2M; a dash where it is missing."""
    if not math.isfinite(value):
        return DASH
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.{0 if value >= 10 * size else 1}f}{unit}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """A time as a person says it: 4.2 s, 1 min 14 s, 2 h 05 min; a dash where it is missing."""
    if not math.isfinite(seconds):
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
