"""The comparison passes what is equal and shows what is not."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from teacherlm_jax.checkpoints import manager, restore
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.weights import importing, verify
from teacherlm_jax.weights.tensors import WeightsError
from tests.weights import reference_models

ONE = MeshConfig(device_count=1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A Hugging Face folder and its import."""
    folder = tmp_path_factory.mktemp("pair")
    theirs = reference_models.save("opt", folder / "theirs")
    return theirs, folder / "ours", importing.import_model(theirs, folder / "ours", ONE)


@pytest.mark.parametrize("mesh", [ONE, MeshConfig(data=1, fsdp=-1)])
def test_an_import_is_equal_on_all_prompts(pair, mesh):
    theirs, ours, _ = pair
    found = verify.compare(theirs, ours, make_mesh(mesh))
    assert [row.name for row in found] == ["short", "long", "padded right", "padded left"]
    assert [row.tokens for row in found] == [16, 500, 13, 13]
    assert all(row.largest < 1e-4 and row.agreement == 1 and row.spread > 0.5 for row in found)


def changed(pair, folder, change):
    """A checkpoint of the model with other parameters."""
    made = pair[2]
    loaded = restore.load(made.checkpoint_dir, made.config, make_mesh(ONE))
    metadata = {"model": dataclasses.asdict(made.config)}
    with manager.Checkpoints(folder, manager.SavePolicy(asynchronous=False)) as checkpoints:
        checkpoints.save(0, change(loaded.params), {"step": np.int32(0)}, metadata)
    return folder


def test_one_wrong_row_of_the_vocabulary_is_seen(pair, tmp_path):
    def change(params):
        table = params["token_embedder"]["embedding"].at[-1, 3].add(0.1)
        return {**params, "token_embedder": {"embedding": table}}

    folder = changed(pair, tmp_path / "checkpoints", change)
    found = verify.compare(pair[0], folder, make_mesh(ONE))
    assert all(row.largest > 1e-3 for row in found)


def test_not_a_number_is_no_small_difference(pair, tmp_path):
    folder = changed(
        pair, tmp_path / "checkpoints", lambda params: jax.tree.map(lambda x: x * np.nan, params)
    )
    found = verify.compare(pair[0], folder, make_mesh(ONE))
    assert all(row.largest > 1e30 for row in found)


def test_different_models_are_refused_by_their_fields(pair, tmp_path):
    values = {**reference_models.config_values("opt"), "ffn_dim": 7, "enable_bias": False}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match="not of the same model: they differ in mlp_dim, qkv_"):
        verify.compare(tmp_path, pair[1], make_mesh(ONE))
    with pytest.raises(FileNotFoundError, match="no checkpoint directory"):
        verify.compare(pair[0], tmp_path / "none", make_mesh(ONE))


def test_without_transformers_the_remedy_is_named(pair, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(WeightsError, match=r"torch is not installed: .*teacherlm_jax\[test\]"):
        verify.compare(pair[0], pair[1], make_mesh(ONE))
