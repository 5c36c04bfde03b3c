"""Numbers in words."""

import pytest

from teacherlm_jax.scoring import words


@pytest.mark.parametrize(
    "count, told", [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (1234, "1,234 tasks")]
)
def test_one_is_not_several(count, told):
    assert words.counted(count, "task") == told


@pytest.mark.parametrize(
    "values, told", [([4], "4"), ([4, 26], "4 and 26"), ([2, 4, 26], "2, 4 and 26")]
)
def test_the_last_two_have_an_and_between_them(values, told):
    assert words.listed(values) == told
