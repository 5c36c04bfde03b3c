"""Receipts that cannot be judged are named before anything is counted."""

import math

import pytest

from teacherlm_jax.scoring import judged
from tests.scoring.receipt_example import receipt


@pytest.mark.parametrize(
    "receipts, message",
    [
        ([], "there are no receipts"),
        ([receipt(), receipt()], "question '0' of task, split 'test', stands twice"),
        (
            [receipt(), receipt(question_id="1", checkpoint_digest="5")],
            "2 checkpoints, such as '1234' and '5'",
        ),
        ([receipt(answer=2)], "question '0' of task.*option 2, but there are 2"),
        ([receipt(answer=-1)], "option -1"),
        ([receipt((-1.0, math.nan))], "cannot be ranked"),
        ([receipt(unconditional=(math.inf, 0.0))], "cannot be ranked"),
        ([receipt(options=((7,),))], "1 options but 2 log_likelihoods"),
        ([receipt(option_texts=("A",))], "2 options but 1 option_texts"),
        ([receipt(unconditional=(-1.0,))], "2 options but 1 unconditional"),
        ([receipt(())], "0 options"),
    ],
)
def test_malformed_receipts(receipts, message):
    with pytest.raises(ValueError, match=message):
        judged.judge(receipts, 1e-4)


def test_numbers_of_options_may_differ():
    whole = judged.judge(
        [
            receipt((-3.0, -1.0), question_id="b"),
            receipt((-1.0, -3.0, -0.5), question_id="a"),
            receipt((-1.0,), question_id="c"),
        ],
        1e-4,
    )
    assert [one.question_id for one in whole.receipts] == ["a", "b", "c"]
    choice = whole.choices["sum"]
    assert choice.chosen_N.tolist() == [2, 1, 0]
    expected = [1 / (1 + math.exp(-0.5) + math.exp(-2.5)), 1 / (1 + math.exp(-2)), 1.0]
    assert choice.probability_N.tolist() == pytest.approx(expected)
    # There is nothing that one option could tie with.
    assert not choice.tied_N.any() and not choice.near_N.any()
    assert not whole.choices["unconditional"].has_N.any()
