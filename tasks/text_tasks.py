"""What tasks over the catalogue share: features, sources, and the steps after the text is made.

Text tasks have `inputs` and `targets` as text; tokens come from the default vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import seqio

from teacherlm_jax.data.dataset_source import DatasetSource
from teacherlm_jax.data.default_vocabulary import DEFAULT
from teacherlm_jax.data.row_rendering import RawRow, rendered
from teacherlm_jax.data.row_source import RowSource
from teacherlm_jax.tasks.catalogue.dataset import Dataset


def source(dataset: Dataset, **arguments: Any) -> DatasetSource:
    """The seqio source of a data set of the catalogue; see `DatasetSource` for the arguments."""
    return DatasetSource(
        dataset.name,
        arguments.pop("splits", dataset.splits),
        tfds=dataset.tfds,
        hub=dataset.hub,
        manual=dataset.manual,
        counts=dataset.counts,
        **arguments,
    )


def features(add_eos: bool = True) -> dict[str, seqio.Feature]:
    """Inputs and targets in the default vocabulary."""
    return {
        "inputs": seqio.Feature(DEFAULT, add_eos=False, required=False),
        "targets": seqio.Feature(DEFAULT, add_eos=add_eos),
    }


def add_training_task(
    name: str,
    source: RowSource,
    make_examples: Callable[[RawRow], Iterable[Mapping[str, Any]]],
    select: Callable[[Any], Any] | None = None,
) -> seqio.Task:
    """Registers a task whose rows become `id`, `inputs` and `targets`, and end with EOS.

    A decoder reads both as one text, so targets begin with a space where none stands between them;
    byte-pair vocabularies have words with the space before.

    Args:
      name: the task's.
      source: gives rows as `row_rendering` says.
      make_examples: a row's examples, each with the texts id, inputs and targets.
      select: dataset of these -> dataset of those that are used; None: all are. It is told the
        examples of all rows, however many hosts share them.
    """
    import tensorflow as tf

    text = tf.TensorSpec((), tf.string)
    render = rendered(_apart(make_examples), {"id": text, "inputs": text, "targets": text}, name)
    if select is not None:
        source = source.giving(lambda rows: select(render(rows)))
    return seqio.TaskRegistry.add(
        name,
        source=source,
        output_features=features(),
        preprocessors=[
            *([render] if select is None else []),
            seqio.preprocessors.tokenize,
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos,
        ],
    )


def _apart(
    make_examples: Callable[[RawRow], Iterable[Mapping[str, Any]]],
) -> Callable[[RawRow], Iterator[Mapping[str, Any]]]:
    def make(row: RawRow) -> Iterator[Mapping[str, Any]]:
        for example in make_examples(row):
            yield {**example, "targets": continuation(example["inputs"], example["targets"])}

    return make


def continuation(inputs: str, targets: str) -> str:
    """The targets, with a space before them where none stands between them and the inputs."""
    # After a bracket that is left open comes what stands in it.
    joins = not inputs or inputs[-1].isspace() or inputs.endswith("(")
    return targets if joins or targets[:1].isspace() else f" {targets}"
