"""The same arrays on every mesh, scanned or not, in the types of the files."""

import jax
import numpy as np
import pytest

from teacherlm_jax.models.parameters import paths
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.weights import load
from teacherlm_jax.weights.tensors import WeightsError
from tests.weights import reference_models
from tests.weights.reference_models import BFLOAT16, bits

ONE = MeshConfig(device_count=1)
MESHES = [
    MeshConfig(data=1, fsdp=8),
    MeshConfig(data=1, fsdp=4, tensor=2),
    MeshConfig(data=2, fsdp=2, tensor=2),
    MeshConfig(data=8),
]
NAMES = ["bloom", "opt_350m", "qwen3_biases"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    parent = tmp_path_factory.mktemp("models")
    return {name: reference_models.save(name, parent / name) for name in NAMES}


def read(folder, mesh, **changes):
    matched, config = reference_models.matched(folder, **changes)
    return paths(load.load_params(matched, config, make_mesh(mesh)))


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("name", NAMES)
def test_arrays_are_the_same_on_every_mesh(name, mesh, folder):
    expected, found = read(folder[name], ONE), read(folder[name], mesh)
    assert found.keys() == expected.keys()
    cut = 0
    for path, array in found.items():
        np.testing.assert_array_equal(array, expected[path], err_msg=path)
        assert len(array.sharding.device_set) == 8
        cut += not array.sharding.is_fully_replicated
    assert bool(cut) == (mesh.data != 8)


@pytest.mark.parametrize("name", NAMES)
def test_a_stack_is_its_blocks_one_on_the_other(name, folder):
    stacked = read(folder[name], ONE)
    apart = read(folder[name], ONE, scan_layers=False)
    for path, array in stacked.items():
        if path.startswith("layers/"):
            blocks = [apart.pop(path.replace("layers/", f"layers_{n}/")) for n in range(2)]
            np.testing.assert_array_equal(array, np.stack(blocks), err_msg=path)
        else:
            np.testing.assert_array_equal(array, apart.pop(path), err_msg=path)
    assert not apart


def test_a_stack_has_the_narrowest_type_that_holds_its_blocks(tmp_path):
    tensors = dict(reference_models.state("llama_grouped_linear"))
    kinds = {
        "self_attn.q_proj.weight": (BFLOAT16, BFLOAT16, BFLOAT16),
        "self_attn.k_proj.weight": (BFLOAT16, np.float16, np.float32),
        "self_attn.v_proj.weight": (np.float16, np.float32, np.float32),
        "self_attn.o_proj.weight": (np.float16, np.float16, np.float16),
    }
    for name, (first, second, _) in kinds.items():
        for layer, dtype in enumerate((first, second)):
            key = f"model.layers.{layer}.{name}"
            tensors[key] = tensors[key].astype(dtype)
    config = reference_models.config_values("llama_grouped_linear")
    source = reference_models.write(tmp_path, config, tensors)
    found = read(source, ONE)
    for ours, kind in zip(("query", "key", "value", "out"), kinds.values(), strict=True):
        assert found[f"layers/self_attention/{ours}/kernel"].dtype == kind[2], ours
    key = tensors["model.layers.1.self_attn.k_proj.weight"].astype(np.float32)
    np.testing.assert_array_equal(
        found["layers/self_attention/key/kernel"][1], key.reshape(2, 128, 128).transpose(2, 0, 1)
    )
    apart = read(source, ONE, scan_layers=False)
    assert apart["layers_0/self_attention/key/kernel"].dtype == BFLOAT16
    assert apart["layers_1/self_attention/key/kernel"].dtype == np.float16


@pytest.mark.parametrize("dtype", [np.float32, np.float16, BFLOAT16])
def test_any_bits_are_read_as_they_are(dtype, tmp_path):
    """Subnormal numbers, and NaN with any payload."""
    tensors = {
        key: reference_models.all_bits(dtype, values.shape)
        for key, values in reference_models.state("qwen3_biases").items()
    }
    config = reference_models.config_values("qwen3_biases")
    found = read(reference_models.write(tmp_path, config, tensors), MESHES[0])
    table = tensors["model.embed_tokens.weight"]
    np.testing.assert_array_equal(bits(np.asarray(found["token_embedder/embedding"])), bits(table))
    down = np.stack([tensors[f"model.layers.{layer}.mlp.down_proj.weight"].T for layer in (0, 1)])
    np.testing.assert_array_equal(bits(np.asarray(found["layers/mlp/wo/kernel"])), bits(down))


def test_arrays_do_not_depend_on_each_other_or_the_files(folder, tmp_path):
    """What a CPU device took over without a copy stays its own."""
    found = read(folder["bloom"], MESHES[3])
    array = found["decoder_norm/scale"]
    before = np.array(array)
    other = jax.jit(lambda x: x + 1, donate_argnums=0)(array)
    np.testing.assert_array_equal(other, before + 1)
    np.testing.assert_array_equal(read(folder["bloom"], ONE)["decoder_norm/scale"], before)


def test_progress_counts_every_byte(folder):
    matched, config = reference_models.matched(folder["bloom"])
    done = []
    load.load_params(matched, config, make_mesh(ONE), done.append)
    assert sum(done) == sum(values.nbytes for values in reference_models.state("bloom").values())


def test_a_dimension_that_does_not_divide_is_an_error(folder):
    with pytest.raises(ValueError, match="tensor"):
        read(folder["bloom"], MeshConfig(data=1, fsdp=1, tensor=8))


def test_a_file_that_is_cut_off_after_it_was_opened_is_named(folder, tmp_path):
    source = reference_models.save("bloom", tmp_path / "bloom")
    matched, config = reference_models.matched(source)
    file = source / "model.safetensors"
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)
    with pytest.raises(WeightsError, match=r"model.safetensors' ends at byte .* within a tensor"):
        load.load_params(matched, config, make_mesh(ONE))
