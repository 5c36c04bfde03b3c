"""How examples become rows."""

import numpy as np
import pytest
import tensorflow as tf

from teacherlm_jax.data.batches import ExampleTable, MixtureBatches, RowFormat, TokenizedExample
from teacherlm_jax.data.feature_converter import DecoderFeatureConverter

ROW = RowFormat(8)


def example(name, inputs, targets):
    return TokenizedExample(name, np.array(inputs, np.int32), np.array(targets, np.int32))


def random_examples(count, most, seed=0):
    """Examples of 2 to `most` tokens; id 0 is a token like any other."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(count):
        size = int(random.integers(2, most + 1))
        tokens = random.integers(0, 9, size)
        cut = int(random.integers(0, size))
        found.append(example(f"e{index}", tokens[:cut], tokens[cut:]))
    return found


class Unread(list):
    """Examples that may be counted, and not read."""

    def __getitem__(self, index):
        raise AssertionError("read")

    __iter__ = __getitem__


def unread(lengths, name="t"):
    ids = [f"{name}{index}" for index in range(len(lengths))]
    return ExampleTable(name, Unread(ids), np.array(lengths, np.int32).reshape(-1, 2), ids)


# Rows


def arrays_of(inputs, targets, **settings):
    arrays = RowFormat(6, **settings).arrays([example("e", inputs, targets)])
    assert {name: str(array.dtype) for name, array in arrays.items()} == {
        "decoder_input_tokens": "int32",
        "decoder_target_tokens": "int32",
        "decoder_loss_weights": "float32",
        "decoder_segment_ids": "int32",
        "decoder_positions": "int32",
    }
    return {name.removeprefix("decoder_"): array[0].tolist() for name, array in arrays.items()}


def test_a_row_with_a_token_before_the_text():
    # Token 0 is real here, in the inputs as in the targets.
    assert arrays_of([7, 0], [0, 9, 1], bos_id=3) == {
        "input_tokens": [3, 7, 0, 0, 9, 0],
        "target_tokens": [7, 0, 0, 9, 1, 0],
        "loss_weights": [0, 0, 1, 1, 1, 0],
        "segment_ids": [1, 1, 1, 1, 1, 0],
        "positions": [0, 1, 2, 3, 4, 0],
    }


def test_a_row_without_a_token_before_the_text():
    assert arrays_of([7, 0], [0, 9, 1], bos_id=None) == {
        "input_tokens": [7, 0, 0, 9, 0, 0],
        "target_tokens": [0, 0, 9, 1, 0, 0],
        "loss_weights": [0, 1, 1, 1, 0, 0],
        "segment_ids": [1, 1, 1, 1, 0, 0],
        "positions": [0, 1, 2, 3, 0, 0],
    }


@pytest.mark.parametrize(
    ("inputs", "targets", "settings", "weights"),
    [
        ([7, 8], [9, 1], {"loss_on": "all"}, [1, 1, 1, 1, 0, 0]),
        ([7, 8], [9, 1], {"loss_on": "all", "bos_id": None}, [1, 1, 1, 0, 0, 0]),
        ([], [9, 1], {}, [1, 1, 0, 0, 0, 0]),
        # The first token of a text is context alone where nothing comes before it.
        ([], [9, 5, 1], {"bos_id": None}, [1, 1, 0, 0, 0, 0]),
        ([7], [9, 5, 1], {"bos_id": None}, [1, 1, 1, 0, 0, 0]),
        ([1, 2, 3], [4, 5, 6], {}, [0, 0, 0, 1, 1, 1]),
        ([1, 2, 3], [4, 5, 6, 7], {"bos_id": None}, [0, 0, 1, 1, 1, 1]),
    ],
)
def test_which_positions_carry_loss(inputs, targets, settings, weights):
    arrays = arrays_of(inputs, targets, **settings)
    assert arrays["loss_weights"] == weights
    tokens = inputs + targets
    used = sum(arrays["segment_ids"])
    assert arrays["target_tokens"][:used] == tokens[-used:]


def test_rows_of_different_lengths_stand_side_by_side():
    arrays = ROW.arrays([example("e", [5], [1]), example("f", [], [6, 7, 1])])
    assert arrays["decoder_segment_ids"].sum(1).tolist() == [2, 3]


# Packed


def converted(examples, length, bos_id):
    """One row of all the examples, as seqio's packing lays it out."""
    spec = dict.fromkeys(("inputs", "targets"), tf.TensorSpec([None], tf.int32))
    dataset = tf.data.Dataset.from_generator(
        lambda: ({"inputs": e.inputs, "targets": e.targets} for e in examples),
        output_signature=spec,
    )
    converter = DecoderFeatureConverter(pack=True, bos_id=bos_id, apply_length_check=False)
    (row,) = converter(dataset, {"inputs": 0, "targets": length}).as_numpy_iterator()
    return row


