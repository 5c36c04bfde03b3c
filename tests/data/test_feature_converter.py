"""Our converter gives seqio's own features, but for tokens of id 0, which seqio drops."""

import functools

import jax
import numpy as np
import pytest
import sentencepiece
import seqio
import tensorflow as tf

from teacherlm_jax.data import pipeline
from teacherlm_jax.data.batches import RowFormat
from teacherlm_jax.data.feature_converter import DecoderFeatureConverter
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.training import step
from teacherlm_jax.training.loss import cross_entropy
from tests.data import tiny_tasks
from tests.training import tiny

LENGTHS = {"inputs": 5, "targets": 4}
EXAMPLES = [
    {"inputs": [7, 8, 5, 2], "targets": [3, 9, 1]},
    {"inputs": [4], "targets": [6, 2, 8, 1]},
    {"inputs": [9, 9, 9, 9, 9], "targets": [2, 3, 4, 1]},
    {"inputs": [], "targets": [5, 1]},
]

TEXTS = [
    "The answer is (A). Let's think: which animal has fur?",
    "An  otter's fur\nis dense!",
    "",
    "naïve 🙂",
    "def main():\n    return 3.14\n",
]


def dataset(examples):
    spec = {name: tf.TensorSpec([None], tf.int32) for name in examples[0]}
    return tf.data.Dataset.from_generator(lambda: iter(examples), output_signature=spec)


def converted(converter, examples, lengths=LENGTHS):
    return list(converter(dataset(examples), lengths).as_numpy_iterator())


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


@pytest.mark.parametrize("bos_id", [0, 17, None])
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


def packed(examples, bos_id=0, lengths=LENGTHS, **settings):
    return converted(
        DecoderFeatureConverter(pack=True, bos_id=bos_id, **settings), examples, lengths
    )


def packed_slowly(examples, bos_id, length):
    """Rows of dictionaries, a list a feature, by hand: seqio packs `length` examples together."""
    rows = []
    for number, example in enumerate(examples):
        tokens = [*example["inputs"], *example["targets"]]
        weights = [0.0] * len(example["inputs"]) + [1.0] * len(example["targets"])
        before = [bos_id, *tokens[:-1]]
        if bos_id is None:
            tokens, weights, before = tokens[1:], weights[1:], before[1:]
        new = number % length == 0 or len(rows[-1]["target_tokens"]) + len(tokens) > length
        if new:
            names = ("target_tokens", "input_tokens", "loss_weights", "segment_ids", "positions")
            rows.append({name: [] for name in names})
        segment = max(rows[-1]["segment_ids"], default=0) + 1
        rows[-1]["target_tokens"] += tokens
        rows[-1]["input_tokens"] += before
        rows[-1]["loss_weights"] += weights
        rows[-1]["segment_ids"] += [segment] * len(tokens)
        rows[-1]["positions"] += range(len(tokens))
    return [
        {f"decoder_{name}": values + [0] * (length - len(values)) for name, values in row.items()}
        for row in rows
    ]


def random_examples(count, highest, seed=0, most=(12, 9)):
    """Every fourth id is a 0; some have no inputs."""
    rng = np.random.default_rng(seed)

    def ids(least, longest):
        size = rng.integers(least, longest + 1)
        return np.where(rng.random(size) < 0.25, 0, rng.integers(0, highest, size)).tolist()

    return [{"inputs": ids(0, most[0]), "targets": ids(2, most[1])} for _ in range(count)]


@pytest.mark.parametrize("bos_id", [0, 17, None])
def test_packing_loses_and_doubles_no_token_where_0_is_a_real_one(bos_id):
    lengths = {"inputs": 20, "targets": 12}
    examples = random_examples(100, 40)
    rows = packed(examples, bos_id, lengths)
    expected = packed_slowly(examples, bos_id, 32)
    assert len(rows) == len(expected) < 60
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for name, values in other.items():
            np.testing.assert_array_equal(row[name], values, err_msg=name)
    # Counted apart from any packer: the tokens in their order, and those with loss.
    first = 0 if bos_id is not None else 1
    tokens = [[*example["inputs"], *example["targets"]][first:] for example in examples]
    used = [row["decoder_segment_ids"] > 0 for row in rows]
    found = np.concatenate([row["decoder_target_tokens"][u] for row, u in zip(rows, used)])
    assert found.tolist() == [token for example in tokens for token in example]
    losses = sum(
        len(example["targets"]) - (first and not example["inputs"]) for example in examples
    )
    assert sum(row["decoder_loss_weights"].sum() for row in rows) == losses


