"""Near-duplicates among rows of text, by MinHash (Broder 1997) of their runs of words.

Two rows are duplicates where the Jaccard similarity of their sets of runs reaches a threshold.
`datasketch` proposes pairs; the similarity of each is then computed exactly. Of duplicates the row
with the most words is kept, of as long ones that with the lowest hash of its texts, and of the same
texts that with the lowest id. Rows are taken in that order, each compared with those kept so far:
what is kept does not depend on the order of the rows, and every other row names a kept one that it
is similar to itself.

Shape legend: N rows, S shingles (runs of words) of some rows, P permutations.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from teacherlm_jax.data.text_rows import TextRow
from teacherlm_jax.data.word_runs import WordBatch

# Bands that find a pair at the threshold nearly always: what they find too much is compared anyway.
_WEIGHTS = (0.1, 0.9)
_SEED = 1
_ROWS_AT_ONCE = 256
_NONE = np.zeros(0, np.uint64)

# Each is a number of every row, in memory; more than a few hundred tell little more.
_MOST_PERMUTATIONS = 4096


@dataclasses.dataclass(frozen=True)
class DuplicateRule:
    """What counts as a duplicate.

    Attributes:
      threshold: least Jaccard similarity, above 0 and up to 1.
      shingle: words of a run.
      permutations: of MinHash; more find pairs at the threshold more surely.

    Raises:
      ValueError: a number is out of its range.
    """

    threshold: float = 0.8
    shingle: int = 5
    permutations: int = 128

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold = {self.threshold} must be above 0 and at most 1.")
        if self.shingle < 1 or not 16 <= self.permutations <= _MOST_PERMUTATIONS:
            raise ValueError(
                f"shingle = {self.shingle} must be at least 1, and permutations ="
                f" {self.permutations} from 16 to {_MOST_PERMUTATIONS}."
            )


@dataclasses.dataclass(frozen=True)
class Duplicate:
    """A row that another one stands for.

    Attributes:
      of: number of the row that is kept.
      similarity: Jaccard similarity of the two, exactly.
      estimated: as MinHash estimates it.
    """

    of: int
    similarity: float
    estimated: float


@dataclasses.dataclass(frozen=True)
class _Sketch:
    """What is kept of a row: about 600 bytes, and 8 more for each of its words.

    Attributes:
      id: the row's.
      digest: of its texts.
      words: how many.
      shingles: hashes of its different shingles, rising, uint64; of half as many bits, some of
        millions of short texts would have the same one.
      signature: of MinHash, uint32 [P].
    """

    id: str
    digest: bytes
    words: int
    shingles: np.ndarray
    signature: np.ndarray


class Deduplication:
    """Rows as sketches, and which of them are duplicates."""

    def __init__(self, rule: DuplicateRule = DuplicateRule()) -> None:
        """See the class."""
        from datasketch import MinHash

        self.rule = rule
        self._base = MinHash(rule.permutations, seed=_SEED, hashfunc=_itself)
        self._sketches: list[_Sketch] = []

    def __len__(self) -> int:
        return len(self._sketches)

    def add(self, rows: Iterable[TextRow]) -> None:
        """Takes in rows, which get numbers from 0 on; holds their sketches, not their texts."""
        for chunk in _chunks(rows):
            texts = [row.texts[name] for row in chunk for name in sorted(row.texts)]
            batch = WordBatch(texts)
            first = 0
            for row in chunk:
                end = first + len(row.texts)
                self._sketches.append(self._sketch(row, batch, first, end))
                first = end

    def is_row(self, number: int, row: TextRow) -> bool:
        """Whether the row is that which got the number."""
        return number < len(self) and self._sketches[number].digest == digest_of(row)

    def find(self) -> dict[int, Duplicate]:
        """Number of each row that another stands for -> which."""
        from datasketch import MinHashLSH

        rule = self.rule
        index = MinHashLSH(rule.threshold, rule.permutations, weights=_WEIGHTS, hashfunc=_short)
        found: dict[int, Duplicate] = {}
        same: dict[bytes, int] = {}
        order = sorted(range(len(self)), key=self._rank)
        rank = {number: place for place, number in enumerate(order)}
        for number in order:
            sketch = self._sketches[number]
            if not len(sketch.shingles):
                continue  # Without words it is like no other.
            content = hashlib.blake2b(sketch.shingles.tobytes(), digest_size=16).digest()
            if content in same:
                found[number] = Duplicate(same[content], 1.0, 1.0)
                continue
            minhash = self._minhash(sketch.signature)
            near = [self._compare(number, other) for other in index.query(minhash)]
            near = [duplicate for duplicate in near if duplicate.similarity >= rule.threshold]
            if near:
                best = max(near, key=lambda each: (each.similarity, -rank[each.of]))
                found[number] = best
            else:
                index.insert(number, minhash, check_duplication=False)
                same[content] = number
        return found

    def _rank(self, number: int) -> tuple[int, bytes, str, int]:
        sketch = self._sketches[number]
        return (-sketch.words, sketch.digest, sketch.id, number)

    def _sketch(self, row: TextRow, batch: WordBatch, first: int, end: int) -> _Sketch:
        shingles = self._shingles(batch, first, end)
        signature = _NONE
        if len(shingles):
            minhash = self._base.copy()
            # MinHash takes 32 bits, and only proposes what `_compare` decides.
            minhash.update_batch((shingles >> np.uint64(32)).astype(np.uint32))
            signature = minhash.hashvalues
        words = int(batch.first_word_T[end] - batch.first_word_T[first])
        return _Sketch(row.id, digest_of(row), words, shingles, signature)

    def _shingles(self, batch: WordBatch, first: int, end: int) -> np.ndarray:
        """Hashes of the runs of words of some texts; a shorter text is one run."""
        runs = []
        for text in range(first, end):
            begin, stop = batch.first_word_T[text : text + 2]
            if begin == stop:
                continue
            length = min(self.rule.shingle, stop - begin)
            first_R = np.arange(begin, stop - length + 1)
            runs.append(batch.runs.hashes_R(first_R, first_R + length))
        if not runs:
            return _NONE
        return np.unique(np.concatenate(runs))

    def _minhash(self, signature: np.ndarray) -> object:
        from datasketch import MinHash

        return MinHash(
            seed=_SEED,
            hashfunc=_itself,
            hashvalues=signature,
            permutations=self._base.permutations,
            scheme=self._base.scheme,
        )

    def _compare(self, number: int, other: int) -> Duplicate:
        one, two = self._sketches[number], self._sketches[other]
        shared = len(np.intersect1d(one.shingles, two.shingles, assume_unique=True))
        similarity = shared / (len(one.shingles) + len(two.shingles) - shared)
        return Duplicate(other, similarity, float(np.mean(one.signature == two.signature)))


def digest_of(row: TextRow) -> bytes:
    """Tells rows apart by their texts, 12 bytes."""
    content = "\0".join(part for item in sorted(row.texts.items()) for part in item)
    return hashlib.sha256(content.encode("utf-8", "backslashreplace")).digest()[:12]


def _itself(value: int) -> int:
    """The hash of what is a hash already."""
    return value


def _short(band: bytes) -> bytes:
    """Of a band's values, which the index would hold twice for each row."""
    return hashlib.blake2b(band, digest_size=8).digest()


def _chunks(rows: Iterable[TextRow]) -> Iterator[Sequence[TextRow]]:
    chunk: list[TextRow] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _ROWS_AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
