"""Tasks and mixtures without the examples on a list that `teacherlm data decontaminate` wrote.

A gin file calls `registered` where it would name the mixture:

    from teacherlm_jax.tasks import without_listed

    MIXTURE_OR_TASK_NAME = @without_listed.registered()
    without_listed.registered:
      name = 'muffin_3w'
      folder = '/data/muffin_leaks'
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection
from typing import Any

import seqio
from etils import epath

from teacherlm_jax.data import ledger, pipeline, text_rows

_REPORT, _DROP = "report.json", "drop-*.jsonl"


@dataclasses.dataclass(frozen=True)
class Listed:
    """What is left out.

    Attributes:
      keys: of the texts of examples (`text_rows.content_key`).
      ids: of rows of files, which a task over these files gives its examples.
      tasks: that the list was made of; examples of others are left out by `ids` alone.
      digest: of the list.
    """

    keys: frozenset[str]
    ids: frozenset[str]
    tasks: frozenset[str]
    digest: str


def read(folder: epath.PathLike) -> Listed:
    """Reads the list in a folder of reports.

    Raises:
      FileNotFoundError: there is no report, or it was not written to its end; or there are not as
        many rows on the list as it says.
      ValueError: a row on the list has nothing by which a task could know it.
    """
    folder = epath.Path(folder)
    expected = json.loads(ledger.read_text(folder / _REPORT)).get("rows_to_drop")
    keys, ids, tasks, rows = set(), set(), set(), 0
    digest = hashlib.sha256()
    for file in ledger.list_complete(folder, _DROP):
        content = ledger.read_whole(file)
        digest.update(content)
        for row in map(json.loads, content.splitlines()):
            rows += 1
            keys.add(row["key"])
            if row["is_example"]:
                tasks.add(row["source"])
            elif row["id"]:
                ids.add(row["id"])
            else:
                raise ValueError(
                    f"{file}: {row['where']} has no id, by which tasks over files know examples,"
                    " and could not be left out. Search the task itself (`teacherlm data"
                    " decontaminate TASK`) in place of its files, or give the rows ids and search"
                    " them again."
                )
    if rows != expected:
        raise FileNotFoundError(
            f"{folder} lists {rows} rows in its whole files {_DROP}, but its {_REPORT} says"
            f" {expected}: copy all of these files and their markers, or search again into another"
            " folder."
        )
    return Listed(frozenset(keys), frozenset(ids), frozenset(tasks), digest.hexdigest()[:8])


def registered(name: str, folder: epath.PathLike) -> str:
    """Registers a task or mixture for training without what is listed, where it is not yet.

    Tasks of a mixture that the list does not touch stay as they are. Rates stay the same: few
    examples are left out.

    Args:
      name: of a task or mixture.
      folder: what `teacherlm data decontaminate` wrote.

    Returns:
      NAME_without_DIGEST.

    Raises:
      ValueError: there is no such task or mixture, or one has no step that makes tokens of texts,
        or a row on the list has no id.
      FileNotFoundError: there is no list.
    """
    provider = pipeline.registered(name)
    listed = read(folder)
    if isinstance(provider, seqio.Task):
        return _task(provider, listed)
    new_name = f"{name}_without_{listed.digest}"
    if new_name not in seqio.MixtureRegistry.names():
        rates = {
            _task(task, listed) if _is_touched(task, listed) else task.name: provider.get_rate(task)
            for task in seqio.get_subtasks(provider)
        }
        seqio.MixtureRegistry.add(new_name, list(rates.items()))
    return new_name


def _is_touched(task: seqio.Task, listed: Listed) -> bool:
    return task.name in listed.tasks or bool(listed.ids)


def _task(task: seqio.Task, listed: Listed) -> str:
    name = f"{task.name}_without_{listed.digest}"
    if name not in seqio.TaskRegistry.names():
        before = text_rows.before_tokens(task.preprocessors)
        seqio.TaskRegistry.add(
            name,
            source=task.source,
            output_features=task.output_features,
            preprocessors=[
                *before,
                _keep_unlisted(listed, tuple(task.output_features)),
                *task.preprocessors[len(before) :],
            ],
        )
    return name


def _keep_unlisted(listed: Listed, names: Collection[str]) -> Callable[[Any], Any]:
    def preprocess(dataset: Any) -> Any:
        import tensorflow as tf

        spec = dataset.element_spec
        texts = [name for name in names if _is_text(spec.get(name))]
        taken = [*texts, *(["id"] if _is_text(spec.get("id")) else [])]

        def is_kept(*values: bytes) -> bool:
            decoded = [value.decode("utf-8", "replace") for value in values]
            if taken != texts and decoded[-1] in listed.ids:
                return False
            return text_rows.content_key(dict(zip(texts, decoded))) not in listed.keys

        def predicate(example: Any) -> Any:
            kept = tf.numpy_function(is_kept, [example[name] for name in taken], tf.bool)
            return tf.ensure_shape(kept, ())

        return dataset.filter(predicate)

    return preprocess


def _is_text(spec: Any) -> bool:
    return spec is not None and spec.dtype.name == "string" and spec.shape.rank == 0
