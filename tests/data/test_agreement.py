import numpy as np
import pytest

from teacherlm_jax.data import agreement
from teacherlm_jax.data.agreement import Annotated
from teacherlm_jax.data.records import TeacherDataRecord


def annotated(annotator, question, answer, choices=("yes", "no"), **fields):
    record = TeacherDataRecord.create(question, choices, answer, **fields)
    return Annotated(annotator, record, f"f:{question}")


def by_question(*annotations):
    found = {}
    for one in annotations:
        found.setdefault(one.record.question, []).append(one)
    return found


def test_cohens_kappa_of_a_textbook_table():
    # 20 both yes, 15 both no, 5 yes-no, 10 no-yes: observed 0.7, by chance 0.5.
    answers = [("A", "A")] * 20 + [("B", "B")] * 15 + [("A", "B")] * 5 + [("B", "A")] * 10
    assert agreement.cohen_kappa(answers) == pytest.approx(0.4)


def test_kappa_at_its_ends():
    assert agreement.cohen_kappa([("A", "A"), ("B", "B")]) == 1
    assert agreement.cohen_kappa([("A", "B"), ("B", "A")]) == -1
    assert agreement.cohen_kappa([("A", "A")] * 5) is None
    assert agreement.cohen_kappa([]) is None


def test_rouge_l_counts_words_in_order():
    assert agreement.rouge_l("the cat sat.", "The cat sat") == 1
    assert agreement.rouge_l("a b", "c d") == 0
    # The longest common subsequence of "police killed the gunman" and "police kill the gunman"
    # is 3 words of 4 (Lin 2004).
    assert agreement.rouge_l("police killed the gunman", "police kill the gunman") == 0.75
    assert agreement.rouge_l("police killed the gunman", "the gunman kill police") == 0.5
    assert agreement.rouge_l("", "a") == 0


def test_rouge_l_is_that_of_a_slow_table():
    draws = np.random.RandomState(0)
    for _ in range(50):
        one, other = (draws.choice(list("abcd"), draws.randint(1, 90)).tolist() for _ in "12")
        lengths = np.zeros((len(one) + 1, len(other) + 1), int)
        for i, word in enumerate(one):
            for j, found in enumerate(other):
                best = max(lengths[i, j + 1], lengths[i + 1, j])
                lengths[i + 1, j + 1] = lengths[i, j] + 1 if word == found else best
        expected = 2 * lengths[-1, -1] / (len(one) + len(other))
        assert agreement.rouge_l(" ".join(one), " ".join(other)) == expected


def test_rouge_l_of_huge_texts_ends():
    text = " ".join(map(str, range(30_000)))  # The table would have 9e8 places.
    assert agreement.rouge_l(text, f"{text} end") == 60_000 / 60_001


def test_agreement_is_over_questions_that_two_annotated():
    found = agreement.measure(
        by_question(
            annotated("ann", "1?", "A", fundamentals="x y"),
            annotated("bob", "1?", "A", fundamentals="x z"),
            annotated("bob", "2?", "B", fundamentals="same"),
            annotated("ann", "2?", "A", fundamentals="same"),
            annotated("ann", "3?", "B"),
            annotated("bob", "3?", "B"),
            annotated("ann", "4?", "B"),
            annotated("ann", "5?", "Ann Lee", choices=()),
            annotated("bob", "5?", "ann lee.", choices=()),
        )
    )
    assert found["questions_with_several_annotators"] == 4
    # Ann A A B, Bob A B B: two of three are equal; by chance (2/3)(1/3) + (1/3)(2/3).
    kappa = pytest.approx((2 / 3 - 4 / 9) / (5 / 9))
    assert found["answers"] == {"pairs": 3, "raw": pytest.approx(2 / 3), "kappa": kappa}
    assert found["annotators"] == [
        {"annotators": ["ann", "bob"], "questions": 3, "raw": pytest.approx(2 / 3), "kappa": kappa}
    ]
    assert found["open_answers"] == {"pairs": 1, "raw": 1.0}
    # Explanations of other answers say other things.
    assert found["explanations"]["fundamentals"] == {"pairs": 1, "mean": 0.5}
    assert found["explanations"]["common_mistakes"] == {"pairs": 0, "mean": None}
