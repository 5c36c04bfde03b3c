"""What decides a task's tokens, as far as the task tells: for caches, which must know it."""

import hashlib
from typing import Any

import seqio

from teacherlm_jax.data.default_vocabulary import DefaultVocabulary

_IDS_SAMPLED = 1024


def of_features(task: seqio.Task) -> dict[str, Any]:
    """JSON values; flat, so that an error can say what differs."""
    features = task.output_features
    names = [name for name in ("inputs", "targets") if name in features]
    sizes = [int(features[name].vocabulary.vocab_size) for name in names]
    settings: dict[str, Any] = {"vocab_size": max(sizes)}
    for name in names:
        feature = features[name]
        settings[f"{name} add_eos"] = feature.add_eos
        settings[f"{name} dtype"] = feature.dtype.name
        settings[f"{name} vocabulary"] = vocabulary_fingerprint(feature.vocabulary)
    return settings


def vocabulary_fingerprint(vocabulary: seqio.Vocabulary) -> str:
    """Tells vocabularies apart by what they do, since seqio's have no name for their content.

    The texts of a thousand ids stand for all.
    """
    if isinstance(vocabulary, DefaultVocabulary):
        vocabulary = vocabulary.chosen
    size = int(vocabulary.vocab_size)
    step = -(-size // _IDS_SAMPLED)
    texts = [repr(vocabulary.decode([number])) for number in range(0, size, step)]
    digest = hashlib.sha256("\n".join(texts).encode("utf-8", "backslashreplace")).hexdigest()
    ids = (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id)
    return f"{type(vocabulary).__name__} of {size}, special tokens {ids}, {digest[:16]}"


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What a cache has and a task has not, or otherwise: a sentence each."""
    return [
        f"{key}: the cache has {found.get(key)!r}, the task {wanted.get(key)!r}"
        for key in sorted({*found, *wanted})
        if found.get(key) != wanted.get(key)
    ]
