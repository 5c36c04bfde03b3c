"""What is given and what is scored, in tokens: BOS before a prompt, and prompts that are too long.

Prompt and options arrive as tokens; `boundary` decides which tokens are whose.
"""

import dataclasses
from collections.abc import Sequence

TRUNCATIONS = ("error", "left")


@dataclasses.dataclass(frozen=True)
class Split:
    """A question cut for scoring.

    Attributes:
      context: tokens that are given: BOS if there is one, then the prompt. Never empty.
      options: tokens that are scored, a tuple an option. None is empty.
      truncated: prompt tokens dropped on the left to keep within the maximum.
      alone: tokens that are scored after the unconditional prompt; (): the options'.
    """

    context: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]
    truncated: int
    alone: tuple[tuple[int, ...], ...] = ()

    @property
    def without_prompt(self) -> tuple[tuple[int, ...], ...]:
        """What is scored of each option after the unconditional prompt."""
        return self.alone or self.options


def split_question(
    prompt: Sequence[int],
    options: Sequence[Sequence[int]],
    *,
    bos_id: int | None = None,
    max_length: int | None = None,
    truncation: str = "error",
    where: str = "question",
) -> Split:
    """Decides what is given and what is scored, alike for every option of a question.

    Every option of a question sees the same context, so their scores can be compared: where a
    prompt must be cut, the longest option decides for all.

    Args:
      prompt: token ids, without BOS.
      options: token ids of each option.
      bos_id: put before the prompt, and kept when the prompt is cut; None puts nothing.
      max_length: most tokens of context and option together; None: no limit.
      truncation: "error", or "left" to drop the prompt's first tokens where it is too long.
      where: how error messages name the question.

    Returns:
      The split.

    Raises:
      ValueError: context or an option would be empty, there is no option, or the row is too long.
    """
    if truncation not in TRUNCATIONS:
        raise ValueError(f"truncation = {truncation!r}, but it must be one of {TRUNCATIONS}.")
    if not options:
        raise ValueError(f"{where}: no options to score: give at least one.")
    for number, option in enumerate(options):
        if not len(option):
            raise ValueError(
                f"{where}: option {number} has no tokens, and an empty option has no likelihood: "
                "check its text and its tokenizer."
            )
    bos = () if bos_id is None else (int(bos_id),)
    prompt_tokens = tuple(map(int, prompt))
    if not bos and not prompt_tokens:
        raise ValueError(
            f"{where}: the prompt has no tokens and bos_id is None, so nothing comes before the "
            "option: give a prompt, or set bos_id."
        )
    option_tokens = tuple(tuple(map(int, option)) for option in options)
    dropped = 0
    if max_length is not None:
        longest = max(map(len, option_tokens))
        dropped = max(0, len(bos) + len(prompt_tokens) + longest - max_length)
        if dropped:
            _check_droppable(dropped, bos, prompt_tokens, longest, max_length, truncation, where)
    return Split(bos + prompt_tokens[dropped:], option_tokens, dropped)


def _check_droppable(
    dropped: int,
    bos: tuple[int, ...],
    prompt: tuple[int, ...],
    longest: int,
    max_length: int,
    truncation: str,
    where: str,
) -> None:
    """Raises ValueError unless `dropped` prompt tokens may be, and can be, dropped."""
    numbers = (
        f"{where}: {len(bos)} BOS + {len(prompt)} prompt + {longest} option tokens are more than "
        f"max_length = {max_length}"
    )
    if truncation == "error":
        raise ValueError(
            f'{numbers}: shorten it, raise max_length, or set truncation="left" to drop the '
            f"prompt's first {dropped} tokens."
        )
    # At least one prompt token stays: with BOS alone the options would be ranked without question.
    if dropped >= len(prompt):
        raise ValueError(
            f"{numbers}, and dropping {dropped} would leave nothing of the prompt: shorten the "
            "option or raise max_length."
        )
