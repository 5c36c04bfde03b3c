"""Vocabularies of seqio tasks. `WordVocabulary` is the embedded world's: one token a word."""

from __future__ import annotations

import collections
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import seqio

# Vocabularies are told apart by so many of their first tokens: where tokenizers are of one kind
# they differ early, in what they learned first. Those of two kinds, by what a text becomes.
_NAMED_TOKENS = (64, 256, 1_000)
_PROBE = "The quick brown fox jumps over 13 lazy dogs, and then asks: why did it do so?"

PAD_ID = 0
EOS_ID = 1
UNK_ID = 2
_SPECIAL_TOKENS = ("<pad>", "</s>", "<unk>")

# A token is a run of letters, digits and apostrophes, or one other character. ASCII classes, so
# that Python and TensorFlow (whose \s is ASCII's) split alike.
_TOKEN = re.compile(r"[A-Za-z0-9']+|[^\sA-Za-z0-9]", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9']+")
_NOT_WORD_TF = r"[^\sA-Za-z0-9']"

# Canonical English spacing of tokens joined by spaces: (pattern, replacement), applied in order.
_SPACING = ((r" ([.,:;?!)])", r"\1"), (r"\( ", "("))


def prefix_id(vocabulary: seqio.Vocabulary) -> int | None:
    """What a model's texts begin with: its tokenizer's `prefix_id` where it has one, else BOS."""
    return getattr(vocabulary, "prefix_id", vocabulary.bos_id)


def identity(vocabulary: seqio.Vocabulary) -> dict[str, Any]:
    """Names a vocabulary, so that `is_named` knows it again, as JSON values.

    Returns:
      {"kind": how its tokens are told, "tokens": number of the first tokens -> their digest,
      "encoded": the digest of what it makes of a text}.
    """
    kind, tokens = _first_tokens(vocabulary)
    counts = sorted({count for count in _NAMED_TOKENS if count < len(tokens)} | {len(tokens)})
    return {
        "kind": kind,
        "tokens": {str(count): _digest(tokens[:count]) for count in counts},
        "encoded": _digest([*map(int, vocabulary.encode(_PROBE))]),
    }


def is_named(vocabulary: seqio.Vocabulary, name: Mapping[str, Any]) -> bool:
    """Whether a name that `identity` gave is of this vocabulary, or of one with others after it.

    Tokens are compared where both are told in one way, and otherwise what a text becomes.
    """
    kind, tokens = _first_tokens(vocabulary)
    counts = [count for count in map(int, name["tokens"]) if count <= len(tokens)]
    if kind == name["kind"] and counts:
        return bool(name["tokens"][str(max(counts))] == _digest(tokens[: max(counts)]))
    return bool(name["encoded"] == _digest([*map(int, vocabulary.encode(_PROBE))]))


def _first_tokens(vocabulary: seqio.Vocabulary) -> tuple[str, list[str | None]]:
    """The first tokens, and how they are told: as the files write them, or as what they say."""
    # Tasks that leave their vocabulary open have one that stands for the chosen one.
    vocabulary = getattr(vocabulary, "chosen", vocabulary)
    count = min(_NAMED_TOKENS[-1], int(vocabulary.vocab_size))
    by_id = getattr(vocabulary, "tokens", None)
    if by_id is not None:
        known: Mapping[int, str] = by_id()
        return "tokens", [known.get(number) for number in range(count)]
    return "texts", [str(vocabulary.decode([number])) for number in range(count)]


def _digest(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def encode_many(vocabulary: seqio.Vocabulary, texts: Sequence[str]) -> list[Sequence[int]]:
    """The ids of each text, at once where the vocabulary can."""
    at_once = getattr(vocabulary, "encode_many", None)
    return [vocabulary.encode(text) for text in texts] if at_once is None else at_once(texts)


def split_words(text: str) -> list[str]:
    """Splits a text into words and single punctuation marks, as `WordVocabulary` does."""
    return _TOKEN.findall(text)


def join_words(words: Iterable[str]) -> str:
    """Joins words and punctuation marks with canonical English spacing, as decoding does.

    No space stands before `. , : ; ? ! )` or after `(`; one stands everywhere else.
    """
    text = " ".join(words)
    for pattern, replacement in _SPACING:
        text = re.sub(pattern, replacement, text)
    return text


class WordVocabulary(seqio.Vocabulary):
    """Whole words and single punctuation marks; no sub-words.

    Ids are 0 for padding, 1 for the end of a sequence (`</s>`), 2 for unknown words (`<unk>`), and
    from 3 on the words in their given order. `decode(encode(text)) == text` for every text of known
    words with canonical spacing (see `join_words`).
    """

    def __init__(self, words: Sequence[str]) -> None:
        """Makes a vocabulary of these words.

        Args:
            words: distinct words; each must be one token.

        Raises:
            ValueError: a word stands twice, or is not exactly one token.
        """
        super().__init__(extra_ids=0)
        twice = [word for word, count in collections.Counter(words).items() if count > 1]
        if twice:
            raise ValueError(
                f"words hold {twice[:5]} more than once, but an id belongs to one word: remove the"
                " doubles."
            )
        for word in words:
            if split_words(word) != [word]:
                raise ValueError(
                    f"word {word!r} splits into {split_words(word)}, but each word must be one"
                    " token: letters, digits and apostrophes, or one punctuation mark."
                )
        self._words = tuple(words)
        self._tokens = _SPECIAL_TOKENS + self._words
        self._id_of_word = {word: UNK_ID + 1 + index for index, word in enumerate(self._words)}

    @property
    def words(self) -> tuple[str, ...]:
        """The words, in the order of their ids, which begin at 3."""
        return self._words

    @property
    def bos_id(self) -> int:
        """Padding doubles as the beginning of a sequence: seqio shifts targets right by a 0.

        Nothing takes it for padding there, because masks come from lengths.
        """
        return PAD_ID

    @property
    def eos_id(self) -> int:
        """The id of `</s>`."""
        return EOS_ID

    @property
    def unk_id(self) -> int:
        """The id that words outside the vocabulary get."""
        return UNK_ID

    @property
    def _base_vocab_size(self) -> int:
        return len(self._tokens)

    def _encode(self, s: str) -> list[int]:
        return [self._id_of_word.get(word, UNK_ID) for word in split_words(s)]

    def _decode(self, ids: Sequence[int]) -> str:
        return join_words(self._tokens[i] for i in ids if i not in (PAD_ID, EOS_ID))

    def _encode_tf(self, s: Any) -> Any:
        import tensorflow as tf

        id_of_word, _ = self._tables
        spaced = tf.strings.regex_replace(s, _NOT_WORD_TF, r" \0 ")
        return id_of_word.lookup(tf.strings.split(spaced))

    def _decode_tf(self, ids: Any) -> Any:
        import tensorflow as tf

        _, words = self._tables
        text = tf.strings.reduce_join(tf.gather(words, ids), axis=-1, separator=" ")
        # Padding and the end of sequence are empty words, which leave double spaces.
        text = tf.strings.strip(tf.strings.regex_replace(text, " +", " "))
        for pattern, replacement in _SPACING:
            text = tf.strings.regex_replace(text, pattern, replacement)
        return text

    @functools.cached_property
    def _tables(self) -> tuple[Any, Any]:
        """(hash table from word to int32 id, the words by id); made when first used."""
        import tensorflow as tf

        # Made while a data set's function is traced, they would belong to that function alone.
        with tf.init_scope():
            initializer = tf.lookup.KeyValueTensorInitializer(
                tf.constant(self._words, tf.string),
                tf.range(UNK_ID + 1, UNK_ID + 1 + len(self._words), dtype=tf.int32),
            )
            id_of_word = tf.lookup.StaticHashTable(initializer, default_value=UNK_ID)
            return id_of_word, tf.constant(("", "", _SPECIAL_TOKENS[UNK_ID], *self._words))

    def __getstate__(self) -> dict[str, Any]:
        """For Beam's workers, which make tables of their own."""
        return {name: value for name, value in vars(self).items() if name != "_tables"}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WordVocabulary) and self._words == other._words

    def __hash__(self) -> int:
        return hash(self._words)

    def __repr__(self) -> str:
        return f"WordVocabulary({len(self._words)} words, vocab_size={self.vocab_size})"
