import pytest
import transformers

from teacherlm_jax.adapters import text_tokens
from tests.data import tiny_tokenizers

TEXTS = [
    "",
    "The answer is (A).",
    " leading",
    "süß 今天 🙂",
    "a</s>b <s> c",
    "<|im_end|>\n<|im_start|>x",
]


@pytest.mark.parametrize("family", tiny_tokenizers.FAMILIES)
def test_special_tokens_in_a_text_are_tokens_as_transformers_has_them(family, tmp_path):
    folder = tiny_tokenizers.FAMILIES[family](tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = text_tokens.FolderTokens(folder)
    expected = [theirs.encode(text, add_special_tokens=False) for text in TEXTS]
    assert ours.encode_many(TEXTS) == expected
    if family != "gpt2":
        assert ours.bos_id == theirs.bos_token_id and ours.eos_id == theirs.eos_token_id
    assert ours.eos_id in ours.encode_many([f"x{ours.decode([ours.eos_id], with_special=True)}"])[0]
    for ids in expected:
        for special in (False, True):
            found = ours.decode(ids, with_special=special)
            assert found == theirs.decode(
                ids, skip_special_tokens=not special, clean_up_tokenization_spaces=False
            )
    begin = theirs.encode("a")[0]
    assert ours.adds_bos == (begin == ours.bos_id)


def test_a_tokenizer_is_found_beside_its_checkpoint(tmp_path):
    public = tiny_tokenizers.bloom(tmp_path / "public")
    assert text_tokens.of_checkpoint(public).name == str(public)
    imported = tmp_path / "imported"
    tiny_tokenizers.opt(imported / "huggingface")
    for place in (imported, imported / "checkpoints"):
        (imported / "checkpoints").mkdir(exist_ok=True)
        assert text_tokens.of_checkpoint(place).name == str(imported / "huggingface")
    with pytest.raises(ValueError, match=r"is no import.*give tokenizer=FOLDER"):
        text_tokens.of_checkpoint(tmp_path / "ours" / "checkpoints")


def test_the_vocabulary_of_a_task():
    found = text_tokens.of_task("teacherlm_jax.tasks.world:world0_eval")
    assert (found.bos_id, found.eos_id, found.adds_bos) == (0, 1, True)
    text = "A: The answer is (A)."
    assert found.decode(found.encode_many([text])[0]) == text
    with pytest.raises(ValueError, match="no task or mixture 'nothing'"):
        text_tokens.of_task("teacherlm_jax.tasks.world:nothing")
    with pytest.raises(ValueError, match="MODULE:TASK"):
        text_tokens.of_task("world0_eval")
