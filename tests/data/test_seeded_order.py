"""Orders that a seed decides."""

import itertools

import numpy as np

from teacherlm_jax.data import seeded_order


def test_orders_are_those_of_every_release():
    """Written down once: runs under way rest on them."""
    orders = [
        seeded_order.permutation(10, 0, seeded_order.PASS, 0, 0),
        seeded_order.permutation(10, 7, seeded_order.ROWS, 3),
        seeded_order.named_permutation(8, 0, "task"),
    ]
    assert [order.tolist() for order in orders] == [
        [3, 9, 5, 6, 2, 1, 8, 4, 7, 0],
        [1, 9, 5, 0, 8, 2, 3, 6, 7, 4],
        [7, 6, 0, 4, 1, 5, 2, 3],
    ]


def test_an_order_holds_everything_once():
    for count in (0, 1, 2, 1000):
        order_N = seeded_order.permutation(count, 3, seeded_order.PASS, 1, 2)
        assert order_N.dtype == np.int64
        assert sorted(order_N.tolist()) == list(range(count))


def test_seeds_purposes_tables_and_epochs_have_orders_of_their_own():
    keys = itertools.product(
        (0, 1, 2, 2**32), (seeded_order.PASS, seeded_order.ROWS), (0, 1), (0, 1)
    )
    orders = {tuple(seeded_order.permutation(30, seed, *key)) for seed, *key in keys}
    assert len(orders) == 32
    named = {
        tuple(seeded_order.named_permutation(30, seed, name)) for seed in (0, 1) for name in "ab"
    }
    assert len(named) == 4


def test_orders_are_fair():
    """Each place is equally likely for each thing: chi-squared of 6 x 6 cells over 6,000 orders."""
    counts = np.zeros((6, 6))
    for number in range(6000):
        counts[np.arange(6), seeded_order.permutation(6, 0, seeded_order.PASS, 0, number)] += 1
    # 25 degrees of freedom: above 60 once in 10,000 seeds, and this seed is fixed.
    assert ((counts - 1000) ** 2 / 1000).sum() < 60
