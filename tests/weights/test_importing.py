"""An import is a checkpoint like any other: restored, trained from, evaluated; or it is nothing."""

import dataclasses
import json
import subprocess
import sys
import textwrap

import gin
import jax
import numpy as np
import pytest
from etils import epath

from teacherlm_jax.checkpoints import manager, restore
from teacherlm_jax.evaluation import evaluate
from teacherlm_jax.main import gin_setup
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.parameters import paths
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training import stages
from teacherlm_jax.training.stage import Stage
from teacherlm_jax.weights import directory, importing, load
from teacherlm_jax.weights.tensors import WeightsError
from tests import tiny_study
from tests.data import tiny_tasks
from tests.source import ROOT
from tests.weights import reference_models
from tests.weights.reference_models import BFLOAT16

ONE = MeshConfig(device_count=1)
CUT = MeshConfig(data=1, fsdp=4, tensor=2)
NAME = "llama_grouped_linear"


def mixed():
    """Tensors of three types, of which a stack of layers holds two."""
    tensors = dict(reference_models.state(NAME))
    for key, values in tensors.items():
        if ".q_proj" in key:
            tensors[key] = values.astype(BFLOAT16 if ".0." in key else np.float16)
        elif "layers" in key:
            tensors[key] = values.astype(BFLOAT16)
        elif "embed" in key:
            tensors[key] = values.astype(np.float16)
    return tensors


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    reference_models.write(folder, reference_models.config_values(NAME), mixed())
    (folder / "tokenizer.model").write_bytes(b"\x00\x01")
    (folder / "vocab.json").write_text("{}")
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    return folder


@pytest.fixture(scope="module")
def imported(source, tmp_path_factory):
    """What the import says, and its folder."""
    folder = tmp_path_factory.mktemp("parent") / "ours"
    return importing.import_model(source, folder, CUT), folder


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


def leaves_of(source, config, mesh=ONE):
    matched, _ = reference_models.matched(source, scan_layers=config.scan_layers)
    return paths(load.load_params(matched, config, make_mesh(mesh)))


def test_what_an_import_leaves(imported, source):
    made, folder = imported
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoints",
        "huggingface",
        "import.json",
        "model.gin",
    ]
    kept = {path.name: path.read_bytes() for path in (folder / "huggingface").iterdir()}
    assert kept.keys() == {"config.json", "merges.txt", "tokenizer.model", "vocab.json"}
    assert all((source / name).read_bytes() == content for name, content in kept.items())
    assert made.parameters == sum(values.size for values in mixed().values())
    assert made.file_bytes == sum(values.nbytes for values in mixed().values())
    assert made.family == "llama" and str(made.checkpoint_dir) == str(folder / "checkpoints")


def test_every_tensors_type_is_recorded(imported, source):
    record = importing.read_record(imported[1])
    types = dict.fromkeys(mixed(), record["dtype"]) | record["other_dtypes"]
    assert types == {name: values.dtype.name for name, values in mixed().items()}
    assert record["has_prefix"] and record["tied_head"] is None
    assert record == importing.record_of(epath.Path(source))


@pytest.mark.parametrize("mesh", [ONE, CUT, MeshConfig(data=1, fsdp=8)])
def test_it_is_restored_to_any_mesh_as_it_was_or_in_the_models_type(mesh, imported, source):
    made, folder = imported
    expected = leaves_of(source, made.config)
    as_saved = restore.load_as_saved(folder / "checkpoints", made.config, make_mesh(mesh))
    assert (as_saved.step, as_saved.replicas) == (0, None)
    found = paths(as_saved.params)
    assert {leaf.dtype for leaf in found.values()} == {
        np.dtype(d) for d in ("float16", "float32", BFLOAT16)
    }
    for path, leaf in found.items():
        assert leaf.dtype == expected[path].dtype
        np.testing.assert_array_equal(leaf, expected[path], err_msg=path)
    loaded = paths(restore.load(folder / "checkpoints", made.config, make_mesh(mesh)).params)
    for path, leaf in loaded.items():
        assert leaf.dtype == np.float32
        np.testing.assert_array_equal(leaf, np.asarray(expected[path]).astype(np.float32))


def test_its_gin_file_is_the_model(imported):
    made, folder = imported
    gin_setup.parse([str(folder / "model.gin")])
    assert gin_setup.bound(DecoderConfig)() == made.config
    restore.check(folder / "checkpoints", made.config)


def test_unrolled_layers_are_kept_apart(source, tmp_path):
    made = importing.import_model(source, tmp_path / "ours", ONE, scan_layers=False)
    assert not made.config.scan_layers
    loaded = restore.load_as_saved(made.checkpoint_dir, made.config, make_mesh(ONE))
    expected = leaves_of(source, made.config)
    assert expected["layers_1/self_attention/query/kernel"].dtype == np.float16
    jax.tree.map(np.testing.assert_array_equal, paths(loaded.params), expected)
    with pytest.raises(manager.CheckpointError, match=r"scan_layers False \(asked: True\)"):
        restore.check(made.checkpoint_dir, dataclasses.replace(made.config, scan_layers=True))