def test_a_packed_row_by_hand():
    examples = [{"inputs": [0, 8], "targets": [0, 0]}, {"inputs": [], "targets": [0, 1]}]
    for bos_id, expected in {
        5: {
            "target_tokens": [0, 8, 0, 0, 0, 1, 0, 0, 0],
            "input_tokens": [5, 0, 8, 0, 5, 0, 0, 0, 0],
            "loss_weights": [0, 0, 1, 1, 1, 1, 0, 0, 0],
            "segment_ids": [1, 1, 1, 1, 2, 2, 0, 0, 0],
            "positions": [0, 1, 2, 3, 0, 1, 0, 0, 0],
        },
        None: {
            "target_tokens": [8, 0, 0, 1, 0, 0, 0, 0, 0],
            "input_tokens": [0, 8, 0, 0, 0, 0, 0, 0, 0],
            "loss_weights": [0, 1, 1, 1, 0, 0, 0, 0, 0],
            "segment_ids": [1, 1, 1, 2, 0, 0, 0, 0, 0],
            "positions": [0, 1, 2, 0, 0, 0, 0, 0, 0],
        },
    }.items():
        (row,) = packed(examples, bos_id)
        assert {
            n.removeprefix("decoder_"): values.tolist() for n, values in row.items()
        } == expected


def sentencepiece_vocabulary(folder):
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(TEXTS * 4),
        model_prefix=str(folder / "tiny"),
        vocab_size=300,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return seqio.SentencePieceVocabulary(str(folder / "tiny.model"))


@pytest.mark.parametrize("name", ["byte", "sentencepiece"])
def test_packed_features_are_those_of_seqio_where_no_token_is_0(name, tmp_path):
    vocabulary = seqio.ByteVocabulary() if name == "byte" else sentencepiece_vocabulary(tmp_path)
    pairs = list(zip(TEXTS, TEXTS[1:] + TEXTS[:1])) * 4
    examples = [
        {
            "inputs": list(vocabulary.encode(inputs)),
            "targets": [*vocabulary.encode(targets), vocabulary.eos_id],
        }
        for inputs, targets in pairs
    ]
    lengths = {"inputs": 90, "targets": 110}
    theirs = converted(seqio.DecoderFeatureConverter(pack=True), examples, lengths)
    ours = packed(examples, 0, lengths)
    assert 1 < len(ours) == len(theirs) < len(examples)
    for row, expected in zip(ours, theirs, strict=True):
        assert row.keys() == expected.keys() - {"decoder_causal_attention"}
        for feature, array in row.items():
            np.testing.assert_array_equal(array, expected[feature], err_msg=feature)
    text = vocabulary.decode(
        ours[0]["decoder_target_tokens"][: len(examples[0]["inputs"])].tolist()
    )
    assert text == TEXTS[0]


@pytest.mark.parametrize("bos_id", [0, 17, None])
def test_rows_that_hold_one_example_are_alike_packed_or_not(bos_id):
    # No two neighbours fit into one row.
    examples = EXAMPLES[:3]
    ours = converted(DecoderFeatureConverter(bos_id=bos_id), examples)
    for row, other in zip(ours, packed(examples, bos_id), strict=True):
        assert row.keys() == other.keys()
        for name, array in row.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)
            assert array.dtype == other[name].dtype


@pytest.mark.parametrize("bos_id", [0, None])
def test_the_loss_of_packed_rows_is_that_of_single_ones(bos_id):
    config = tiny.config()
    params = tiny.params(config)
    forward = jax.jit(functools.partial(step.forward, Decoder(config)))
    lengths = {"inputs": 14, "targets": 10}
    examples = random_examples(9, tiny.VOCAB_SIZE, most=(6, 5))
    sums = []
    for pack in (False, True):
        converter = DecoderFeatureConverter(pack=pack, bos_id=bos_id)
        rows = converted(converter, examples, lengths)
        batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        logits = forward(params, batch)
        sums.append(
            cross_entropy(logits, batch["decoder_target_tokens"], batch["decoder_loss_weights"])
        )
    assert len(rows) < len(examples)
    for name, value in sums[0].items():
        assert value.weight == sums[1][name].weight > 20
        np.testing.assert_allclose(value.total, sums[1][name].total, rtol=1e-5)


def test_packing_cuts_long_examples_as_seqio_does_where_lengths_are_not_checked():
    long = {"inputs": [7, 0, 5, 2, 3, 3, 4], "targets": [1, 0, 6, 8]}
    with pytest.raises(tf.errors.InvalidArgumentError, match="inputs"):
        packed([long])
    (row,) = packed([long], apply_length_check=False)
    assert row["decoder_target_tokens"].tolist() == [7, 0, 5, 2, 3, 3, 4, 1, 0]
    assert row["decoder_loss_weights"].tolist() == [0] * 7 + [1, 1]


def test_a_mixture_is_packed():
    found = seqio.get_dataset(
        tiny_tasks.MIXTURE,
        {"inputs": 30, "targets": 30},
        feature_converter=DecoderFeatureConverter(pack=True),
        dataset_split="train",
        shuffle=False,
        num_epochs=1,
    )
    rows = list(found.take(2).as_numpy_iterator())
    assert all(row["decoder_segment_ids"].max() > 2 for row in rows)


def test_packing_passes_no_other_features():
    spec = seqio.FeatureConverter.FeatureSpec(dtype=tf.int32)
    with pytest.raises(ValueError, match="incompatible with pass-through"):
        DecoderFeatureConverter(pack=True, passthrough_features={"idx": spec})
