"""Two evaluations of the same questions: where they differ, and why.

Questions are matched, options aligned by their texts, and what went into the scores is compared.
Where log-likelihoods differ, whatever differs of that is the cause; where nothing does and all is
known, numerics are; where something is not known, as in lm-eval's logs, that is said.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from teacherlm_jax.scoring import score_causes
from teacherlm_jax.scoring.compared import Compared
from teacherlm_jax.scoring.score_causes import Alignment, Cause
from teacherlm_jax.scoring.scores import NORMALISATIONS

TOLERANCE = 1e-4
"""Largest difference of log-likelihoods, in nats, that is none; rounding in float32 gives less."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """A question in both.

    Attributes:
      a: in the first.
      b: in the second.
      prediction_a: number of the option that the first chooses.
      prediction_b: the second's, in its own numbering.
      margin_a: by how much the first's best option exceeds its second; None for one option.
      margin_b: the same of the second.
      difference: largest of log-likelihoods of the same option; None: options cannot be aligned.
      agree: whether both choose the same option.
      reordered: whether the options stand in another order.
      other_options: whether one has more options than the other.
      causes: why they disagree, or differ by more than the tolerance; none where they do neither.
    """

    a: Compared
    b: Compared
    prediction_a: int
    prediction_b: int
    margin_a: float | None
    margin_b: float | None
    difference: float | None
    agree: bool
    reordered: bool
    other_options: bool
    causes: tuple[Cause, ...]

    @property
    def cause(self) -> str:
        """The names of the causes, in one text."""
        return " and ".join(cause.name for cause in self.causes)


@dataclasses.dataclass(frozen=True)
class Difference:
    """What comes of comparing two evaluations.

    Attributes:
      by_a: by what the first ranks.
      by_b: by what the second does.
      tolerance: in nats.
      pairs: all questions in both.
      only_a: questions of the first alone.
      only_b: of the second alone.
      matched: how questions were matched -> how many.
    """

    by_a: str
    by_b: str
    tolerance: float
    pairs: tuple[Pair, ...]
    only_a: tuple[Compared, ...]
    only_b: tuple[Compared, ...]
    matched: dict[str, int]

    @property
    def disagreements(self) -> list[Pair]:
        """Questions whose predictions differ."""
        return [pair for pair in self.pairs if not pair.agree]

    @property
    def differing(self) -> list[Pair]:
        """Questions whose log-likelihoods differ by more than the tolerance, or have no like."""
        return [
            pair
            for pair in self.pairs
            if pair.difference is None or pair.difference > self.tolerance
        ]


def compare(
    a: Sequence[Compared],
    b: Sequence[Compared],
    by: str | None = None,
    tolerance: float = TOLERANCE,
) -> Difference:
    """Compares two evaluations.

    Args:
      a: the first.
      b: the second.
      by: by what both rank, one of `NORMALISATIONS`; None: each by its own.
      tolerance: largest difference of log-likelihoods that is none.

    Raises:
      ValueError: they have no question in common, one ranks by several normalisations, or lacks
        what a normalisation needs.
    """
    if by is not None and by not in NORMALISATIONS:
        raise ValueError(f"by = {by!r}, but it must be one of {', '.join(NORMALISATIONS)}.")
    if not tolerance >= 0:
        raise ValueError(f"tolerance = {tolerance}, but it must be 0 or more, in nats.")
    by_a, by_b = by or _own(a), by or _own(b)
    pairs, matched = match(a, b)
    if not pairs:
        raise ValueError(
            f"there is no question in both: {_shown(a[0])} and {_shown(b[0])} are their first. Give"
            " two evaluations of the same task; questions are matched by task and id, by prompt, "
            "or by id and options."
        )
    found = [_pair(one, other, by_a, by_b, tolerance) for one, other in pairs]
    places_a = {id(one) for one, _ in pairs}
    places_b = {id(other) for _, other in pairs}
    return Difference(
        by_a=by_a,
        by_b=by_b,
        tolerance=tolerance,
        pairs=tuple(found),
        only_a=tuple(one for one in a if id(one) not in places_a),
        only_b=tuple(one for one in b if id(one) not in places_b),
        matched=matched,
    )


def _own(questions: Sequence[Compared]) -> str:
    found = collections.Counter(one.normalisation for one in questions)
    if len(found) > 1:
        raise ValueError(
            f"{questions[0].where} and others of it rank by {', '.join(sorted(found))}: say by "
            "which to compare, with --by."
        )
    return next(iter(found))


def _shown(one: Compared) -> str:
    return f"{one.task} {one.question_id} ({one.where}), {one.prompt[:40]!r}"


_Key = Callable[[Compared], Hashable]

# The surest first. Another finds questions under another prompt: see `_by_id`.
_KEYS: tuple[tuple[str, _Key], ...] = (
    ("task, split and id", lambda one: (one.task, one.split, one.question_id)),
    ("task and id", lambda one: (one.task, one.question_id)),
    ("prompt and options", lambda one: frozenset(one.joined)),
    ("prompt", lambda one: one.prompt),
)


def _by_id(questions: Sequence[Compared]) -> _Key:
    """A key of id and options; None where these may be another task's.

    Numbers are ids of rows in every task, and letters or yes and no are options in many.
    """

    def options(one: Compared) -> tuple[str, ...]:
        return tuple(sorted(one.option_texts))

    seen = collections.Counter(map(options, questions))

    def key(one: Compared) -> Hashable:
        is_telling = not one.question_id.isdigit() or seen[options(one)] == 1
        return (one.question_id, options(one)) if is_telling else None

    return key


def match(
    a: Sequence[Compared], b: Sequence[Compared]
) -> tuple[list[tuple[Compared, Compared]], dict[str, int]]:
    """Pairs of the same question, in the order of the first, and how many were found in which way.

    A way counts for a question if it means one question on either side.
    """
    found: dict[int, Compared] = {}
    matched = {}
    left_a, left_b = list(a), list(b)
    ways = [(name, key, key) for name, key in _KEYS]
    for name, key_a, key_b in (*ways, ("id and options", _by_id(a), _by_id(b))):
        own, other = _by_key(left_a, key_a), _by_key(left_b, key_b)
        same = [(own[value], other[value]) for value in own.keys() & other.keys()]
        found |= {id(one): two for one, two in same}
        taken = {id(two) for _, two in same}
        left_a = [one for one in left_a if id(one) not in found]
        left_b = [one for one in left_b if id(one) not in taken]
        if same:
            matched[name] = len(same)
    return [(one, found[id(one)]) for one in a if id(one) in found], matched


def _by_key(questions: Sequence[Compared], key: _Key) -> dict[Hashable, Compared]:
    """Those questions that have a key and share it with no other."""
    seen = collections.Counter(map(key, questions))
    return {key(one): one for one in questions if key(one) is not None and seen[key(one)] == 1}


def _pair(a: Compared, b: Compared, by_a: str, by_b: str, tolerance: float) -> Pair:
    scores_a, scores_b = a.scores(by_a), b.scores(by_b)
    chosen_a, chosen_b = _best(scores_a), _best(scores_b)
    alignment = score_causes.align(a, b)
    difference = score_causes.largest_difference(a, b, alignment, by_a == by_b == "unconditional")
    agree = alignment is not None and alignment[chosen_a] == chosen_b
    causes: tuple[Cause, ...] = ()
    if not agree or difference is None or difference > tolerance:
        causes = _causes(a, b, alignment, agree, difference, by_a, by_b, tolerance)
    return Pair(
        a=a,
        b=b,
        prediction_a=chosen_a,
        prediction_b=chosen_b,
        margin_a=_margin(scores_a),
        margin_b=_margin(scores_b),
        difference=difference,
        agree=agree,
        reordered=score_causes.is_reordered(alignment),
        other_options=len(a.continuations) != len(b.continuations),
        causes=causes,
    )


def _causes(
    a: Compared,
    b: Compared,
    alignment: Alignment | None,
    agree: bool,
    difference: float | None,
    by_a: str,
    by_b: str,
    tolerance: float,
) -> tuple[Cause, ...]:
    if (
        alignment is not None
        and not agree
        and by_a != by_b
        and _same_under_one(a, b, alignment, by_a, by_b)
    ):
        detail = f"ranked alike, both would choose the same: A ranks by {by_a}, B by {by_b}"
        return (Cause(score_causes.NORMALISATION, detail),)
    if difference is None or difference > tolerance:
        found = score_causes.of_log_likelihoods(
            a, b, alignment, difference, by_a == by_b == "unconditional"
        )
        counts = [] if agree else score_causes.of_ranking(a, b, alignment, by_a, by_b)
        return (*found, *counts)
    found = score_causes.of_ranking(a, b, alignment, by_a, by_b)
    if len(a.continuations) != len(b.continuations):
        found += score_causes.of_options(a, b, alignment)
    if found:
        return tuple(found)
    margin = min(_margin(a.scores(by_a)) or 0.0, _margin(b.scores(by_b)) or 0.0)
    return (score_causes.of_near_tie(a, b, alignment, difference, margin, by_a),)


def _same_under_one(a: Compared, b: Compared, alignment: Alignment, by_a: str, by_b: str) -> bool:
    """Whether one normalisation for both would make them agree."""
    for by in (by_a, by_b):
        try:
            if alignment[_best(a.scores(by))] == _best(b.scores(by)):
                return True
        except ValueError:
            continue  # One of them lacks what it needs.
    return False


def _best(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=lambda option: (scores[option], -option))


def _margin(scores: Sequence[float]) -> float | None:
    ordered = sorted(scores, reverse=True)
    return ordered[0] - ordered[1] if len(ordered) > 1 else None


def as_json(result: Difference) -> dict[str, Any]:
    """All of it, as JSON values."""
    return {
        "by": [result.by_a, result.by_b],
        "tolerance": result.tolerance,
        "matched": result.matched,
        "only_a": [one.where for one in result.only_a],
        "only_b": [one.where for one in result.only_b],
        "questions": len(result.pairs),
        "disagreements": causes(result.disagreements),
        "differing": causes(result.differing),
        "pairs": [_pair_as_json(pair) for pair in result.pairs],
    }


def _pair_as_json(pair: Pair) -> dict[str, Any]:
    return {
        "task": pair.a.task,
        "question_id": pair.a.question_id,
        "where": [pair.a.where, pair.b.where],
        "predictions": [pair.prediction_a, pair.prediction_b],
        "answers": [pair.a.answer, pair.b.answer],
        "agree": pair.agree,
        "reordered": pair.reordered,
        "other_options": pair.other_options,
        "margins": [pair.margin_a, pair.margin_b],
        "difference": pair.difference,
        "log_likelihoods": [pair.a.log_likelihoods, pair.b.log_likelihoods],
        "causes": [dataclasses.asdict(cause) for cause in pair.causes],
    }


def causes(pairs: Sequence[Pair]) -> dict[str, int]:
    """How many questions each cause, or several together, explain; the most frequent first."""
    return dict(collections.Counter(pair.cause for pair in pairs).most_common())
