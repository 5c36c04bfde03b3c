"""Words and hashes of runs, against plain loops over words."""

import random
import re

import numpy as np
import pytest

from teacherlm_jax.data.word_runs import WordBatch, normalized

TEXTS = [
    "Is it so? It is.",
    "",
    "  ...  ",
    "DON\u2019T stop\u2014don't!",
    "Caf\u00e9 \u00c9t\u00e9, na\u00efve\u2026 \uff26\uff35\uff2c\uff2c",
    "one_two\tthree\r\nfour\\nfive\0six",
    "x" * 3000,
    "one\u2028two\u2029three\x85four\u1680five\u3000six\u200bseven\u2014eight",
    "don\u00b4t don\uff07t don`t",
]


def words(text: str) -> list[str]:
    """As a loop would say it; for ASCII."""
    return re.findall(r"[a-z0-9]+", re.sub(r"['`]", "", text.replace("\\n", " ").lower()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXTS[0], "is it so it is"),
        (TEXTS[1], ""),
        (TEXTS[2], ""),
        (TEXTS[3], "dont stop dont"),
        (TEXTS[4], "caf\u00e9 \u00e9t\u00e9 na\u00efve full"),
        (TEXTS[5], "one two three four five six"),
        (TEXTS[7], "one two three four five six seven eight"),
        (TEXTS[8], "dont dont dont"),
    ],
)
def test_case_and_punctuation_do_not_count(text, expected):
    assert normalized(text) == expected


def test_words_of_many_texts_are_those_of_each():
    batch = WordBatch(TEXTS)
    for number, text in enumerate(TEXTS):
        first, end = batch.first_word_T[number : number + 2]
        assert batch.words(first, end) == normalized(text)
        assert set(batch.text_W[first:end]) <= {number}


def test_hashes_of_runs_are_equal_where_the_words_are():
    generator = random.Random(0)
    texts = [
        " ".join(
            generator.choice(["a", "b", "ab", "ba", "aa", "bb"])
            for _ in range(generator.randrange(40))
        )
        for _ in range(60)
    ]
    batch = WordBatch(texts)
    by_hash: dict[int, set[str]] = {}
    count = 0
    for length in (1, 2, 3, 5):
        first_R = batch.first_words_R(length)
        for first, value in zip(first_R, batch.runs.hashes_R(first_R, first_R + length).tolist()):
            by_hash.setdefault(value, set()).add(batch.words(first, first + length))
            count += 1
    expected = {
        " ".join(words(text)[first : first + length])
        for text in texts
        for length in (1, 2, 3, 5)
        for first in range(len(words(text)) - length + 1)
    }
    assert all(len(same) == 1 for same in by_hash.values())
    assert {next(iter(same)) for same in by_hash.values()} == expected
    assert len(by_hash) < count


def test_hashes_do_not_depend_on_what_stands_around():
    alone, among = WordBatch(["a rare run"]), WordBatch(["some text", "before a rare run", "after"])
    ends = np.array([3])
    expected = alone.runs.hashes_R(ends - 3, ends)
    assert among.runs.hashes_R(np.array([3]), np.array([6])) == expected


def test_hashes_are_those_of_whole_numbers():
    """They are written nowhere, but what is found must not depend on a machine."""
    values = np.random.RandomState(0).randint(0, 1 << 64, 256, dtype=np.uint64).tolist()
    mask = (1 << 64) - 1

    def mixed(value):
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
        return value ^ (value >> 31)

    def polynomial(terms, factor):
        return mixed(sum(term * factor**power for power, term in enumerate(terms)) & mask)

    hashes = [
        polynomial([values[byte] for byte in word.encode()], 0x9E3779B97F4A7C17)
        for word in ["to", "be", "or", "not", "to", "be"]
    ]
    batch = WordBatch(["To be, or not to be"])
    assert batch.hashes_W.tolist() == hashes
    run = batch.runs.hashes_R(np.array([1]), np.array([6]))
    assert run.tolist() == [polynomial(hashes[1:], 0xD6E8FEB86659FD93)]


def test_lines():
    batch = WordBatch(["one two\nthree\n\nfour", "five"])
    assert batch.lines_L2().tolist() == [[0, 2], [2, 3], [3, 4], [4, 5]]
    assert batch.are_lines(0, 2) and batch.are_lines(2, 4)
    assert not batch.are_lines(0, 1) and not batch.are_lines(1, 2)
    batch = WordBatch(["one\u2028two\u2029three\x85four five\u00e9"])
    assert batch.lines_L2().tolist() == [[0, 1], [1, 2], [2, 3], [3, 5]]
