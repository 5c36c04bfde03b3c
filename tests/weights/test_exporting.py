"""What goes in comes out, bit by bit; models of ours reach transformers; nothing half-written."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch
import transformers

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.weights import catalogue, exporting, importing, load, safetensors_file
from teacherlm_jax.weights.exporting import ExportSettings
from teacherlm_jax.weights.tensors import WeightsError
from tests.training import tiny
from tests.weights import reference_models
from tests.weights.reference_models import BFLOAT16

ONE = MeshConfig(device_count=1)
CUT = MeshConfig(data=1, fsdp=8)
ROTARY = "model.layers.0.self_attn.rotary_emb.inv_freq"


def export(source, target, mesh=ONE, **settings):
    made = exporting.export_model(
        ExportSettings(str(source), str(target), **settings), make_mesh(mesh)
    )
    return made, read_all(target)


def read_all(folder):
    """Every tensor of a folder, by the reference reader's header and ours of the bytes."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(file, "np") as reader:
            names = set(reader.keys())
        tensors = safetensors_file.read_header(file).tensors
        assert tensors.keys() == names and not names & found.keys()
        found |= {name: tensor.read() for name, tensor in tensors.items()}
    return found


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape), name
        np.testing.assert_array_equal(
            reference_models.bits(found[name]), reference_models.bits(values), err_msg=name
        )


def bits_of(name, dtype):
    """The tensors of a variant, holding any bits at all."""
    return {
        key: reference_models.all_bits(dtype, values.shape, seed)
        for seed, (key, values) in enumerate(reference_models.state(name).items())
    }


def bare(tensors):
    return {key.removeprefix("transformer."): values for key, values in tensors.items()}


def sharded(folder, config, tensors):
    """Two files and their index, the second in the middle of a block."""
    reference_models.write(folder, config, {})
    (folder / "model.safetensors").unlink()
    weight_map = {}
    names = sorted(tensors)
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number:05}-of-00002.safetensors"
        safetensors.numpy.save_file({name: tensors[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def mixed(name):
    """Blocks, and tensors of a block, in different types; finite, as those are that are trained."""
    types = [BFLOAT16, np.dtype(np.float16), np.dtype(np.float32)]
    found = {}
    for number, (key, values) in enumerate(reference_models.state(name).items()):
        dtype = types[number % 3 if ".0." in key else number % 2]
        small = 2.0 ** (-133 if dtype == BFLOAT16 else -24)  # Subnormal numbers.
        scaled = np.where(values > 0.3, values, np.sign(values) * 5 * small)
        found[key] = scaled.astype(dtype)
    return found


@pytest.mark.parametrize("scan_layers", [True, False])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("bloom", np.float16),
        ("llama_one_key_head_biases", np.float32),
        ("qwen3", BFLOAT16),
    ],
)
def test_any_bits_come_back_as_they_were(name, dtype, scan_layers, tmp_path):
    tensors = bits_of(name, dtype)
    config = reference_models.config_values(name)
    source = reference_models.write(tmp_path / "theirs", config, tensors)
    importing.import_model(source, tmp_path / "ours", CUT, scan_layers=scan_layers)
    made, found = export(tmp_path / "ours", tmp_path / "back", CUT)
    assert_same_bits(found, tensors)
    assert made.tensors == len(tensors)
    assert made.file_bytes == sum(values.nbytes for values in tensors.values())
    values = json.loads((tmp_path / "back" / "config.json").read_text())
    assert values == {**config, "torch_dtype": np.dtype(dtype).name}


@pytest.mark.parametrize("name", ["opt_no_bias", "mistral", "qwen2_untied", "gpt_neox"])
def test_every_family_comes_back_as_it_was(name, tmp_path):
    tensors = bits_of(name, BFLOAT16)
    config = {**reference_models.config_values(name), "dtype": "bfloat16"}
    source = sharded(tmp_path / "theirs", config, tensors)
    importing.import_model(source, tmp_path / "ours", ONE)
    _, found = export(tmp_path / "ours", tmp_path / "back")
    assert_same_bits(found, tensors)
    assert json.loads((tmp_path / "back" / "config.json").read_text()) == config


def test_public_bloom_has_no_prefix_and_transformers_loads_what_is_exported(tmp_path):
    tensors = bare(reference_models.state("bloom"))
    config = reference_models.config_values("bloom")
    source = reference_models.write(tmp_path / "theirs", config, tensors)
    importing.import_model(source, tmp_path / "ours", ONE)
    _, found = export(tmp_path / "ours", tmp_path / "back", shard_bytes=300_000)
    assert_same_bits(found, tensors)
    files = sorted(file.name for file in (tmp_path / "back").glob("*.safetensors"))
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors" and len(files) > 2
    model, told = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "back", output_loading_info=True
    )
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        expected = reference_models.model("bloom")(tokens).logits
        np.testing.assert_array_equal(model(tokens).logits, expected)


