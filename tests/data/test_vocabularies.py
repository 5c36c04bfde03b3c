import json

import pytest
import seqio
import tensorflow as tf

from teacherlm_jax.data import default_vocabulary
from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary
from teacherlm_jax.data.vocabularies import (
    WordVocabulary,
    identity,
    is_named,
    join_words,
    split_words,
)
from tests.data import tiny_tokenizers

TEXT = "Q: which animal has fur? (A) luvik (B) karup A: The answer is (A). Let's think, or not!"
WORDS = sorted(set(split_words(TEXT)))


@pytest.fixture(scope="module")
def vocabulary():
    return WordVocabulary(WORDS)


def test_special_ids(vocabulary):
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)
    assert vocabulary.bos_id == 0
    assert vocabulary.vocab_size == 3 + len(WORDS)
    assert vocabulary.encode(WORDS[0]) == [3]
    assert vocabulary.words == tuple(WORDS)


def test_a_vocabulary_is_named_by_its_first_tokens(vocabulary, tmp_path):
    name = json.loads(json.dumps(identity(vocabulary)))
    assert is_named(vocabulary, name)
    assert is_named(WordVocabulary([*WORDS, "more"]), name)
    for other in (WORDS[::-1], WORDS[1:]):
        assert not is_named(WordVocabulary(other), name)
    # One with fewer tokens than any that is named; and vocabularies of other kinds.
    assert not is_named(WordVocabulary(["otter"]), name)
    byte = seqio.ByteVocabulary()
    assert not is_named(byte, name) and not is_named(vocabulary, identity(byte))
    assert is_named(seqio.ByteVocabulary(7), identity(byte))


def test_the_vocabulary_that_tasks_leave_open_has_the_name_of_the_chosen_one(tmp_path):
    made = {
        "bloom": tiny_tokenizers.bloom(tmp_path / "b"),
        "opt": tiny_tokenizers.opt(tmp_path / "o"),
    }
    chosen = HuggingFaceVocabulary(made["bloom"])
    default_vocabulary.forget()
    try:
        default_vocabulary.choose(chosen)
        name = identity(default_vocabulary.DEFAULT)
        assert name == identity(chosen) and name["kind"] == "tokens"
        assert is_named(default_vocabulary.DEFAULT, name)
    finally:
        default_vocabulary.forget()
    others = (HuggingFaceVocabulary(made["opt"]), seqio.ByteVocabulary(), WordVocabulary(WORDS))
    assert not any(is_named(other, name) for other in others)


def test_one_token_a_word_or_mark(vocabulary):
    assert split_words("A: it is (A).") == ["A", ":", "it", "is", "(", "A", ")", "."]
    assert split_words("Let's a1b2 x_y") == ["Let's", "a1b2", "x", "_", "y"]
    assert len(vocabulary.encode(TEXT)) == len(split_words(TEXT))


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "",
        "Let's think",
        "Q: which animal has fur? (A) luvik A: The answer is (",
        "A).",
        "the",
    ],
)
def test_decoding_inverts_encoding(text):
    vocabulary = WordVocabulary([*WORDS, "the"])
    ids = vocabulary.encode(text)
    assert vocabulary.unk_id not in ids
    assert vocabulary.decode(ids) == text
    assert vocabulary.decode_tf(tf.constant(ids, tf.int32)).numpy().decode() == text


def test_other_spacing_gives_the_same_tokens(vocabulary):
    assert vocabulary.encode(" Q :which\tanimal\nhas fur ?") == vocabulary.encode(TEXT)[:7]


def test_unknown_words_and_ids(vocabulary):
    assert vocabulary.encode("which quokka?")[1] == 2
    assert vocabulary.decode(vocabulary.encode("which quokka?")) == "which <unk>?"
    assert vocabulary.decode([vocabulary.vocab_size + 5]) == "<unk>"


