"""Models side by side."""

from __future__ import annotations

import dataclasses
import json
import statistics

import pytest

from teacherlm_jax.scoring import comparison, results
from tests.scoring.receipt_example import GROUPS, example, receipt


def reversed_example() -> list:
    """The example under another model: each option has another's log-likelihood."""
    return [
        dataclasses.replace(
            one, log_likelihoods=one.log_likelihoods[::-1], checkpoint_digest="reversed"
        )
        for one in example()
    ]


def test_accuracies_are_those_of_the_models_and_their_mean():
    first = results.summarize(example(), "sum", GROUPS)
    second = results.summarize(reversed_example(), "sum", GROUPS)
    compared = comparison.compare([("one", first), ("two", second)])
    assert compared.checkpoint_digests == ("1234", "reversed")
    rows = {(row.name, row.average): row for row in compared.rows}
    assert list(rows) == [
        ("both", "macro"),
        ("both", "micro"),
        ("stem", "macro"),
        ("stem", "micro"),
        ("large_stem", "micro"),
        ("other", "micro"),
        ("small_stem", "micro"),
    ]
    of_stem = [found.groups[1].by_normalisation["sum"] for found in (first, second)]
    micro, macro = rows["stem", "micro"], rows["stem", "macro"]
    assert micro.accuracies == tuple(one.accuracy for one in of_stem)
    assert macro.accuracies == tuple(one.macro for one in of_stem)
    assert macro.standard_errors == tuple(one.macro_standard_error for one in of_stem)
    assert micro.accuracies[0] != micro.accuracies[1]
    assert micro.mean == pytest.approx(sum(micro.accuracies) / 2)
    assert micro.deviation == pytest.approx(statistics.stdev(micro.accuracies))
    whole = rows["both", "macro"].accuracies
    best = "one" if whole[0] > whole[1] else "two"
    assert (
        f"over 2 models, means over tasks; best is {best} with {max(whole):.1f}"
        in comparison.finding(compared)
    )
    assert comparison.rows(compared)[0][0] == "both, mean of parts"
    assert {len(row) for row in comparison.rows(compared)} == {len(comparison.header(compared))}


def test_one_model_has_no_deviation():
    compared = comparison.compare([("one", results.summarize([receipt()], "sum", {}))])
    told = json.loads(json.dumps(compared.as_json(), allow_nan=False))
    assert told["rows"][0]["deviation"] is None and told["rows"][0]["standard_errors"] == [None]
    assert told["unit"] == "percent"


def test_what_cannot_be_compared():
    found = results.summarize([receipt()], "sum", {})
    with pytest.raises(ValueError, match="no models"):
        comparison.compare([])
    with pytest.raises(ValueError, match=r"\['a', 'a'\].*label of its own"):
        comparison.compare([("a", found), ("a", found)])
    more = results.summarize([receipt(), receipt(question_id="1")], "sum", {})
    with pytest.raises(ValueError, match="'a' and 'b' were not scored alike"):
        comparison.compare([("a", found), ("b", more)])
    tokens = results.summarize([receipt()], "tokens", {})
    with pytest.raises(ValueError, match="headlines 'sum' and 'tokens'"):
        comparison.compare([("a", found), ("b", tokens)])
