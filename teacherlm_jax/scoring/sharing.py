"""Which questions stand in one row, since their prompts begin alike.

Few-shot prompts of a task begin with the same examples, and several questions are asked about one
passage. What they share then costs one forward pass for all of them.

Shape legend: T tokens.
"""

from collections.abc import Sequence

import numpy as np

from teacherlm_jax.scoring.likelihood import Row, row_of
from teacherlm_jax.scoring.split import Split

# Below so many tokens the prompts' few first words agree by chance, and there is nothing to save.
_LEAST_SHARED = 32
# What follows the shared tokens, in such lengths. With no more, several questions in a row pay less
# than alone in attention as well, though its cost rises with the square of the row's length.
_MOST_FOLLOWING = 2


def rows(
    questions: Sequence[Split], most_questions: int, most_positions: int | None = None
) -> list[tuple[tuple[int, ...], Row]]:
    """Puts questions into rows.

    A question joins a row where at least half of its context is what the row shares, and so for the
    others there.

    Args:
      questions: as cut for scoring.
      most_questions: in a row; with 1 each stands alone.
      most_positions: of a row of several; None: as many as pay.

    Returns:
      The rows, and for each the numbers of its questions: each question is in one. They come in the
      order of their first questions, and these in the order of the questions.
    """
    keys = [np.asarray(question.context, ">i4").tobytes() for question in questions]
    open_rows: list[_Growing] = []
    # Contexts that begin alike stand together when sorted: big-endian bytes sort as numbers do.
    for number in sorted(range(len(questions)), key=lambda n: (keys[n], n)):
        if not open_rows or not open_rows[-1].take(
            number, questions[number], most_questions, most_positions
        ):
            open_rows.append(_Growing(number, questions[number]))
    found = []
    for growing in open_rows:
        numbers = tuple(sorted(growing.numbers))
        own = tuple(questions[number] for number in numbers)
        found.append((numbers, Row(own, growing.shared) if len(own) > 1 else row_of(own[0])))
    return sorted(found, key=lambda item: item[0])


class _Growing:
    """A row that questions join in the order of their contexts."""

    def __init__(self, number: int, question: Split):
        self.numbers = [number]
        self.shared = len(question.context)
        self._first_T = np.asarray(question.context)
        self._longest = len(question.context)
        self._unshared = row_of(question).size.positions

    def take(
        self, number: int, question: Split, most_questions: int, most_positions: int | None
    ) -> bool:
        """Takes a question in, where that pays and there is room; returns whether it did."""
        if len(self.numbers) >= most_questions:
            return False
        length = min(self.shared, len(question.context))
        differs_T = self._first_T[:length] != np.asarray(question.context[:length])
        shared = int(differs_T.argmax()) if differs_T.any() else length
        longest = max(self._longest, len(question.context))
        unshared = self._unshared + row_of(question).size.positions
        following = unshared - (len(self.numbers) + 1) * shared
        most = _MOST_FOLLOWING * shared
        if most_positions is not None:
            most = min(most, most_positions - shared)
        if shared < max(_LEAST_SHARED, longest / 2) or following > most:
            return False
        # Else it is cheaper in a row of its own.
        if len(self.numbers) * shared <= (len(self.numbers) - 1) * self.shared:
            return False
        self.numbers.append(number)
        self.shared, self._longest, self._unshared = shared, longest, unshared
        return True