def test_training_starts_from_it(imported, source, tmp_path):
    made, folder = imported
    stage = Stage(
        name="first",
        mixture_or_task_name=tiny_tasks.MIXTURE,
        task_feature_lengths={"inputs": 8, "targets": 6},
        train_steps=1,
        batch_size=2,
        # Too small to move a parameter by more than rounding: what is left is the start.
        optimizer=optimizer_lib.AdamW(1e-9),
    )
    curriculum = stages.Curriculum(
        (stage,),
        str(tmp_path),
        made.config,
        mesh=ONE,
        save_policy=manager.SavePolicy(period=1),
        initial_checkpoint_path=str(folder / "checkpoints"),
    )
    entry = stages.train(curriculum)["first"]
    assert entry["step"] == 1
    trained = restore.load(entry["checkpoint"], made.config, make_mesh(ONE))
    expected = leaves_of(source, made.config)
    for path, leaf in paths(trained.params).items():
        assert leaf.dtype == np.float32
        start = np.asarray(expected[path]).astype(np.float32)
        np.testing.assert_allclose(leaf, start, atol=1e-6, rtol=0, err_msg=path)


def test_it_is_evaluated(imported, tmp_path):
    study = tiny_study.TinyStudy(7)
    assert tiny_study.vocabulary().vocab_size <= imported[0].config.vocab_size
    result = evaluate.evaluate_checkpoint(
        evaluate.CheckpointEvaluation(
            str(imported[0].checkpoint_dir),
            study.evaluation,
            str(tmp_path / "out"),
            imported[0].config,
            max_length=60,
            batch_size=64,
            mesh=ONE,
        )
    )
    assert result["step"] == 0 and 0 <= result["models"][0]["accuracy"] <= 100


# Errors


def cut_off(folder, monkeypatch):
    """Cuts the weights off once their header has been checked."""
    whole = directory.open_directory

    def open_and_cut(path):
        found = whole(path)
        with (folder / "model.safetensors").open("r+b") as stream:
            stream.truncate((folder / "model.safetensors").stat().st_size - 5000)
        return found

    monkeypatch.setattr(directory, "open_directory", open_and_cut)


@pytest.mark.parametrize("was_there", [True, False])
def test_an_error_in_the_middle_leaves_nothing(was_there, tmp_path, monkeypatch):
    source = reference_models.write(
        tmp_path / "theirs", reference_models.config_values(NAME), mixed()
    )
    target = tmp_path / "deep" / "ours"
    if was_there:
        target.mkdir(parents=True)
    cut_off(source, monkeypatch)
    with pytest.raises(WeightsError, match=r"model.safetensors' ends at byte .* cut off"):
        importing.import_model(source, target, ONE)
    assert target.exists() == was_there and not list(target.glob("*"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncate", r"model.safetensors' was cut off: its header speaks of"),
        ("no weights", "has no weights: it holds 'config.json', and none of model.safetensors"),
        ("no config", "config.json is not there"),
        ("no shard", r"names 'model-00002-of-00002.safetensors', which is not there"),
        ("window", r"config.json: layer_types = \['sliding_attention'\], but it must be"),
        ("unfinished", "was never finished"),
    ],
)
def test_what_can_be_known_is_known_before_anything_is_written(damage, message, tmp_path):
    config = reference_models.config_values("qwen2")
    if damage == "window":
        config["layer_types"] = ["sliding_attention"]
    folder = reference_models.write(tmp_path / "theirs", config, reference_models.state("qwen2"))
    file = folder / "model.safetensors"
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage in ("no weights", "no shard"):
        file.unlink()
        if damage == "no shard":
            names = {"a": "model-00002-of-00002.safetensors"}
            index = json.dumps({"weight_map": names})
            (folder / "model.safetensors.index.json").write_text(index)
    elif damage == "no config":
        (folder / "config.json").unlink()
    elif damage == "unfinished":
        (folder / "UNFINISHED").touch()
    with pytest.raises(WeightsError, match=message):
        importing.import_model(folder, tmp_path / "ours", ONE)
    assert not (tmp_path / "ours").exists()


def test_a_dimension_that_does_not_divide_over_the_mesh(source, tmp_path):
    with pytest.raises(ValueError, match="tensor"):
        importing.import_model(source, tmp_path / "ours", MeshConfig(data=1, tensor=8))
    assert not (tmp_path / "ours").exists()


def test_what_is_there_is_not_written_over(source, tmp_path):
    (tmp_path / "thesis.tex").write_text("months")
    with pytest.raises(WeightsError, match=r"not empty \(it holds thesis.tex\)"):
        importing.import_model(source, tmp_path, ONE)
    assert (tmp_path / "thesis.tex").read_text() == "months"


def test_an_import_that_was_killed_is_refused_and_starts_over(source, imported, tmp_path):
    target = tmp_path / "ours"
    program = f"""
        import os, signal
        from teacherlm_jax.partitioning.mesh import MeshConfig
        from teacherlm_jax.weights import importing
        importing._write_files = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        importing.import_model({str(source)!r}, {str(target)!r}, MeshConfig(device_count=1))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert {path.name for path in target.iterdir()} == {"UNFINISHED", "checkpoints"}
    with pytest.raises(WeightsError, match=r"ours was never finished \(it holds UNFINISHED\)"):
        importing.read_record(target)
    importing.import_model(source, target, ONE)
    assert importing.read_record(target) == importing.read_record(imported[1])
    assert not (target / "UNFINISHED").exists()
    restore.load(target / "checkpoints", imported[0].config, make_mesh(ONE))
