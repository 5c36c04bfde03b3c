"""Tables of examples and views of them."""

import dataclasses
import json

import numpy as np
import pytest

from teacherlm_jax.data import examples as examples_lib
from teacherlm_jax.data.examples import (
    ExampleTable,
    TokenizedExample,
    capped,
    capped_tables,
    selected,
    tables_digest,
    trimmed,
)


def example(name, inputs, targets):
    return TokenizedExample(name, np.array(inputs, np.int32), np.array(targets, np.int32))


def table(name, count):
    return ExampleTable(name, [example(f"{name}{i}", [i], [i, 1]) for i in range(count)])


def names(some_table):
    return [e.example_id for e in some_table.examples]


class Many(list):
    """Examples that are read many at a time."""

    asked: list

    def __getitems__(self, indices):
        self.asked.append(list(indices))
        return [list.__getitem__(self, index) for index in indices]

    def __getitem__(self, index):
        raise AssertionError("read one by one")


def test_a_table_in_memory_counts_its_lengths_and_knows_its_ids():
    own = ExampleTable("t", [example("a", [1, 2], [3]), example("b", [], [4, 5])])
    assert own.lengths_N2.tolist() == [[2, 1], [0, 2]] and own.lengths_N2.dtype == np.int32
    assert own.example_id(1) == "b" and len(own) == 2
    assert [e.example_id for e in own.read([1, 0, 1])] == ["b", "a", "b"]
    assert ExampleTable("t", []).lengths_N2.shape == (0, 2)
    # What was counted does not outlive the examples.
    shorter = dataclasses.replace(own, examples=own.examples[1:])
    assert shorter.lengths_N2.tolist() == [[0, 2]] and shorter.example_id(0) == "b"


def test_lengths_and_ids_are_one_for_each_example():
    with pytest.raises(ValueError, match="t has 1 examples but 2 lengths"):
        ExampleTable("t", [example("a", [1], [2])], np.ones((2, 2), np.int32))
    with pytest.raises(ValueError, match="t has 1 examples but 0 ids"):
        ExampleTable("t", [example("a", [1], [2])], known_ids=[])


def test_views_read_many_at_once_and_no_more():
    items = Many(table("t", 10).examples)
    items.asked = []
    lengths_N2 = np.tile(np.array([[1, 2]], np.int32), (10, 1))
    whole = ExampleTable("t", items, lengths_N2, [f"t{i}" for i in range(10)])
    view = trimmed(selected(selected(whole, np.array([8, 6, 4, 2])), np.array([3, 1])), 2)
    assert len(view) == 2 and view.lengths_N2.tolist() == [[0, 2], [0, 2]]
    assert [view.example_id(index) for index in range(2)] == ["t2", "t6"]
    assert items.asked == []
    assert [e.targets.tolist() for e in view.read([1, 0])] == [[6, 1], [2, 1]]
    assert items.asked == [[6, 2]]


def test_views_have_slices():
    view = trimmed(selected(table("t", 10), np.array([8, 6, 4, 2])), 2)
    assert [e.example_id for e in view.examples[1:3]] == ["t6", "t4"]
    assert [len(e) for e in view.examples[1:3]] == [2, 2]
    assert names(view) == ["t8", "t6", "t4", "t2"]


# Caps


def test_a_cap_takes_a_fixed_part_in_the_order_of_the_table():
    whole = table("t", 100)
    part = capped(whole, 30, seed=4)
    indices = [int(name[1:]) for name in names(part)]
    assert len(set(indices)) == 30 and indices == sorted(indices)
    assert names(capped(table("t", 100), 30, seed=4)) == names(part)
    assert set(names(part)) < set(names(capped(whole, 60, seed=4)))
    assert names(capped(whole, 30, seed=5)) != names(part)
    assert [n[1:] for n in names(capped(table("u", 100), 30, seed=4))] != indices[:30]
    assert capped(whole, 100) is whole and capped(whole, 1000) is whole


def test_caps_are_for_all_tables_or_for_some():
    tables = [table("colors", 9), table("shapes", 4)]
    assert list(map(len, capped_tables(tables, None))) == [9, 4]
    assert list(map(len, capped_tables(tables, 5))) == [5, 4]
    assert list(map(len, capped_tables(tables, {"shapes": 2}))) == [9, 2]
    assert names(capped_tables(tables, {"colors": 3}, 7)[0]) == names(capped(tables[0], 3, 7))


@pytest.mark.parametrize(
    ("caps", "message"),
    [
        ({"colours": 3}, r"max_examples names 'colours', .* nearest are \['colors'\]"),
        ({"zzz": 3}, r"names 'zzz', .* nearest are \['colors', 'shapes'\]"),
        ({"colors": 0}, "cap of colors: maximum = 0, but"),
        (2.5, "cap of colors: maximum = 2.5, but"),
        (True, "cap of colors: maximum = True, but"),
    ],
)
def test_caps_that_cannot_be_are_an_error(caps, message):
    with pytest.raises(ValueError, match=message):
        capped_tables([table("colors", 9), table("shapes", 4)], caps)


# Digest


def test_a_digest_names_the_content_and_nothing_else():
    base = [table("a", 3), table("b", 2)]
    digest = tables_digest(base, [1.0, 2.0])
    renamed = [
        ExampleTable("z", [example("z", e.inputs, e.targets) for e in t.examples]) for t in base
    ]
    assert tables_digest(renamed, [1.0, 2.0]) == digest
    wide = ExampleTable(
        "a",
        [TokenizedExample("a", e.inputs.astype(np.int64), e.targets) for e in base[0].examples],
    )
    assert tables_digest([wide, base[1]], [1.0, 2.0]) == digest
    others = [
        tables_digest(base, [1.0, 2.5]),
        tables_digest(base[::-1], [1.0, 2.0]),
        tables_digest([table("a", 4), table("b", 2)], [1.0, 2.0]),
        tables_digest([ExampleTable("a", [example("a", [5, 6], [7])])], [1.0]),
        tables_digest([ExampleTable("a", [example("a", [5], [6, 7])])], [1.0]),
    ]
    assert len({digest, *others}) == 6
    assert len(digest) == 64 and json.loads(json.dumps(digest)) == digest


def test_a_table_that_knows_its_digest_is_not_read():
    known = table("a", 3)
    digest = known.content_digest
    lazy = ExampleTable("a", [None] * 3, known.lengths_N2, ["a"] * 3, lambda: digest)
    assert tables_digest([lazy], [1.0]) == tables_digest([known], [1.0])


def test_views_have_digests_of_their_own():
    whole = table("t", 6)
    views = [
        selected(whole, np.array([0, 1])),
        selected(whole, np.array([1, 0])),
        selected(table("t", 7), np.array([0, 1])),
        trimmed(whole, 2),
        trimmed(whole, 1),
    ]
    digests = [view.content_digest for view in [whole, *views]]
    assert len(set(digests)) == 6
    assert selected(table("t", 6), np.array([0, 1])).content_digest == digests[1]


def test_a_digest_may_be_made_one_example_at_a_time():
    digest = examples_lib.ContentDigest()
    for one in table("t", 5).examples:
        digest.add(one.inputs, one.targets)
    assert digest.hexdigest() == table("t", 5).content_digest
