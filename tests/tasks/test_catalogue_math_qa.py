"""MathQA's options, which its rows hold in one text."""

from __future__ import annotations

import pytest

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue import math_qa
from teacherlm_jax.tasks.catalogue.dataset import DATASETS, samples


@pytest.mark.parametrize(
    ("listed", "options"),
    [
        (
            "a ) 38 , b ) 27.675 , c ) 30 , d ) data inadequate , e ) none of these",
            ["38", "27.675", "30", "data inadequate", "none of these"],
        ),
        ("a ) rs . 1 , 000 , b ) 2 , c ) 3 ,", ["rs . 1 , 000", "2", "3"]),
        ("a)1,b)2,c)3", ["1", "2", "3"]),
        # Pairs and cases that are called by letters themselves.
        ("a ) 1 , b ) 2 , c ) ( a , b ) , d ) 4 , e ) 5", ["1", "2", "( a , b )", "4", "5"]),
        ("a ) 1 , b ) 2 , c ) ( 1 , e ) , d ) 4 , e ) 5", ["1", "2", "( 1 , e )", "4", "5"]),
        ("a ) 1 , b ) ( 1 , c ) , c ) 3 , d ) 4 , e ) 5", ["1", "( 1 , c )", "3", "4", "5"]),
        ("a ) ( x , b ) , b ) ( b , c ) , c ) ( c , d )", ["( x , b )", "( b , c )", "( c , d )"]),
        ("a ) 1 , b ) 2 , c ) 3 , d ) 4 , e ) ( a , e )", ["1", "2", "3", "4", "( a , e )"]),
        ("a ) only ( b ) , b ) a ) and b ) , c ) all", ["only ( b )", "a ) and b )", "all"]),
        ("a ) 1 , b ) 2 , c ) 3 , d ) 4 , e )", ["1", "2", "3", "4", ""]),
        # A bracket that is not closed, as in some rows, is no reason to refuse one.
        ("a ) 1 ) , b ) ( 2 , c ) 3", ["1 )", "( 2", "3"]),
        ("a ) , b ) 1 , c ) , d ) 3 , e ) 4", ["", "1", "", "3", "4"]),
        ("['a ) 24', 'b ) 1 , 0', 'c ) it is 5']", ["24", "1 , 0", "it is 5"]),
        ("['a ) x', \"b ) it 's , c ) 1\", 'c ) y', 'd ) z']", ["x", "it 's , c ) 1", "y", "z"]),
        ("[ ' a ) 1 ' , ' b ) 2 ' ]", ["1", "2"]),
        ("'a ) 1', 'b ) 2'", ["1", "2"]),
        ("[a ) 1 , b ) 2]", ["1", "2"]),
    ],
)
def test_options_are_what_stands_between_the_letters_in_order(
    listed: str, options: list[str]
) -> None:
    assert math_qa.split_options(listed) == options


@pytest.mark.parametrize("listed", ["", "a ) 1", "1 , b ) 2", "a ) 1 , c ) 2", "a ) 1 b ) 2", "[]"])
def test_what_lists_no_options_is_refused(listed: str) -> None:
    with pytest.raises(RowError, match=r"field 'options' is .*; it must list a"):
        math_qa.split_options(listed)


def test_an_option_that_the_text_leaves_empty_is_named() -> None:
    row = {"Problem": "x ?", "options": "a ) , b ) 1 , c ) 2", "correct": "b"}
    with pytest.raises(RowError, match="option 0 is ''"):
        samples(DATASETS["math_qa"], row)
