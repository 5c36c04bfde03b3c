"""Options that rows name by letters, and texts that list them."""

from __future__ import annotations

from typing import Any

import pytest

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue import lettered
from teacherlm_jax.tasks.catalogue.commonsense_qa import unified_parts


@pytest.mark.parametrize(
    ("labels", "key", "place"),
    [
        (["A", "B", "C"], "B", 1),
        (["A", "B", "C"], "b", 1),
        (["C", "A", "B"], "C", 0),
        (["1", "2", "3"], "3", 2),
        (["1", "2", "3"], 3, 2),
        ([0, 1, 2], "0", 0),
        ([0, 1, 2], 1, 1),
    ],
)
def test_a_key_is_the_place_of_its_label(labels: list[Any], key: Any, place: int) -> None:
    assert lettered.key_place({"key": key}, "key", labels, len(labels)) == place


@pytest.mark.parametrize(
    ("labels", "key", "message"),
    [
        ([0, 1], True, "field 'key' is True; it must be one of"),
        ([0, 1], 1.0, "field 'key' is 1.0"),
        (["A", "B"], 1, "field 'key' is 1"),
        (["A", "B"], None, "field 'key' is None"),
        (["A", "A"], "A", "the labels of 2 options are"),
        (["A", "a"], "A", "each must have one of its own"),
        (["A", None], "A", "the labels of 2 options are"),
        (["A"], "A", "the labels of 2 options are"),
        ("AB", "A", "the labels of 2 options are 'AB'"),
    ],
)
def test_what_is_no_label_or_is_two_is_refused(labels: Any, key: Any, message: str) -> None:
    with pytest.raises(RowError, match=message):
        lettered.key_place({"key": key}, "key", labels, 2)


def test_the_next_letter_alone_begins_an_option() -> None:
    row = {"input": r"What? \n (A) vitamin (C) pill (b) b (C) x (D) y", "output": "b"}
    assert unified_parts(row)[1] == ["vitamin (C) pill", "b", "x", "y"]


def test_listing_stops_where_there_is_no_next_letter_and_at_the_most() -> None:
    def mark(letter: str) -> str:
        return rf"(?:^|;){letter}:"

    assert lettered.listed_options("a:1;b:2", mark, most=9) == ["1", "2"]
    # What leaves a letter out is no list; inside of brackets it is a text's own.
    assert lettered.listed_options("a:1;b:2;d:3", mark, most=9) == []
    assert lettered.listed_options("a:1;b:(2;d:3)", mark, most=9) == ["1", "(2;d:3)"]
    assert lettered.listed_options("a:1;b:2;c:3", mark, most=2) == ["1", "2;c:3"]
    assert lettered.listed_options(";b:2;a:1", mark, most=9) == []
    # Of many readings that leave nothing empty and nothing open, the first.
    assert lettered.listed_options("a:" + ";b:1" * 40 + ";c:3", mark, most=3)[0] == ";b:1"
