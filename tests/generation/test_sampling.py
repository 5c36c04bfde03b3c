import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.generation import sampling
from teacherlm_jax.generation.sampling import Greedy, Temperature


def keys(count, seed=0, example_id="a"):
    ids = sampling.noise_ids([example_id] * count, list(range(count)))
    return sampling.row_keys(sampling.run_key(seed), ids)


def positions(count, at=5):
    return jnp.full((count,), at, jnp.int32)


def test_example_hash_is_sha256():
    # FIPS 180-2, appendix B.1: SHA-256("abc") = ba7816bf 8f01cfea ...
    assert sampling.example_hash("abc") == (0xBA7816BF, 0x8F01CFEA)


def test_greedy_takes_the_best_real_token():
    logits = jnp.array([[0.0, 3.0, 1.0, 9.0], [5.0, 5.0, 1.0, 9.0]])
    chosen = sampling.sample(Greedy(), logits, keys(2), positions(2), valid_vocab_size=3)
    assert chosen.tolist() == [1, 0]
    assert sampling.sample(Greedy(), logits, keys(2), positions(2)).tolist() == [3, 3]


def test_frequencies_follow_the_tempered_softmax():
    count, temperature = 40_000, 0.7
    logits = jnp.array([1.0, 0.0, -0.5, 2.0, 4.0])
    drawn = sampling.sample(
        Temperature(temperature),
        jnp.broadcast_to(logits, (count, 5)),
        keys(count),
        positions(count),
        valid_vocab_size=4,
    )
    expected = np.exp(np.asarray(logits[:4], np.float64) / temperature)
    expected /= expected.sum()
    found = np.bincount(np.asarray(drawn), minlength=5) / count
    assert found[4] == 0
    sigma = np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(found[:4] - expected) < 4.5 * sigma).all()


def kept_by_brute_force(logits, policy):
    """The tokens that top-k and then top-p keep, one by one as their definitions say."""
    order = np.argsort(-logits, kind="stable")
    if policy.top_k is not None:
        order = order[: policy.top_k]
    probabilities = np.exp(logits[order] / policy.temperature)
    probabilities /= probabilities.sum()
    if policy.top_p is None:
        return set(order.tolist())
    kept, total = set(), 0.0
    for token, probability in zip(order, probabilities):
        kept.add(int(token))
        total += probability
        if total >= policy.top_p:
            break
    return kept


@pytest.mark.parametrize(
    "policy",
    [
        Temperature(1.0, top_k=1),
        Temperature(0.8, top_k=5),
        Temperature(1.3, top_p=0.6),
        Temperature(1.0, top_p=1e-6),
        Temperature(0.9, top_k=6, top_p=0.7),
        Temperature(1.0, top_k=500),
    ],
)
def test_top_k_and_top_p_keep_the_defined_tokens(policy):
    logits = np.random.default_rng(1).normal(size=(20, 30)) * 2
    restricted = np.asarray(sampling.restrict(policy, jnp.asarray(logits, jnp.float32)))
    for row, kept in zip(logits, restricted > sampling.MASKED):
        assert set(np.flatnonzero(kept).tolist()) == kept_by_brute_force(row, policy)


def test_ties_with_the_last_kept_token_are_kept():
    restricted = sampling.restrict(Temperature(top_k=2), jnp.array([[3.0, 1.0, 1.0, 0.0]]))
    assert (restricted > sampling.MASKED).tolist() == [[True, True, True, False]]


@pytest.mark.parametrize("policy", [Temperature(), Temperature(top_k=9), Temperature(top_p=0.9)])
def test_padded_vocabulary_rows_do_not_change_what_is_drawn(policy):
    logits = jax.random.normal(jax.random.key(3), (200, 50))
    padded = jnp.pad(logits, ((0, 0), (0, 14)), constant_values=50.0)
    narrow = sampling.sample(policy, logits, keys(200), positions(200))
    wide = sampling.sample(policy, padded, keys(200), positions(200), valid_vocab_size=50)
    assert narrow.tolist() == wide.tolist()
    assert len(set(narrow.tolist())) > 5


def test_noise_belongs_to_the_sample_and_not_to_its_batch():
    logits = jax.random.normal(jax.random.key(4), (16, 40))
    together = sampling.sample(Temperature(), logits, keys(16), positions(16))
    reverse = slice(None, None, -1)
    turned = sampling.sample(Temperature(), logits[reverse], keys(16)[reverse], positions(16))
    assert turned[reverse].tolist() == together.tolist()
    for row in range(16):
        one = slice(row, row + 1)
        alone = sampling.sample(Temperature(), logits[one], keys(16)[one], positions(1))
        assert alone[0] == together[row]


def test_noise_is_the_same_under_another_default_generator():
    logits = jax.random.normal(jax.random.key(4), (16, 40))
    usual = sampling.sample(Temperature(), logits, keys(16), positions(16)).tolist()
    with jax.default_prng_impl("rbg"), jax.threefry_partitionable(False):
        assert sampling.sample(Temperature(), logits, keys(16), positions(16)).tolist() == usual


def test_seed_example_sample_and_position_each_change_the_noise():
    logits = jnp.zeros((64, 1000))

    def draw(seed=0, example_id="a", at=5, roll=0):
        row_keys = jnp.roll(keys(64, seed, example_id), roll)
        return np.asarray(sampling.sample(Temperature(), logits, row_keys, positions(64, at)))

    usual = draw()
    assert (usual == draw()).all()
    for other in (draw(seed=1), draw(example_id="b"), draw(at=6), draw(roll=1)):
        assert (usual == other).mean() < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, r"temperature = 0.0.*above 0.*Greedy"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"top_k": 0}, "top_k = 0.*at least 1"),
        ({"top_p": 0.0}, r"top_p = 0.0.*\(0, 1\]"),
        ({"top_p": 1.5}, "top_p = 1.5"),
    ],
)
def test_bad_policies_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Temperature(**arguments)


def test_bad_sample_index_is_refused():
    with pytest.raises(ValueError, match="sample_index = -1 of example 'x'"):
        sampling.noise_ids(["x"], [-1])


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_would_be_cut_are_refused(seed):
    with pytest.raises(ValueError, match=rf"seed = {seed}, but .*2\*\*32"):
        sampling.run_key(seed)


def test_describe_gives_plain_values():
    assert sampling.describe(Temperature(0.5, 50)) == {
        "name": "Temperature",
        "temperature": 0.5,
        "top_k": 50,
        "top_p": None,
    }
    assert sampling.describe(Greedy()) == {"name": "Greedy"}