def test_a_torch_file_with_a_tied_head_in_another_type_than_the_rest(tmp_path):
    """OPT-350M's layout; the table alone in float32, and under a second name."""
    tensors = {
        key: values.astype(np.float16) for key, values in reference_models.state("opt_350m").items()
    }
    table = reference_models.all_bits(
        np.float32, tensors["model.decoder.embed_tokens.weight"].shape
    )
    tensors["model.decoder.embed_tokens.weight"] = tensors["lm_head.weight"] = table
    source = reference_models.write(
        tmp_path / "theirs", reference_models.config_values("opt_350m"), {}
    )
    (source / "model.safetensors").unlink()
    in_torch = {key: torch.from_numpy(values) for key, values in tensors.items()}
    in_torch["lm_head.weight"] = in_torch["model.decoder.embed_tokens.weight"]
    torch.save(in_torch, source / "pytorch_model.bin")
    importing.import_model(source, tmp_path / "ours", ONE)
    assert importing.read_record(tmp_path / "ours")["tied_head"] == "lm_head.weight"
    _, found = export(tmp_path / "ours", tmp_path / "back")
    assert_same_bits(found, tensors)


@pytest.mark.parametrize("scan_layers", [True, False])
def test_files_that_mix_types_and_hold_buffers(scan_layers, tmp_path):
    tensors = mixed("llama_grouped_linear")
    buffers = {ROTARY: np.ones(8, np.float32)}
    source = reference_models.write(
        tmp_path / "theirs",
        reference_models.config_values("llama_grouped_linear"),
        tensors | buffers,
    )
    importing.import_model(source, tmp_path / "ours", ONE, scan_layers=scan_layers)
    record = importing.read_record(tmp_path / "ours")
    assert record["buffers_left_out"] == [ROTARY]
    assert set(record["other_dtypes"].values()) | {record["dtype"]} == {
        "bfloat16",
        "float16",
        "float32",
    }
    _, found = export(tmp_path / "ours", tmp_path / "back")
    assert_same_bits(found, tensors)
    _, found = export(tmp_path / "ours", tmp_path / "cast", dtype="float32")
    assert_same_bits(found, {key: values.astype(np.float32) for key, values in tensors.items()})
    config = json.loads((tmp_path / "cast" / "config.json").read_text())
    assert config["torch_dtype"] == "float32"


def from_scratch(folder, config, params, **metadata):
    policy = manager.SavePolicy(asynchronous=False)
    with manager.Checkpoints(folder, policy) as checkpoints:
        metadata = {"model": dataclasses.asdict(config), **metadata}
        checkpoints.save(5, params, {"step": np.int32(5)}, metadata)
    return folder


SCRATCH = [
    "bloom",
    "opt_350m",
    "llama3_tied",
    "mistral_window",
    "qwen2",
    "qwen3_biases",
    "gpt_neox",
]


