import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.generation import batching


@pytest.mark.parametrize("batch_size", [1, 3, 8, 50])
def test_plans_hold_every_row_once_in_a_bucket_that_fits(batch_size):
    lengths = np.random.default_rng(0).integers(1, 100, size=37).tolist()
    plans = batching.plan_batches(lengths, batch_size, (32, 64, 100))
    rows = [row for plan in plans for row in plan.rows]
    assert sorted(rows) == list(range(37))
    assert len(plans) == -(-37 // batch_size)
    for plan in plans:
        assert plan.length in (32, 64, 100)
        assert max(lengths[row] for row in plan.rows) <= plan.length
    assert [lengths[row] for row in rows] == sorted(lengths, reverse=True)


def test_plans_of_equal_lengths_keep_the_order():
    plans = batching.plan_batches([5, 5, 5, 5], 2, (8,))
    assert [plan.rows for plan in plans] == [(0, 1), (2, 3)]


def test_no_rows_need_no_batch():
    assert batching.plan_batches([], 4, (8,)) == []


@pytest.mark.parametrize(
    ("max_length", "buckets"), [(100, (32, 64, 100)), (64, (32, 64)), (32, (32,)), (7, (7,))]
)
def test_default_buckets_end_at_the_maximum(max_length, buckets):
    assert batching.resolve_buckets(None, max_length) == buckets


def test_buckets_are_sorted_and_checked():
    assert batching.resolve_buckets([64, 16, 64], 100) == (16, 64)
    for bad in ([], [0, 4], [101]):
        with pytest.raises(ValueError, match=r"buckets = .*\[1, 100\]"):
            batching.resolve_buckets(bad, 100)


def test_rows_beyond_the_largest_bucket_are_refused():
    with pytest.raises(ValueError, match="9 positions do not fit the largest bucket, 8"):
        batching.bucket_for(9, (4, 8))


def test_padding_is_known_by_lengths():
    tokens, lengths = batching.pad_rows([[0, 5, 0], [7]], batch_size=3, length=4)
    assert tokens.tolist() == [[0, 5, 0, 0], [7, 0, 0, 0], [0, 0, 0, 0]]
    assert lengths.tolist() == [3, 1, 0]
    assert tokens.dtype == lengths.dtype == np.int32


def test_compilations_are_counted_where_they_happen():
    @jax.jit
    def double(x):
        batching.count_trace("double")
        return 2 * x

    count = batching.CompilationCount()
    with count.watch():
        double(jnp.ones(3))
        double(jnp.zeros(3))
        double(jnp.ones(4))
    double(jnp.ones(5))
    assert count.total == count.by_name["double"] == 2
