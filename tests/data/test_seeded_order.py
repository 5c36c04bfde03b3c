"""Orders that a seed decides."""

import hashlib
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


def test_samples_are_those_of_every_release():
    """Written down once: which rows a capped data set has rests on them."""
    sample = seeded_order.named_sample(1000, 6, 0, "glue_cola")
    assert sample.tolist() == [25, 88, 92, 474, 961, 979]


def test_a_sample_holds_the_lowest_ranks():
    def mixed(word):
        word = (word + 0x9E3779B97F4A7C15) % 2**64
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
        return word ^ (word >> 31)

    # From https://prng.di.unimi.it/splitmix64.c, state 0.
    assert mixed(0) == 0xE220A8397B1DCDAF
    name = np.frombuffer(hashlib.sha256(b"n").digest(), "<u4").tolist()
    keys = np.random.SeedSequence(9, spawn_key=(5, *name)).generate_state(2, np.uint64)
    first, second = keys.tolist()
    ranked = sorted(range(3000), key=lambda number: mixed(mixed(number ^ first) ^ second))
    assert seeded_order.named_sample(3000, 70, 9, "n").tolist() == sorted(ranked[:70])


def test_samples_of_one_name_lie_in_each_other():
    larger = set(seeded_order.named_sample(5000, 900, 3, "a").tolist())
    smaller = seeded_order.named_sample(5000, 50, 3, "a")
    assert len(larger) == 900 and set(smaller.tolist()) < larger
    assert smaller.tolist() == sorted(smaller.tolist())
    # More rows at the end take some of the places, and leave the order of the rest.
    grown = set(seeded_order.named_sample(5500, 900, 3, "a").tolist())
    assert {number for number in grown if number < 5000} < larger
    for name, seed in (("b", 3), ("a", 4)):
        other = set(seeded_order.named_sample(5000, 900, seed, name).tolist())
        assert 100 < len(other & larger) < 230  # 162 by chance


def test_samples_are_even_and_whole():
    count = 2**20 + 12_345  # more than are ranked at once
    sample = seeded_order.named_sample(count, 100_000, 0, "even")
    assert len(set(sample.tolist())) == 100_000
    parts, _ = np.histogram(sample, bins=10, range=(0, count))
    assert abs(parts - 10_000).max() < 500  # five standard deviations
    for most in (7, 8, 100):
        assert seeded_order.named_sample(7, most, 0, "all").tolist() == list(range(7))
    assert seeded_order.named_sample(0, 5, 0, "none").tolist() == []
