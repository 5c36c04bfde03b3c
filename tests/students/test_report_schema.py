"""Malformed results are refused by a message that names the key."""

from __future__ import annotations

import math
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from teacherlm_jax.students.report_schema import check_results, plain_data
from tests.students.report_example import example_results, small


def test_takes_the_whole_example_and_more_keys() -> None:
    check_results(plain_data(example_results()))
    results = small(chance=None, commit="0123abc")
    results["samples"][0]["explanations"]["fundamentals"]["true"] = None
    check_results(results)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["arms"], {}, "results['arms'] is {} but must be a mapping of at least 1 entries"),
        (["arms"], [1], "results['arms'] is [1] but must be a mapping"),
        (["arms", "plain"], 50.0, "results['arms']['plain'] is 50.0 but must be a mapping"),
        (["arms", "plain", "accuracy_mean"], "high", "results['arms']['plain']['accuracy_mean']"),
        (["arms", "plain", "accuracy_mean"], 101, "must be a percentage between 0 and 100"),
        (["arms", "plain", "accuracy_mean"], True, "results['arms']['plain']['accuracy_mean']"),
        (["arms", "plain", "accuracy_per_seed"], [], "['accuracy_per_seed'] is [] but"),
        (["arms", "plain", "accuracy_per_seed"], [1.0], "['plain']['runs'] has 2 entries but"),
        (["arms", "plain", "runs", 1, "seed"], "x", "['plain']['runs'][1]['seed'] is 'x'"),
        (["arms", "plain", "by_type", "tf"], [], "['plain']['by_type']['tf'] is []"),
        (
            ["arms", "fundamentals", "paired_difference"],
            {},
            "['paired_difference']['mean'] is mi",
        ),
        (["arms", "plain", "learning_curve"], [{"step": 1}], "['learning_curve'][0]['loss'] is mi"),
        (["arms", "plain", "runs", 0, "world"], None, "['runs'][0]['world'] is None but must be"),
        (["unit"], "fraction", "results['unit'] is 'fraction' but must be 'percent'"),
        (["teacher", "truth_rate"], 3, "results['teacher']['truth_rate'] is 3 but"),
        (["samples", 0, "choices"], "ab", "results['samples'][0]['choices'] is 'ab' but"),
        (["caveats"], "careful", "results['caveats'] is 'careful' but must be a list"),
        (["timings_s", "base"], -1.0, "results['timings_s']['base'] is -1.0 but"),
    ],
)
def test_malformed_values_are_named(path: list[Any], value: Any, message: str) -> None:
    results: Any = small()
    inner = results
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ValueError, match=re.escape(message)):
        check_results(results)


def test_missing_keys_are_named() -> None:
    results = small()
    del results["arms"]["plain"]["accuracy_mean"]
    message = r"\['plain'\]\['accuracy_mean'\] is missing; it must be a percentage"
    with pytest.raises(ValueError, match=message):
        check_results(results)


def test_plain_data_gives_what_json_has() -> None:
    given = {
        "number": np.float32(44.5),
        "flag": np.bool_(True),
        "list": np.asarray([[1, 2], [3, 4]]),
        "missing": [math.nan, np.float64("nan"), math.inf],
        "pair": (1, "text"),
        "path": pathlib.PurePosixPath("/run/1"),
    }
    assert plain_data(given) == {
        "number": 44.5,
        "flag": True,
        "list": [[1, 2], [3, 4]],
        "missing": [None, None, None],
        "pair": [1, "text"],
        "path": "/run/1",
    }
    with pytest.raises(TypeError, match=r"results\['environment'\]\['jax'\] is a module"):
        plain_data({"environment": {"jax": math}})
