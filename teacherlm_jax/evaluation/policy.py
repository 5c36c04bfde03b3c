"""How options are scored, out of settings in words; and whether the texts are the model's."""

from __future__ import annotations

from collections.abc import Sequence

import seqio
from absl import logging
from etils import epath

from teacherlm_jax.checkpoints import restore
from teacherlm_jax.data import default_vocabulary, pipeline, vocabularies
from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary
from teacherlm_jax.scoring.scores import ScoringPolicy
from teacherlm_jax.weights import any_checkpoint, importing

FROM_VOCABULARY = "vocabulary"


def scoring_policy(
    mixture_or_task_name: str,
    *,
    bos_id: int | str | None,
    max_length: int,
    truncation: str,
    boundary: str,
    normalisation: str,
    unconditional_prompt: str | None,
) -> ScoringPolicy:
    """The policy for tasks; their data must be set up, as the vocabulary is asked.

    Args:
      mixture_or_task_name: whose vocabulary it is.
      bos_id: token before every prompt; None: none; "vocabulary": what the vocabulary says that
        the model's texts begin with.
      max_length: see `ScoringPolicy`, as for those that follow.
      truncation: of prompts.
      boundary: between prompt and option.
      normalisation: of the headline.
      unconditional_prompt: text after which options are scored once more; "": after BOS, or where
        there is none after the token that the vocabulary begins or ends texts with; None: they
        are not.

    Raises:
      ValueError: a setting is impossible.
    """
    vocabulary = pipeline.vocabulary(mixture_or_task_name)
    if bos_id == FROM_VOCABULARY:
        bos_id = vocabularies.prefix_id(vocabulary)
    if isinstance(bos_id, str):
        raise ValueError(
            f"bos_id = {bos_id!r}, but it must be a token id, None, or {FROM_VOCABULARY!r}."
        )
    without: tuple[int, ...] | None = None
    if unconditional_prompt is not None:
        without = tuple(vocabulary.encode(unconditional_prompt))
        if not without and bos_id is None:
            # As lm-evaluation-harness does for an empty context.
            first = [i for i in (vocabulary.bos_id, vocabulary.eos_id) if i is not None]
            without = tuple(first[:1]) or None
    return ScoringPolicy(
        max_length=max_length,
        bos_id=bos_id,
        truncation=truncation,
        boundary=boundary,
        normalisation=normalisation,
        unconditional_prompt=without,
    )


def check_tokenizer(mixture_or_task_name: str, checkpoint_dir: epath.PathLike) -> None:
    """Checks a vocabulary against the one of a checkpoint, where that is known.

    Vocabularies of one size may give every id to another token: the model would be asked nonsense,
    and the accuracy would be one of chance. Tokens that one of both has more are no difference.
    Public checkpoints and imports have a tokenizer beside them; those trained here name theirs.

    Raises:
      ValueError: an id is another token in them.
    """
    vocabulary = pipeline.vocabulary(mixture_or_task_name)
    if isinstance(vocabulary, default_vocabulary.DefaultVocabulary):
        vocabulary = vocabulary.chosen
    folders = [epath.Path(checkpoint_dir)]
    if not any_checkpoint.is_hugging_face(checkpoint_dir):
        _check_named(vocabulary, checkpoint_dir)
        folders.append(any_checkpoint.folder_of(checkpoint_dir).parent / importing.ORIGINALS)
    if isinstance(vocabulary, HuggingFaceVocabulary):
        _check_beside(vocabulary, folders)


def _check_named(vocabulary: seqio.Vocabulary, checkpoint_dir: epath.PathLike) -> None:
    """Checks against what a checkpoint that was trained here says."""
    name = restore.saved_vocabulary(checkpoint_dir)
    if name is not None and not vocabularies.is_named(vocabulary, name):
        raise ValueError(
            f"{vocabulary!r} is not the vocabulary that {checkpoint_dir} was trained with: the "
            "same ids are other tokens. Set TOKENIZER to that one, or give a task that has it."
        )


def _check_beside(vocabulary: HuggingFaceVocabulary, folders: Sequence[epath.Path]) -> None:
    """Checks against the first tokenizer that lies in these folders."""
    names = ("tokenizer.json", "vocab.json")
    folder = next((one for one in folders if any((one / n).exists() for n in names)), None)
    if folder is None or vocabulary.directory == str(folder):
        return
    try:
        its = HuggingFaceVocabulary(folder).tokens()
    except (ImportError, ValueError) as error:
        logging.warning("the tokenizer beside the checkpoint cannot be compared: %s", error)
        return
    ours = vocabulary.tokens()
    others = [number for number in ours if its.get(number, ours[number]) != ours[number]]
    if others:
        first = min(others)
        raise ValueError(
            f"{vocabulary!r} is not the tokenizer of {folder}: they differ in {len(others):,} of "
            f"{len(ours):,} tokens; {first} is {ours[first]!r:.40}, but {its[first]!r:.40} to the "
            "model. Set TOKENIZER to the checkpoint's own."
        )
