"""Ids are those of transformers; text comes back as it was, and cannot end itself."""

import copy
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import seqio
import tensorflow as tf
import transformers

from teacherlm_jax.data import pipeline
from teacherlm_jax.data.feature_converter import DecoderFeatureConverter
from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary
from tests.data import tiny_tokenizers

TEXTS = [
    *(
        "",
        " ",
        "  ",
        "!",
        "!!",
        "The answer is (A).",
        " leading",
        "trailing ",
        "two  spaces   three",
    ),
    *("a\nb\n\n\nc", "\n", "\t\ttabs\t", "CRLF\r\nline\r\n\r\n", "zero\x00bytes\x00", "\x00"),
    *(
        "naïve café",
        "cafe\u0301 e\u0301\u0323",
        "\u0301",
        "\u1100\u1161\u11a8",
        "今天天气很好。Привет",
    ),
    *(
        "🙂",
        "👩‍👩‍👧‍👦 🏳️‍🌈",
        "\ufeffBOM",
        "nbsp\u00a0 thin\u2009",
        "\u2028line\u2029",
        "\U0001d518\U0001d52b\U0001d526 \U0010ffff",
    ),
    *(
        "</s>",
        "a</s>b",
        "<s> <pad><unk>",
        "<|endoftext|>",
        "x<|im_end|>\n",
        "<tool_call>",
        "<0x0A>",
    ),
    *(
        "Let's don't WE'LL I'm",
        "3.14159 1,000,000",
        "def f(x):\n    return x**2\n",
        "▁under▁bar",
        "don 't .",
    ),
    "".join(map(chr, range(256))),
]
BYTE_LEVEL = ("bloom", "gpt2", "opt")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("tokenizers")
    return {name: make(root / name) for name, make in tiny_tokenizers.FAMILIES.items()}


@pytest.fixture(scope="module")
def vocabularies(folders):
    return {name: HuggingFaceVocabulary(folder) for name, folder in folders.items()}


def random_texts(count, seed=0):
    """Any code points, of each length in UTF-8 as often, mixed with pieces of `TEXTS`."""
    rng = np.random.default_rng(seed)
    spans = ((0, 0x80), (0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000))
    for _ in range(count):
        parts = [
            chr(rng.integers(*spans[rng.integers(len(spans))]))
            if rng.random() < 0.8
            else TEXTS[rng.integers(len(TEXTS) - 1)]
            for _ in range(rng.integers(1, 20))
        ]
        yield "".join(parts)


