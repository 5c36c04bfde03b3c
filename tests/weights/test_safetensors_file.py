import json
import struct
import textwrap

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
import transformers

from teacherlm_jax.weights import safetensors_file, tensors
from teacherlm_jax.weights.tensors import WeightsError
from tests.object_store import run_on_object_store

MIXED = {
    # Zeros, subnormals, infinities and NaNs are among them: all bits there are.
    "every_bfloat16": np.arange(2**16, dtype=np.uint16).view(ml_dtypes.bfloat16).reshape(256, 256),
    "every_float16": np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(64, 1024),
    "float32": np.linspace(-1, 1, 15, dtype=np.float32).reshape(3, 5),
    "mask": np.array([True, False, True]),
    "scalar": np.array(5, np.int64),
    "empty": np.zeros((0, 4), np.float32),
    "süß/ü": np.arange(3, dtype=np.uint8),
}


def entries_of(arrays):
    return [(name, array.dtype, array.shape) for name, array in arrays.items()]


def as_torch(array):
    """The same bits in torch."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.uint16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def assert_holds(path, arrays):
    found = safetensors_file.read_header(path).tensors
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        read = found[name].read()
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        assert read.tobytes() == array.tobytes(), name


def forged(path, header, data=b"", length=None):
    """A file with any header."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content) if length is None else length) + content + data)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


# Reading


