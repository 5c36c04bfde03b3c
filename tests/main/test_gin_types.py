"""Values that a parameter's type hint excludes are refused, and no others."""

import collections.abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from teacherlm_jax.generation.sampling import Policy
from teacherlm_jax.main.gin_names import MacroUse, Reference
from teacherlm_jax.main.gin_types import _fits, _hints, _say
from teacherlm_jax.students.experiment import Students
from teacherlm_jax.training.optimizer import Optimizer

CALLED = Reference("", "sampling.Greedy", True)
BARE = Reference("", "sampling.Greedy", False)


@pytest.mark.parametrize(
    ("hint", "fitting", "others"),
    [
        (int, [3, -1], [2.5, "3", True, None, [3]]),
        (float, [3, 2.5], ["2.5", True, None]),
        (bool, [True, False], ["no", 0, 1, None]),
        (str, ["", "a"], [5, None, ["a"]]),
        (int | None, [None, 3], ["3", 2.5]),
        (Sequence[str], [(), ["a"], ("a", "b")], ["ab", (1,), {"a": 1}]),
        (Sequence[int], [(0, 1)], [1, ("0",), (True,)]),
        (Mapping[str, int], [{"a": 1}], [5, [1]]),
        (Policy, [CALLED, MacroUse("POLICY")], ["greedy", None, BARE]),
        (float | Callable[[int], float], [1e-3, BARE, CALLED], ["fast"]),
        (collections.abc.Callable[..., Any], [BARE], [5]),
        (Any, [5, "x", None, BARE, CALLED], []),
        (dataclasses.Field, [5], []),  # A library's class may take what it likes.
    ],
)
def test_values_fit_a_hint_or_do_not(hint, fitting, others):
    assert all(_fits(value, hint) for value in fitting)
    assert not any(_fits(value, hint) for value in others)


def test_hints_are_those_of_the_fields_and_of_functions():
    assert _hints(Students)["seeds"] == Sequence[int]
    assert _hints(Students)["optimizer"] == Optimizer
    assert _hints(len) == {}


def test_hints_are_said_in_words():
    assert _say(int | None) == "a whole number or None"
    assert _say(Sequence[str]) == "a list (each text)"
    assert _say(Policy) == "@sampling.Greedy() or @sampling.Temperature()"