@pytest.mark.parametrize("bos_id", [0, 7, None])
@pytest.mark.parametrize("seed", range(3))
def test_a_packed_row_is_that_of_the_feature_converter(bos_id, seed):
    examples = random_examples(6, 9, seed)
    length = sum(len(e) - (bos_id is None) for e in examples) + 5
    row_format = RowFormat(length, bos_id, pack=True)
    found = row_format.row_arrays([examples])
    expected = converted(examples, length, bos_id)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name][0], array, err_msg=name)
        assert found[name].dtype == array.dtype
    assert found["decoder_segment_ids"].max() == 6


@pytest.mark.parametrize("bos_id", [3, None])
@pytest.mark.parametrize("loss_on", ["targets", "all"])
def test_a_segment_does_not_depend_on_its_neighbours(bos_id, loss_on):
    row_format = RowFormat(40, bos_id, loss_on, pack=True)
    own = example("own", [5, 0, 6], [0, 7, 1])
    alone = row_format.arrays([own])
    used = int(alone["decoder_segment_ids"].sum())
    for seed in range(4):
        one, other, third = random_examples(3, 9, seed)
        for row in ([one, own, other], [own, third], [one, other, third, own]):
            arrays = row_format.row_arrays([[third], row])
            number = row.index(own) + 1
            place = arrays["decoder_segment_ids"][1] == number
            assert place.sum() == used
            for name, array in arrays.items():
                if name != "decoder_segment_ids":
                    np.testing.assert_array_equal(array[1][place], alone[name][0, :used])


def test_components_stand_at_every_position_in_use():
    one, other = example("e", [5], [1]), example("f", [], [6, 7, 1])
    arrays = ROW.row_arrays([[one, other], [], [other]], [[2, 0], [], [1]])
    components = arrays["decoder_component_ids"]
    assert components.dtype == np.int32
    assert components.tolist() == [[2, 2, 0, 0, 0, 0, 0, 0], [0] * 8, [1, 1, 1, 0, 0, 0, 0, 0]]
    assert "decoder_component_ids" not in ROW.row_arrays([[one]])


@pytest.mark.parametrize("bos_id", [3, None])
def test_a_row_of_nothing_is_padding(bos_id):
    arrays = RowFormat(4, bos_id).row_arrays([[], []])
    assert len(arrays) == 5
    for array in arrays.values():
        assert array.shape == (2, 4) and not array.any()


def test_no_rows_are_no_rows():
    assert {array.shape for array in ROW.row_arrays([]).values()} == {(0, 8)}


def test_a_row_never_runs_into_the_next():
    five = example("five", [1, 2], [3, 4, 5])
    with pytest.raises(ValueError, match="last ends at position 9 of a row of 8: drop or trim"):
        ROW.row_arrays([[five, example("last", [], [1, 1, 1, 1])], [five]])


# Errors