def test_reads_what_the_library_wrote(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({k: as_torch(v) for k, v in MIXED.items()}, path, {"format": "pt"})
    assert_holds(path, MIXED)
    assert safetensors_file.read_header(path).metadata == {"format": "pt"}


@pytest.mark.parametrize("code", safetensors_file.DTYPES)
def test_dtypes_are_the_librarys(tmp_path, code):
    dtype = safetensors_file.DTYPES[code]
    path = tmp_path / "x.safetensors"
    bits = np.arange(16).astype(bool).tobytes() * dtype.itemsize
    safetensors_file.write(path, [("x", dtype, (16,))], lambda _: np.frombuffer(bits, dtype))
    with safetensors.safe_open(path, "pt") as library:
        read = library.get_tensor("x")
    assert str(read.dtype).removeprefix("torch.") == str(dtype)
    assert bytes(read.view(torch.uint8).numpy()) == bits
    assert_holds(path, {"x": np.frombuffer(bits, dtype)})


def test_a_box_of_a_file_is_read_alone(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({k: as_torch(v) for k, v in MIXED.items()}, path)
    tensor = safetensors_file.read_header(path).tensors["every_bfloat16"]
    before = tensors.bytes_read.total
    read = tensor.read_box((256, 256), [(32, 64), slice(None)])
    assert tensors.bytes_read.total - before == tensor.nbytes // 8
    assert read.tobytes() == MIXED["every_bfloat16"][32:64].tobytes()


def test_the_header_alone_is_read(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    safetensors_file.write(path, [("w", np.float32, (5,))], lambda _: np.zeros(5, np.float32))
    monkeypatch.setattr(tensors.ByteReader, "read_into", None)
    assert [*safetensors_file.read_header(path).tensors] == ["w"]


# Damaged files


@pytest.mark.parametrize("size", [0, 5, 7])
def test_a_file_without_its_length(tmp_path, size):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x40" * size)
    with pytest.raises(WeightsError, match=rf"model.* has {size} bytes, .* take 8: .* again"):
        safetensors_file.read_header(path)


def test_a_header_longer_than_the_file(tmp_path):
    path = forged(tmp_path / "model.safetensors", b"{}", length=1000)
    with pytest.raises(WeightsError, match=r"has 10 bytes, .* would take 1008: it was cut off"):
        safetensors_file.read_header(path)


def test_a_header_longer_than_allowed(tmp_path):
    path = forged(tmp_path / "model.safetensors", b"{}", length=200_000_000)
    with path.open("r+b") as stream:
        stream.truncate(200_000_100)
    with pytest.raises(WeightsError, match="header of 200000000 bytes; at most 100000000"):
        safetensors_file.read_header(path)


def test_a_pointer_of_git_lfs(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(WeightsError, match=r"pointer of Git LFS\. Run `git lfs pull`"):
        safetensors_file.read_header(path)


@pytest.mark.parametrize(
    "header, error",
    [
        (b"{", "the header of '.*' is no JSON"),
        (b"\xff\xfe{}", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[1, 2]", r"is \[1, 2\] where there should be a JSON object"),
        (b'{"w": 1, "w": 2}', "names 'w' twice"),
        ({"w": 3}, "'w' in the header of '.*' is 3, without dtype, shape and data_offsets"),
        ({"w": {"dtype": "F32", "shape": []}}, "without dtype, shape and data_offsets"),
        ({"w": entry("F8_NEW")}, "'w' in .* has the dtype 'F8_NEW', .* known are BOOL, .*BF16"),
        ({"w": entry(dtype=["F32"])}, "has the dtype .*, which cannot be read"),
        ({"w": entry(shape=[-2])}, r"'w' in .* has no shape: its header gives \[-2\]"),
        ({"w": entry(shape=[2.0])}, "has no shape"),
        ({"w": entry(shape=[True, 2])}, "has no shape"),
        ({"w": entry(shape=[1] * 65 + [2])}, "has no shape.* at most 64"),
        ({"w": entry(shape=[10**40, 0])}, "has no shape"),
        ({"w": {**entry(), "shape": "2"}}, "has no shape"),
        ({"w": entry(shape=[3])}, r"data_offsets \[0, 8\], but F32 of shape \[3\] takes 12 bytes"),
        ({"w": entry(offsets=[8, 0])}, r"data_offsets \[8, 0\]"),
        ({"w": entry(offsets=[-8, 0])}, r"data_offsets \[-8, 0\]"),
        ({"w": entry(offsets=[0, 8, 16])}, "data_offsets"),
        ({"w": entry(offsets=["0", "8"])}, "data_offsets"),
        ({"w": {**entry(), "data_offsets": 8}}, "data_offsets 8"),
        ({"a": entry(), "b": entry(offsets=[4, 12])}, "'b' in '.*' overlaps 'a'"),
        ({"a": entry(), "b": entry()}, "overlaps"),
        ({"a": entry(), "b": entry(offsets=[12, 20])}, "'b' in '.*' leaves a gap after 'a'"),
        ({"a": entry(offsets=[8, 16])}, "'a' in '.*' leaves a gap after the header"),
        ({"a": entry()}, r"has 90 bytes where its header speaks of 77: the last 13 belong to no"),
        ({"__metadata__": {"format": 1}, "a": entry()}, "__metadata__ .* has texts by name"),
        ({"__metadata__": "pt", "a": entry()}, "__metadata__ .* is 'pt'"),
    ],
)
def test_a_header_that_breaks_the_format(tmp_path, header, error):
    path = forged(tmp_path / "model.safetensors", header, b"\0" * 21)
    with pytest.raises(WeightsError, match=error) as caught:
        safetensors_file.read_header(path)
    assert "model.safetensors" in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_file_that_was_cut_off(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors_file.write(path, entries_of(MIXED), MIXED.__getitem__)
    content = path.read_bytes()
    path.write_bytes(content[:-1000])
    with pytest.raises(
        WeightsError,
        match=rf"cut off: .* {len(content)} bytes and it has {len(content) - 1000}, so"
        r" 'every_float16' and 2 more are not whole. Download it again",
    ):
        safetensors_file.read_header(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        safetensors_file.read_header(tmp_path / "model.safetensors")


# Writing


def test_writes_what_the_library_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "PIECE_BYTES", 1000)
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    safetensors_file.write(ours, entries_of(MIXED), MIXED.__getitem__)
    safetensors.torch.save_file(
        {k: as_torch(v) for k, v in MIXED.items()}, theirs, {"format": "pt"}
    )
    assert ours.read_bytes() == theirs.read_bytes()


def test_writes_one_tensor_at_a_time_in_its_own_order(tmp_path):
    arrays = {"b": np.zeros(3, np.float16), "c": np.ones((4, 2)).T, "a": np.ones(2, np.float16)}
    path = tmp_path / "x.safetensors"
    asked, sizes = [], []

    def read(name):
        sizes.append(path.stat().st_size)
        asked.append(name)
        return arrays[name]

    safetensors_file.write(path, entries_of(arrays), read, metadata={"by": "test"})
    assert asked == ["c", "a", "b"]
    assert sizes == sorted(sizes)
    assert safetensors_file.read_header(path).metadata == {"by": "test"}
    for name, array in safetensors.numpy.load_file(path).items():
        np.testing.assert_array_equal(array, arrays[name])


def test_transformers_loads_what_was_written(tmp_path):
    config = transformers.OPTConfig(
        vocab_size=20, hidden_size=8, ffn_dim=8, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, word_embed_proj_dim=8,
    )  # fmt: skip
    model = transformers.OPTModel(config)
    config.save_pretrained(tmp_path)
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    safetensors_file.write(tmp_path / "model.safetensors", entries_of(arrays), arrays.__getitem__)
    loaded = transformers.OPTModel.from_pretrained(tmp_path)
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


@pytest.mark.parametrize(
    "entries, array, error",
    [
        ([("w", np.float32, (3,))], np.zeros(4, np.float32), r"shape \[3\], and is .* \[4\]"),
        ([("w", np.float32, (3,))], np.zeros(3, np.float16), "as float32 .* and is float16"),
        ([("w", np.complex64, (3,))], None, "'w' is .*complex64.* no safetensors dtype: bool,"),
        ([("w", np.int8, (3,)), ("w", np.int8, (3,))], None, "'w' cannot .* the name is taken"),
        ([("__metadata__", np.int8, (3,))], None, "'__metadata__' cannot be written"),
    ],
)
def test_what_cannot_be_written(tmp_path, entries, array, error):
    path = tmp_path / "x.safetensors"
    with pytest.raises(WeightsError, match=error):
        safetensors_file.write(path, entries, lambda _: array)
    if path.exists():
        with pytest.raises(WeightsError, match="cut off"):
            safetensors_file.read_header(path)


def test_a_file_without_tensors(tmp_path):
    safetensors_file.write(tmp_path / "x.safetensors", [], lambda name: pytest.fail(name))
    assert not safetensors_file.read_header(tmp_path / "x.safetensors").tensors
    assert not safetensors.numpy.load_file(tmp_path / "x.safetensors")


def test_files_on_an_object_store(object_store, tmp_path):
    torch.save({"w": torch.arange(24.0).reshape(4, 6)}, tmp_path / "pytorch_model.bin")
    content = (tmp_path / "pytorch_model.bin").read_bytes()
    object_store.put("torch/pytorch_model.bin", content)
    code = """
        import numpy as np
        from teacherlm_jax.weights import directory, safetensors_file, tensors

        found = directory.open_directory("gs://bucket/torch")
        entries = [(name, tensor.dtype, tensor.shape) for name, tensor in found.items()]
        path = "gs://bucket/safetensors/model.safetensors"
        safetensors_file.write(path, entries, lambda name: found[name].read())
        copy = directory.open_directory("gs://bucket/safetensors")
        part = copy["w"].read_box((2, 12), [(1, 2), (0, 6)])
        assert part.tolist() == [[12, 13, 14, 15, 16, 17]]
        try:
            directory.open_directory("gs://bucket/nothing")
        except tensors.WeightsError as error:
            assert "does not exist or is empty" in str(error)
        else:
            raise AssertionError
    """
    run_on_object_store(object_store, ["-c", textwrap.dedent(code)])
    assert object_store.unknown == object_store.refused == []
    written = safetensors.numpy.load(object_store.read("safetensors/model.safetensors"))
    np.testing.assert_array_equal(written["w"], np.arange(24.0).reshape(4, 6))