@pytest.mark.parametrize("name", tiny_tokenizers.FAMILIES)
def test_ids_are_those_of_transformers(name, folders, vocabularies):
    theirs = transformers.AutoTokenizer.from_pretrained(folders[name], split_special_tokens=True)
    theirs.backend_tokenizer.no_truncation()
    theirs.backend_tokenizer.no_padding()
    for text in (*TEXTS, *random_texts(50)):
        expected = theirs(text, add_special_tokens=False)["input_ids"]
        assert vocabularies[name].encode(text) == expected, text
        decoded = theirs.decode(
            expected, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert vocabularies[name].decode(expected) == decoded


@pytest.mark.parametrize("name", tiny_tokenizers.FAMILIES)
def test_special_ids_are_those_of_transformers(name, folders, vocabularies):
    theirs = transformers.AutoTokenizer.from_pretrained(folders[name])
    ours = vocabularies[name]
    assert ours.vocab_size == len(theirs)
    if name == "gpt2":  # Of which transformers' tokenizer knows none, but the model does.
        last = ours.vocab_size - 1
        assert (ours.bos_id, ours.eos_id, ours.unk_id) == (last, last, None)
        return
    assert (ours.bos_id, ours.eos_id, ours.unk_id) == (
        theirs.bos_token_id,
        theirs.eos_token_id,
        theirs.unk_token_id,
    )
    assert ours.pad_id == (ours.eos_id if theirs.pad_token_id is None else theirs.pad_token_id)


def test_special_ids_of_public_families(vocabularies):
    def ids(name):
        one = vocabularies[name]
        return one.bos_id, one.eos_id, one.pad_id, one.unk_id

    assert ids("bloom") == (1, 2, 3, 0)
    assert ids("opt") == (2, 2, 1, 2)
    assert ids("llama") == (1, 2, 2, 0)
    first = vocabularies["qwen2"].vocab_size - 4
    assert ids("qwen2") == (None, first + 2, first, None)
    for name in ("gpt2", "qwen2"):
        assert vocabularies[name].encode("!") == [0]
        assert vocabularies[name].decode([0, 0]) == "!!"


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_byte_level_text_comes_back_as_it_was(name, vocabularies):
    for text in (*TEXTS, *random_texts(300, seed=1)):
        ids = vocabularies[name].encode(text)
        assert vocabularies[name].decode(ids) == text
        assert vocabularies[name].eos_id not in ids


@pytest.mark.parametrize("name", tiny_tokenizers.FAMILIES)
def test_a_special_token_spelled_out_is_text(name, vocabularies):
    one = vocabularies[name]
    for text in ("a</s>b", "<s>", "<|endoftext|>", "x<|im_end|>y", "<pad>"):
        ids = one.encode(text)
        assert not {one.bos_id, one.eos_id, one.pad_id} & set(ids)
        assert one.decode(ids) == text


def test_decoding_stops_at_eos_and_leaves_special_tokens_and_unknown_ids_out(vocabularies):
    for name, one in vocabularies.items():
        word = one.encode("which animal")
        ids = [one.pad_id] * (one.pad_id != one.eos_id) + word + [one.eos_id, *word, 0]
        if one.bos_id not in (None, one.eos_id):
            ids.insert(0, one.bos_id)
        assert one.decode(ids) == "which animal", name
        assert one.decode(np.array(ids)) == "which animal"
        assert one.decode(tf.constant(ids)) == "which animal"
        if one.unk_id != one.eos_id:
            # Rows of an embedding beyond the tokens.
            assert one.decode([*word, one.vocab_size, one.vocab_size + 70]) == "which animal"
        for batch in (tf.constant([ids, ids]), tf.ragged.constant([ids, ids])):
            assert one.decode_tf(batch).numpy().tolist() == [b"which animal"] * 2


@pytest.mark.parametrize("name", ["gpt2", "llama", "opt"])
def test_tensorflow_agrees_with_python_in_tf_data(name, vocabularies):
    one = vocabularies[name]
    texts = [*TEXTS, *random_texts(20, seed=2)]
    expected = [one.encode(text) for text in texts]
    dataset = tf.data.Dataset.from_tensor_slices(texts).map(one.encode_tf, num_parallel_calls=4)
    assert dataset.element_spec == tf.TensorSpec([None], tf.int32)
    assert [ids.tolist() for ids in dataset.as_numpy_iterator()] == expected
    back = dataset.map(one.decode_tf, num_parallel_calls=4)
    assert back.element_spec == tf.TensorSpec([], tf.string)
    assert [text.decode() for text in back.as_numpy_iterator()] == [*map(one.decode, expected)]

    batches = tf.data.Dataset.from_tensor_slices(texts).batch(7).map(one.encode_tf)
    assert isinstance(batches.element_spec, tf.RaggedTensorSpec)
    assert [row for batch in batches for row in batch.to_list()] == expected
    decoded = [text for batch in batches.map(one.decode_tf) for text in batch.numpy()]
    assert [text.decode() for text in decoded] == [*map(one.decode, expected)]


def test_tensorflow_shapes(vocabularies):
    one = vocabularies["gpt2"]
    a, b, c = map(one.encode, ("a!", "", "the fur"))
    assert one.encode_tf(tf.constant([["a!", ""], ["the fur", "a!"]])).to_list() == [[a, b], [c, a]]
    assert one.encode_tf(tf.ragged.constant([["a!"], [], ["", "a!"]])).to_list() == [
        [a],
        [],
        [b, a],
    ]
    assert one.encode_tf(tf.constant([], tf.string)).to_list() == []
    assert one.decode_tf(tf.zeros([2, 0], tf.int32)).numpy().tolist() == [b"", b""]
    assert one.decode_tf(tf.zeros([0], tf.int32)).numpy() == b""
    assert one.decode_tf(tf.zeros([0, 3], tf.int32)).shape == (0,)
    nested = tf.constant([[c, c], [c, c]], tf.int64)
    assert one.decode_tf(nested).numpy().tolist() == [[b"the fur"] * 2] * 2
    with pytest.raises(ValueError, match=r"b'a\\xff' is not UTF-8"):
        one.encode_tf(tf.constant(b"a\xff"))


def test_a_data_set_that_encodes_can_be_checkpointed(vocabularies, tmp_path):
    def iterator():
        dataset = tf.data.Dataset.from_tensor_slices(["a!", "b", "c d", "e"] * 5).shuffle(9, seed=1)
        return iter(dataset.map(vocabularies["gpt2"].encode_tf, num_parallel_calls=2))

    first = iterator()
    _ = [next(first) for _ in range(6)]
    path = tf.train.Checkpoint(iterator=first).write(str(tmp_path / "iterator"))
    rest = [ids.numpy().tolist() for ids in first]
    second = iterator()
    tf.train.Checkpoint(iterator=second).read(path).assert_consumed()
    assert [ids.numpy().tolist() for ids in second] == rest
    assert len(rest) == 14


def test_a_seqio_task_of_it_from_text_to_packed_rows(vocabularies):
    one = vocabularies["gpt2"]
    pairs = [("Which animal has fur!", "! an otter!!"), ("!", "!"), ("zero\x00 </s>", "ünïcode 🙂")]
    name = "teacherlm_test_hf_vocabulary"

    def source(split, shuffle_files=False, seed=None):
        inputs, targets = map(list, zip(*pairs))
        return tf.data.Dataset.from_tensor_slices({"inputs": inputs, "targets": targets})

    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(source, splits=["train"]),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={
            "inputs": seqio.Feature(one, add_eos=False),
            "targets": seqio.Feature(one, add_eos=True),
        },
    )
    try:
        table = pipeline.load_table(seqio.TaskRegistry.get(name), "train")
        for example, (inputs, targets) in zip(table.examples, pairs, strict=True):
            assert example.inputs.tolist() == one.encode(inputs)
            assert example.targets.tolist() == [*one.encode(targets), one.eos_id]
            assert one.decode(example.targets) == targets
        (row,) = seqio.get_dataset(
            name,
            {"inputs": 60, "targets": 60},
            feature_converter=DecoderFeatureConverter(pack=True, bos_id=one.bos_id),
            dataset_split="train",
            shuffle=False,
        ).as_numpy_iterator()
        tokens = [
            token
            for example in table.examples
            for part in (example.inputs, example.targets)
            for token in part
        ]
        used = row["decoder_segment_ids"] > 0
        assert row["decoder_target_tokens"][used].tolist() == tokens
        assert row["decoder_loss_weights"].sum() == sum(len(e.targets) for e in table.examples)
    finally:
        seqio.TaskRegistry.remove(name)


