"""Our converter gives seqio's own features, but for tokens of id 0, which seqio drops."""

import numpy as np
import pytest
import seqio
import tensorflow as tf

from teacherlm_jax.data import pipeline
from teacherlm_jax.data.batches import RowFormat
from teacherlm_jax.data.feature_converter import DecoderFeatureConverter
from tests.data import tiny_tasks

LENGTHS = {"inputs": 5, "targets": 4}
EXAMPLES = [
    {"inputs": [7, 8, 5, 2], "targets": [3, 9, 1]},
    {"inputs": [4], "targets": [6, 2, 8, 1]},
    {"inputs": [9, 9, 9, 9, 9], "targets": [2, 3, 4, 1]},
    {"inputs": [], "targets": [5, 1]},
]


def dataset(examples):
    spec = {name: tf.TensorSpec([None], tf.int32) for name in examples[0]}
    return tf.data.Dataset.from_generator(lambda: iter(examples), output_signature=spec)


def converted(converter, examples):
    return list(converter(dataset(examples), LENGTHS).as_numpy_iterator())


@pytest.mark.parametrize("name", ["DecoderFeatureConverter", "PrefixLMFeatureConverter"])
def test_features_are_those_of_seqio_where_no_token_is_0(name):
    ours = converted(DecoderFeatureConverter(), EXAMPLES)
    # Only a packing converter gives positions and segments. No two neighbours fit into one row.
    theirs = converted(getattr(seqio, name)(pack=True), EXAMPLES)
    assert len(ours) == len(theirs) == len(EXAMPLES)
    for row, expected in zip(ours, theirs, strict=True):
        assert row.keys() == expected.keys() - {"decoder_causal_attention"}
        for feature, array in row.items():
            np.testing.assert_array_equal(array, expected[feature], err_msg=feature)


def test_a_real_token_of_id_0_keeps_its_loss_and_its_place():
    example = {"inputs": [7, 0], "targets": [0, 9, 0]}
    (row,) = converted(DecoderFeatureConverter(), [example])
    assert {name.removeprefix("decoder_"): array.tolist() for name, array in row.items()} == {
        "target_tokens": [7, 0, 0, 9, 0, 0, 0, 0, 0],
        "input_tokens": [0, 7, 0, 0, 9, 0, 0, 0, 0],
        "loss_weights": [0, 0, 1, 1, 1, 0, 0, 0, 0],
        "segment_ids": [1, 1, 1, 1, 1, 0, 0, 0, 0],
        "positions": [0, 1, 2, 3, 4, 0, 0, 0, 0],
    }
    # Why this converter is there: seqio's takes loss away from the same tokens.
    (theirs,) = converted(seqio.DecoderFeatureConverter(pack=False), [example])
    assert theirs["decoder_loss_weights"].sum() < 3


@pytest.mark.parametrize("bos_id", [0, 17])
def test_rows_are_those_that_training_sees(bos_id):
    task = seqio.TaskRegistry.get("teacherlm_test_colors")
    lengths = {"inputs": 9, "targets": 7}
    found = seqio.get_dataset(
        task.name,
        lengths,
        feature_converter=DecoderFeatureConverter(bos_id=bos_id),
        dataset_split="train",
        shuffle=False,
    )
    table = pipeline.load_table(task, "train")
    expected = RowFormat(16, bos_id).arrays(table.examples)
    rows = list(found.as_numpy_iterator())
    assert len(rows) == 20
    for name, array in expected.items():
        stacked = np.stack([row[name] for row in rows])
        np.testing.assert_array_equal(stacked, array, err_msg=name)
        assert stacked.dtype == array.dtype


def test_a_mixture_is_converted():
    found = seqio.get_dataset(
        tiny_tasks.MIXTURE,
        {"inputs": 9, "targets": 7},
        feature_converter=DecoderFeatureConverter(),
        dataset_split="train",
        shuffle=False,
        num_epochs=1,
    )
    rows = list(found.take(8).as_numpy_iterator())
    assert len(rows) == 8
    assert all(row["decoder_loss_weights"].sum() == 6 for row in rows)


def test_other_features_pass_through():
    spec = seqio.FeatureConverter.FeatureSpec(dtype=tf.int32)
    converter = DecoderFeatureConverter(passthrough_features={"idx": spec})
    example = {**EXAMPLES[0], "idx": [4, 2]}
    (row,) = converter(dataset([example]), {**LENGTHS, "idx": 2}).as_numpy_iterator()
    assert row["idx"].tolist() == [4, 2]
    assert row["decoder_target_tokens"].tolist()[:7] == [7, 8, 5, 2, 3, 9, 1]


def test_a_row_longer_than_its_feature_is_an_error():
    long = {"inputs": [7, 8, 5, 2, 3, 3], "targets": [1]}
    with pytest.raises(tf.errors.InvalidArgumentError):
        converted(DecoderFeatureConverter(), [long])


def test_packing_is_refused_rather_than_left_out():
    with pytest.raises(ValueError, match="pack = True"):
        DecoderFeatureConverter(pack=True)
