"""Which files say what, what comes first, and what is refused."""

import hashlib
import textwrap

import pytest

from teacherlm_jax.data import tokenizer_files
from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary
from tests.data import tiny_tokenizers
from tests.object_store import run_on_object_store


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("tokenizers")
    names = ("bloom", "gpt2", "opt")
    return {name: tiny_tokenizers.FAMILIES[name](root / name) for name in names}


def test_precedence_of_the_files(folders, tmp_path):
    bloom = folders["bloom"]
    one = HuggingFaceVocabulary(
        tiny_tokenizers.rewritten(bloom, tmp_path, "tokenizer_config", {"eos_token": "<pad>"})
    )
    assert one.eos_id == 3
    (tmp_path / "tokenizer_config.json").unlink()
    assert HuggingFaceVocabulary(tmp_path).eos_id == 2
    (tmp_path / "special_tokens_map.json").unlink()
    (tmp_path / "config.json").write_text('{"eos_token_id": [1, 2], "pad_token_id": null}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 2, "pad_token_id": 3}')
    one = HuggingFaceVocabulary(tmp_path)
    assert (one.bos_id, one.eos_id, one.pad_id, one.unk_id) == (None, 1, 3, None)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "tokenizer_config",
            {"eos_token": "<end>"},
            r"tokenizer_config.json's eos_token is '<end>'",
        ),
        ("config", {"eos_token_id": 999}, r"config.json's eos_token_id is 999.*0 to 400"),
        ("config", {"eos_token_id": 5}, r"letters '&' in a text would become the special token 5"),
    ],
)
def test_tokens_that_do_not_exist_or_are_text_are_refused(folders, tmp_path, name, change, message):
    folder = tiny_tokenizers.rewritten(folders["gpt2"], tmp_path, name, change)
    with pytest.raises(ValueError, match=message):
        HuggingFaceVocabulary(folder)
    assert HuggingFaceVocabulary(folder, eos_id=5).eos_id == 5  # The caller's own choice.


def test_wrong_arguments_and_folders_are_refused(folders, tmp_path):
    with pytest.raises(ValueError, match=r"the argument is 500.*give bos_id"):
        HuggingFaceVocabulary(folders["bloom"], bos_id=500)
    with pytest.raises(ValueError, match="eos_id = '</s>'"):
        HuggingFaceVocabulary(folders["bloom"], eos_id="</s>")
    with pytest.raises(ValueError, match="there is no such folder"):
        HuggingFaceVocabulary(tmp_path / "nowhere")
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(ValueError, match=r"must hold tokenizer.json.*holds \['tokenizer.model'\]"):
        HuggingFaceVocabulary(tmp_path)
    for text in ('{"model": ', "[" * 10**5):
        (tmp_path / "tokenizer.json").write_text(text)
        with pytest.raises(ValueError, match=r"tokenizer.json is not JSON"):
            HuggingFaceVocabulary(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="no model with a vocabulary"):
        HuggingFaceVocabulary(tmp_path)


def test_vocab_json_of_another_family_is_refused(folders, tmp_path):
    qwen = {"tokenizer_class": "Qwen2Tokenizer"}
    with pytest.raises(ValueError, match=r"'Qwen2Tokenizer'.*write a tokenizer.json"):
        HuggingFaceVocabulary(
            tiny_tokenizers.rewritten(folders["opt"], tmp_path, "tokenizer_config", qwen)
        )


def test_it_reads_from_an_object_store(folders, object_store):
    for path in folders["opt"].iterdir():
        object_store.put(f"opt/{path.name}", path.read_bytes())
    code = """
    import hashlib
    from teacherlm_jax.data import tokenizer_files

    arguments = dict.fromkeys(("bos", "eos", "pad", "unk"), tokenizer_files.FROM_FILES)
    files = tokenizer_files.read("gs://bucket/opt", arguments)
    print(files.ids, hashlib.sha256(files.json.encode()).hexdigest())
    try:
        tokenizer_files.read("gs://bucket/nothing", arguments)
    except ValueError as error:
        print("there is no such folder" in str(error))
    """
    done = run_on_object_store(object_store, ["-c", textwrap.dedent(code)])
    arguments = dict.fromkeys(("bos", "eos", "pad", "unk"), tokenizer_files.FROM_FILES)
    local = tokenizer_files.read(folders["opt"], arguments)
    digest = hashlib.sha256(local.json.encode()).hexdigest()
    assert done.stdout == f"{local.ids} {digest}\nTrue\n"
    assert object_store.unknown == []
