"""Why two scores of one question differ: what went into them, compared piece by piece."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Sequence

from teacherlm_jax.scoring import listed_options
from teacherlm_jax.scoring.compared import (
    CHECKPOINT,
    DTYPE,
    FACTS,
    TRUNCATION,
    UNCONDITIONAL,
    Compared,
)
from teacherlm_jax.scoring.lm_eval_logs import MODEL

PROMPT_TEXT = "prompt text"
OPTION_TEXTS = "option texts"
OPTION_ORDER = "option order"
TOKENS = "tokens"
BOUNDARY = "boundary"
NORMALISATION = "normalisation"
NUMERICS = "numerics"
UNKNOWN = "cannot tell"

# By so large a part of it rounding may move a log-likelihood, by the model's computation type.
_ROUNDING = {"float32": 1e-4}
_COARSE_ROUNDING = 0.01


@dataclasses.dataclass(frozen=True)
class Cause:
    """One of the reasons.

    Attributes:
      name: one of this module's names, or of `compared.FACTS`.
      detail: what stands on either side.
    """

    name: str
    detail: str


Alignment = tuple[int | None, ...]
"""For each option of the first the number of the same option in the second; None: it has none."""


def align(a: Compared, b: Compared) -> Alignment | None:
    """Which options are the same, by text.

    Of letters, the text is what the prompt lists behind them. As many options as in the other, of
    which some have other texts, are the same in their order. None: another number, and no text is
    in both.
    """
    ways = [(a.continuations, b.continuations), (a.option_texts, b.option_texts)]
    if a.listed or b.listed:
        ways = [(_named(a), _named(b))]
    for one, other in ((a.joined, b.joined), *ways):
        if collections.Counter(one) == collections.Counter(other):
            return _alignment(one, other)
    one, other = next((way for way in ways if set(way[0]) & set(way[1])), ways[0])
    found = _alignment(one, other)
    return None if set(found) == {None} else found


def _named(one: Compared) -> tuple[str, ...]:
    return one.listed.texts if one.listed else tuple(map(listed_options.plain, one.option_texts))


def _alignment(one: Sequence[str], other: Sequence[str]) -> Alignment:
    places = collections.defaultdict(list)
    for number, text in enumerate(other):
        places[text].append(number)
    # Equal texts in their order.
    found = [places[text].pop(0) if places[text] else None for text in one]
    if len(one) == len(other):
        left = iter(sorted(itertools.chain.from_iterable(places.values())))
        found = [next(left) if place is None else place for place in found]
    return tuple(found)


def is_reordered(alignment: Alignment | None) -> bool:
    """Whether the options that are in both stand in another order."""
    places = [place for place in alignment or () if place is not None]
    return places != sorted(places)


def largest_difference(
    a: Compared, b: Compared, alignment: Alignment | None, is_unconditional: bool
) -> float | None:
    """Of log-likelihoods of the same option; and of those without the prompt, where they count.

    None: no option is in both.
    """
    if alignment is None:
        return None
    pairs = [(a.log_likelihoods, b.log_likelihoods)]
    if is_unconditional:
        assert a.unconditional is not None and b.unconditional is not None
        pairs.append((a.unconditional, b.unconditional))
    return max(
        abs(one[option] - other[place])
        for one, other in pairs
        for option, place in enumerate(alignment)
        if place is not None
    )


def of_log_likelihoods(
    a: Compared,
    b: Compared,
    alignment: Alignment | None,
    difference: float | None,
    is_unconditional: bool,
) -> list[Cause]:
    """Why log-likelihoods differ; where nothing that is known does, what is not, or numerics.

    Args:
      a: the first.
      b: the second.
      alignment: of their options.
      difference: see `largest_difference`.
      is_unconditional: whether log-likelihoods without the prompt count too.
    """
    found = _of_texts(a, b, alignment)
    facts = (*FACTS, UNCONDITIONAL) if is_unconditional else FACTS
    unknown = [name for name in facts if not _are_known(name, a, b)]
    if a.context is None or b.context is None:
        unknown.insert(0, TOKENS)
    elif not found and alignment is not None:
        found += _of_tokens(a, b, alignment)
    for name in facts:
        if name not in unknown and a.facts[name] != b.facts[name]:
            found.append(Cause(name, f"{_shown(a.facts[name])} and {_shown(b.facts[name])}"))
    if found:
        return found
    assert difference is not None and alignment is not None  # Or the options would differ.
    largest = max(map(abs, (*a.log_likelihoods, *b.log_likelihoods)))
    types = {one.facts.get(DTYPE) for one in (a, b)}
    rounding = max(_ROUNDING.get(str(name), _COARSE_ROUNDING) for name in types)
    small = difference <= rounding * max(largest, 1.0)
    if unknown:
        text = f"{', '.join(unknown)} may differ, which a log does not say"
        if TOKENS in unknown:
            text += "; give --vocabulary to compare tokens"
        if small:
            text += f"; {difference:.2g} nats of {largest:.3g} are as little as rounding may make"
        return [Cause(UNKNOWN, text)]
    text = f"tokens, checkpoint and type are the same, log-likelihoods {difference:.2g} nats apart"
    if not small:
        text += (
            f", more than rounding makes of {largest:.3g}: compare the models' configurations and "
            "the programs' versions"
        )
    return [Cause(NUMERICS, text)]


def _are_known(name: str, a: Compared, b: Compared) -> bool:
    if name not in a.facts or name not in b.facts:
        return False
    # The name of a model says nothing of a digest.
    named = [str(one.facts[name]).startswith(MODEL) for one in (a, b)]
    return name != CHECKPOINT or named[0] == named[1]


def _of_texts(a: Compared, b: Compared, alignment: Alignment | None) -> list[Cause]:
    joined_a, joined_b = collections.Counter(a.joined), collections.Counter(b.joined)
    found = []
    if joined_a == joined_b:
        # The same texts, perhaps cut elsewhere: then tokens tell, where there are any.
        if a.prompt != b.prompt and (a.context is None or b.context is None):
            found.append(
                Cause(
                    BOUNDARY,
                    f"the same text is cut elsewhere: {a.prompt[-12:]!r} + {a.continuations[0]!r} "
                    f"and {b.prompt[-12:]!r} + {b.continuations[0]!r}",
                )
            )
        return found
    options = of_options(a, b, alignment)
    one, other = a.prompt, b.prompt
    if a.listed and b.listed and options:
        # The lists are told as options.
        one, other = a.listed.around, b.listed.around
    if one != other:
        found.append(Cause(PROMPT_TEXT, _first_difference(one, other)))
    return found + options


def of_options(a: Compared, b: Compared, alignment: Alignment | None) -> list[Cause]:
    """What of the options themselves differs: their texts, or else the order."""
    own, other = a.continuations, b.continuations
    if a.listed and b.listed:
        own, other = a.listed.texts, b.listed.texts
    texts, others = collections.Counter(own), collections.Counter(other)
    if texts != others:
        alone_a, alone_b = (list(more.elements()) for more in (texts - others, others - texts))
        detail = f"in A alone {_shown(alone_a)}, in B alone {_shown(alone_b)}"
        if len(own) != len(other):
            detail = f"{len(own)} and {len(other)} options; {detail}"
        return [Cause(OPTION_TEXTS, detail)]
    if is_reordered(alignment):
        # Where the prompt lists them, their order is a part of it.
        return [Cause(OPTION_ORDER, f"A's options are B's {list(alignment or ())}")]
    return []


def _first_difference(one: str, other: str) -> str:
    place = next(
        (at for at, (x, y) in enumerate(zip(one, other)) if x != y), min(len(one), len(other))
    )
    begin = max(0, place - 10)
    dots = "..." if begin else ""
    return (
        f"from character {place}: {dots}{one[begin : place + 30]!r} and "
        f"{dots}{other[begin : place + 30]!r}"
    )


def _of_tokens(a: Compared, b: Compared, alignment: Alignment) -> list[Cause]:
    assert a.context is not None and b.context is not None
    assert a.options is not None and b.options is not None
    own, other = a.context, b.context
    # What was cut off is told as such; here the rest is compared, from its end.
    is_cut = bool(a.facts.get(TRUNCATION) or b.facts.get(TRUNCATION))
    options = [b.options[place] for place in alignment if place is not None]
    wholes = [
        _same_length((*own, *one), (*other, *two), is_cut)
        for one, two in zip(a.options, options, strict=True)
    ]
    if all(one == two for one, two in wholes):
        if list(a.options) == options:
            return []
        return [
            Cause(
                BOUNDARY,
                f"the same tokens are cut after {len(own)} and after {len(other)}: options begin "
                f"with {_shown(list(a.options[0]))} and {_shown(list(options[0]))}",
            )
        ]
    own, other = _same_length(own, other, is_cut)
    if own != other:
        place = next(
            (at for at, (x, y) in enumerate(zip(own, other)) if x != y), min(len(own), len(other))
        )
        detail = (
            f"prompts of {len(own)} and {len(other)} tokens, which differ from token {place} on: "
            f"{_shown(list(own[place : place + 5]))} and {_shown(list(other[place : place + 5]))}"
        )
    else:
        number = next(n for n, (x, y) in enumerate(zip(a.options, options)) if x != y)
        detail = (
            f"option {number} {a.continuations[number]!r} is {_shown(list(a.options[number]))} and "
            f"{_shown(list(options[number]))}"
        )
    return [Cause(TOKENS, detail)]


def _same_length(
    one: tuple[int, ...], other: tuple[int, ...], is_cut: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    size = min(len(one), len(other)) if is_cut else 0
    return one[-size:], other[-size:]


def of_ranking(
    a: Compared, b: Compared, alignment: Alignment | None, by_a: str, by_b: str
) -> list[Cause]:
    """What of the ranking itself differs."""
    if by_a != by_b:
        return [Cause(NORMALISATION, f"A ranks by {by_a}, B by {by_b}")]
    if alignment is None:
        return []
    own, other = a.counts(by_a), b.counts(by_b)
    if own and other:
        pairs = [(own[n], other[place]) for n, place in enumerate(alignment) if place is not None]
        own, other = tuple(one for one, _ in pairs), tuple(two for _, two in pairs)
    if own != other:
        return [Cause(NORMALISATION, f"{by_a} are counted {list(own)} and {list(other)}")]
    return []


def of_near_tie(
    a: Compared,
    b: Compared,
    alignment: Alignment | None,
    difference: float,
    margin: float,
    by: str,
) -> Cause:
    """Why predictions differ where log-likelihoods are as good as the same."""
    if difference == 0 and is_reordered(alignment):
        return Cause(OPTION_ORDER, "a tie, which the option with the lower number wins")
    return Cause(
        NUMERICS,
        f"a near-tie: log-likelihoods are {difference:.2g} nats apart, the smaller margin by {by} "
        f"is {margin:.2g}",
    )


def _shown(value: object) -> str:
    if value is None:
        return "none"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
