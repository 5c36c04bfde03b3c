"""From texts to tokens: which tokens are the prompt's, and which the option's.

Two rules, by name:

    apart  prompt and options are encoded each on their own, as the paper's authors do
    joint  prompt and option are encoded as one text and cut where the prompt's own tokens end, as
           lm-evaluation-harness does (its `_encode_pair`); white space at the prompt's end belongs
           to the option

A tokenizer may merge characters over the border, so that the prompt's own tokens are no beginning
of the whole's. Cutting at their number would then leave out a part of the option, or all of it.
Here the cut moves left instead, to the last token border that the prompt shares with every option:
each option is then scored with the same few characters of the prompt before it, none is empty, and
all have the same context. `Cut.moved` says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

RULES = ("apart", "joint")

Encode = Callable[[str], Sequence[int]]

# Stands before a text so that a tokenizer which marks the beginning of texts marks this one.
_BEFORE = "\n"


@dataclasses.dataclass(frozen=True)
class Cut:
    """A question as tokens.

    Attributes:
      prompt: the tokens that every option follows; without BOS.
      options: the tokens of each option; none is empty.
      moved: tokens at the prompt's end that are scored with the options, since an option merges
        with them; 0 but for a few tokenizers and prompts.
    """

    prompt: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]
    moved: int = 0


def cut(
    encode: Encode, prompt: str, options: Sequence[str], rule: str, where: str = "question"
) -> Cut:
    """Tokenizes a question.

    Args:
      encode: text -> ids, without special tokens.
      prompt: what is given; a text may be empty where there is a BOS.
      options: what may follow, with the space that stands before it.
      rule: one of `RULES`.
      where: names the question in errors.

    Raises:
      ValueError: there is no such rule, or an option has no tokens.
    """
    if rule not in RULES:
        raise ValueError(f"boundary = {rule!r}, but it must be one of {RULES}.")
    for number, option in enumerate(options):
        if not option:
            raise ValueError(
                f"{where}: option {number} is empty text, which has no likelihood: give it text."
            )
    found = _apart(encode, prompt, options) if rule == "apart" else _joint(encode, prompt, options)
    for number, tokens in enumerate(found.options):
        if not tokens:
            raise ValueError(
                f"{where}: option {number}, {options[number]!r:.80}, has no tokens of its own "
                f"after the prompt, which ends in {prompt[-20:]!r}: the tokenizer drops it; change "
                "the text."
            )
    return found


def _apart(encode: Encode, prompt: str, options: Sequence[str]) -> Cut:
    before = tuple(encode(_BEFORE))

    def continued(text: str) -> tuple[int, ...]:
        # Some tokenizers put a space before every text ("A" -> "▁A"), and an option is none.
        both = tuple(encode(_BEFORE + text))
        if before and both[: len(before)] == before:
            return both[len(before) :]
        return tuple(encode(text))

    return Cut(tuple(encode(prompt)), tuple(map(continued, options)))


def _joint(encode: Encode, prompt: str, options: Sequence[str]) -> Cut:
    bare = prompt.rstrip()
    alone = tuple(encode(bare))
    space = prompt[len(bare) :]
    wholes = [tuple(encode(bare + space + option)) for option in options]
    border = min((_shared(alone, whole) for whole in wholes), default=len(alone))
    return Cut(alone[:border], tuple(whole[border:] for whole in wholes), moved=len(alone) - border)


def _shared(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two texts have in common at their beginning."""
    for place, (one, two) in enumerate(zip(first, second)):
        if one != two:
            return place
    return min(len(first), len(second))
