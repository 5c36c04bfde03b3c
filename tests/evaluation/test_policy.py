"""Whether the texts of tasks are tokenized as the model's were."""

import dataclasses
import json
import shutil

import pytest
import seqio

from teacherlm_jax.checkpoints import params_only
from teacherlm_jax.data import default_vocabulary, vocabularies
from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary
from teacherlm_jax.evaluation import policy
from tests.data import tiny_tokenizers
from tests.generation import tiny

TASK = "policy_open_task"


@pytest.fixture(autouse=True)
def task():
    seqio.TaskRegistry.add(
        TASK,
        source=seqio.FunctionDataSource(lambda split, shuffle_files, seed=None: None, ["test"]),
        output_features={"targets": seqio.Feature(default_vocabulary.DEFAULT, add_eos=False)},
        preprocessors=[],
    )
    default_vocabulary.forget()
    yield
    seqio.TaskRegistry.remove(TASK)
    default_vocabulary.forget()


def public(folder):
    """As a public checkpoint's: only that is looked at."""
    (folder / "config.json").write_text("{}")
    return folder


def test_the_tokenizer_beside_a_checkpoint_must_be_the_one_of_the_texts(tmp_path):
    bloom = public(tiny_tokenizers.bloom(tmp_path / "b"))
    opt = public(tiny_tokenizers.opt(tmp_path / "o"))
    default_vocabulary.choose(HuggingFaceVocabulary(bloom))
    policy.check_tokenizer(TASK, bloom)
    with pytest.raises(ValueError, match=r"is not the tokenizer of .*/o: they differ in .* to the"):
        policy.check_tokenizer(TASK, opt)


def test_tokens_that_one_has_more_are_no_difference(tmp_path):
    bloom = public(tiny_tokenizers.bloom(tmp_path / "b"))
    more = shutil.copytree(bloom, tmp_path / "more")
    file = more / "tokenizer.json"
    told = json.loads(file.read_text())
    last = max(HuggingFaceVocabulary(bloom).tokens())
    added = {**told["added_tokens"][-1], "id": last + 1, "content": "<more>", "special": True}
    file.write_text(json.dumps({**told, "added_tokens": [*told["added_tokens"], added]}))
    for texts, model in ((bloom, more), (more, bloom)):
        default_vocabulary.forget()
        default_vocabulary.choose(HuggingFaceVocabulary(texts))
        policy.check_tokenizer(TASK, model)


def test_what_has_no_tokenizer_or_one_that_cannot_be_read_is_not_refused(tmp_path, caplog):
    default_vocabulary.choose(HuggingFaceVocabulary(tiny_tokenizers.bloom(tmp_path / "b")))
    public(tmp_path)
    policy.check_tokenizer(TASK, tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with caplog.at_level("WARNING"):
        policy.check_tokenizer(TASK, tmp_path)
    assert "cannot be compared" in caplog.text
    default_vocabulary.forget()
    default_vocabulary.choose(seqio.ByteVocabulary())
    policy.check_tokenizer(TASK, tmp_path)


def saved(folder, **metadata):
    """A checkpoint of ours."""
    model, params = tiny.make()
    told = {"model": dataclasses.asdict(model.config), **metadata}
    params_only.save(folder / "checkpoints", params, told)
    return folder / "checkpoints"


def test_the_tokenizer_of_an_import_is_looked_at_wherever_its_checkpoint_is_pointed_to(tmp_path):
    checkpoint = saved(tmp_path)
    tiny_tokenizers.opt(tmp_path / "huggingface")
    default_vocabulary.choose(HuggingFaceVocabulary(tiny_tokenizers.bloom(tmp_path / "b")))
    for given in (checkpoint, checkpoint / "0"):
        with pytest.raises(ValueError, match=r"is not the tokenizer of .*/huggingface"):
            policy.check_tokenizer(TASK, given)


def test_a_checkpoint_trained_here_knows_its_vocabulary(tmp_path):
    words = [f"word{number}" for number in range(30)]
    own = vocabularies.identity(vocabularies.WordVocabulary(words))
    checkpoint = saved(tmp_path, vocabulary=own)
    for chosen, is_right in ((words, True), ([*words, "more"], True), (words[::-1], False)):
        default_vocabulary.forget()
        default_vocabulary.choose(vocabularies.WordVocabulary(chosen))
        if is_right:
            policy.check_tokenizer(TASK, checkpoint)
            continue
        with pytest.raises(ValueError, match=r"was trained with: the same ids are other tokens"):
            policy.check_tokenizer(TASK, checkpoint)
    # One that names none is taken.
    policy.check_tokenizer(TASK, saved(tmp_path / "old"))
