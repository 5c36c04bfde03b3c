"""Pairs of context and continuation, as lm-evaluation-harness asks for them, as rows to score.

Pairs of one document with one context are the options of one question: they share a row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from teacherlm_jax.adapters.text_tokens import TextTokens
from teacherlm_jax.scoring import boundary
from teacherlm_jax.scoring.scores import Question


class Pair(NamedTuple):
    """A request.

    Attributes:
      document: what it belongs to, such as (task, number).
      context: what is given; may be empty.
      continuation: whose likelihood is asked for.
    """

    document: Hashable
    context: str
    continuation: str


class Encoded(NamedTuple):
    """A request as tokens.

    Attributes:
      document: see `Pair`.
      context: never empty; with BOS.
      continuation: never empty.
    """

    document: Hashable
    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclasses.dataclass
class Counts:
    """What a reader of the numbers should know of how they came about.

    Attributes:
      requests: in all.
      truncated: whose context lost tokens on the left.
      moved: whose continuation merges with the end of its context; see `boundary`.
    """

    requests: int = 0
    truncated: int = 0
    moved: int = 0


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Turns texts into tokens as the harness' own Hugging Face model does.

    Attributes:
      tokens: the tokenizer.
      bos_id: before every context that does not begin with it; None: nothing is.
      prefix_id: stands for an empty context.
      rule: of the boundary.
      max_length: most tokens that the model is fed, which does not count the last of a
        continuation.
      counts: of what was encoded so far.
    """

    tokens: TextTokens
    bos_id: int | None
    prefix_id: int
    rule: str
    max_length: int
    counts: Counts = dataclasses.field(default_factory=Counts)

    def texts(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Whole texts, with BOS."""
        return [
            self._with_bos(text, tuple(ids))
            for text, ids in zip(texts, self.tokens.encode_many(texts))
        ]

    def _with_bos(self, text: str, ids: tuple[int, ...]) -> tuple[int, ...]:
        if self.bos_id is None:
            return ids
        is_there = text.startswith(self.tokens.decode([self.bos_id], with_special=True))
        return ids if is_there else (self.bos_id, *ids)

    def pairs(self, pairs: Sequence[Pair]) -> list[Encoded]:
        """All requests as tokens, in their order.

        Raises:
          ValueError: a continuation has no tokens, or more than the model can be fed.
        """
        found: dict[int, Encoded] = {}
        without = [number for number, pair in enumerate(pairs) if not pair.context]
        continuations = self.tokens.encode_many([pairs[number].continuation for number in without])
        for number, ids in zip(without, continuations):
            found[number] = self._after_nothing(pairs[number], tuple(ids))
        for numbers, cut in self._cut(pairs):
            context = self._with_bos(pairs[numbers[0]].context, cut.prompt) or (self.prefix_id,)
            self.counts.moved += len(numbers) if cut.moved else 0
            for number, option in zip(numbers, cut.options):
                found[number] = Encoded(pairs[number].document, context, option)
        self.counts.requests += len(pairs)
        return [self._fitting(found[number], pairs[number]) for number in range(len(pairs))]

    def _cut(self, pairs: Sequence[Pair]) -> list[tuple[list[int], boundary.Cut]]:
        """The numbers of each question's pairs, and its tokens."""
        numbers: dict[tuple[Hashable, str], list[int]] = {}
        for number, pair in enumerate(pairs):
            if pair.context:
                numbers.setdefault((pair.document, pair.context), []).append(number)
        questions = [
            boundary.TextQuestion(
                context,
                tuple(pairs[number].continuation for number in own),
                f"request of {document}",
            )
            for (document, context), own in numbers.items()
        ]
        cuts = boundary.cut_many(self.tokens.encode_many, questions, self.rule)
        return list(zip(numbers.values(), cuts))

    def _after_nothing(self, pair: Pair, ids: tuple[int, ...]) -> Encoded:
        if ids and ids[0] == self.prefix_id:
            return Encoded(pair.document, ids[:1], ids[1:])
        return Encoded(pair.document, (self.prefix_id,), ids)

    def _fitting(self, encoded: Encoded, pair: Pair) -> Encoded:
        """Without the first tokens of the context where it is too long."""
        length = len(encoded.continuation)
        if not 0 < length <= self.max_length:
            raise ValueError(
                f"request of {pair.document}: its continuation {pair.continuation[:60]!r} has "
                f"{length} tokens, but must have at least 1 and at most max_length = "
                f"{self.max_length}: shorten it, or raise max_length."
            )
        kept = self.max_length + 1 - length
        if len(encoded.context) <= kept:
            return encoded
        self.counts.truncated += 1
        return encoded._replace(context=encoded.context[-kept:])


@dataclasses.dataclass(frozen=True)
class Rows:
    """Requests as questions.

    Attributes:
      questions: for a scorer that adds no BOS.
      places: question and option of each request.
      requests: of each question, the requests of its options.
    """

    questions: list[Question]
    places: list[tuple[int, int]]
    requests: list[list[int]]


def rows(encoded: Sequence[Encoded], max_length: int) -> Rows:
    """Groups requests of a document that have the same context.

    Args:
      encoded: the requests.
      max_length: most positions of a row of several options: what would be longer is more rows.
    """
    numbers: dict[tuple[Hashable, tuple[int, ...]], int] = {}
    free: list[int] = []
    requests: list[list[int]] = []
    places = []
    for index, one in enumerate(encoded):
        key = one.document, one.context
        number = numbers.get(key)
        more = len(one.continuation) - 1
        if number is None or free[number] < more:
            number = numbers[key] = len(requests)
            requests.append([])
            free.append(max_length - len(one.context))
        free[number] -= more
        places.append((number, len(requests[number])))
        requests[number].append(index)
    questions = [
        Question(
            encoded[own[0]].document,
            encoded[own[0]].context,
            [encoded[index].continuation for index in own],
        )
        for own in requests
    ]
    return Rows(questions, places, requests)
