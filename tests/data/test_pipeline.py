"""From seqio's registries to tables of token ids."""

import numpy as np
import pytest
import seqio

from teacherlm_jax.data import pipeline
from teacherlm_jax.data.batches import tables_digest
from tests.data import tiny_tasks

COLORS, SHAPES = "teacherlm_test_colors", "teacherlm_test_shapes"


# Tables


def test_a_table_holds_what_the_task_gives_in_its_order():
    table = pipeline.load_table(seqio.TaskRegistry.get(COLORS), "train")
    assert table.name == COLORS
    vocabulary = tiny_tasks.VOCABULARY
    expected = [
        (vocabulary.encode(inputs), [*vocabulary.encode(targets), 1])
        for inputs, targets in tiny_tasks.texts(tiny_tasks.COLORS, 20, 0)
    ]
    assert [(e.inputs.tolist(), e.targets.tolist()) for e in table.examples] == expected
    assert all(e.inputs.dtype == e.targets.dtype == np.int32 for e in table.examples)
    assert [e.example_id for e in table.examples[:2]] == [f"{COLORS}/train:0", f"{COLORS}/train:1"]


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


def test_tables_of_a_cache_are_those_in_memory(tmp_path):
    tables, rates = pipeline.load_tables(tiny_tasks.MIXTURE)
    cached, same_rates = pipeline.load_tables(tiny_tasks.MIXTURE, cache_dir=tmp_path)
    assert same_rates == rates
    assert tables_digest(cached, rates) == tables_digest(tables, rates)
    assert sorted(path.name for path in tmp_path.iterdir()) == [COLORS, SHAPES]
    alone = pipeline.load_table(seqio.TaskRegistry.get(COLORS), "train", tmp_path)
    assert alone.content_digest == cached[[t.name for t in cached].index(COLORS)].content_digest


# Names and vocabularies


def test_a_name_that_is_not_registered_is_an_error_with_the_nearest():
    with pytest.raises(ValueError, match=r"'teacherlm_test_colour' .* nearest are .*test_colors'"):
        pipeline.registered("teacherlm_test_colour")
    with pytest.raises(
        ValueError, match=r"'zzz' is registered; there are \d+. .*Import the module"
    ):
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