def test_equality_is_of_content(folders, vocabularies, tmp_path):
    gpt2 = vocabularies["gpt2"]
    again = HuggingFaceVocabulary(tiny_tokenizers.gpt2(tmp_path / "elsewhere"))
    assert gpt2 == again and hash(gpt2) == hash(again)
    assert gpt2 != HuggingFaceVocabulary(folders["gpt2"], bos_id=None)
    assert gpt2 != vocabularies["opt"]
    assert gpt2 != seqio.ByteVocabulary()
    for copied in (
        copy.deepcopy(gpt2),
        copy.copy(gpt2),
        pickle.loads(pickle.dumps(gpt2)),  # noqa: S301
    ):
        assert copied == gpt2
        assert copied.encode("a<|endoftext|>!") == gpt2.encode("a<|endoftext|>!")
        assert copied.decode([0, gpt2.eos_id, 0]) == "!"
    assert repr(vocabularies["bloom"]) == (
        f"HuggingFaceVocabulary('{folders['bloom']}', vocab_size=400, bos_id=1, eos_id=2, "
        "pad_id=3, unk_id=0)"
    )


def test_arguments_override(folders):
    one = HuggingFaceVocabulary(folders["bloom"], bos_id=None, eos_id=7, pad_id=None, unk_id=None)
    assert (one.bos_id, one.eos_id, one.pad_id, one.unk_id) == (None, 7, 7, None)
    none = HuggingFaceVocabulary(folders["gpt2"], bos_id=None, eos_id=None)
    assert (none.eos_id, none.pad_id) == (None, 0)
    assert none.decode_tf(tf.constant([0, none.vocab_size - 1, 0])).numpy() == b"!!"


