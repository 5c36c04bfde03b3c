import json

import numpy as np
import pytest
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from teacherlm_jax.data import default_vocabulary, generators, pipeline
from teacherlm_jax.data.batches import MixtureBatches
from teacherlm_jax.data.row_format import RowFormat
from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks import pretraining

EOS = 1


@pytest.fixture(autouse=True)
def vocabulary():
    """Ids 3 to 258 are bytes, 1 is EOS."""
    default_vocabulary.forget()
    default_vocabulary.choose(seqio.ByteVocabulary())
    yield
    default_vocabulary.forget()


def tokens(text: str) -> list[int]:
    return [byte + 3 for byte in text.encode()]


def targets(name: str, split: str = "train") -> list[list[int]]:
    return [row.targets.tolist() for row in pipeline.load_table(provider(name), split).examples]


def provider(name: str) -> seqio.Task:
    return pipeline.registered(name)


# Corpora


def test_corpora_give_whole_documents_and_eos():
    def rows(self, **unused):
        texts = [f"{self.name} holds\nthis", "", "and that"]
        feature = {name: [b"?"] * 3 for name in self.info.features}
        return tf.data.Dataset.from_tensor_slices({**feature, "text": texts})

    with tfds.testing.mock_data(as_dataset_fn=rows):
        for name, corpus in zip(("c4", "wikipedia", "lm1b"), pretraining.CORPORA, strict=True):
            assert name == corpus
            for split in ("train", "validation"):
                assert targets(f"pretraining_{corpus}", split) == [
                    [*tokens(f"{corpus} holds\nthis"), EOS],
                    [*tokens("and that"), EOS],
                ]


def test_the_mixture_holds_all_corpora_at_their_rates():
    mixture = seqio.MixtureRegistry.get("pretraining")
    rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
    assert rates == {
        "pretraining_c4": 0.75,
        "pretraining_wikipedia": 0.2,
        "pretraining_lm1b": 0.05,
    }
    assert set(pretraining.NAMES) == {*rates, "pretraining"}
    assert set(mixture.output_features) == {"targets"}


def test_mixtures_of_other_rates_and_lengths(tmp_path):
    own = pretraining.register_text("test_own_text", str(tmp_path / "*.txt"))
    name = pretraining.mixture("test_mixture", {"lm1b": 2, own: 1}, split_length=64)
    mixture = seqio.MixtureRegistry.get(name)
    assert name == "test_mixture_64"
    assert {task.name: mixture.get_rate(task) for task in mixture.tasks} == {
        "pretraining_lm1b_64": 2,
        "test_own_text": 1,
    }


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"c5": 1.0}, r"rates name \['c5'\], which are no corpora"),
        ({"c4": 0.0}, "all above 0"),
        ({}, "there must be some"),
    ],
)
def test_rates_that_are_wrong(rates, message):
    with pytest.raises(ValueError, match=message):
        pretraining.mixture("test_wrong", rates)


# Text of one's own


def test_text_files_become_documents(tmp_path):
    (tmp_path / "train.jsonl").write_text(json.dumps({"body": "Ein Text.\n"}) + "\n")
    (tmp_path / "valid.jsonl").write_text(json.dumps({"body": "Other"}) + "\n")
    files = {"train": str(tmp_path / "train*"), "validation": str(tmp_path / "valid*")}
    name = pretraining.register_text("test_json", files, format="jsonl", field="body")
    assert targets(name) == [[*tokens("Ein Text.\n"), EOS]]
    assert targets(name, "validation") == [[*tokens("Other"), EOS]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": ""}', "field 'text' is empty"),
        ('{"body": "x"}', "no field 'text'"),
        ('{"text": 3}', "it must be a text"),
        ('{"text": "x"', "not valid JSON"),
    ],
)
def test_malformed_rows_are_named(tmp_path, line, message):
    (tmp_path / "x.jsonl").write_text(f'{{"text": "fine"}}\n{line}\n')
    name = pretraining.register_text("test_malformed", str(tmp_path / "x.jsonl"), format="jsonl")
    with pytest.raises(RowError, match=rf"x\.jsonl:2: .*{message}"), generators.surfaced():
        targets(name)


def test_a_name_that_is_none():
    with pytest.raises(ValueError, match="name = 'my text'"):
        pretraining.register_text("my text", "*.txt")


# Chunks


@pytest.mark.parametrize(
    ("size", "length", "expected"),
    [
        (1, 3, [1]),
        (3, 3, [3]),
        (4, 3, [2, 2]),
        (5, 3, [3, 2]),
        (7, 3, [3, 2, 2]),
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 3, 2]),
        (0, 4, [0]),
    ],
)
def test_chunks_lose_nothing_and_leave_no_token_alone(size, length, expected):
    dataset = tf.data.Dataset.from_tensors({"targets": tf.range(size)})
    chunks = [row["targets"] for row in pretraining.in_chunks(dataset, length).as_numpy_iterator()]
    assert [len(chunk) for chunk in chunks] == expected
    assert np.concatenate(chunks).tolist() == list(range(size))


def test_a_length_that_could_leave_a_token_alone():
    with pytest.raises(ValueError, match="split_length = 2, but it must be at least 3"):
        pretraining.corpus_task("lm1b", split_length=2)


@pytest.mark.parametrize("bos_id", [None, 0])
def test_packing_keeps_chunks_and_documents_apart(tmp_path, bos_id):
    texts = ["x" * length for length in (3, 70, 5, 31, 32, 1, 64, 33)]
    (tmp_path / "x.txt").write_text("\n".join(texts))
    name = pretraining.register_text(
        "test_packing", str(tmp_path / "x.txt"), documents="line", split_length=32
    )
    tables, rates = pipeline.load_tables(name)
    row_format = RowFormat(32, bos_id=bos_id, loss_on="all", pack=True)
    batches = MixtureBatches(tables, rates, row_format, batch_size=4, seed=0, num_epochs=1)
    # Every segment of the rows, as (what is read, what is to be said).
    found = []
    for step in range(batches.steps):
        _, arrays = batches(step)
        for row in range(4):
            segments = arrays["decoder_segment_ids"][row]
            for segment in range(1, segments.max() + 1):
                is_own = segments == segment
                positions = arrays["decoder_positions"][row][is_own]
                assert positions.tolist() == list(range(is_own.sum()))
                assert arrays["decoder_loss_weights"][row][is_own].all()
                first = arrays["decoder_input_tokens"][row][is_own][:1].tolist()
                said = arrays["decoder_target_tokens"][row][is_own].tolist()
                found.append(said if bos_id is not None else first + said)
    assert sorted(found) == sorted(targets(name))
    whole = [token for text in texts for token in [*tokens(text), EOS]]
    assert sum(map(len, found)) == len(whole)
    assert [token for chunk in targets(name) for token in chunk] == whole
