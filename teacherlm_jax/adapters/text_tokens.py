"""Texts to tokens and back as lm-evaluation-harness wants them.

There a special token that is spelled out in a text is that token: chat templates and few-shot
separators write them so. Our vocabularies take it for letters, since a training text must not be
able to end itself. So a public tokenizer is read here once more, from the same files.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

from etils import epath

from teacherlm_jax.data import tokenizer_files, vocabularies
from teacherlm_jax.weights import importing


class TextTokens(Protocol):
    """A tokenizer.

    Attributes:
      name: where it came from.
      vocab_size: the highest id + 1.
      bos_id: the token that may begin a text; None: there is none.
      eos_id: the token that ends one; None: there is none.
      adds_bos: whether the model's texts begin with `bos_id`, as its files say.
    """

    name: str
    vocab_size: int
    bos_id: int | None
    eos_id: int | None
    adds_bos: bool

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, nothing added."""

    def decode(self, ids: Sequence[int], *, with_special: bool = False) -> str:
        """The text of ids; special tokens left out, or spelled out."""


class FolderTokens:
    """A public tokenizer: tokenizer.json, or GPT-2's vocab.json and merges.txt, in a folder."""

    def __init__(self, folder: epath.PathLike) -> None:
        """Reads it.

        Raises:
          ValueError: a file is missing or damaged.
        """
        import tokenizers

        roles = dict.fromkeys(("bos", "eos", "pad", "unk"), tokenizer_files.FROM_FILES)
        files = tokenizer_files.read(folder, roles)
        self.name = str(folder)
        self.vocab_size = files.vocab_size
        self.bos_id, self.eos_id, self.adds_bos = files.ids["bos"], files.ids["eos"], files.adds_bos
        self._tokenizer = tokenizers.Tokenizer.from_str(files.json)
        # Older files name special tokens without listing them: `vocab.json` of OPT does.
        named = [i for i in dict.fromkeys(files.ids.values()) if i is not None]
        self._tokenizer.add_special_tokens([self._tokenizer.id_to_token(i) for i in named])

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """See `TextTokens`."""
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def decode(self, ids: Sequence[int], *, with_special: bool = False) -> str:
        """See `TextTokens`."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=not with_special)
        return text


class VocabularyTokens:
    """A vocabulary of seqio, such as that of a task which a checkpoint of ours was trained on."""

    def __init__(self, vocabulary: Any, name: str) -> None:
        self.name = name
        self._vocabulary = vocabulary
        self.vocab_size = vocabulary.vocab_size
        self.bos_id, self.eos_id = vocabulary.bos_id, vocabulary.eos_id
        self.adds_bos = vocabularies.prefix_id(vocabulary) is not None

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """See `TextTokens`."""
        return [list(ids) for ids in vocabularies.encode_many(self._vocabulary, texts)]

    def decode(self, ids: Sequence[int], *, with_special: bool = False) -> str:
        """See `TextTokens`; special tokens are left out always."""
        text: str = self._vocabulary.decode(list(ids))
        return text


def of_task(name: str) -> VocabularyTokens:
    """The vocabulary of a seqio task.

    Args:
      name: `MODULE:TASK`, where importing the module registers the task.

    Raises:
      ValueError: it is not of that form, or there is no such task.
    """
    module, separator, task = name.partition(":")
    if not separator or not module or not task:
        raise ValueError(
            f"vocabulary_of = {name!r}, but it must be MODULE:TASK, as in "
            "teacherlm_jax.tasks.world:world0_eval."
        )
    from teacherlm_jax.data import pipeline

    importlib.import_module(module)
    return VocabularyTokens(pipeline.vocabulary(task), name)


def of_checkpoint(checkpoint: epath.PathLike) -> FolderTokens:
    """The tokenizer that lies beside a checkpoint: in an import, or a Hugging Face directory.

    Args:
      checkpoint: the folder of an import, its `checkpoints` folder, or a Hugging Face directory.

    Raises:
      ValueError: there is none.
    """
    path = epath.Path(checkpoint)
    places = (path, path / importing.ORIGINALS, path.parent / importing.ORIGINALS)
    for place in places:
        if (place / "config.json").exists():
            return FolderTokens(place)
    raise ValueError(
        f"{path} is no import and no Hugging Face directory, so its tokenizer is not beside it: "
        "give tokenizer=FOLDER, or vocabulary_of=MODULE:TASK for the vocabulary of a task."
    )