def test_decoding_stops_at_the_end_of_the_sequence_and_skips_padding(vocabulary):
    fur = vocabulary.encode("has fur")
    ids = [0, *fur, 0, 1, *fur]
    assert vocabulary.decode(ids) == "has fur"
    assert vocabulary.decode_tf(tf.constant(ids)).numpy() == b"has fur"


def test_tensorflow_agrees_with_python_on_any_text(vocabulary):
    texts = [
        *(TEXT, "", "   ", "a\tb\r\nc\x0bd\x0ce", "Let's '' ' don't", "x_y-z/10.5%"),
        *("((A)) .. ??", "caf\u00e9 na\u00efve", "nbsp\u00a0here", "em\u2014dash \u2028 line"),
        *("\U0001f600 ok", "\\0 \\1 $x"),
    ]
    for text in texts:
        assert vocabulary.encode_tf(tf.constant(text)).numpy().tolist() == vocabulary.encode(text)
    everything = WordVocabulary(sorted({word for text in texts for word in split_words(text)}))
    for text in texts:
        ids = everything.encode(text)
        assert 2 not in ids
        assert everything.encode_tf(tf.constant(text)).numpy().tolist() == ids
        assert everything.decode_tf(tf.constant(ids, tf.int32)).numpy().decode() == (
            everything.decode(ids)
        )


def test_batches_encode_and_decode(vocabulary):
    texts = ["has fur", "which animal has fur?"]
    batch = vocabulary.encode_tf(tf.constant(texts))
    assert batch.to_list() == [vocabulary.encode(text) for text in texts]
    decoded = vocabulary.decode_tf(batch.to_tensor()).numpy()
    assert [text.decode() for text in decoded] == texts


def test_works_in_tf_data_when_first_used_there():
    vocabulary = WordVocabulary(WORDS)
    first = tf.data.Dataset.from_tensor_slices(["has fur", ""]).map(vocabulary.encode_tf)
    second = first.map(vocabulary.decode_tf)
    assert [ids.tolist() for ids in first.as_numpy_iterator()] == [vocabulary.encode("has fur"), []]
    assert first.element_spec.dtype == tf.int32
    assert list(second.as_numpy_iterator()) == [b"has fur", b""]
    # The tables made while tracing serve outside as well.
    assert vocabulary.encode_tf(tf.constant("fur")).numpy().tolist() == vocabulary.encode("fur")


def test_seqio_tokenizes_with_it(vocabulary):
    features = {"targets": seqio.Feature(vocabulary, add_eos=True)}
    dataset = tf.data.Dataset.from_tensors({"targets": "which animal has fur?"})
    dataset = seqio.preprocessors.tokenize(dataset, features)
    dataset = seqio.preprocessors.append_eos(dataset, features)
    (example,) = dataset.as_numpy_iterator()
    assert example["targets"].tolist() == [*vocabulary.encode("which animal has fur?"), 1]


def test_equality_is_of_words_and_their_order(vocabulary):
    assert vocabulary == WordVocabulary(WORDS)
    assert hash(vocabulary) == hash(WordVocabulary(WORDS))
    assert vocabulary != WordVocabulary(WORDS[::-1])
    assert vocabulary != WordVocabulary([*WORDS, "more"])
    assert vocabulary != seqio.ByteVocabulary()


def test_wrong_words_are_refused():
    with pytest.raises(ValueError, match=r"\['fur'\] more than once"):
        WordVocabulary(["fur", "has", "fur"])
    with pytest.raises(ValueError, match=r"'a backbone' splits into \['a', 'backbone'\]"):
        WordVocabulary(["a backbone"])
    for word in ("", " ", "(A"):
        with pytest.raises(ValueError, match="one token"):
            WordVocabulary([word])


def test_join_words_spacing():
    assert join_words(["(", "A", ")", "x", ",", "y", ";", "z", "!"]) == "(A) x, y; z!"
    assert join_words([]) == ""
