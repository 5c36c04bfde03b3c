"""Generation until a text stops it.

The engine ends a row at EOS alone. Stop strings are found in decoded text, so rows are written in
rounds, each twice as long as the one before: most answers of few-shot tasks end in the first, and
none is written to its maximum only to be cut. A later round reads its prompt anew.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from teacherlm_jax.adapters.text_tokens import TextTokens
from teacherlm_jax.generation import sampling
from teacherlm_jax.generation.engine import GenerationRequest, Generator

FIRST_ROUND = 32

_MAXIMUM = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
# Settings of other models that change nothing at these values.
_NEUTRAL: Mapping[str, Any] = {
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "num_return_sequences": 1,
    "use_cache": True,
    "pad_token_id": None,
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a request is to be written.

    Attributes:
      policy: how tokens are chosen.
      stops: texts that end it, and are no part of it.
      max_new_tokens: the most.
    """

    policy: sampling.Policy
    stops: tuple[str, ...]
    max_new_tokens: int


def settings(arguments: Mapping[str, Any], default_max_new_tokens: int) -> Settings:
    """What the `generation_kwargs` of a task mean.

    Raises:
      ValueError: one is not known, or impossible.
    """
    left = {name: value for name, value in arguments.items() if value is not None}
    given = [left.pop(name) for name in _MAXIMUM if name in left]
    stops = left.pop("until", ())
    stops = (stops,) if isinstance(stops, str) else tuple(stops)
    policy = _policy(left)
    for name, neutral in _NEUTRAL.items():
        if name in left and left[name] == neutral:
            del left[name]
    if left:
        raise ValueError(
            f"generation_kwargs {left} are not known here: there are do_sample, temperature, "
            f"top_k, top_p, until and max_gen_toks; leave out the others (--gen_kwargs)."
        )
    most = int(given[0]) if given else default_max_new_tokens
    if most < 1:
        raise ValueError(f"max_gen_toks = {most}, but at least 1 token must be written.")
    return Settings(policy, tuple(stop for stop in stops if stop), most)


def _policy(left: dict[str, Any]) -> sampling.Policy:
    """Takes out what says how tokens are chosen."""
    temperature = float(left.pop("temperature", math.nan))
    top_k, top_p = left.pop("top_k", None), left.pop("top_p", None)
    # As the harness: without do_sample, a temperature above 0 asks for samples.
    if not left.pop("do_sample", temperature > 0):
        return sampling.Greedy()
    return sampling.Temperature(
        temperature=1.0 if math.isnan(temperature) else temperature,
        top_k=int(top_k) if top_k else None,
        top_p=None if top_p is None else float(top_p),
    )


@dataclasses.dataclass
class _Row:
    prompt: tuple[int, ...]
    example_id: str
    sample_index: int
    tokens: tuple[int, ...] = ()


# max_new_tokens -> what writes at most so many.
MakeGenerator = Callable[[int], Generator]


def write(
    make_generator: MakeGenerator,
    tokens: TextTokens,
    prompts: Sequence[tuple[str, Sequence[int]]],
    asked: Settings,
    progress: Callable[[int], None] = lambda finished: None,
) -> list[str]:
    """Writes after each prompt until it ends, one of the stops comes, or the maximum is reached.

    Args:
      make_generator: gives generators that differ in their maximum alone.
      tokens: decodes.
      prompts: text, which names the example, and tokens; equal ones are other samples of the same.
      asked: how.
      progress: called with how many were finished by a round.

    Returns:
      Texts in the order of the prompts, cut before the first stop.
    """
    seen: collections.Counter[str] = collections.Counter()
    rows = []
    for text, prompt in prompts:
        rows.append(_Row(tuple(prompt), text, seen[text]))
        seen[text] += 1
    going, length, done = rows, FIRST_ROUND, 0
    while going:
        new = min(length, asked.max_new_tokens - done)
        results = make_generator(new).generate(
            [GenerationRequest(r.example_id, r.sample_index, r.prompt + r.tokens) for r in going]
        )
        done += new
        left = []
        for row, result in zip(going, results):
            row.tokens += result.tokens
            is_stopped = _cut_tokens(row, tokens, asked.stops)
            if not (is_stopped or result.finished or done == asked.max_new_tokens):
                left.append(row)
        progress(len(going) - len(left))
        going, length = left, 2 * length
    return [_cut_text(tokens.decode(row.tokens), asked.stops) for row in rows]


def _cut_tokens(row: _Row, tokens: TextTokens, stops: Sequence[str]) -> bool:
    """Drops what comes after the token that completes a stop; whether one is there.

    Special tokens, which the text leaves out, may be stops.
    """

    def is_stopped(count: int) -> bool:
        text = tokens.decode(row.tokens[:count], with_special=True)
        return any(stop in text for stop in stops)

    low, high = 0, len(row.tokens)
    if not is_stopped(high):
        return False
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_stopped(middle) else (middle, high)
    row.tokens = row.tokens[:high]
    return True


def _cut_text(text: str, stops: Sequence[str]) -> str:
    # One after the other, as the harness does: stops may overlap.
    for stop in stops:
        text = text.partition(stop)[0]
    return text
