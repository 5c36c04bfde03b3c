"""What a model would be shown of a task or mixture: rows token by token, and what may be amiss.

Rows come the way that training takes them: `batches.MixtureBatches` over `RowFormat`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import seqio

from teacherlm_jax.data import pipeline, tokenization
from teacherlm_jax.data.batches import MixtureBatches
from teacherlm_jax.data.examples import ExampleTable, TokenizedExample
from teacherlm_jax.data.row_format import RowFormat

BOS, INPUT, TARGET = "bos", "input", "target"

# Bytes of a character that byte-level vocabularies may spread over as many tokens.
_TOKENS_OF_A_CHARACTER = 4
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_ROWS_CHECKED_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Token:
    """One token of a row.

    Attributes:
      id: in the vocabulary.
      text: what it adds to the text; "" for special tokens, and for all tokens of a character but
        the last.
      role: BOS, INPUT or TARGET.
      special: "BOS", "EOS", "PAD" or "UNK" where it is one of them, else "".
      has_loss: whether the model learns to say it.
    """

    id: int
    text: str
    role: str
    special: str
    has_loss: bool


@dataclasses.dataclass(frozen=True)
class Segment:
    """One example in a row.

    Attributes:
      example_id: TASK/SPLIT:NUMBER.
      tokens: BOS or first token, inputs, targets.
    """

    example_id: str
    tokens: tuple[Token, ...]

    def count(self, role: str) -> int:
        """Tokens of a role."""
        return sum(token.role == role for token in self.tokens)

    @property
    def with_loss(self) -> int:
        """Tokens that carry loss."""
        return sum(token.has_loss for token in self.tokens)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row as the model reads it.

    Attributes:
      segments: its examples.
      used: positions that are no padding.
      length: positions T.
    """

    segments: tuple[Segment, ...]
    used: int
    length: int


def read_tables(
    provider: seqio.Task | seqio.Mixture, split: str, pool: int
) -> tuple[list[ExampleTable], list[float]]:
    """The first rows of each task, tokenized as training tokenizes them, and the tasks' rates.

    Args:
      provider: a task or mixture.
      split: of every task.
      pool: rows of each task at most.

    Raises:
      ValueError: a task has no such split.
    """

    def load(task: seqio.Task, split: str) -> ExampleTable:
        rows = tokenization.tokenized_rows(task, split, pool)
        return ExampleTable(
            task.name,
            [TokenizedExample(f"{task.name}/{split}:{i}", *row) for i, row in enumerate(rows)],
        )

    return pipeline.load_tables(provider.name, split, load)


def longest(tables: Sequence[ExampleTable]) -> int:
    """Tokens of the longest example."""
    return max((int(table.lengths_N2.sum(axis=1).max(initial=1)) for table in tables), default=1)


def rows(
    tables: Sequence[ExampleTable],
    rates: Sequence[float],
    row_format: RowFormat,
    vocabulary: seqio.Vocabulary,
    count: int,
    seed: int,
) -> list[Row]:
    """The first rows that training with this seed would see, if the tables held all.

    Raises:
      ValueError: as `MixtureBatches`.
    """
    by_id = {
        example.example_id: example
        for table in tables
        for example in row_format.usable(table).table.examples
    }
    batches = MixtureBatches(tables, rates, row_format, count, seed)
    ids, arrays = batches(0)
    remaining = iter(ids)
    found = []
    for row in range(count):
        segments_T = arrays["decoder_segment_ids"][row]
        segments = []
        for number in range(1, int(segments_T.max(initial=0)) + 1):
            example = by_id[next(remaining)]
            places = np.flatnonzero(segments_T == number)
            segments.append(_segment(example, places, row, arrays, row_format, vocabulary))
        found.append(Row(tuple(segments), int((segments_T > 0).sum()), row_format.length))
    return found


def _segment(
    example: TokenizedExample,
    places: np.ndarray,
    row: int,
    arrays: dict[str, np.ndarray],
    row_format: RowFormat,
    vocabulary: seqio.Vocabulary,
) -> Segment:
    """A segment as the arrays have it; the example says where its inputs end."""
    read = arrays["decoder_input_tokens"][row][places]
    said = arrays["decoder_target_tokens"][row][places]
    has_bos = row_format.bos_id is not None
    ids = [int(read[0]), *said.tolist()]
    has_loss = [False, *(arrays["decoder_loss_weights"][row][places] > 0).tolist()]
    roles = [BOS] * has_bos + [INPUT] * len(example.inputs) + [TARGET] * len(example.targets)
    special = special_tokens(vocabulary)
    names = [special.get(number, "") for number in ids]
    if has_bos:
        names[0] = "BOS"
    texts = pieces(vocabulary, ids, names)
    tokens = zip(ids, texts, roles, names, has_loss, strict=True)
    return Segment(example.example_id, tuple(Token(*values) for values in tokens))


def special_tokens(vocabulary: seqio.Vocabulary) -> dict[int, str]:
    """Id -> name of the tokens that stand for no text. EOS goes before others of the same id."""
    named = {"BOS": vocabulary.bos_id, "EOS": vocabulary.eos_id, "UNK": vocabulary.unk_id}
    order = ("UNK", "BOS", "EOS")
    found = {} if decoded(vocabulary, [vocabulary.pad_id]) else {vocabulary.pad_id: "PAD"}
    return found | {named[name]: name for name in order if named[name] is not None}


