import copy

import pytest
import seqio
import tensorflow as tf

from teacherlm_jax.data import default_vocabulary
from teacherlm_jax.data.default_vocabulary import DEFAULT


@pytest.fixture(autouse=True)
def nothing_chosen():
    default_vocabulary.forget()
    yield
    default_vocabulary.forget()


def test_it_cannot_be_used_before_one_is_chosen():
    with pytest.raises(ValueError, match=r"none is chosen.*bind data_setup\.DataSetup\.vocabulary"):
        DEFAULT.encode("a")
    for name in ("bos_id", "eos_id", "unk_id", "pad_id", "vocab_size", "extra_ids"):
        with pytest.raises(ValueError, match="none is chosen"):
            getattr(DEFAULT, name)


def test_it_is_the_chosen_one_in_all_that_it_does():
    byte = seqio.ByteVocabulary(extra_ids=7)
    default_vocabulary.choose(byte)
    ids = byte.encode("aé")
    assert DEFAULT.encode("aé") == ids and DEFAULT.decode(ids) == "aé"
    assert DEFAULT.encode_tf(tf.constant("aé")).numpy().tolist() == ids
    assert DEFAULT.decode_tf(tf.constant(ids)).numpy() == "aé".encode()
    for name in ("eos_id", "unk_id", "pad_id", "vocab_size", "extra_ids"):
        assert getattr(DEFAULT, name) == getattr(byte, name)
    assert DEFAULT.extra_ids == 7


def test_it_is_chosen_once():
    default_vocabulary.choose(seqio.ByteVocabulary())
    default_vocabulary.choose(seqio.ByteVocabulary())
    with pytest.raises(ValueError, match="is chosen already"):
        default_vocabulary.choose(seqio.ByteVocabulary(extra_ids=1))
    with pytest.raises(ValueError, match="cannot stand for itself"):
        default_vocabulary.choose(DEFAULT)


def test_tasks_of_it_mix_with_tasks_of_the_chosen_one():
    assert copy.deepcopy(DEFAULT) is DEFAULT
    same, other = seqio.ByteVocabulary(), seqio.ByteVocabulary(extra_ids=1)
    assert same != DEFAULT
    default_vocabulary.choose(seqio.ByteVocabulary())
    default = DEFAULT
    assert default == same and default != other
