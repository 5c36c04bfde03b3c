"""Rows of a source as JSON -> features of examples, by plain Python functions.

Sources give every row as three features: `row` (the raw row, a JSON object), `index` (its place in
its split, before any cap) and `where` (what to name in an error, such as "cb.jsonl:12"). A Python
function turns it into the features of zero or more examples. So what a data set means can be read,
tested on one dict, and does not care whether its rows came from TFDS or from a file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Features = Mapping[str, Any]

# Rows cross between TensorFlow and Python many at once: one by one, the crossing costs many times
# what the rendering does.
_ROWS_AT_ONCE = 256


class RowError(ValueError):
    """A row cannot be used; says which, and why."""


@dataclasses.dataclass(frozen=True)
class RawRow:
    """A row as its source gave it.

    Attributes:
      values: JSON types by name, as TFDS or the files name them.
      index: its place in its split, before any cap.
      where: names it in errors.
    """

    values: Mapping[str, Any]
    index: int
    where: str


def rendered(
    make_examples: Callable[[RawRow], Iterable[Features]], signature: Mapping[str, Any]
) -> Callable[[Any], Any]:
    """A seqio preprocessor that renders rows by a Python function.

    Args:
      make_examples: features of the examples of a row, in order; none leaves the row out.
      signature: name -> tf.TensorSpec or tf.RaggedTensorSpec of each feature.

    Returns:
      dataset -> dataset.
    """

    def preprocess(dataset: Any) -> Any:
        import tensorflow as tf

        def examples(rows: Mapping[str, Any]) -> Iterator[Features]:
            names = list(rows)
            for values in zip(*(rows[name].tolist() for name in names)):
                row = raw_row(dict(zip(names, values)))
                try:
                    yield from make_examples(row)
                except RowError as error:
                    raise RowError(f"{row.where}: {error}") from None

        def blocks() -> Iterator[dict[str, Any]]:
            for rows in dataset.batch(_ROWS_AT_ONCE).as_numpy_iterator():
                found = list(examples(rows))
                yield {name: [example[name] for example in found] for name in signature}

        def one_by_one() -> Iterator[Features]:
            for rows in dataset.batch(_ROWS_AT_ONCE).as_numpy_iterator():
                yield from examples(rows)

        if all(isinstance(spec, tf.TensorSpec) and spec.shape == () for spec in signature.values()):
            many = {name: tf.TensorSpec((None,), spec.dtype) for name, spec in signature.items()}
            return tf.data.Dataset.from_generator(blocks, output_signature=many).unbatch()
        return tf.data.Dataset.from_generator(one_by_one, output_signature=dict(signature))

    return preprocess


def raw_row(element: Mapping[str, Any]) -> RawRow:
    """The row of a source's element.

    Raises:
      RowError: it is no JSON object.
    """
    where = element["where"].decode("utf-8")
    try:
        values = json.loads(element["row"])
    except ValueError as error:
        raise RowError(f"{where}: not valid JSON ({error}).") from None
    if not isinstance(values, dict):
        raise RowError(f"{where}: the row is {values!r:.80}; it must be a JSON object.")
    return RawRow(values, int(element["index"]), where)
