"""From seqio's registries to tables of token ids."""

import numpy as np
import pytest
import seqio
import tensorflow as tf

from teacherlm_jax.data import pipeline
from tests.data import tiny_tasks

COLORS, SHAPES = "teacherlm_test_colors", "teacherlm_test_shapes"


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


def assert_rows(table, rows):
    found = [(e.inputs.tolist(), e.targets.tolist()) for e in table.examples]
    assert found == [(row.get("inputs", []), row.get("targets", [])) for row in rows]
    assert all(e.inputs.dtype == e.targets.dtype == np.int32 for e in table.examples)


# Tables


def test_a_table_holds_what_the_task_gives_in_its_order():
    table = pipeline.load_table(seqio.TaskRegistry.get(COLORS), "train")
    assert table.name == COLORS
    vocabulary = tiny_tasks.VOCABULARY
    expected = [
        {"inputs": vocabulary.encode(inputs), "targets": [*vocabulary.encode(targets), 1]}
        for inputs, targets in tiny_tasks.texts(tiny_tasks.COLORS, 20, 0)
    ]
    assert_rows(table, expected)
    assert [e.example_id for e in table.examples[:2]] == [f"{COLORS}/train:0", f"{COLORS}/train:1"]


@pytest.mark.parametrize("rows_at_once", [1, 3, 4, 100])
def test_rows_of_any_length_cross_whole(rows_at_once, monkeypatch):
    name = f"teacherlm_test_ragged{rows_at_once}"
    monkeypatch.setattr(pipeline, "_ROWS_AT_ONCE", rows_at_once)
    table = pipeline.load_table(register(name, RAGGED), "validation")
    assert_rows(table, RAGGED)
    assert [e.example_id for e in table.examples] == [f"{name}/validation:{i}" for i in range(4)]


def test_rows_of_one_fixed_length_are_as_good():
    rows = [{"inputs": [index, 4], "targets": [index]} for index in range(5)]
    task = register("teacherlm_test_fixed", rows, inputs=[2], targets=[1])
    assert_rows(pipeline.load_table(task, "train"), rows)


def test_a_task_may_have_targets_alone():
    task = register("teacherlm_test_targets", RAGGED, features=("targets",))
    assert_rows(pipeline.load_table(task, "train"), [{"targets": r["targets"]} for r in RAGGED])


def test_a_split_that_is_not_there_is_an_error_with_those_that_are():
    with pytest.raises(ValueError, match=rf"task {COLORS} has no split 'dev'; it has \['train'\]"):
        pipeline.load_table(seqio.TaskRegistry.get(COLORS), "dev")


# Mixtures


def test_a_mixture_gives_its_tables_and_rates():
    tables, rates = pipeline.load_tables(tiny_tasks.MIXTURE)
    assert {t.name: (len(t.examples), rate) for t, rate in zip(tables, rates, strict=True)} == {
        COLORS: (20, 3.0),
        SHAPES: (12, 1.0),
    }


def test_a_task_is_a_mixture_of_itself():
    (table,), rates = pipeline.load_tables(SHAPES)
    assert table.name == SHAPES and rates == [1.0]


def test_mixtures_of_mixtures_keep_seqios_rates():
    seqio.MixtureRegistry.add("teacherlm_test_nested", [(tiny_tasks.MIXTURE, 2.0), (SHAPES, 1.0)])
    tables, rates = pipeline.load_tables("teacherlm_test_nested")
    assert {t.name: rate for t, rate in zip(tables, rates, strict=True)} == {
        COLORS: pytest.approx(2.0 * 3 / 4),
        SHAPES: pytest.approx(2.0 * 1 / 4 + 1.0),
    }


def test_a_loader_is_asked_for_each_table():
    asked = []

    def loader(task, split):
        asked.append((task.name, split))
        return pipeline.batches_lib.ExampleTable(task.name, [])

    tables, _ = pipeline.load_tables(tiny_tasks.MIXTURE, "train", loader)
    assert sorted(asked) == [(COLORS, "train"), (SHAPES, "train")]
    assert all(table.examples == [] for table in tables)


# Names and vocabularies


def test_a_name_that_is_not_registered_is_an_error_with_the_nearest():
    with pytest.raises(ValueError, match=r"'teacherlm_test_colour' .* nearest are .*test_colors'"):
        pipeline.registered("teacherlm_test_colour")
    with pytest.raises(ValueError, match=r"'zzz' is registered; there are \d+. Import the module"):
        pipeline.load_tables("zzz")


def test_the_vocabulary_is_that_of_the_targets():
    assert pipeline.vocabulary(tiny_tasks.MIXTURE) == tiny_tasks.VOCABULARY
    assert pipeline.vocabulary(COLORS).vocab_size == 21


def test_a_model_needs_a_row_for_every_token():
    pipeline.check_vocabulary(COLORS, 21, 20)
    with pytest.raises(ValueError, match=r"vocabulary of 21, .* vocab_size 20: .* at least 21"):
        pipeline.check_vocabulary(COLORS, 20, None)


def test_braces_of_a_name_are_filled():
    assert pipeline.fill_name("world{world}_base", {"world": 1, "more": 2}) == "world1_base"
    assert pipeline.fill_name("plain", {}) == "plain"


@pytest.mark.parametrize("template", ["world{wrold}", "world{}", "world{", "world{world.x}"])
def test_braces_that_nothing_fills_are_an_error(template):
    with pytest.raises(ValueError, match=r"has braces that the values \{'world': 1\} do not fill"):
        pipeline.fill_name(template, {"world": 1})
