"""Running text for teachers from scratch: whole documents as `targets`, ended by EOS.

    pretraining_c4, pretraining_wikipedia, pretraining_lm1b   corpora that TFDS has prepared
    pretraining                                               a mixture of them

`corpus_task`, `register_text` and `mixture` register more: documents cut to a length, and text of
your own. They return the name, so that gin can call them where a name is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import seqio

from teacherlm_jax.data.default_vocabulary import DEFAULT
from teacherlm_jax.data.document_sources import CorpusSource, TextFilesSource
from teacherlm_jax.data.row_rendering import RawRow, RowError, rendered
from teacherlm_jax.tasks.catalogue.reading import text

LEAST_SPLIT_LENGTH = 3
"""With less, a chunk could be a lone token, which nothing comes before."""


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus of TFDS.

    Attributes:
      tfds: its name with config and version; rows have the feature `text`.
      splits: seqio's split -> TFDS's.
      rate: its share of the documents of the mixture `pretraining`.
    """

    tfds: str
    splits: Mapping[str, str]
    rate: float


CORPORA: dict[str, Corpus] = {
    "c4": Corpus("c4/en:3.1.0", {"train": "train", "validation": "validation"}, 0.75),
    "wikipedia": Corpus(
        "wikipedia/20230601.en:1.0.0",
        {"train": "train[:-5000]", "validation": "train[-5000:]"},
        0.2,
    ),
    "lm1b": Corpus("lm1b:1.1.0", {"train": "train", "validation": "test"}, 0.05),
}
"""By name. The rates are our choice: nothing is published."""


def corpus_task(corpus: str, split_length: int | None = None) -> str:
    """Registers a corpus where it is not yet, and returns the task's name.

    Args:
      corpus: a key of `CORPORA`.
      split_length: cuts longer documents into chunks of at most so many tokens; None: whole.

    Raises:
      ValueError: there is no such corpus, or a length below `LEAST_SPLIT_LENGTH`.
    """
    if corpus not in CORPORA:
        raise ValueError(f"corpus = {corpus!r}, but it must be one of {sorted(CORPORA)}.")
    name = f"pretraining_{corpus}{_suffix(split_length)}"
    if name not in seqio.TaskRegistry.names():
        found = CORPORA[corpus]
        source = CorpusSource(found.tfds, found.splits)
        _add(name, source, [_text_as_targets], split_length)
    return name


def register_text(
    name: str,
    files: Mapping[str, str | Sequence[str]] | str,
    format: str = "text",
    field: str = "text",
    documents: str = "file",
    split_length: int | None = None,
) -> str:
    """Registers text of your own under a name, in place of what has it, and returns the name.

    Args:
      name: letters, digits and underscores.
      files: split -> glob pattern or patterns, such as {"train": "gs://texts/*.jsonl"}; a pattern
        alone is of the split "train".
      format: "text", "jsonl" or "array_record" (of JSON objects).
      field: of a JSON object, holds the text.
      documents: of plain text, what is a document: a "file", "paragraph" or "line".
      split_length: cuts longer documents into chunks of at most so many tokens; None: whole.

    Raises:
      ValueError: an argument is not as said.
    """
    if not re.fullmatch(r"\w+", name, re.ASCII):
        raise ValueError(f"name = {name!r}, but it must be letters, digits and underscores.")
    _suffix(split_length)
    patterns = {"train": files} if isinstance(files, str) else files
    source = TextFilesSource(patterns, format, documents)
    seqio.TaskRegistry.remove(name)
    import tensorflow as tf

    document = functools.partial(_document, field="text" if format == "text" else field)
    signature = {"targets": tf.TensorSpec((), tf.string)}
    _add(name, source, [rendered(document, signature, name)], split_length)
    return name


def mixture(
    name: str = "pretraining",
    rates: Mapping[str, float] | None = None,
    split_length: int | None = None,
) -> str:
    """Registers a mixture of running text, in place of what has its name, and returns the name.

    Args:
      name: of the mixture, to which the split length is added: "pretraining_2048".
      rates: corpus (a key of `CORPORA`) or task -> rate, in any unit; None: as `CORPORA` says.
      split_length: of the corpora; tasks by name have their own.

    Raises:
      ValueError: no rates, one not above 0, or a name that is neither corpus nor task.
    """
    rates = {key: corpus.rate for key, corpus in CORPORA.items()} if rates is None else rates
    if not rates or min(rates.values()) <= 0:
        raise ValueError(f"rates = {dict(rates)}; there must be some, all above 0.")
    unknown = sorted(rates.keys() - CORPORA.keys() - set(seqio.TaskRegistry.names()))
    if unknown:
        raise ValueError(
            f"rates name {unknown}, which are no corpora ({sorted(CORPORA)}) and no tasks that are"
            " registered: register your own text first by register_text."
        )
    tasks = {
        corpus_task(key, split_length) if key in CORPORA else key: float(rate)
        for key, rate in rates.items()
    }
    full_name = name + _suffix(split_length)
    seqio.MixtureRegistry.remove(full_name)
    seqio.MixtureRegistry.add(full_name, list(tasks.items()))
    return full_name


def _suffix(split_length: int | None) -> str:
    if split_length is None:
        return ""
    if split_length < LEAST_SPLIT_LENGTH:
        raise ValueError(
            f"split_length = {split_length}, but it must be at least {LEAST_SPLIT_LENGTH}; give"
            " the tokens that a row holds."
        )
    return f"_{split_length}"


def _add(
    name: str,
    source: seqio.DataSource,
    read: Sequence[Callable[..., Any]],
    split_length: int | None,
) -> None:
    cut = [functools.partial(in_chunks, length=split_length)] if split_length else []
    seqio.TaskRegistry.add(
        name,
        source=source,
        output_features={"targets": seqio.Feature(DEFAULT, add_eos=True)},
        preprocessors=[
            *read,
            functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=False),
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos,
            *cut,
        ],
    )


def _text_as_targets(dataset: Any) -> Any:
    """TFDS's rows -> targets, without Python for each; what is empty is left out."""
    import tensorflow as tf

    dataset = dataset.map(lambda row: {"targets": row["text"]}, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.filter(lambda row: tf.strings.length(row["targets"]) > 0)


def _document(row: RawRow, field: str) -> Iterable[Mapping[str, Any]]:
    found = text(row.values, field)
    if not found:
        raise RowError(f"field {field!r} is empty; leave the document out.")
    return [{"targets": row.values[field]}]


def in_chunks(dataset: Any, length: int) -> Any:
    """Cuts targets that are longer than `length` tokens into examples one after another.

    Nothing is lost and nothing stands twice. Where one token would be left over, it takes its
    neighbour along: a lone token has nothing before it that could predict it.
    """
    import tensorflow as tf

    def chunks(example: Any) -> Any:
        targets = example["targets"]
        size = tf.shape(targets, tf.int64)[0]
        starts = tf.range(0, tf.maximum(size, 1), length)
        is_lone = (size - starts[-1] == 1) & (size > length)
        starts = tf.concat([starts[:-1], starts[-1:] - tf.cast(is_lone, tf.int64)], 0)
        ends = tf.concat([starts[1:], [size]], 0)
        bounds = tf.data.Dataset.from_tensor_slices((starts, ends))
        return bounds.map(lambda start, end: {"targets": targets[start:end]})

    return dataset.flat_map(chunks)


def _register_all() -> Iterator[str]:
    for corpus in CORPORA:
        yield corpus_task(corpus)
    yield mixture()


NAMES = tuple(_register_all())
"""What importing this module registers."""
