"""How far annotators of the same questions agree.

Answers: the share of equal ones, and Cohen's kappa (Cohen 1960, "A coefficient of agreement for
nominal scales"), for every pair of annotators over the questions with options that both answered.
Explanations: ROUGE-L F1 (Lin 2004), the longest common subsequence of words in lower case, of pairs
that gave the same answer.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from teacherlm_jax.data.records import TeacherDataRecord

EXPLANATION_FIELDS = ("fundamentals", "chain_of_thought", "common_mistakes")
TEXT_MEASURE = "ROUGE-L F1 of words in lower case"

_WORD = re.compile(r"\w+")


@dataclasses.dataclass(frozen=True)
class Annotated:
    """A record, and who annotated it.

    Attributes:
        annotator: a name that tells annotators of one question apart.
        record: what they wrote.
        where: names the row that it came from.
    """

    annotator: str
    record: TeacherDataRecord
    where: str


Questions = Mapping[Any, Sequence[Annotated]]
"""Question and options, whatever the answer -> its annotations, each by another annotator."""


def measure(questions: Questions) -> dict[str, Any]:
    """Agreement over all questions that two or more annotated, as JSON values.

    `answers` are over pairs of annotations of one question; its kappa is the mean of the pairs of
    annotators, weighted by their questions. A kappa is None where chance alone makes all equal, as
    where both give one letter alone. Open answers count for `open_answers`, which has no kappa.
    """
    closed: dict[tuple[str, str], list[tuple[str, str]]] = collections.defaultdict(list)
    opened: list[bool] = []
    overlaps: dict[str, list[float]] = {field: [] for field in EXPLANATION_FIELDS}
    shared = 0
    for of_question in questions.values():
        shared += len(of_question) > 1
        ordered = sorted(of_question, key=lambda one: one.annotator)
        for one, other in itertools.combinations(ordered, 2):
            if one.record.choices:
                answers = (one.record.answer, other.record.answer)
                closed[one.annotator, other.annotator].append(answers)
                is_same = answers[0] == answers[1]
            else:
                is_same = answer_key(one.record) == answer_key(other.record)
                opened.append(is_same)
            for field in EXPLANATION_FIELDS if is_same else ():
                texts = getattr(one.record, field), getattr(other.record, field)
                if all(text.strip() for text in texts):
                    overlaps[field].append(rouge_l(*texts))
    pairs = [
        {
            "annotators": list(names),
            "questions": len(answers),
            "raw": _share(one == other for one, other in answers),
            "kappa": cohen_kappa(answers),
        }
        for names, answers in sorted(closed.items())
    ]
    everything = [pair for answers in closed.values() for pair in answers]
    return {
        "questions_with_several_annotators": shared,
        "answers": {
            "pairs": len(everything),
            "raw": _share(one == other for one, other in everything),
            "kappa": _mean_kappa(pairs),
        },
        "open_answers": {"pairs": len(opened), "raw": _share(opened)},
        "annotators": pairs,
        "explanations": {
            "measure": TEXT_MEASURE,
            **{
                field: {"pairs": len(values), "mean": _mean(values)}
                for field, values in overlaps.items()
            },
        },
    }


def answer_key(record: TeacherDataRecord) -> str:
    """What answers that are the same have in common.

    Neither case, nor spaces, nor a full stop tell two open ones apart; "-5" and "5" are two.
    """
    if record.choices:
        return record.answer
    return " ".join(record.answer.lower().split()).rstrip(".") or record.answer


def cohen_kappa(answers: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa of two annotators: agreement beyond what chance gives, of what it leaves.

    Args:
        answers: what each of the two said, for every question.

    Returns:
        At most 1; None: there are no answers, or chance alone makes all equal.
    """
    if not answers:
        return None
    observed = sum(one == other for one, other in answers) / len(answers)
    first = collections.Counter(one for one, _ in answers)
    second = collections.Counter(other for _, other in answers)
    by_chance = sum(first[letter] * second[letter] for letter in first) / len(answers) ** 2
    return None if by_chance == 1 else (observed - by_chance) / (1 - by_chance)


def rouge_l(one: str, other: str) -> float:
    """ROUGE-L F1 of two texts: 1 for the same words in the same order, 0 for none in common."""
    here, there = words(one), words(other)
    if not here or not there:
        return float(here == there)
    common = _longest_common_subsequence(here, there)
    return 2 * common / (len(here) + len(there))


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores, in lower case."""
    return _WORD.findall(text.lower())


def _longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    # All of a row of the usual table at once, a bit a word of `other` (Hyyro 2004): a pair of texts
    # of ten thousand words takes a fraction of a second, where the table takes a minute.
    places: dict[str, int] = {}
    for index, word in enumerate(other):
        places[word] = places.get(word, 0) | 1 << index
    everywhere = (1 << len(other)) - 1
    rest = everywhere  # A 0 where the length grows from one word of `other` to the next.
    for word in one:
        found = rest & places.get(word, 0)
        rest = ((rest + found) | (rest - found)) & everywhere
    return len(other) - rest.bit_count()


def _mean_kappa(pairs: Sequence[Mapping[str, Any]]) -> float | None:
    known = [(pair["kappa"], pair["questions"]) for pair in pairs if pair["kappa"] is not None]
    if not known:
        return None
    return sum(kappa * count for kappa, count in known) / sum(count for _, count in known)


def _share(values: Iterable[bool]) -> float | None:
    return _mean([float(value) for value in values])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
