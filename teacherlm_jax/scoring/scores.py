"""What is scored and what comes of it: questions, options, and the receipts of their scores."""

import dataclasses
import math
from collections.abc import Hashable, Sequence

from teacherlm_jax.scoring import boundary, split

NORMALISATIONS = ("sum", "tokens", "bytes", "characters", "unconditional")
"""What a log-likelihood is divided by, or lessened by, before options are ranked.

lm-evaluation-harness 0.4 calls the accuracies acc (sum), acc_norm (characters), acc_bytes (bytes)
and acc_mutual_info (unconditional).
"""


@dataclasses.dataclass(frozen=True)
class ScoringPolicy:
    """How options are scored; recorded with every score.

    Attributes:
      normalisation: "sum" ranks by the summed log-likelihood (the paper's), "tokens", "bytes" and
        "characters" by its mean over those of the option, "unconditional" by what the prompt adds
        to it: less the option's log-likelihood after `unconditional_prompt`.
      bos_id: put before every prompt; None puts nothing.
      max_length: most tokens of prompt and option together, BOS included.
      truncation: "error", or "left" to drop the first tokens of a prompt that is too long.
      near_tie: the two best options are reported as a near-tie where their scores differ by no
        more than this, in nats: there, rounding in another batch shape may turn the ranking.
      unconditional_prompt: tokens after which options are scored once more; (): after BOS alone.
        None: they are not, and there is no "unconditional".
      boundary: how texts are cut into prompt and option, one of `boundary.RULES`.
    """

    max_length: int
    normalisation: str = "sum"
    bos_id: int | None = None
    truncation: str = "error"
    near_tie: float = 1e-4
    unconditional_prompt: tuple[int, ...] | None = None
    boundary: str = "apart"

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
        if self.boundary not in boundary.RULES:
            raise ValueError(
                f"ScoringPolicy.boundary = {self.boundary!r}, but it must be one of "
                f"{boundary.RULES}."
            )
        if self.normalisation == "unconditional" and self.unconditional_prompt is None:
            raise ValueError(
                "ScoringPolicy.normalisation = 'unconditional' needs an unconditional_prompt: give "
                "its tokens, or () for BOS alone."
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
      option_texts: what bytes and characters are counted of, without the space before; None: the
        scores have no such normalisations.
      options_alone: token ids of each option as a text of its own, which stand after an
        unconditional prompt; None: the same as after the prompt.
    """

    question_id: Hashable
    prompt_tokens: Sequence[int]
    options: Sequence[Sequence[int]]
    option_texts: Sequence[str] | None = None
    options_alone: Sequence[Sequence[int]] | None = None

    def __post_init__(self) -> None:
        named = (("texts of options", self.option_texts), ("options alone", self.options_alone))
        for name, given in named:
            if given is not None and len(given) != len(self.options):
                raise ValueError(
                    f"question {self.question_id!r} has {len(self.options)} options but "
                    f"{len(given)} {name}: give one for each."
                )


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
      is_greedy: whether each token of an option was the likeliest, or tied with it.
      option_texts: see `Question`.
      unconditional: log-likelihood of each option after the policy's unconditional prompt.
    """

    question_id: Hashable
    log_likelihoods: tuple[float, ...]
    token_counts: tuple[int, ...]
    truncated: int
    policy: ScoringPolicy
    is_greedy: tuple[bool, ...] = ()
    option_texts: tuple[str, ...] | None = None
    unconditional: tuple[float, ...] | None = None

    @property
    def normalisations(self) -> tuple[str, ...]:
        """Those that there is what is needed for."""
        missing = set()
        if self.option_texts is None:
            missing |= {"bytes", "characters"}
        if self.unconditional is None:
            missing.add("unconditional")
        return tuple(name for name in NORMALISATIONS if name not in missing)

    def normalised(self, normalisation: str) -> tuple[float, ...]:
        """What options are ranked by under one of `NORMALISATIONS`.

        Raises:
          ValueError: what it needs is not there.
        """
        if normalisation not in self.normalisations:
            raise ValueError(
                f"question {self.question_id!r} has no normalisation {normalisation!r}, but "
                f"{self.normalisations}: give the options' texts, or an unconditional_prompt."
            )
        if normalisation == "sum":
            return self.log_likelihoods
        if normalisation == "unconditional":
            assert self.unconditional is not None
            pairs = zip(self.log_likelihoods, self.unconditional, strict=True)
            return tuple(value - without for value, without in pairs)
        counts: Sequence[int] = self.token_counts
        if normalisation != "tokens":
            assert self.option_texts is not None
            counts = [
                len(text.encode("utf-8") if normalisation == "bytes" else text)
                for text in self.option_texts
            ]
        return tuple(
            value / max(count, 1) for value, count in zip(self.log_likelihoods, counts, strict=True)
        )

    @property
    def scores(self) -> tuple[float, ...]:
        """What options are ranked by: log-likelihoods, normalised as the policy says."""
        return self.normalised(self.policy.normalisation)

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