def decoded(vocabulary: seqio.Vocabulary, ids: Sequence[int]) -> str:
    """The text of ids."""
    return str(vocabulary.decode(list(ids)))


def pieces(
    vocabulary: seqio.Vocabulary, ids: Sequence[int], special: Sequence[str] | None = None
) -> list[str]:
    """What each token adds to the text; joined, they are the text.

    Args:
      vocabulary: decodes.
      ids: of tokens.
      special: "" for tokens that stand for text; None: all do.
    """
    texts = [""] * len(ids)
    context: list[int] = []
    first = 0
    while first < len(ids):
        if special and special[first]:
            context, first = [], first + 1
            continue
        before = decoded(vocabulary, context) if context else ""
        last = first
        while True:
            own = list(ids[first : last + 1])
            text = decoded(vocabulary, [*context, *own])
            # Spaces depend on what stands before: all of SentencePiece's, and of whole words.
            added = text[len(before) :] if text.startswith(before) else decoded(vocabulary, own)
            is_whole = added and not added.endswith(_REPLACEMENT)
            is_last = last + 1 == len(ids) or bool(special and special[last + 1])
            if is_whole or is_last or last + 1 - first == _TOKENS_OF_A_CHARACTER:
                break
            last += 1
        texts[last] = added
        context, first = own, last + 1
    return texts


# What may be amiss


@dataclasses.dataclass
class _Counts:
    """Of examples that were looked at."""

    examples: int = 0
    without_eos_loss: int = 0
    eos_inside: int = 0
    bos_twice: int = 0
    unknown: int = 0


def findings(
    tables: Sequence[ExampleTable],
    row_format: RowFormat,
    vocabulary: seqio.Vocabulary,
    is_evaluation: bool = False,
) -> list[str]:
    """Warnings about tables, each a sentence; empty where nothing is amiss.

    Args:
      tables: all of whose examples are looked at.
      row_format: how they become rows.
      vocabulary: theirs.
      is_evaluation: they are scored, not trained on: their targets need no EOS.
    """
    counts = _Counts()
    for example, last_has_loss in _with_loss_of_last(tables, row_format):
        _count(counts, example, last_has_loss, row_format, vocabulary)
    total, found = counts.examples, []
    if vocabulary.eos_id is None and not is_evaluation:
        found.append("the vocabulary has no EOS: a model trained on this never learns to stop.")
    elif counts.without_eos_loss and not is_evaluation:
        found.append(
            f"EOS carries no loss in {counts.without_eos_loss} of {total} examples, whose targets "
            "do not end with it: a model trained on them does not learn to stop. Give the targets' "
            "feature add_eos=True and end the preprocessors with seqio.preprocessors.append_eos "
            "(the paper's own recipe appends none)."
        )
    if counts.eos_inside:
        found.append(
            f"{counts.eos_inside} of {total} examples hold EOS before their end: it is appended "
            "twice, or the text holds its letters."
        )
    if counts.bos_twice:
        found.append(
            f"{counts.bos_twice} of {total} examples begin with BOS themselves, and rows put one "
            "before them: set bos_id to None, or leave it out of the task."
        )
    if counts.unknown:
        found.append(
            f"{counts.unknown} of {total} examples hold unknown tokens: is it the right vocabulary?"
        )
    return found


def _with_loss_of_last(
    tables: Sequence[ExampleTable], row_format: RowFormat
) -> Iterator[tuple[TokenizedExample, bool]]:
    """Each usable example, and whether its last token carries loss, as rows have it."""
    single = dataclasses.replace(row_format, pack=False)
    for table in tables:
        usable = row_format.usable(table).table
        for first in range(0, len(usable), _ROWS_CHECKED_AT_ONCE):
            places = range(first, min(first + _ROWS_CHECKED_AT_ONCE, len(usable)))
            examples = usable.read(places)
            weights_BT = single.arrays(examples)["decoder_loss_weights"]
            last_B = single.used_N(usable)[first : first + len(examples)] - 1
            yield from zip(examples, (weights_BT[range(len(examples)), last_B] > 0).tolist())


def _count(
    counts: _Counts,
    example: TokenizedExample,
    last_has_loss: bool,
    row_format: RowFormat,
    vocabulary: seqio.Vocabulary,
) -> None:
    tokens = np.concatenate([example.inputs, example.targets])
    counts.examples += 1
    is_eos = tokens == (-1 if vocabulary.eos_id is None else vocabulary.eos_id)
    counts.without_eos_loss += not (is_eos[-1] and last_has_loss)
    counts.eos_inside += bool(is_eos[:-1].any())
    counts.bos_twice += row_format.bos_id is not None and int(tokens[0]) == row_format.bos_id
    if vocabulary.unk_id is not None and has_unknown(vocabulary):
        counts.unknown += bool((tokens == vocabulary.unk_id).any())


def has_unknown(vocabulary: seqio.Vocabulary) -> bool:
    """Whether the unknown token is one of its own: some files name EOS for it."""
    return vocabulary.unk_id not in (vocabulary.eos_id, vocabulary.bos_id, vocabulary.pad_id)
