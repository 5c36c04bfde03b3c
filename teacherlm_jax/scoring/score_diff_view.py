"""What `teacherlm scores diff` prints: counts by cause, and examples of each."""

from __future__ import annotations

import collections
import statistics
import textwrap
from collections.abc import Iterator, Sequence

from teacherlm_jax.scoring import score_diff
from teacherlm_jax.scoring.compared import Compared
from teacherlm_jax.scoring.score_diff import Difference, Pair

WIDTH = 100


def lines(result: Difference, name_a: str, name_b: str, examples: int) -> Iterator[str]:
    """The page, line by line.

    Args:
      result: what was found.
      name_a: of the first file or folder.
      name_b: of the second.
      examples: most that are shown.
    """
    sides = (("A", name_a, result.only_a, result.by_a), ("B", name_b, result.only_b, result.by_b))
    for side, name, only, by in sides:
        yield f"{side}  {name}"
        more = f", {len(only):,} of them not in the other" if only else ""
        yield f"   {len(only) + len(result.pairs):,} questions{more}; ranked by {by}"
    ways = ", ".join(f"{count:,} by {way}" for way, count in result.matched.items())
    yield f"\n{len(result.pairs):,} questions in both: {ways}"
    yield from _accuracies(result)
    disagreements, differing = result.disagreements, result.differing
    yield f"predictions      {_share(disagreements, result)} disagree"
    yield f"log-likelihoods  {_share(differing, result)} differ by more than {result.tolerance:g}"
    sizes = [pair.difference for pair in result.pairs if pair.difference is not None]
    if sizes:
        largest, middle = max(sizes), statistics.median(sizes)
        yield f"                 largest difference {largest:.3g}, median {middle:.3g} nats"
    reordered = sum(pair.reordered for pair in result.pairs)
    if reordered:
        yield f"options          in another order in {reordered:,} questions; aligned by text"
    others = sum(pair.other_options for pair in result.pairs)
    if others:
        yield f"options          another number in {others:,} questions; those in both are compared"
    yield from _table("why predictions disagree", disagreements)
    rest = [pair for pair in differing if pair.agree]
    yield from _table("why log-likelihoods differ where predictions agree", rest)
    chosen = _examples(disagreements or rest, examples)
    if chosen:
        yield "\nexamples"
    for pair in chosen:
        yield from _example(pair)


def _accuracies(result: Difference) -> Iterator[str]:
    known = [pair for pair in result.pairs if None not in (pair.a.answer, pair.b.answer)]
    if known:
        right_a = sum(pair.prediction_a == pair.a.answer for pair in known)
        right_b = sum(pair.prediction_b == pair.b.answer for pair in known)
        count = len(known)
        yield f"accuracy         A {100 * right_a / count:.2f}, B {100 * right_b / count:.2f}"


def _share(pairs: Sequence[Pair], result: Difference) -> str:
    return f"{len(pairs):,} of {len(result.pairs):,}"


def _table(title: str, pairs: Sequence[Pair]) -> Iterator[str]:
    if not pairs:
        return
    yield f"\n{title}"
    for cause, count in score_diff.causes(pairs).items():
        yield f"  {count:6,}  {cause}"


def _examples(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """Of each cause in turn, so that none hides another."""
    by_cause = collections.defaultdict(list)
    for pair in pairs:
        by_cause[pair.cause].append(pair)
    groups = sorted(by_cause.values(), key=len, reverse=True)
    turns = [group[turn] for turn in range(most) for group in groups if turn < len(group)]
    return turns[:most]


def _example(pair: Pair) -> Iterator[str]:
    size = "not comparable" if pair.difference is None else f"{pair.difference:.3g} nats apart"
    yield f"\n  {pair.a.task}, question {pair.a.question_id}: log-likelihoods {size}"
    yield f"    A  {_choice(pair.a, pair.prediction_a, pair.margin_a)}"
    yield f"    B  {_choice(pair.b, pair.prediction_b, pair.margin_b)}"
    for cause in pair.causes:
        text = f"{cause.name}: {cause.detail}"
        yield textwrap.fill(text, WIDTH, initial_indent="    ", subsequent_indent="      ")


def _choice(one: Compared, chosen: int, margin: float | None) -> str:
    right = "" if one.answer is None else ", right" if chosen == one.answer else ", wrong"
    by = "" if margin is None else f", margin {margin:.3g}"
    text = f"{one.continuations[chosen]!r:.50}"
    if one.listed:
        text += f" {one.listed.texts[chosen]!r:.50}"
    return f"option {chosen} {text}{right}{by}"
