import numpy as np
import pytest

from teacherlm_jax.scoring import likelihood, sharing, split


def question(context, options=((1,), (2,))):
    return split.split_question(context, options)


def numbered(*parts):
    """Tokens that no other part has: a part is a letter and how many."""
    return [1000 * (ord(letter) - 96) + place for letter, count in parts for place in range(count)]


def numbers(asked, most=64, positions=None):
    return [found for found, _ in sharing.rows(asked, most, positions)]


@pytest.mark.parametrize("seed", range(8))
def test_every_question_is_in_one_row_whose_prompts_begin_alike_and_pays_less_than_alone(seed):
    rng = np.random.default_rng(seed)
    beginnings = [rng.integers(0, 9, rng.integers(1, 200)).tolist() for _ in range(6)]
    asked = [
        question(
            beginnings[rng.integers(6)] + rng.integers(0, 9, rng.integers(1, 60)).tolist(),
            [rng.integers(0, 9, rng.integers(1, 12)) for _ in range(rng.integers(2, 5))],
        )
        for _ in range(80)
    ]
    most, longest = int(rng.integers(1, 12)), int(rng.integers(200, 900))
    found = sharing.rows(asked, most, longest)
    assert sorted(n for own, _ in found for n in own) == list(range(80))
    assert [own for own, _ in found] == sorted(own for own, _ in found)
    for own, row in found:
        assert row.questions == tuple(asked[n] for n in own) and len(own) <= most
        shared = asked[own[0]].context[: row.shared]
        assert len(shared) == row.shared
        assert all(one.context[: row.shared] == shared for one in row.questions)
        alone = [likelihood.row_of(one).size.positions for one in row.questions]
        if len(own) == 1:
            assert row.shared == len(row.questions[0].context)
        else:
            assert row.shared >= 32 and row.size.positions <= longest
            assert row.size.positions == sum(alone) - (len(own) - 1) * row.shared
            # In attention as well, whose cost rises with the square.
            assert row.size.positions**2 <= 1.2 * sum(length**2 for length in alone)
    if most > 2:
        assert any(len(own) > 1 for own, _ in found)


def test_questions_after_the_same_examples_share_them_and_others_none():
    first, second = [("a", 100)], [("b", 90)]
    asked = [
        question(numbered(*first, ("c", 20))),
        question(numbered(*second, ("d", 20))),
        question(numbered(*first, ("e", 30))),
        question(numbered(*second, ("f", 25))),
        question(numbered(("a", 31), ("g", 2))),  # Shares too little to pay.
        question(numbered(*first, ("h", 120))),  # More than half is its own.
        question(numbered(*first)),  # Nothing is its own.
    ]
    assert numbers(asked) == [(0, 2, 6), (1, 3), (4,), (5,)]
    assert [row.shared for _, row in sharing.rows(asked, 64)] == [100, 90, 33, 220]
    assert numbers(asked, most=1) == [(n,) for n in range(7)]
    assert sorted(map(len, numbers(asked, most=2))) == [1, 1, 1, 2, 2]


def test_what_follows_is_at_most_twice_what_is_shared():
    asked = [question(numbered(("a", 50), (chr(99 + n), 25))) for n in range(9)]
    assert sorted(map(len, numbers(asked))) == [1, 4, 4]
    assert sorted(map(len, numbers(asked, positions=125))) == [3, 3, 3]
    assert sorted(map(len, numbers(asked, positions=60))) == [1] * 9


def test_a_passage_is_left_to_its_own_row_where_that_is_cheaper():
    # Nine questions about one passage; a tenth shares the examples before it alone.
    passage = [("a", 100), ("b", 60)]
    asked = [question(numbered(*passage, (chr(110 + n), 8))) for n in range(9)]
    asked.append(question(numbered(("a", 100), ("c", 60))))
    assert numbers(asked) == [tuple(range(9)), (9,)]
    # With two about each, the examples are worth more than the passages.
    assert numbers([*asked[:2], asked[9]]) == [(0, 1, 2)]
