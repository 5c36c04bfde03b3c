import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from teacherlm_jax.checkpoints import fingerprint as module
from teacherlm_jax.checkpoints.fingerprint import digest, fingerprint
from teacherlm_jax.partitioning import mesh as mesh_lib

RNG = np.random.default_rng(0)


def only(array):
    """The checksum of a lone array."""
    (value,) = fingerprint({"w": jnp.asarray(array)}).values()
    return value


def arrays():
    return {
        "float32": RNG.standard_normal((3, 5)).astype(np.float32),
        "bfloat16": RNG.standard_normal((2, 2, 3)).astype(jnp.bfloat16),
        "int32": RNG.integers(-9, 9, 7).astype(np.int32),
        "uint8": RNG.integers(0, 255, (2, 3)).astype(np.uint8),
        "zeros": np.zeros((4, 4), np.float32),
        "scalar": np.asarray(17, np.int32),
    }


def bits_of(array):
    width = array.dtype.itemsize
    return array.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[width])


@pytest.mark.parametrize("kind", list(arrays()))
def test_any_flipped_bit_is_seen(kind):
    array = arrays()[kind]
    usual = only(array)
    assert only(array.copy()) == usual
    flat = bits_of(array).reshape(-1)
    for place, bit in itertools.product(range(array.size), range(8 * array.dtype.itemsize)):
        flipped = flat.copy()
        flipped[place] ^= flat.dtype.type(1 << bit)
        assert only(flipped.view(array.dtype).reshape(array.shape)) != usual, (place, bit)


def test_swapped_entries_are_seen():
    array = RNG.standard_normal((4, 5)).astype(np.float32)
    usual = only(array)
    for one, two in itertools.combinations(range(array.size), 2):
        swapped = array.reshape(-1).copy()
        swapped[[one, two]] = swapped[[two, one]]
        assert only(swapped.reshape(array.shape)) != usual, (one, two)


@pytest.mark.parametrize(("one", "two"), [(1.0, 2.0), (0.0, 1.0), (-1.0, 1.0), (0.5, -4.0)])
@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_swapped_round_numbers_are_seen_at_any_distance(one, two, dtype):
    """Their bits differ in a few high places, where a sum with even weights would lose them."""
    array = np.full(4097, one, dtype)
    sums = set()
    for distance in (0, *(2**power for power in range(13))):
        moved = array.copy()
        moved[distance] = two
        sums.add(only(moved))
    assert len(sums) == 14


def test_swapped_rows_columns_and_axes_are_seen():
    array = RNG.standard_normal((8, 8)).astype(np.float32)
    changed = (array[::-1], array[:, ::-1], array.T, np.roll(array, 1, 0), np.roll(array, 1, 1))
    assert len({only(array), *map(only, changed)}) == 6
    halves = np.asarray(array, jnp.bfloat16).astype(np.float32)
    assert only(np.roll(np.tile(halves, (64, 1)), 1, 0)) != only(np.tile(halves, (64, 1)))


def test_every_array_has_its_path_and_its_sum():
    one, two = np.ones((2, 3), np.float32), np.arange(3, dtype=np.int32)
    usual = fingerprint({"a": {"b": one}, "c": [two]})
    assert usual.keys() == {"['a']['b']", "['c'][0]"}
    changed = fingerprint({"a": {"b": one}, "c": [two + 1]})
    assert changed["['a']['b']"] == usual["['a']['b']"]
    assert changed["['c'][0]"] != usual["['c'][0]"]
    assert all(0 <= value < 2**32 and type(value) is int for value in usual.values())


def test_it_is_the_same_on_every_mesh():
    tree = {
        "w": RNG.standard_normal((8, 16)).astype(np.float32),
        "h": RNG.standard_normal((16, 8)).astype(jnp.bfloat16),
    }
    usual, name = fingerprint(tree), digest(jax.tree.map(jnp.asarray, tree))
    shapes = {"data": 8}, {"fsdp": 4, "tensor": 2}, {"fsdp": 2, "data": 2, "tensor": 2}
    for sizes, spec in itertools.product(shapes, (("fsdp", "tensor"), ("tensor", None), ())):
        mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(**sizes))
        placed = jax.device_put(tree, NamedSharding(mesh, PartitionSpec(*spec)))
        assert fingerprint(placed) == usual
        assert digest(placed) == name


def test_a_digest_names_content_types_shapes_and_paths():
    zeros = jnp.zeros((2, 3))
    trees = [
        {"w": zeros},
        {"w": zeros.astype(jnp.int32)},
        {"w": zeros.astype(jnp.bfloat16)},
        {"w": zeros.reshape(3, 2)},
        {"v": zeros},
        {"w": {"v": zeros}},
        {"w": zeros.at[1, 1].set(1e-30)},
        {"w": -zeros},
    ]
    names = [digest(tree) for tree in trees]
    assert len(set(names)) == len(trees)
    assert all(len(name) == 64 for name in names)
    assert digest({"w": jnp.zeros((2, 3))}) == names[0]


def formula(array):
    """The same sum in NumPy, all at once."""
    bits = bits_of(array).astype(np.uint32).reshape(-1)
    bits = bits ^ (np.arange(bits.size, dtype=np.uint32) * np.uint32(0x9E3779B1))
    bits = (bits ^ (bits >> 16)) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * np.uint32(0xC2B2AE35)
    return int(np.sum(bits ^ (bits >> 16), dtype=np.uint32))


@pytest.mark.parametrize("chunk", [1, 7, 64, 2**20])
def test_sums_in_chunks_are_those_of_the_formula(chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    jax.clear_caches()
    tree = {**arrays(), "long": RNG.standard_normal((3, 17, 5)).astype(np.float32)}
    tree["none"] = np.zeros((0, 3), np.float32)
    expected = {f"['{name}']": formula(array) for name, array in tree.items()}
    assert fingerprint(tree) == expected
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(data=2, fsdp=2, tensor=2))
    wide = RNG.standard_normal((4, 6, 8)).astype(jnp.bfloat16)
    for spec in (PartitionSpec(None, "fsdp", "tensor"), PartitionSpec(("fsdp", "tensor"), "data")):
        placed = jax.device_put(wide, NamedSharding(mesh, spec))
        assert fingerprint({"w": placed}) == {"['w']": formula(wide)}
    jax.clear_caches()


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_memory_holds_a_chunk_and_no_copy(dtype):
    """XLA would hold bfloat16 as float32, and scrambled bits of all before it sums them."""
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(data=1, fsdp=8))
    sharding = NamedSharding(mesh, PartitionSpec(None, "fsdp"))
    array = jax.device_put(np.zeros((2**8, 2**16), dtype), sharding)
    seen = module._seen_as_bits(array)
    pointers = [
        [shard.data.unsafe_buffer_pointer() for shard in each.addressable_shards]
        for each in (array, seen)
    ]
    assert pointers[0] == pointers[1]
    large = jax.ShapeDtypeStruct((2**12, 2**16), seen.dtype, sharding=sharding)
    program = module._checksum.lower(large, mesh, sharding.spec).compile()
    assert program.memory_analysis().temp_size_in_bytes < 6 * 4 * module._CHUNK