def test_padding_named_after_an_ordinary_token_stays_text(folders, tmp_path):
    for one in (
        HuggingFaceVocabulary(folders["gpt2"], pad_id=0),
        HuggingFaceVocabulary(
            tiny_tokenizers.rewritten(folders["gpt2"], tmp_path, "config", {"pad_token_id": 0})
        ),
    ):
        assert one.pad_id == 0
        assert one.decode(one.encode("!wow!!")) == "!wow!!"
        ids = [*one.encode("no"), one.eos_id, 0, 0]
        assert one.decode(ids) == "no" == one.decode_tf(tf.constant(ids)).numpy().decode()


def test_added_tokens_beside_vocab_json(folders, tmp_path):
    change = {
        "added_tokens_decoder": {
            "400": {"content": "<end>", "special": True},
            "401": {"content": "    ", "special": False},
        },
        "eos_token": "<end>",
    }
    folder = tiny_tokenizers.rewritten(folders["opt"], tmp_path, "tokenizer_config", change)
    one = HuggingFaceVocabulary(folder)
    assert (one.eos_id, one.vocab_size) == (400, 402)
    theirs = transformers.AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
    for text in ("a    b", "     <end>!"):
        assert one.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
        assert one.decode(one.encode(text)) == text
    tiny_tokenizers.rewritten(folders["opt"], tmp_path, "added_tokens", {"<gap>": 430})
    with pytest.raises(ValueError, match="'<gap>' has id 430"):
        HuggingFaceVocabulary(tmp_path)


def test_a_missing_package_is_named(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install 'teacherlm_jax\[hf\]'"):
        HuggingFaceVocabulary(folders["gpt2"])


def test_threads_and_forks_share_it_without_a_warning(folders):
    code = f"""
    import os, sys, threading
    from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary

    assert "tokenizers" not in sys.modules
    before = dict(os.environ)
    one = HuggingFaceVocabulary({str(folders["gpt2"])!r})
    texts = [f"number {{n}}! the otter's fur" * 9 for n in range(100)]
    expected = [one.encode(text) for text in texts]
    wrong = []
    threads = [
        threading.Thread(target=lambda: wrong.extend(
            text for text, ids in zip(texts, expected)
            if one.encode(text) != ids or one.decode(ids) != text))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    children = []
    for _ in range(3):
        child = os.fork()
        if not child:
            os._exit(0 if [one.encode(text) for text in texts] == expected else 1)
        children.append(child)
    for thread in threads:
        thread.join()
    assert not wrong
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert dict(os.environ) == before
    """
    environment = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert "parallelism" not in done.stderr


def test_the_token_before_a_text_is_what_transformers_puts_there(vocabularies, tmp_path):
    for family, vocabulary in vocabularies.items():
        folder = tiny_tokenizers.FAMILIES[family](tmp_path / family)
        theirs = transformers.AutoTokenizer.from_pretrained(folder)("a").input_ids
        expected = theirs[0] if len(theirs) > len(vocabulary.encode("a")) else None
        assert vocabulary.prefix_id == expected, family
    assert vocabularies["opt"].prefix_id == vocabularies["opt"].eos_id
    assert vocabularies["bloom"].prefix_id is None


def test_many_texts_are_encoded_as_each_alone(vocabularies):
    texts = ["", "The answer is (A).", "süß </s>", " otter"]
    for vocabulary in vocabularies.values():
        assert vocabulary.encode_many(texts) == [list(vocabulary.encode(text)) for text in texts]
