"""Tokenizers of public checkpoints as seqio vocabularies, over the `tokenizers` package.

A folder holds either `tokenizer.json`, or the `vocab.json` and `merges.txt` of GPT-2's byte-level
BPE, as some OPT checkpoints do. Beside it, other files name the special tokens.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import seqio
from etils import epath

from teacherlm_jax.data import tokenizer_files

FROM_FILES = tokenizer_files.FROM_FILES


class HuggingFaceVocabulary(seqio.Vocabulary):
    """The tokenizer of a public checkpoint.

    Text is text: `encode` adds no special token, and one that is spelled out in a text ("</s>") is
    encoded as the letters that it is. So text cannot end itself, and a byte-level tokenizer without
    a normalizer gives back any UTF-8 text as it was; special tokens come from their ids alone.
    (Added tokens that no file calls special, such as runs of spaces, are found in a text as ever.)
    `decode` stops at EOS, leaves special tokens out, and cleans up no spaces. Truncation, padding,
    dropout and the template that adds a BOS, where tokenizer.json has them, are not applied.

    `vocab_size` is the highest id + 1, added tokens included. A model may have more rows: BLOOM
    has 250,680 tokens and 250,880 rows.

    `bos_id` is what the files name, which does not say that a model was trained with it: BLOOM
    names `<s>`, and no text that it saw began so. What stands before a text is decided where rows
    are made (`RowFormat`, `DecoderFeatureConverter`, `ScoringPolicy`).

    Objects do not change: they may be shared by threads and after a fork. `encode_tf` and
    `decode_tf` call Python, in one thread at a time; a data set that uses them can be
    checkpointed, but not be sent to another process.
    """

    def __init__(
        self,
        directory: epath.PathLike,
        *,
        bos_id: int | str | None = FROM_FILES,
        eos_id: int | str | None = FROM_FILES,
        pad_id: int | str | None = FROM_FILES,
        unk_id: int | str | None = FROM_FILES,
    ) -> None:
        """Reads the tokenizer.

        A special token's id comes from the first of these that names it: the argument;
        tokenizer_config.json and special_tokens_map.json, by its text; config.json and
        generation_config.json, by its id (of a list, the first; a negative one is none); for
        unk_id, tokenizer.json's model. A BOS that tokenizer_config.json calls null is none, though
        config.json may name one: Qwen2's does, and its texts have no BOS.

        Args:
          directory: where the files lie; local or gs://.
          bos_id: None: the tokenizer has none.
          eos_id: likewise.
          pad_id: likewise; see the property.
          unk_id: likewise.

        Raises:
          ImportError: the package `tokenizers` is not installed.
          ValueError: a file is missing or damaged, names a token that the tokenizer does not hold,
            or the tokenizer cannot tell a special token from the same letters in a text.
        """
        super().__init__(extra_ids=0)
        self._directory = str(directory)
        files = tokenizer_files.read(
            directory, {"bos": bos_id, "eos": eos_id, "pad": pad_id, "unk": unk_id}
        )
        self._size, self._ids, self._json = files.vocab_size, files.ids, files.json
        self._digest = hashlib.sha256(f"{self._ids} {self._json}".encode()).hexdigest()
        self._tokenizer = _tokenizer(self._json, self._directory)
        self._prefix_id = self._ids["bos"] if files.adds_bos else None
        self._check_added_tokens(files.added_tokens)
        self._left_out = self._special_ids(files.special, eos_is_chosen=eos_id != FROM_FILES)

    def _check_added_tokens(self, added_tokens: Mapping[str, int]) -> None:
        for text, number in added_tokens.items():
            found = self._tokenizer.token_to_id(text)
            if found != number:
                raise ValueError(
                    f"{self._directory}: added token {text!r} has id {number} in the files, but "
                    f"the tokenizer gives it {found}: ids of added tokens must follow those of the "
                    "model without a gap."
                )

    def _special_ids(self, marked: Set[int], eos_is_chosen: bool) -> Set[int | None]:
        """Ids that decoding leaves out: EOS, and special tokens that no text can hold.

        Some files name an ordinary token, such as `!`, for padding: in a text it is a `!`.
        """
        candidates = marked | {number for number in self._ids.values() if number is not None}
        texts = {i: self._tokenizer.decode([i], skip_special_tokens=False) for i in candidates}
        in_text: set[int | None] = {i for i, text in texts.items() if i in self._encode(text)}
        harmless = {self._ids["pad"], self._ids["unk"]} - {self.eos_id}
        control = marked - harmless | (set() if eos_is_chosen else {self.eos_id})
        refused = sorted(number for number in texts if number in in_text & control)
        if refused:
            raise ValueError(
                f"{self._directory}: the letters {texts[refused[0]]!r} in a text would become the "
                f"special token {refused[0]}, but a text must not be able to end itself. BPE that "
                "is byte-level or falls back to bytes keeps them apart; for SentencePiece's "
                "unigram models use seqio.SentencePieceVocabulary. Where the files name an "
                "ordinary token as EOS, give eos_id."
            )
        in_text.discard(self.unk_id)  # What unknown text becomes is not what it was.
        return frozenset(candidates - in_text | {self.eos_id})

    @property
    def directory(self) -> str:
        """Where the files lie."""
        return self._directory

    def tokens(self) -> dict[int, str]:
        """The tokens by id, as the files write them, added ones included."""
        return {number: text for text, number in self._tokenizer.get_vocab().items()}

    @property
    def bos_id(self) -> int | None:
        """The id of the token that may begin a text; None: there is none."""
        return self._ids["bos"]

    @property
    def prefix_id(self) -> int | None:
        """The token that the tokenizer, as published, puts before every text; None: it puts none.

        That is what the model was trained with: OPT's texts begin with `</s>`, Llama's with `<s>`;
        BLOOM, GPT-NeoX and Qwen have no such token, whatever `bos_id` names.
        """
        return self._prefix_id

    @property
    def eos_id(self) -> int | None:
        """The id of the token that ends a text; None: there is none."""
        return self._ids["eos"]

    @property
    def unk_id(self) -> int | None:
        """The id of what is not in the vocabulary; None: byte-level tokenizers need none."""
        return self._ids["unk"]

    @property
    def pad_id(self) -> int:
        """The padding token's id; without one EOS's; without both 0, which may be a real token.

        seqio wants a number; nothing here reads it, since padding is known by mask.
        """
        return next((i for i in (self._ids["pad"], self._ids["eos"]) if i is not None), 0)

    @property
    def _base_vocab_size(self) -> int:
        return self._size

    def _encode(self, s: str) -> list[int]:
        return self._tokenizer.encode(s, add_special_tokens=False).ids

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text as `encode` gives them; many at once, on all cores."""
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def _decode(self, ids: Sequence[int]) -> str:
        kept = [int(i) for i in ids if 0 <= i < self._size and int(i) not in self._left_out]
        return self._tokenizer.decode(kept, skip_special_tokens=False)

    def _encode_tf(self, s: Any) -> Any:
        """Ids of a scalar as int32 [tokens]; of more texts, ragged with one dimension more."""
        import tensorflow as tf

        if isinstance(s, tf.RaggedTensor):
            return s.with_values(self._encode_tf(s.values))
        texts = tf.convert_to_tensor(s, tf.string)
        if texts.shape.rank is None:
            raise ValueError(
                "encode_tf got texts of unknown rank, but must know whether they are one or many: "
                "call tf.ensure_shape on them first."
            )
        if texts.shape.rank > 1:
            return self._encode_tf(tf.RaggedTensor.from_tensor(texts))
        # A stateful function in a data set would forbid to save its iterator.
        ids, lengths = tf.numpy_function(
            self._encode_rows, [tf.reshape(texts, [-1])], (tf.int32, tf.int64), stateful=False
        )
        ids, lengths = tf.ensure_shape(ids, [None]), tf.ensure_shape(lengths, [None])
        if texts.shape.rank == 0:
            return ids
        lengths.set_shape(texts.shape)
        return tf.RaggedTensor.from_row_lengths(ids, lengths, validate=False)

    def _encode_rows(self, texts: Iterable[bytes]) -> tuple[np.ndarray, np.ndarray]:
        rows = [self._encode(_decoded(text)) for text in texts]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return np.fromiter(itertools.chain.from_iterable(rows), np.int32, lengths.sum()), lengths

    def decode_tf(self, ids: Any) -> Any:
        """Decodes ids [..., tokens], dense or ragged, to strings [...], each as `decode` does.

        seqio's own would put pad_id after EOS, which may be a token that is not left out.
        """
        return self._decode_tf(ids)

    def _decode_tf(self, ids: Any) -> Any:
        import tensorflow as tf

        if isinstance(ids, tf.RaggedTensor):
            ids = ids.to_tensor(default_value=-1)  # Which `_decode` leaves out.
        ids = tf.convert_to_tensor(ids)
        shape = tf.shape(ids)
        rows = tf.reshape(ids, [tf.reduce_prod(shape[:-1]), shape[-1]])
        texts = tf.numpy_function(self._decode_rows, [rows], tf.string, stateful=False)
        return tf.ensure_shape(tf.reshape(texts, shape[:-1]), ids.shape[:-1])

    def _decode_rows(self, rows: np.ndarray) -> np.ndarray:
        return np.array([self.decode(row).encode("utf-8") for row in rows.tolist()], dtype=object)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_tokenizer"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._tokenizer = _tokenizer(self._json, self._directory)

    def __deepcopy__(self, memo: Any) -> HuggingFaceVocabulary:
        return self  # seqio and gin copy what does not change; parsing anew takes a second.

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HuggingFaceVocabulary) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        ids = ", ".join(f"{role}_id={number}" for role, number in self._ids.items())
        return f"HuggingFaceVocabulary({self._directory!r}, vocab_size={self._size}, {ids})"


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{text[:100]!r} is not UTF-8 ({error}), but texts to encode must be: decode them by "
            "their own encoding first."
        ) from error


def _tokenizer(text: str, directory: str) -> Any:
    """The tokenizer that a JSON text describes; special tokens in a text are letters to it."""
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            "HuggingFaceVocabulary needs the package `tokenizers`, which is not installed: "
            "pip install 'teacherlm_jax[hf]'."
        ) from error
    try:
        tokenizer = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # The package raises nothing more particular.
        raise ValueError(
            f"{directory}: tokenizers {tokenizers.__version__} cannot read it ({error}): "
            "fetch its files anew, or update the package."
        ) from error
    tokenizer.encode_special_tokens = True
    return tokenizer
