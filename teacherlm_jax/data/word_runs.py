"""Words of many texts at once, and hashes of their runs, by numpy instead of loops.

Texts are compared word by word after lower-casing and removing punctuation: an apostrophe vanishes
("don't" is "dont"), any other mark parts words. Hashes are polynomials modulo 2**64 over constants
that never change, so that they are the same on every machine.

Shape legend: B bytes, W words, R runs of words, L lines, T texts.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

_TEXT_END, _LINE_END, _SPACE = 0, 10, 32
APOSTROPHES = "'\u2019\u2018`\u00b4\u02bc"
_NO_WORD = re.compile(r"[^\w\x00-\x7f]")
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
_BYTE_FACTOR = 0x9E3779B97F4A7C17
_WORD_FACTOR = 0xD6E8FEB86659FD93


def normalized(text: str) -> str:
    """The words of a text with one space between them."""
    batch = WordBatch([text])
    return batch.words(0, len(batch))


class Runs:
    """Hashes of runs of words, from the words' hashes."""

    def __init__(self, hashes_W: np.ndarray) -> None:
        powers, self._inverses = _powers(_WORD_FACTOR, len(hashes_W) + 1)
        self._sums = _sums(hashes_W * powers[:-1])

    def hashes_R(self, first_R: np.ndarray, end_R: np.ndarray) -> np.ndarray:
        """Hashes of runs, each from one word to before another, uint64.

        They depend on the words of the run alone, and on their number.
        """
        return _mixed((self._sums[end_R] - self._sums[first_R]) * self._inverses[first_R])


class WordBatch:
    """Words of some texts, one after another.

    Attributes:
      hashes_W: of the words, uint64.
      text_W: the number of each word's text.
      first_word_T: of each text, and at its end the number of words; [T + 1].
      runs: hashes of runs of words.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        plain = "\0".join([_prepared(text) for text in texts]) + "\0"
        self._bytes = plain.encode("utf-8", "replace").translate(_table(), b"'`")
        bytes_B = np.frombuffer(self._bytes, np.uint8)
        in_word_B = bytes_B > _SPACE
        edges = np.flatnonzero(np.diff(in_word_B, prepend=False))
        self._starts_W, self._ends_W = edges[0::2], edges[1::2]
        self.hashes_W = _mixed(self._polynomials(bytes_B))
        text_ends = np.flatnonzero(bytes_B == _TEXT_END)
        self.text_W = np.searchsorted(text_ends, self._starts_W)
        line_ends = np.flatnonzero((bytes_B == _TEXT_END) | (bytes_B == _LINE_END))
        # Words before each line's end: what lies between two of them is a line.
        ends_L = np.unique(np.searchsorted(self._starts_W, line_ends))
        self._line_edges = np.concatenate([[0], ends_L[ends_L > 0]])
        self.first_word_T = np.searchsorted(self.text_W, np.arange(len(text_ends) + 1))
        self.runs = Runs(self.hashes_W)

    def __len__(self) -> int:
        return len(self.hashes_W)

    def words(self, first: int, end: int) -> str:
        """Words from one number to before another, with a space between them."""
        if first >= end:
            return ""
        run = self._bytes[self._starts_W[first] : self._ends_W[end - 1]]
        return b" ".join(run.split()).decode("utf-8", "replace")

    def first_words_R(self, length: int) -> np.ndarray:
        """The first words of all runs of a length that lie within one text, int64."""
        last = len(self) - length + 1
        if last <= 0:
            return np.zeros(0, np.int64)
        return np.flatnonzero(self.text_W[:last] == self.text_W[length - 1 :])

    def lines_L2(self) -> np.ndarray:
        """First word and end of each line that has words, int64 [L, 2]."""
        return np.stack([self._line_edges[:-1], self._line_edges[1:]], axis=1)

    def are_lines(self, first: int, end: int) -> bool:
        """Whether a run of words is a line, or several whole ones."""
        places = np.searchsorted(self._line_edges, [first, end])
        return bool(np.array_equal(self._line_edges[places], [first, end]))

    def _polynomials(self, bytes_B: np.ndarray) -> np.ndarray:
        powers, inverses = _powers(_BYTE_FACTOR, len(bytes_B) + 1)
        sums = _sums(_byte_values()[bytes_B] * powers[:-1])
        return (sums[self._ends_W] - sums[self._starts_W]) * inverses[self._starts_W]


def _prepared(text: str) -> str:
    """The text with ends of texts taken out, and only letters and digits beyond ASCII."""
    text = text.replace("\\n", "\n")  # Tables write line breaks so.
    if not text.isascii():
        text = text.replace("\u00b4", "")  # The next line would make it a space and an accent.
        text = unicodedata.normalize("NFKC", text).lower()
        for mark in APOSTROPHES:
            text = text.replace(mark, "")
        text = _NO_WORD.sub(" ", _LINE_ENDS.sub("\n", text))
    return text.replace("\0", " ")


@functools.cache
def _table() -> bytes:
    """Byte -> what it becomes: lower case, a space for all that parts words, line ends as is."""
    table = bytearray(range(256))
    for byte in range(128):
        letter = chr(byte)
        table[byte] = ord(letter.lower()) if letter.isalnum() else _SPACE
    table[_TEXT_END], table[_LINE_END], table[13] = _TEXT_END, _LINE_END, _LINE_END
    return bytes(table)


@functools.cache
def _byte_values() -> np.ndarray:
    # numpy froze this stream for good; see seeded_order.
    return np.random.RandomState(0).randint(0, 1 << 64, 256, dtype=np.uint64)


_known_powers: dict[int, tuple[np.ndarray, np.ndarray]] = {}


def _powers(factor: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Powers of an odd number and of its inverse modulo 2**64, from 0 on, uint64 [count]."""
    known = _known_powers.get(factor)
    if known is None or len(known[0]) < count:
        size = 1 << max(count, 1024).bit_length()
        known = _power_table(factor, size), _power_table(pow(factor, -1, 1 << 64), size)
        _known_powers[factor] = known
    return known[0][:count], known[1][:count]


def _power_table(base: int, size: int) -> np.ndarray:
    table = np.ones(size, np.uint64)
    filled = 1
    while filled < size:
        step = min(filled, size - filled)
        table[filled : filled + step] = table[:step] * np.uint64(pow(base, filled, 1 << 64))
        filled += step
    return table


def _sums(values: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, 2, ... values modulo 2**64."""
    return np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])


def _mixed(values: np.ndarray) -> np.ndarray:
    """A bijection under which every bit of the result depends on every bit (splitmix64's)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
