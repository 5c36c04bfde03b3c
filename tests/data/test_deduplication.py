"""Near-duplicates, against the Jaccard similarity of every pair."""

import itertools
import random

import numpy as np
import pytest

from teacherlm_jax.data.deduplication import Deduplication, DuplicateRule
from teacherlm_jax.data.text_rows import TextRow
from teacherlm_jax.data.word_runs import WordBatch

WORDS = [f"w{number}" for number in range(200)]


def row(text, name=""):
    return TextRow("made", name, f"made:{name}", {"text": text}, {"text": text})


def made_up(seed, families=30):
    """Families of texts of which each next one has a few words changed, in a mixed order."""
    generator = random.Random(seed)
    rows = []
    for family in range(families):
        words = [generator.choice(WORDS) for _ in range(generator.randrange(20, 80))]
        for member in range(generator.randrange(1, 6)):
            rows.append(row(" ".join(words), f"{family}.{member}"))
            for _ in range(generator.randrange(3)):
                words[generator.randrange(len(words))] = generator.choice(WORDS)
            words += [generator.choice(WORDS)] * generator.randrange(2)
    generator.shuffle(rows)
    return rows


def shingles(text, size=5):
    words = text.split()
    return {tuple(words[at : at + size]) for at in range(max(1, len(words) - size + 1))}


def jaccard(one, two):
    left, right = shingles(one.texts["text"]), shingles(two.texts["text"])
    return len(left & right) / len(left | right)


def find(rows, **rule):
    seen = Deduplication(DuplicateRule(**rule))
    seen.add(rows)
    return {
        rows[number].id: (rows[duplicate.of].id, duplicate.similarity, duplicate.estimated)
        for number, duplicate in seen.find().items()
    }


def test_similarities_are_exact_and_those_kept_are_unlike_each_other():
    rows = made_up(0)
    found = find(rows, threshold=0.7)
    by_id = {each.id: each for each in rows}
    assert len(found) > 20
    for name, (other, similarity, estimated) in found.items():
        assert similarity == pytest.approx(jaccard(by_id[name], by_id[other]))
        assert similarity >= 0.7 and other not in found
        assert estimated == pytest.approx(similarity, abs=0.15)
        assert len(by_id[other].texts["text"].split()) >= len(by_id[name].texts["text"].split())
    kept = [each for each in rows if each.id not in found]
    # Bands miss few of the pairs near the threshold, and none far above it.
    alike = [jaccard(*pair) for pair in itertools.combinations(kept, 2)]
    assert max(alike) < 0.8
    assert sum(similarity >= 0.7 for similarity in alike) <= 0.1 * len(found)


def test_what_is_kept_does_not_depend_on_the_order():
    rows = made_up(1)
    expected = find(rows)
    assert expected
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        assert find(rows) == expected


def test_how_many_are_hashed_at_once_changes_nothing(monkeypatch):
    rows = made_up(2)
    expected = find(rows)
    monkeypatch.setattr("teacherlm_jax.data.deduplication._ROWS_AT_ONCE", 1)
    assert find(rows) == expected


def test_case_and_punctuation_make_no_difference():
    rows = [row("It is so, is it?", "a"), row("it is SO is it", "b"), row("it was so", "c")]
    assert len(find(rows)) == 1
    assert next(iter(find(rows).values()))[1:] == (1.0, 1.0)


def test_rows_with_the_same_texts_are_one_and_those_without_words_are_not():
    rows = [row("all the same to me", "a"), row("all the same to me", "b"), row("?", "c")]
    rows.append(row("...", "d"))
    assert find(rows) == {"b": ("a", 1.0, 1.0)}


def test_half_of_a_hash_makes_no_duplicate():
    texts = ["what is w15 w357", "what is w41 w376"]
    first_R = np.array([0, 4])
    hashes_R = WordBatch(texts).runs.hashes_R(first_R, first_R + 4)
    assert len(np.unique(hashes_R >> np.uint64(32))) == 1 and len(np.unique(hashes_R)) == 2
    assert find([row(text, text) for text in texts]) == {}


def test_thousands_of_rows_that_are_alike_are_compared_with_one():
    words = " ".join(WORDS)
    rows = [row(f"{words} end{number}", str(number)) for number in range(300)]
    found = find(rows)
    assert len(found) == 299 and len({other for other, *_ in found.values()}) == 1


@pytest.mark.parametrize(
    "rule",
    [
        {"threshold": 0},
        {"threshold": 1.1},
        {"shingle": 0},
        {"permutations": 8},
        {"permutations": 10**8},
    ],
)
def test_rules_that_make_no_sense(rule):
    with pytest.raises(ValueError, match="must be"):
        DuplicateRule(**rule)