@pytest.mark.parametrize("name", SCRATCH)
def test_a_model_trained_from_scratch_is_loaded_by_transformers(name, tmp_path):
    folder = reference_models.write(tmp_path / "x", reference_models.config_values(name), {})
    family, config = catalogue.read_config(importing.epath.Path(folder))
    config = dataclasses.replace(config, num_layers=1)
    params = jax.tree.map(jax.numpy.asarray, tiny.params(config))
    from_scratch(tmp_path / "checkpoints", config, params)
    made, found = export(tmp_path / "checkpoints", tmp_path / "out")
    assert made.family == family.model_type
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}
    theirs, told = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokens_BT = np.arange(40)[None]
    logits = jax.jit(
        lambda params: Decoder(config).apply({"params": params}, tokens_BT, enable_dropout=False)
    )(params)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(tokens_BT)).logits.numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
    assert expected.std() > 0.3
    assert "nor was one given" in (tmp_path / "out" / "LICENSE").read_text()


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A Hugging Face folder with tokenizer, card and licence, and its import."""
    folder = tmp_path_factory.mktemp("imported")
    tensors = {
        key: values.astype(BFLOAT16) for key, values in reference_models.state("qwen2").items()
    }
    source = reference_models.write(
        folder / "theirs", reference_models.config_values("qwen2"), tensors
    )
    (source / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Little\n\nReads well.\n")
    (source / "LICENSE").write_text("Do as you like.\n")
    (source / "tokenizer.json").write_text('{"version": "1.0"}')
    (source / "vocab.json").write_text('{"a": 0}')
    (source / "notes.py").write_text("never copied")
    importing.import_model(source, folder / "ours", ONE)
    return folder


def test_after_training_the_import_gives_names_types_tokenizer_and_licence(imported, tmp_path):
    matched, config = reference_models.matched(imported / "theirs")
    params = jax.tree.map(
        lambda leaf: leaf.astype(np.float32) * 1.5,
        load.load_params(matched, config, make_mesh(ONE)),
    )
    from_scratch(tmp_path / "checkpoints", config, params)
    for like in ("ours", "theirs"):
        target = tmp_path / f"like_{like}"
        _, found = export(tmp_path / "checkpoints", target, like=str(imported / like))
        expected = {
            name: (values.astype(np.float32) * 1.5).astype(BFLOAT16)
            for name, values in read_all(imported / "theirs").items()
        }
        assert_same_bits(found, expected)
        assert (target / "LICENSE").read_text() == "Do as you like.\n"
        assert (target / "tokenizer.json").read_text() == '{"version": "1.0"}'
        assert not (target / "notes.py").exists() and not (target / "UNFINISHED").exists()
        card = (target / "README.md").read_text()
        assert card.startswith("---\nlicense: apache-2.0\n") and "Reads well." in card
    _, found = export(tmp_path / "checkpoints", tmp_path / "plain")
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}


def test_a_licence_of_ones_own_replaces_the_others(imported, tmp_path):
    (tmp_path / "mine.txt").write_text("Mine.")
    export(
        imported / "ours",
        tmp_path / "out",
        license_file=str(tmp_path / "mine.txt"),
        license_id="mit",
    )
    assert (tmp_path / "out" / "LICENSE").read_text() == "Mine."
    assert "license: mit\n" in (tmp_path / "out" / "README.md").read_text()


LLAMA_LIKE = {
    "scan_layers": True,
    "mlp_activation": "silu",
    "gated_mlp": True,
    "position": "rotary",
}


def test_without_an_import_tensors_keep_the_checkpoints_type(tmp_path):
    config = tiny.config(param_dtype="bfloat16", **LLAMA_LIKE)
    params = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, BFLOAT16), tiny.params(config))
    from_scratch(tmp_path / "run", config, params)
    _, found = export(tmp_path / "run", tmp_path / "out")
    assert {values.dtype for values in found.values()} == {BFLOAT16}
    values = json.loads((tmp_path / "out" / "config.json").read_text())
    assert values["torch_dtype"] == "bfloat16"
    assert "in bfloat16 but" in (tmp_path / "out" / "README.md").read_text()


def test_replicas_are_exported_one_at_a_time(tmp_path):
    config = tiny.config(**LLAMA_LIKE)
    params = tiny.params(config)
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), params)
    from_scratch(tmp_path / "runs", config, jax.tree.map(jax.numpy.asarray, stacked), replicas=2)
    with pytest.raises(WeightsError, match=r"holds 2 models .* a replica from 0 to 1"):
        export(tmp_path / "runs", tmp_path / "out")
    with pytest.raises(ValueError, match="no 2"):
        export(tmp_path / "runs", tmp_path / "out", replica=2)
    assert not (tmp_path / "out").exists()
    _, found = export(tmp_path / "runs", tmp_path / "out", replica=1)
    np.testing.assert_array_equal(
        found["model.embed_tokens.weight"], 2 * params["token_embedder"]["embedding"]
    )


def test_a_replica_of_a_single_model_is_an_error(imported, tmp_path):
    with pytest.raises(ValueError, match="holds one model, no replicas"):
        export(imported / "ours", tmp_path / "out", replica=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "int8"}, r"dtype = 'int8', .* \['bfloat16', 'float16', 'float32'\]"),
        ({"license_file": "/no/such/file"}, "license_file = '/no/such/file' cannot be read"),
        ({"like": "/no/such/folder"}, "/no/such/folder/config.json is not there"),
    ],
)
def test_bad_settings_are_errors_before_anything_is_written(settings, message, imported, tmp_path):
    with pytest.raises(WeightsError, match=message):
        export(imported / "ours", tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_another_models_import_is_refused(imported, tmp_path):
    config = tiny.config(num_layers=2)
    from_scratch(tmp_path / "run", config, jax.tree.map(jax.numpy.asarray, tiny.params(config)))
    with pytest.raises(WeightsError, match=r"is of another model than .*\(vocab_size, .* differ\)"):
        export(tmp_path / "run", tmp_path / "out", like=str(imported / "ours"))
    with pytest.raises(WeightsError, match=r"no family of public checkpoints .*bloom .*gpt_neox"):
        export(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_written_over(imported, tmp_path):
    (tmp_path / "thesis.tex").write_text("months")
    with pytest.raises(WeightsError, match=r"is not empty \(it holds thesis.tex\): give a new"):
        export(imported / "ours", tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "months"


def test_an_unfinished_import_is_not_exported(imported, tmp_path):
    (tmp_path / "ours" / "checkpoints").mkdir(parents=True)
    (tmp_path / "ours" / "UNFINISHED").touch()
    with pytest.raises(WeightsError, match="was never finished"):
        export(tmp_path / "ours", tmp_path / "out")


@pytest.mark.parametrize("is_there", [True, False])
def test_an_error_in_the_middle_leaves_nothing(is_there, imported, tmp_path, monkeypatch):
    target = tmp_path / "out"
    if is_there:
        target.mkdir()
    written = []

    def fail(path, *_):
        written.append([file.name for file in pathlib.Path(target).iterdir()])
        raise OSError("the disk is full")

    monkeypatch.setattr(exporting.model_card, "text", fail)
    with pytest.raises(
        WeightsError, match=r"out cannot be written to .the disk is full.: it needs [\d,]+ bytes"
    ):
        export(imported / "ours", target)
    assert set(written[0]) >= {"model.safetensors", "UNFINISHED"}
    assert list(tmp_path.iterdir()) == ([target] if is_there else [])
    assert not is_there or not list(target.iterdir())
