import dataclasses
import json

import jax
import numpy as np
import pytest

from teacherlm_jax.adapters import model as model_lib
from teacherlm_jax.adapters import text_tokens
from teacherlm_jax.checkpoints import manager
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import init_params
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.weights import importing
from tests import tiny_lm_eval, tiny_study

ONE = MeshConfig(device_count=1)


@pytest.fixture(scope="module")
def public():
    return tiny_lm_eval.folder("opt", trained=False)


@pytest.fixture(scope="module")
def imported(public, tmp_path_factory):
    folder = tmp_path_factory.mktemp("import") / "opt"
    importing.import_model(public, folder, ONE)
    return folder


def test_imports_and_public_folders_are_the_same_model(public, imported):
    opened = [
        model_lib.open_model(place, text_tokens.of_checkpoint(place), mesh=ONE)
        for place in (public, imported, imported / "checkpoints")
    ]
    for one in opened[1:]:
        assert one.config == opened[0].config
        jax.tree.map(np.testing.assert_array_equal, one.params, opened[0].params)
    half = model_lib.open_model(imported, opened[0].tokens, mesh=ONE, dtype="bfloat16")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(half.params)} == {"bfloat16"}


def test_one_of_models_that_were_trained_together(tmp_path):
    config = tiny_study.MODEL
    params = init_params(Decoder(config), jax.random.key(0))
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf + 1]), params)
    metadata = {"model": dataclasses.asdict(config), "replicas": 2}
    with manager.Checkpoints(tmp_path, manager.SavePolicy(asynchronous=False)) as checkpoints:
        checkpoints.save(3, stacked, {"step": np.int32(3)}, metadata)
    tokens = text_tokens.VocabularyTokens(tiny_study.vocabulary(), "tiny")
    with pytest.raises(ValueError, match="holds 2 models: choose one"):
        model_lib.open_model(tmp_path, tokens, mesh=MeshConfig())
    opened = model_lib.open_model(tmp_path, tokens, mesh=MeshConfig(), replica=1)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b + 1), opened.params, params)


def test_a_tokenizer_of_another_model_is_refused(public):
    class Larger:
        name, vocab_size = "larger", 10**6

    with pytest.raises(ValueError, match=r"vocabulary of .* tokenizer of larger has 1000000"):
        model_lib.open_model(public, Larger(), mesh=ONE)


def test_batch_sizes_are_rounded_up_to_the_mesh():
    mesh = make_mesh(MeshConfig(data=4, fsdp=2))
    sizes = [model_lib.batch_size_of(asked, mesh) for asked in (1, 8, "9", "auto", "auto:4", None)]
    assert sizes == [8, 8, 16, 64, 64, 64]
    for asked in (0, "-1", "many"):
        with pytest.raises(ValueError, match=r"batch_size = .*at least 1, or auto"):
            model_lib.batch_size_of(asked, mesh)


def test_the_longest_text_is_what_the_files_say(public, tmp_path):
    learned = model_lib.open_model(public, text_tokens.of_checkpoint(public), mesh=ONE).config
    free = dataclasses.replace(learned, position="alibi", max_positions=None, position_offset=0)
    assert model_lib.max_length_of(None, learned, public) == tiny_lm_eval.MAX_LENGTH
    assert model_lib.max_length_of(None, learned, tmp_path) == tiny_lm_eval.MAX_LENGTH
    assert model_lib.max_length_of(7, learned, public) == 7
    with pytest.raises(ValueError, match="1025, but the model has 1024 learned"):
        model_lib.max_length_of(1025, learned, public)
    for impossible in ("12abc", 2.5, True):
        with pytest.raises(ValueError, match=f"max_length = {impossible!r}, but .* whole number"):
            model_lib.max_length_of(impossible, learned, public)
    assert model_lib.max_length_of(None, free, tmp_path) == 2048
    settings = tmp_path / "tokenizer_config.json"
    for length, expected in ((512, 512), (int(1e30), 2048)):
        settings.write_text(json.dumps({"model_max_length": length}))
        assert model_lib.max_length_of(None, free, tmp_path) == expected
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 99}))
    assert model_lib.max_length_of(None, free, tmp_path) == 99


def test_bos_and_what_stands_for_nothing():
    class Tokens:
        name, bos_id, eos_id, adds_bos, vocab_size = "tokens", 5, 6, True, 10

    class Without(Tokens):
        bos_id, adds_bos = None, False

    class Nothing(Without):
        eos_id = None

    assert [model_lib.bos_of(Tokens, asked) for asked in (None, True, False)] == [5, 5, None]
    assert model_lib.bos_of(Without, None) is None
    with pytest.raises(ValueError, match=r"add_bos_token = True.*no BOS"):
        model_lib.bos_of(Without, True)
    found = [model_lib.prefix_of(*each) for each in ((Tokens, 9), (Tokens, None), (Without, None))]
    assert found == [9, 5, 6]
    with pytest.raises(ValueError, match="neither BOS nor EOS"):
        model_lib.prefix_of(Nothing, None)
    for impossible in (-1, 10, "9"):
        with pytest.raises(ValueError, match=f"prefix_token_id = {impossible!r}.* below 10"):
            model_lib.prefix_of(Tokens, impossible)
    with pytest.raises(ValueError, match="both given"):
        model_lib.tokens_of("x", "y", "z:w")
