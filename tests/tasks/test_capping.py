import pytest

from teacherlm_jax.tasks import capping


def numbered(count: int, first: int = 0):
    import tensorflow as tf

    ids = [f"set:{number}" for number in range(first, first + count)]
    return tf.data.Dataset.from_tensor_slices({"id": ids, "text": ids})


def kept(dataset, most: int, seed: int = 0, name: str = "set") -> list[str]:
    found = capping.at_most(most, seed, name)(dataset).as_numpy_iterator()
    return [example["id"].decode() for example in found]


def test_a_cap_is_exact_fixed_and_in_order():
    whole = numbered(900)
    found = kept(whole, 300)
    assert len(found) == 300
    assert found == kept(whole, 300)
    assert found == sorted(found, key=lambda id_: int(id_[4:]))
    # From everywhere: not the first, nor the last.
    assert 70 < sum(int(id_[4:]) < 300 for id_ in found) < 130


def test_all_are_kept_where_there_are_few():
    assert kept(numbered(5), 5) == kept(numbered(5), 9) == [f"set:{n}" for n in range(5)]


def test_smaller_caps_are_in_larger_ones_and_seeds_and_names_differ():
    whole = numbered(200)
    fifty = set(kept(whole, 50))
    assert set(kept(whole, 20)) < fifty
    assert fifty != set(kept(whole, 50, seed=1))
    assert fifty != set(kept(whole, 50, name="other"))


def test_one_example_more_moves_at_most_one():
    before, after = set(kept(numbered(200), 50)), set(kept(numbered(201), 50))
    assert len(before - after) <= 1


def test_lists_pass_through():
    import tensorflow as tf

    def generate():
        for number in range(9):
            yield {"id": str(number), "choices": ["a"] * number}

    signature = {"id": tf.TensorSpec((), tf.string), "choices": tf.TensorSpec((None,), tf.string)}
    whole = tf.data.Dataset.from_generator(generate, output_signature=signature)
    found = list(capping.at_most(4, 0, "set")(whole).as_numpy_iterator())
    assert [len(example["choices"]) for example in found] == [int(each["id"]) for each in found]
    assert len(found) == 4


def test_shares_are_in_proportion_and_add_up():
    assert capping.shares([16_946, 45_460, 100_459], 3_000) == [312, 837, 1_851]
    assert capping.shares([3, 4], 7) == [3, 4]


def test_names_tell_what_is_not_the_default():
    assert capping.suffix(5, 5, 0) == ""
    assert capping.suffix(7, 5, 2) == "_max7_seed2"
    for cap, seed, message in ((0, 0, "max_examples = 0"), (1, -1, "seed = -1")):
        with pytest.raises(ValueError, match=message):
            capping.suffix(cap, 5, seed)
