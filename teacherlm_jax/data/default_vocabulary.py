"""The vocabulary of tasks that leave theirs open: chosen once a process, before data is read.

Tasks over public data sets are the same for every model; only their tokens differ. They are
registered with `DEFAULT`, which stands for whatever the run chooses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import seqio

from teacherlm_jax.data import vocabularies


class DefaultVocabulary(seqio.Vocabulary):
    """Stands for the vocabulary that `choose` names; asking it for tokens before is an error."""

    def __init__(self) -> None:
        super().__init__(extra_ids=0)
        self._chosen: seqio.Vocabulary | None = None

    @property
    def chosen(self) -> seqio.Vocabulary:
        """The vocabulary behind.

        Raises:
          ValueError: none is chosen yet.
        """
        if self._chosen is None:
            raise ValueError(
                "this task leaves its vocabulary open, and none is chosen. For runs/finetune.gin:"
                " --gin.VOCABULARY='@hf_vocabulary.HuggingFaceVocabulary()' --gin.TOKENIZER=FOLDER;"
                " in a gin file of yours bind data_setup.DataSetup.vocabulary; in Python call"
                " default_vocabulary.choose(vocabulary) before data is read."
            )
        return self._chosen

    @property
    def is_chosen(self) -> bool:
        """Whether there is a vocabulary behind."""
        return self._chosen is not None

    @property
    def bos_id(self) -> int | None:
        """The chosen vocabulary's."""
        return self.chosen.bos_id

    @property
    def prefix_id(self) -> int | None:
        """The chosen vocabulary's."""
        return vocabularies.prefix_id(self.chosen)

    @property
    def eos_id(self) -> int | None:
        """The chosen vocabulary's."""
        return self.chosen.eos_id

    @property
    def unk_id(self) -> int | None:
        """The chosen vocabulary's."""
        return self.chosen.unk_id

    @property
    def pad_id(self) -> int:
        """The chosen vocabulary's."""
        return self.chosen.pad_id

    @property
    def extra_ids(self) -> int:
        """The chosen vocabulary's."""
        return self.chosen.extra_ids

    @property
    def vocab_size(self) -> int:
        """The chosen vocabulary's."""
        return self.chosen.vocab_size

    @property
    def _base_vocab_size(self) -> int:
        return self.chosen._base_vocab_size

    def encode(self, s: Sequence[int] | str) -> Sequence[int]:
        """As the chosen vocabulary does."""
        return self.chosen.encode(s)

    def encode_many(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """As the chosen vocabulary does, where it can many at once."""
        return vocabularies.encode_many(self.chosen, texts)

    def decode(self, ids: Iterable[int]) -> Any:
        """As the chosen vocabulary does."""
        return self.chosen.decode(ids)

    def encode_tf(self, s: Any) -> Any:
        """As the chosen vocabulary does."""
        return self.chosen.encode_tf(s)

    def decode_tf(self, ids: Any) -> Any:
        """As the chosen vocabulary does."""
        return self.chosen.decode_tf(ids)

    def _encode(self, s: str) -> Sequence[int]:
        return self.chosen.encode(s)

    def _decode(self, ids: Iterable[int]) -> Any:
        return self.chosen.decode(ids)

    def _encode_tf(self, s: Any) -> Any:
        return self.chosen.encode_tf(s)

    def _decode_tf(self, ids: Any) -> Any:
        return self.chosen.decode_tf(ids)

    def __deepcopy__(self, memo: Any) -> DefaultVocabulary:
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DefaultVocabulary):
            return self._chosen == other._chosen
        return self._chosen is not None and self._chosen == other

    def __hash__(self) -> int:
        return hash(DefaultVocabulary)

    def __repr__(self) -> str:
        return f"DefaultVocabulary({self._chosen!r})"


DEFAULT = DefaultVocabulary()
"""What tasks register with."""


def choose(vocabulary: seqio.Vocabulary) -> None:
    """Chooses what `DEFAULT` stands for, for the rest of the process.

    Args:
      vocabulary: choosing an equal one again does nothing.

    Raises:
      ValueError: another one is chosen already, and tokens of two would mix.
    """
    if vocabulary is DEFAULT:
        raise ValueError("the default vocabulary cannot stand for itself: give a real one.")
    if DEFAULT.is_chosen and DEFAULT.chosen != vocabulary:
        raise ValueError(
            f"the vocabulary {DEFAULT.chosen!r} is chosen already, so {vocabulary!r} cannot be:"
            " register a copy of the task by seqio.utils.mixture_or_task_with_new_vocab, or use"
            " another process."
        )
    DEFAULT._chosen = vocabulary


def forget() -> None:
    """Undoes `choose`, for tests."""
    DEFAULT._chosen = None
