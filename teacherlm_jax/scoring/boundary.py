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
EncodeMany = Callable[[Sequence[str]], Sequence[Sequence[int]]]

# Stands before a text so that a tokenizer which marks the beginning of texts marks this one.
BEFORE = "\n"


@dataclasses.dataclass(frozen=True)
class TextQuestion:
    """A question before it is tokenized.

    Attributes:
      prompt: what is given; may be empty where there is a BOS.
      options: what may follow, with the space that stands before it.
      where: names the question in errors.
    """

    prompt: str
    options: tuple[str, ...]
    where: str = "question"


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
    """Tokenizes one question; see `cut_many`."""
    question = TextQuestion(prompt, tuple(options), where)
    return cut_many(lambda texts: [encode(text) for text in texts], [question], rule)[0]


def cut_many(encode_many: EncodeMany, questions: Sequence[TextQuestion], rule: str) -> list[Cut]:
    """Tokenizes questions, all texts in one call.

    Args:
      encode_many: texts -> the ids of each, without special tokens.
      questions: texts.
      rule: one of `RULES`.

    Raises:
      ValueError: there is no such rule, or an option has no tokens.
    """
    if rule not in RULES:
        raise ValueError(f"boundary = {rule!r}, but it must be one of {RULES}.")
    for question in questions:
        for number, option in enumerate(question.options):
            if not option:
                raise ValueError(
                    f"{question.where}: option {number} is empty text, which has no likelihood: "
                    "give it text."
                )
    cut_one, texts_of = (_apart, _texts_apart) if rule == "apart" else (_joint, _texts_joint)
    texts = list(dict.fromkeys(text for question in questions for text in texts_of(question)))
    tokens = dict(zip(texts, map(tuple, encode_many(texts)), strict=True))
    found = [cut_one(question, tokens) for question in questions]
    for question, result in zip(questions, found):
        _check(question, result)
    return found


# The tokens of every text that a rule asks for.
_Tokens = dict[str, tuple[int, ...]]


def _texts_apart(question: TextQuestion) -> list[str]:
    with_before = [BEFORE + option for option in question.options]
    return [question.prompt, BEFORE, *question.options, *with_before]


def _apart(question: TextQuestion, tokens: _Tokens) -> Cut:
    before = tokens[BEFORE]

    def continued(text: str) -> tuple[int, ...]:
        # Some tokenizers put a space before every text ("A" -> "▁A"), and an option is none.
        both = tokens[BEFORE + text]
        if before and both[: len(before)] == before:
            return both[len(before) :]
        return tokens[text]

    return Cut(tokens[question.prompt], tuple(map(continued, question.options)))


def _texts_joint(question: TextQuestion) -> list[str]:
    whole = [question.prompt + option for option in question.options]
    return [question.prompt.rstrip(), *whole]


def _joint(question: TextQuestion, tokens: _Tokens) -> Cut:
    alone, *wholes = (tokens[text] for text in _texts_joint(question))
    border = min((_shared(alone, whole) for whole in wholes), default=len(alone))
    return Cut(alone[:border], tuple(whole[border:] for whole in wholes), moved=len(alone) - border)


def _shared(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """How many tokens two texts have in common at their beginning."""
    if second[: len(first)] == first:
        return len(first)
    for place, (one, two) in enumerate(zip(first, second)):
        if one != two:
            return place
    return min(len(first), len(second))


def _check(question: TextQuestion, found: Cut) -> None:
    for number, tokens in enumerate(found.options):
        if not tokens:
            raise ValueError(
                f"{question.where}: option {number}, {question.options[number]!r:.80}, has no "
                f"tokens of its own after the prompt, which ends in {question.prompt[-20:]!r}: the "
                "tokenizer drops it; change the text."
            )
