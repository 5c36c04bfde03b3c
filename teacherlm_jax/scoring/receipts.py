"""What a score rests on, question by question: everything that could make two scores differ."""

from __future__ import annotations

import dataclasses

from teacherlm_jax.scoring.scores import QuestionScore, ScoringPolicy


@dataclasses.dataclass(frozen=True)
class Receipt:
    """One question, scored.

    Attributes:
      task: the seqio task's name, or the file's.
      split: of the task.
      question_id: the data set's own id, or the question's number; unique in a split of a task.
      subject: what tasks may be divided by, such as MMLU's subjects; "": nothing.
      prompt: the text before the options.
      continuations: the text of each option as it follows the prompt, space included.
      option_texts: the text of each option by itself; what bytes and characters are counted of.
      answer: number of the right option.
      boundary: the rule that cut the texts, one of `boundary.RULES`.
      moved: see `boundary.Cut`.
      bos_id: token before the prompt; None: none.
      context: the tokens before the options, BOS included, after truncation.
      options: the tokens of each option.
      truncated: prompt tokens that were cut off on the left.
      log_likelihoods: natural, summed over each option's tokens.
      is_greedy: whether each token of an option was the likeliest.
      unconditional_prompt: tokens after which options were scored once more; None: they were not.
      unconditional: log-likelihood of each option after those.
      dtype: the model's computation type.
      checkpoint_digest: of the parameters.
      normalisation: by which the model's headline ranks; one of `scores.NORMALISATIONS`.
    """

    task: str
    split: str
    question_id: str
    subject: str
    prompt: str
    continuations: tuple[str, ...]
    option_texts: tuple[str, ...]
    answer: int
    boundary: str
    moved: int
    bos_id: int | None
    context: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]
    truncated: int
    log_likelihoods: tuple[float, ...]
    is_greedy: tuple[bool, ...]
    unconditional_prompt: tuple[int, ...] | None
    unconditional: tuple[float, ...] | None
    dtype: str
    checkpoint_digest: str
    normalisation: str = "sum"

    def score(self, policy: ScoringPolicy) -> QuestionScore:
        """The scores of the question, to be normalised and ranked as a policy says."""
        return QuestionScore(
            question_id=self.question_id,
            log_likelihoods=self.log_likelihoods,
            token_counts=tuple(map(len, self.options)),
            truncated=self.truncated,
            policy=policy,
            is_greedy=self.is_greedy,
            option_texts=self.option_texts,
            unconditional=self.unconditional,
        )
