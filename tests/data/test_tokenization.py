"""From a task to rows of token ids."""

import numpy as np
import pytest
import seqio
import tensorflow as tf

from teacherlm_jax.data import tokenization
from teacherlm_jax.data.tokenization import tokenized_rows
from tests.data import tiny_tasks

COLORS = "teacherlm_test_colors"


def register(name, rows, preprocessors=(), features=("inputs", "targets"), **dtypes):
    """A task of rows of token ids, as a tf.data pipeline gives them."""
    spec = {
        key: tf.TensorSpec(dtypes.get(key, [None]), tf.int64) for key in rows[0] if key in features
    }
    own = [{key: row[key] for key in spec} for row in rows]
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(
            lambda split, shuffle_files, seed=None: tf.data.Dataset.from_generator(
                lambda: iter(own), output_signature=spec
            ),
            splits=["train", "validation"],
        ),
        preprocessors=list(preprocessors),
        output_features={
            key: seqio.Feature(tiny_tasks.VOCABULARY, add_eos=False, dtype=tf.int64) for key in spec
        },
        metric_fns=[],
    )
    return seqio.TaskRegistry.get(name)


RAGGED = [
    {"inputs": [3, 4], "targets": [5, 1]},
    {"inputs": [], "targets": [6, 0, 7]},
    {"inputs": [0], "targets": []},
    {"inputs": [8, 9, 10, 11], "targets": [1]},
]


def assert_rows(found, rows):
    found = list(found)
    assert [(inputs.tolist(), targets.tolist()) for inputs, targets in found] == [
        (row.get("inputs", []), row.get("targets", [])) for row in rows
    ]
    assert all(part.dtype == np.int32 for pair in found for part in pair)


@pytest.mark.parametrize("rows_at_once", [1, 3, 4, 100])
def test_rows_of_any_length_cross_whole(rows_at_once, monkeypatch):
    name = f"teacherlm_test_ragged{rows_at_once}"
    monkeypatch.setattr(tokenization, "ROWS_AT_ONCE", rows_at_once)
    assert_rows(tokenized_rows(register(name, RAGGED), "validation"), RAGGED)
    assert_rows(tokenized_rows(register(f"{name}_3", RAGGED), "validation", 3), RAGGED[:3])


def test_rows_of_one_fixed_length_are_as_good():
    rows = [{"inputs": [index, 4], "targets": [index]} for index in range(5)]
    task = register("teacherlm_test_fixed", rows, inputs=[2], targets=[1])
    assert_rows(tokenized_rows(task, "train"), rows)


def test_a_task_may_have_targets_alone():
    task = register("teacherlm_test_targets", RAGGED, features=("targets",))
    assert_rows(tokenized_rows(task, "train"), [{"targets": r["targets"]} for r in RAGGED])


def test_a_split_that_is_not_there_is_an_error_with_those_that_are():
    with pytest.raises(ValueError, match=rf"task {COLORS} has no split 'dev'; it has \['train'\]"):
        next(tokenized_rows(seqio.TaskRegistry.get(COLORS), "dev"))


def test_draws_by_seqios_seeds_are_the_same_every_time():
    @seqio.map_over_dataset(num_seeds=1)
    def draw(example, seed):
        drawn = tf.random.stateless_uniform([4], seed, 0, 20, tf.int64)
        return {**example, "inputs": drawn}

    rows = [{"targets": [index]} for index in range(8)]
    task = register("teacherlm_test_random", rows, [draw], features=("targets",))
    task.output_features["inputs"] = task.output_features["targets"]
    first, again = (list(tokenized_rows(task, "train")) for _ in range(2))
    assert [inputs.tolist() for inputs, _ in first] == [inputs.tolist() for inputs, _ in again]
    assert len({tuple(inputs.tolist()) for inputs, _ in first}) == 8


def test_a_source_need_not_take_a_seed():
    task = seqio.Task(
        "teacherlm_test_seedless",
        source=seqio.FunctionDataSource(
            lambda split, shuffle_files: tf.data.Dataset.from_tensor_slices({"targets": ["red"]}),
            splits=["train"],
        ),
        preprocessors=[seqio.preprocessors.tokenize],
        output_features={"targets": seqio.Feature(tiny_tasks.VOCABULARY)},
    )
    assert_rows(tokenized_rows(task, "train"), [{"targets": [3]}])
