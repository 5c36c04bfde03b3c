"""Accuracy on the questions that training data does not hold.

`teacherlm data decontaminate` writes which: task -> split -> {"clean": ids, "touched": ids}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from teacherlm_jax.data import ledger
from teacherlm_jax.scoring.metrics import rank_classification

PREFIX = "clean_"


class CleanSubset:
    """Which questions of which tasks are clean."""

    def __init__(self, path: epath.PathLike) -> None:
        """Reads `clean_subset.json`.

        Raises:
          FileNotFoundError: it is not there, or not written to its end.
          ValueError: it is something else.
        """
        self._path = str(path)
        try:
            self._tasks = json.loads(ledger.read_text(path))
            self._ids = {
                (task, split): (set(ids["clean"]), set(ids["touched"]))
                for task, splits in self._tasks.items()
                for split, ids in splits.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self._path!r} is no list of clean questions ({error}): give the"
                " clean_subset.json that `teacherlm data decontaminate` wrote."
            ) from None

    def are_clean(self, task: str, split: str, ids: Sequence[str]) -> np.ndarray:
        """Whether the questions with these ids are clean, bool.

        Raises:
          ValueError: the task's questions were not searched for, or not all of them.
        """
        if (task, split) not in self._ids:
            raise ValueError(
                f"{self._path!r} says nothing of {task}, split {split!r}; it has"
                f" {sorted(self._ids)[:5]}: run `teacherlm data decontaminate ... --against {task}"
                f" --against_split {split}`."
            )
        clean, touched = self._ids[task, split]
        unknown = sorted(set(ids) - clean - touched)
        if unknown:
            raise ValueError(
                f"{self._path!r} says nothing of {len(unknown)} questions of {task}, split"
                f" {split!r}, such as {unknown[0]!r}: their data has changed since. Run"
                " `teacherlm data decontaminate` again."
            )
        return np.array([name in clean for name in ids], bool)


def clean_metrics(
    targets: Sequence[tuple[Any, Any]], scores: Sequence[float], is_clean: Sequence[bool]
) -> dict[str, float]:
    """What `rank_classification` says of the clean questions, with `PREFIX` before its names.

    Args:
      targets: as it takes them: a row per question and option.
      scores: of the rows.
      is_clean: of the rows' questions.

    Returns:
      `clean_questions` alone where that is 0.
    """
    kept = [row for row, keep in enumerate(is_clean) if keep]
    if not kept:
        return {f"{PREFIX}questions": 0.0}
    numbers = {old: new for new, old in enumerate(sorted({int(targets[r][0][0]) for r in kept}))}
    rows = [((numbers[int(i[0])], int(i[1])), right) for i, right in (targets[r] for r in kept)]
    found = rank_classification(rows, [scores[row] for row in kept])
    return {f"{PREFIX}{name}": value for name, value in found.items()}


def as_metrics(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Clean metrics under their usual names, of the tasks that have a clean question."""
    return {
        task: {
            name.removeprefix(PREFIX): value
            for name, value in values.items()
            if name.startswith(PREFIX)
        }
        for task, values in metrics.items()
        if values.get(f"{PREFIX}questions")
    }
