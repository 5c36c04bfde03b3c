"""P3 and FLAN as they were published, rendered: tasks over a local mirror of their files.

A gin file calls `mixture` where it would name one:

    from teacherlm_jax.tasks import rendered

    MIXTURE_OR_TASK_NAME = @rendered.mixture()  # p3_rendered
    rendered.mixture:
      path = '/data/P3/data'
      kind = 'p3'
      include = ['cb_*', 'anli_*']

Every sub-data-set, a prompt of P3 or a file of FLAN, becomes a task
(`p3_rendered_cb_can_we_infer`), of which a fixed part that the seed and the examples' ids decide is
taken. Files of P3 called
`*_score_eval` have a row for each option: they are no training data, but `evaluation` ranks them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import seqio
from etils import epath

from teacherlm_jax.data.rendered_files import RenderedSource, SubDataset, find
from teacherlm_jax.data.row_rendering import RawRow, RowError, rendered
from teacherlm_jax.scoring.metrics import index_and_correctness, rank_classification
from teacherlm_jax.tasks import capping, text_tasks
from teacherlm_jax.tasks.catalogue.reading import value

MAX_EXAMPLES: Mapping[str, int] = {"p3": 3_000, "flan": 30_000}
"""Of each sub-data-set, by kind: the 3K of P3-Sense-3K, the 3W of Muffin-3W."""

SCORE_EVAL = "_score_eval"

_INPUTS = ("inputs_pretokenized", "inputs", "input")
_TARGETS = ("targets_pretokenized", "targets", "target", "output")

# Which files a registered name stands for.
_registered: dict[str, tuple[Any, ...]] = {}


def mixture(
    path: epath.PathLike,
    kind: str = "p3",
    max_examples: int | None = None,
    seed: int = 0,
    include: str | Sequence[str] = "*",
    name: str | None = None,
) -> str:
    """Registers the tasks of a mirror and their mixture, and returns its name.

    Rates are the examples of each after its cap. Files are counted for that, each up to the cap.

    Args:
      path: the mirror's folder.
      kind: "p3" or "flan".
      max_examples: of the train split of each; None: as `MAX_EXAMPLES` says.
      seed: decides which.
      include: shell patterns of names of sub-data-sets.
      name: what names begin with; None: KIND_rendered. Needed for a second mirror or another part.

    Raises:
      ValueError: an argument is not as said, or a name is taken by other files.
      FileNotFoundError: the files are not there.
    """
    if kind not in MAX_EXAMPLES:
        raise ValueError(f"kind = {kind!r}, but it must be one of {sorted(MAX_EXAMPLES)}.")
    most = MAX_EXAMPLES[kind] if max_examples is None else max_examples
    capping.check(most, seed)
    prefix = name or f"{kind}_rendered"
    found = {n: each for n, each in find(path, include).items() if not n.endswith(SCORE_EVAL)}
    found = {n: each for n, each in found.items() if "train" in each.files}
    if not found:
        raise ValueError(f"{str(path)!r} has no train split in what include = {include!r} takes.")
    rates = {
        _task(prefix, each, most, seed): float(each.count("train", most)) for each in found.values()
    }
    if _is_new(prefix, (str(path), most, seed, tuple(rates.items()))):
        seqio.MixtureRegistry.add(prefix, [(task, rate) for task, rate in rates.items() if rate])
    return prefix


def evaluation(path: epath.PathLike, config: str, name: str | None = None) -> str:
    """Registers a task that ranks the options of a `*_score_eval` folder of P3; returns its name.

    Args:
      path: the mirror's folder.
      config: the folder's name.
      name: of the task; None: p3_rendered_CONFIG.

    Raises:
      ValueError: the name is taken by other files.
      FileNotFoundError: the files are not there.
    """
    import tensorflow as tf

    (dataset,) = find(path, config).values()
    name = name or f"p3_rendered_{dataset.name}"
    if _is_new(name, (dataset,)):
        text, number = tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int32)
        signature = {
            **dict.fromkeys(("id", "inputs", "targets"), text),
            **dict.fromkeys(("question", "option"), number),
            "is_correct": tf.TensorSpec((), tf.bool),
        }
        seqio.TaskRegistry.add(
            name,
            # Numbers count the questions of all rows, not those of one host.
            source=RenderedSource(dataset).giving(
                lambda rows: _number_questions(rendered(option_rows, signature, name)(rows))
            ),
            output_features=text_tasks.features(add_eos=False),
            preprocessors=[seqio.preprocessors.tokenize],
            postprocess_fn=index_and_correctness,
            metric_fns=[rank_classification],
        )
    return name


def _is_new(name: str, stands_for: tuple[Any, ...]) -> bool:
    known = _registered.setdefault(name, stands_for)
    if known != stands_for:
        raise ValueError(
            f"{name!r} is registered already, for other files or another part of them: give another"
            " name."
        )
    return name not in (*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names())


def _task(prefix: str, dataset: SubDataset, most: int, seed: int) -> str:
    name = f"{prefix}_{dataset.name}"
    if _is_new(name, (dataset, most, seed)):
        text_tasks.add_training_task(
            name,
            RenderedSource(dataset),
            functools.partial(examples, dataset.name),
            capping.at_most(most, seed, dataset.name),
        )
    return name


def examples(name: str, row: RawRow) -> Iterator[dict[str, Any]]:
    """The example of a row of training data.

    Raises:
      RowError: a text is missing, empty or of another type.
    """
    inputs, targets = _texts(row)
    yield {"id": f"{name}:{row.index}", "inputs": inputs, "targets": targets}


def option_rows(row: RawRow) -> Iterator[dict[str, Any]]:
    """The option that a row of a `*_score_eval` file holds.

    Raises:
      RowError: as `examples`, or the row does not say of which question it is and whether right.
    """
    inputs, targets = _texts(row)
    idx, is_correct = value(row.values, "idx"), value(row.values, "is_correct")
    if not isinstance(idx, list) or len(idx) != 2 or not all(type(n) is int for n in idx):
        raise RowError(f"field 'idx' is {idx!r:.80}; it must be two numbers, question and option.")
    if is_correct not in (0, 1):
        raise RowError(f"field 'is_correct' is {is_correct!r:.80}; it must be true or false.")
    choices = row.values.get("answer_choices")
    if isinstance(choices, list) and choices and targets.strip() not in map(str.strip, choices):
        raise RowError(f"the option {targets!r:.80} is not among the answer choices {choices}.")
    yield {
        "id": str(idx[0]),
        "inputs": inputs,
        "targets": text_tasks.continuation(inputs, targets),
        "question": idx[0],
        "option": idx[1],
        "is_correct": bool(is_correct),
    }


def _texts(row: RawRow) -> tuple[str, str]:
    """Inputs and targets, as they stand in the row.

    Raises:
      RowError: one is missing, empty or of another type.
    """
    texts = []
    for names in (_INPUTS, _TARGETS):
        text = value(row.values, *names)
        if not isinstance(text, str) or not text.strip():
            raise RowError(f"{names[-2]} is {text!r:.80}; it must be a text that is not empty.")
        texts.append(text)
    inputs, targets = texts
    return inputs, targets


def _number_questions(dataset: Any) -> Any:
    """Gives rows their `idx`: questions from 0 on without gaps, in the order of the files."""
    import tensorflow as tf

    def number(state: Any, row: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        last, count = state
        count += tf.cast(row["question"] != last, tf.int32)
        others = {name: row[name] for name in ("id", "inputs", "targets", "is_correct")}
        return (row["question"], count), {**others, "idx": tf.stack([count, row["option"]])}

    return dataset.scan((tf.constant(-1, tf.int32), tf.constant(-1, tf.int32)), number)
