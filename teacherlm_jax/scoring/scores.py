"""What is scored and what comes of it: questions, options, and the receipts of their scores."""

import dataclasses
import math
from collections.abc import Hashable, Sequence

from teacherlm_jax.scoring import split

NORMALISATIONS = ("sum", "tokens")


@dataclasses.dataclass(frozen=True)
class ScoringPolicy:
    """How options are scored; recorded with every score.

    Attributes:
      normalisation: "sum" ranks by the summed log-likelihood (the paper's), "tokens" by its mean
        over the option's tokens.
      bos_id: put before every prompt; None puts nothing.
      max_length: most tokens of prompt and option together, BOS included.
      truncation: "error", or "left" to drop the first tokens of a prompt that is too long.
      near_tie: the two best options are reported as a near-tie where their scores differ by no
        more than this, in nats: there, rounding in another batch shape may turn the ranking.
    """

    max_length: int
    normalisation: str = "sum"
    bos_id: int | None = None
    truncation: str = "error"
    near_tie: float = 1e-4

    def __post_init__(self) -> None:
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(
                f"ScoringPolicy.normalisation = {self.normalisation!r}, but it must be one of "
                f"{NORMALISATIONS}."
            )
        if self.truncation not in split.TRUNCATIONS:
            raise ValueError(
                f"ScoringPolicy.truncation = {self.truncation!r}, but it must be one of "
                f"{split.TRUNCATIONS}."
            )
        if self.max_length < 2:
            raise ValueError(
                f"ScoringPolicy.max_length = {self.max_length}, but it must be at least 2: a "
                "token of the prompt and one of the option."
            )


@dataclasses.dataclass(frozen=True)
class Question:
    """A prompt and the options that may follow it.

    Attributes:
      question_id: names the question in results and errors.
      prompt_tokens: token ids without BOS.
      options: token ids of each option.
    """

    question_id: Hashable
    prompt_tokens: Sequence[int]
    options: Sequence[Sequence[int]]


@dataclasses.dataclass(frozen=True)
class OptionRow:
    """One (question, option) pair of a flat table; rows of a question share id and prompt."""

    question_id: Hashable
    prompt_tokens: Sequence[int]
    option_tokens: Sequence[int]


@dataclasses.dataclass(frozen=True)
class QuestionScore:
    """The options of one question, scored.

    Attributes:
      question_id: of the question.
      log_likelihoods: natural log-likelihood of each option, summed over its tokens.
      token_counts: tokens of each option.
      truncated: prompt tokens that were dropped on the left.
      policy: how the options were scored.
    """

    question_id: Hashable
    log_likelihoods: tuple[float, ...]
    token_counts: tuple[int, ...]
    truncated: int
    policy: ScoringPolicy

    @property
    def scores(self) -> tuple[float, ...]:
        """What options are ranked by: log-likelihoods, normalised as the policy says."""
        if self.policy.normalisation == "sum":
            return self.log_likelihoods
        return tuple(
            value / count
            for value, count in zip(self.log_likelihoods, self.token_counts, strict=True)
        )

    @property
    def ranking(self) -> tuple[int, ...]:
        """Option numbers, the best first; of equals, the lower number."""
        scores = self.scores
        return tuple(sorted(range(len(scores)), key=lambda option: -scores[option]))

    @property
    def prediction(self) -> int:
        """The number of the best option."""
        return self.ranking[0]

    @property
    def margin(self) -> float:
        """By how much the best score exceeds the second, in nats; infinite for one option."""
        scores = sorted(self.scores, reverse=True)
        return scores[0] - scores[1] if len(scores) > 1 else math.inf

    @property
    def is_near_tie(self) -> bool:
        """Whether rounding could decide between the two best options."""
        return self.margin <= self.policy.near_tie


def group_rows(rows: Sequence[OptionRow]) -> tuple[list[Question], list[tuple[int, int]]]:
    """Groups flat rows by their question.

    Returns:
      The questions in order of first appearance, and each row's (question, option) numbers.

    Raises:
      ValueError: rows of one question have different prompts.
    """
    numbers: dict[Hashable, int] = {}
    prompts: list[tuple[int, ...]] = []
    options: list[list[Sequence[int]]] = []
    places = []
    for row in rows:
        prompt = tuple(map(int, row.prompt_tokens))
        number = numbers.setdefault(row.question_id, len(numbers))
        if number == len(prompts):
            prompts.append(prompt)
            options.append([])
        elif prompts[number] != prompt:
            raise ValueError(
                f"question {row.question_id!r}: its rows have different prompts, of "
                f"{len(prompts[number])} and {len(prompt)} tokens, so they cannot share one: give "
                "each prompt a question id of its own."
            )
        places.append((number, len(options[number])))
        options[number].append(row.option_tokens)
    questions = [
        Question(question_id, prompts[number], options[number])
        for question_id, number in numbers.items()
    ]
    return questions, places