@pytest.mark.parametrize("bos_id", [0, None])
def test_an_example_that_does_not_fit_is_named(bos_id):
    row = RowFormat(6, bos_id)
    room = 6 if bos_id == 0 else 7
    row.check(ExampleTable("t", [example("fits", [2] * (room - 2), [3, 1])]))
    long = ExampleTable("t", [example("t/train:4", [2] * (room - 2), [3, 3, 1])])
    message = rf"t/train:4 has {room + 1} tokens \(inputs {room - 2}, targets 3\), .* holds {room}"
    with pytest.raises(ValueError, match=message):
        MixtureBatches([long], [1.0], row, 2, 0)


def test_an_example_without_a_token_to_learn_from_is_named():
    with pytest.raises(ValueError, match="e has no target tokens"):
        ROW.check(ExampleTable("t", [example("e", [5], [])]))
    alone = ExampleTable("t", [example("e", [], [5])])
    ROW.check(alone)
    with pytest.raises(ValueError, match="e has one token alone"):
        RowFormat(8, bos_id=None).check(alone)


def test_checks_read_no_example():
    table = unread([(3, 2), (2, 7), (0, 5), (8, 8)])
    with pytest.raises(
        ValueError, match=r"t1 has 9 tokens \(inputs 2, targets 7\).*2 of 4 examples of t cannot"
    ):
        ROW.check(table)
    ROW.check(unread([(3, 2), (0, 8)]))
    assert RowFormat(8, too_long="drop").usable(table).dropped == 2
    assert RowFormat(8, too_long="trim").usable(table).trimmed == 2


# What does not fit


@pytest.mark.parametrize("bos_id", [0, None])
def test_what_is_too_long_can_be_dropped(bos_id):
    room = 6 + (bos_id is None)
    examples = [
        example("fits", [2] * (room - 1), [1]),
        example("long", [2] * room, [1]),
        example("no targets", [2, 2], []),
        example("one token", [], [5]),
        example("short", [4], [1]),
    ]
    usable = RowFormat(6, bos_id, too_long="drop").usable(ExampleTable("t", examples))
    kept = ["fits", *(["one token"] if bos_id == 0 else []), "short"]
    assert [e.example_id for e in usable.table.examples] == kept
    assert [usable.table.example_id(index) for index in range(len(kept))] == kept
    assert (usable.dropped, usable.trimmed) == (5 - len(kept), 0)


@pytest.mark.parametrize("bos_id", [0, None])
def test_what_is_too_long_can_keep_its_last_tokens(bos_id):
    row_format = RowFormat(6, bos_id, too_long="trim")
    examples = random_examples(60, 14)
    usable = row_format.usable(ExampleTable("t", examples))
    assert usable.trimmed == sum(len(e) > row_format.room for e in examples) > 10
    assert usable.dropped == 0
    for index, whole in enumerate(examples):
        cut = usable.table.examples[index]
        tokens = [*whole.inputs, *whole.targets][-row_format.room :]
        assert [*cut.inputs, *cut.targets] == tokens
        # Targets are cut only when no inputs are left.
        assert len(cut.targets) == min(len(whole.targets), row_format.room)
        assert usable.table.lengths_N2[index].tolist() == [len(cut.inputs), len(cut.targets)]
    row_format.check(usable.table)
    row_format.arrays(usable.table.read(range(60)))


def test_trimming_makes_no_targets():
    with pytest.raises(ValueError, match="e has no target tokens"):
        RowFormat(6, too_long="trim").usable(ExampleTable("t", [example("e", [5], [])]))


def test_what_fits_is_left_as_it_is():
    table = ExampleTable("t", [example("e", [5], [1])])
    for too_long in ("error", "drop", "trim"):
        usable = RowFormat(6, too_long=too_long).usable(table)
        assert usable.table is table and usable.dropped == usable.trimmed == 0


def test_settings_of_rows_are_checked():
    with pytest.raises(ValueError, match="loss_on = 'target', but it must be one of"):
        RowFormat(8, loss_on="target")
    with pytest.raises(ValueError, match="row length 0"):
        RowFormat(0)
    with pytest.raises(ValueError, match="too_long = 'cut', but it must be one of"):
        RowFormat(8, too_long="cut")
