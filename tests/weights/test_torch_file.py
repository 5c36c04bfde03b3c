import collections
import os
import pickle
import random
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch

from teacherlm_jax.weights import tensors, torch_file
from teacherlm_jax.weights.tensors import WeightsError


def state_dict():
    """Tensors of each dtype, tied, sliced, transposed, without elements and without axes."""
    bits = torch.from_numpy(np.arange(2**16, dtype=np.uint16)).reshape(64, 1024)
    weight = torch.arange(24.0).reshape(4, 6)
    found = collections.OrderedDict(
        every_bfloat16=bits.view(torch.bfloat16),
        every_float16=bits.view(torch.float16).clone(),
        embedding=torch.nn.Parameter(weight),
        lm_head=weight,
        rows=weight[1:3],
        column=weight[:, 2],
        transposed=weight.t(),
        mask=torch.ones(3, 3, dtype=torch.bool).tril(),
        scalar=torch.tensor(5),
        empty=torch.zeros(0, 4),
        one=weight.t()[2:3, 1:2],
    )
    for dtype in (torch.float64, torch.int32, torch.int16, torch.int8, torch.uint8):
        found[str(dtype)] = torch.arange(5).to(dtype)
    found._metadata = {"": {"version": 1}}
    return found


def bits_of(tensor):
    tensor = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
    return bytes(tensor.reshape(-1).view(torch.uint8).numpy()) if tensor.numel() else b""


def rewritten(path, change, **how):
    """Writes a torch file's zip anew: change(name, content) -> content, or None to leave it out."""
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in entries:
            if (content := change(name, content)) is not None:
                with archive.open(name, "w", force_zip64=True) as stream:
                    stream.write(content)
    return path


def with_pickle(path, content):
    """A torch file with a storage of six floats under the key "0", and any pickle."""
    torch.save({"w": torch.arange(6.0)}, path)
    return rewritten(path, lambda name, old: content if name.endswith("data.pkl") else old)


# Reading


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_what_torch_saved(tmp_path, protocol):
    path = tmp_path / "pytorch_model.bin"
    torch.save(state_dict(), path, pickle_protocol=protocol)
    found = torch_file.read_torch_file(path)
    wanted = torch.load(path, weights_only=False)
    assert [*found] == [*wanted]
    for name, tensor in wanted.items():
        read = found[name].read()
        assert str(read.dtype) == str(tensor.dtype).removeprefix("torch."), name
        assert found[name].shape == read.shape == tuple(tensor.shape)
        assert read.tobytes() == bits_of(tensor), name
    assert found["every_bfloat16"].dtype == ml_dtypes.bfloat16
    assert found["lm_head"].offset == found["embedding"].offset
    assert [name for name in found if found[name].strides] == ["column", "transposed"]


def test_reads_the_state_dict_of_a_module(tmp_path):
    module = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.LayerNorm(4)).half()
    torch.save(module.state_dict(), tmp_path / "x.bin")
    found = torch_file.read_torch_file(tmp_path / "x.bin")
    for name, tensor in module.state_dict().items():
        assert found.pop(name).read().tobytes() == bits_of(tensor)
    assert not found


def test_reads_boxes_in_place(tmp_path):
    path = tmp_path / "x.bin"
    array = np.arange(64 * 480, dtype=np.int32).reshape(64, 480)
    torch.save({"pad": torch.zeros(7), "w": torch.from_numpy(array)[8:]}, path)
    tensor = torch_file.read_torch_file(path)["w"]
    before = tensors.bytes_read.total
    assert (tensor.read_box((56, 480), [(7, 14), slice(None)]) == array[15:22]).all()
    assert tensors.bytes_read.total - before == tensor.nbytes // 8
    chance = random.Random(0)
    for _ in range(20):
        start, stop = sorted(chance.sample(range(57), 2))
        box = [slice(start, stop), slice(1, 3), slice(None, chance.randrange(1, 41))]
        read = tensor.read_box((56, 12, 40), box)
        assert (read == array[8:].reshape(56, 12, 40)[tuple(box)]).all()


def test_the_pickle_alone_is_read(tmp_path, monkeypatch):
    torch.save(state_dict(), tmp_path / "x.bin")
    monkeypatch.setattr(tensors.ByteReader, "read_into", None)
    assert len(torch_file.read_torch_file(tmp_path / "x.bin")) == len(state_dict())


def test_zip64_entries_and_any_folder_are_read(tmp_path):
    torch.save(state_dict(), tmp_path / "x.bin")
    path = rewritten(tmp_path / "x.bin", lambda _, content: content)
    (tmp_path / "renamed.bin").write_bytes(path.read_bytes())
    found = torch_file.read_torch_file(tmp_path / "renamed.bin")
    for name, tensor in state_dict().items():
        assert found[name].read().tobytes() == bits_of(tensor)


# Damaged files and other formats


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    path = tmp_path / "x.bin"
    torch.save({"w": torch.arange(6.0)}, path)
    content = path.read_bytes()
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(WeightsError, match=r"x\.bin.*Download it again") as caught:
            torch_file.read_torch_file(path)
        assert size < 4 or f"has {size} bytes and no directory at its end" in str(caught.value)


def test_a_file_with_any_byte_changed_is_refused_or_read(tmp_path):
    path = tmp_path / "x.bin"
    torch.save({"w": torch.arange(6.0), "v": torch.ones(2, 3).t()}, path)
    content = path.read_bytes()
    chance = random.Random(0)
    refused = 0
    for _ in range(1500):
        changed = bytearray(content)
        for _ in range(chance.choice([1, 1, 4])):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path.write_bytes(changed)
        try:
            for tensor in torch_file.read_torch_file(path).values():
                tensor.read()
        except WeightsError:
            refused += 1
    assert 200 < refused < 1400


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        torch_file.read_torch_file(tmp_path / "x.bin")


def test_other_formats(tmp_path):
    path = tmp_path / "x.bin"
    torch.save({"w": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"before version 1\.6.*torch\.save\(.*safetensors"):
        torch_file.read_torch_file(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(WeightsError, match="pointer of Git LFS"):
        torch_file.read_torch_file(path)
    path.write_text("<html>")
    with pytest.raises(WeightsError, match=r"\(6 bytes\) is no file of torch\.save.*b'<html>'"):
        torch_file.read_torch_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "")
    with pytest.raises(WeightsError, match=r"zip file in which \['word/document\.xml'\] lie"):
        torch_file.read_torch_file(path)


def test_torchscript_is_refused(tmp_path):
    torch.save({"w": torch.arange(6.0)}, tmp_path / "x.bin")
    with zipfile.ZipFile(tmp_path / "x.bin", "a") as archive:
        archive.writestr("x/constants.pkl", b"")
    with pytest.raises(WeightsError, match="is a TorchScript program, not a state dict"):
        torch_file.read_torch_file(tmp_path / "x.bin")


@pytest.mark.parametrize(
    "part, change, error",
    [
        ("data/0", lambda _: None, "'w' of .* lies in the entry 'x/data/0', which is not there"),
        ("data/0", lambda old: old[:-4], "of 6 elements of 4 bytes, but .* 'x/data/0' has 20 byt"),
        ("data.pkl", lambda old: old[:-20], "damaged pickle"),
        ("data.pkl", lambda old: b"", "damaged pickle"),
        ("data.pkl", lambda _: None, "no file of torch.save"),
        ("byteorder", lambda _: b"big", "byte order b'big'; only little-endian"),
    ],
)
def test_damaged_entries(tmp_path, part, change, error):
    torch.save({"w": torch.arange(6.0)}, tmp_path / "x.bin")
    path = rewritten(
        tmp_path / "x.bin", lambda name, old: change(old) if name == f"x/{part}" else old
    )
    with pytest.raises(WeightsError, match=error):
        torch_file.read_torch_file(path)


def test_compressed_encrypted_and_double_entries(tmp_path):
    path = tmp_path / "x.bin"
    torch.save({"w": torch.zeros(100)}, path)
    content = path.read_bytes()
    rewritten(path, lambda _, old: old, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match=r"the entry 'x/.*' of .* is compressed or encrypted"):
        torch_file.read_torch_file(path)
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/data/0", b"")
    with pytest.raises(WeightsError, match="holds 'x/data/0' twice"):
        torch_file.read_torch_file(path)
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"x/data/0"))
    changed = bytearray(content)
    changed[entry + 8] |= 1
    path.write_bytes(changed)
    with pytest.raises(WeightsError, match=r"the entry 'x/data/0' of .* or encrypted"):
        torch_file.read_torch_file(path)
    changed = bytearray(content)
    changed[entry + 42 : entry + 46] = (2**31).to_bytes(4, "little")
    path.write_bytes(changed)
    with pytest.raises(WeightsError, match=r"'x/data/0' of .* from byte 2147483648 .* has not"):
        torch_file.read_torch_file(path)


# More than tensors


@pytest.mark.parametrize(
    "value, error",
    [
        ({"state_dict": {"w": torch.ones(2)}}, "holds a dict under 'state_dict'; .* state dict al"),
        ({"w": torch.ones(2), "step": 3}, "holds 3 under 'step'; a state dict holds tensors"),
        ({3: torch.ones(2)}, "has the key 3 in a dict; names are texts"),
        ({(1, 2): torch.ones(2)}, r"has the key \(1, 2\)"),
        (torch.ones(2), "holds a PickledTensor instead of a state dict"),
        ([torch.ones(2)], "uses the pickle opcode EMPTY_LIST at byte"),
        ({"w": torch.ones(1).expand(5)}, "'w' of .* has 5 elements.*contiguous"),
        ({"w": torch.zeros(2, dtype=torch.uint16)}, r"asks for 'torch\._utils\._rebuild_tensor_v3"),
        ({"w": torch.zeros(2).to("meta")}, "asks for 'torch._utils._rebuild_meta_tensor"),
        (torch.nn.Linear(2, 2), "asks for 'torch.nn.modules.linear.Linear'"),
        ({"w": np.zeros(2)}, "asks for 'numpy"),
    ],
)
def test_what_torch_saves_beside_state_dicts(tmp_path, value, error):
    torch.save(value, tmp_path / "x.bin")
    with pytest.raises(WeightsError, match=error) as caught:
        torch_file.read_torch_file(tmp_path / "x.bin")
    assert "x.bin" in str(caught.value)


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "function, arguments, name",
    [
        (os.system, ["touch {}"], f"{os.system.__module__}.system"),
        (eval, ["open('{}', 'w')"], "eval"),
        (exec, ["open('{}', 'w')"], "exec"),
        (getattr, ["", "join"], "getattr"),
        (os.mkdir, ["{}"], f"{os.mkdir.__module__}.mkdir"),
        (torch.load, ["{}"], "torch.serialization.load"),
        (torch.save, [1, "{}"], "torch.serialization.save"),
        (pickle.loads, [b""], "pickle.loads"),
        (collections.deque, [], "collections.deque"),
        (torch.Size, [[1]], "torch.Size"),  # torch.load would allow these two.
        (torch.device, ["cpu"], "torch.device"),
    ],
)
def test_calls_are_refused_before_they_run(tmp_path, protocol, function, arguments, name):
    made = tmp_path / "made"
    arguments = [a.format(made) if isinstance(a, str) else a for a in arguments]
    hostile = {"w": Call(function, *arguments)}
    path = with_pickle(tmp_path / "x.bin", pickle.dumps(hostile, protocol))
    with pytest.raises(WeightsError, match=rf"asks for '[\w.]*{name}'.*Nothing of it was run"):
        torch_file.read_torch_file(path)
    assert not made.exists()


# Opcodes by hand. A tensor is FLOATS, then the tuple that TENSOR calls _rebuild_tensor_v2 with.
STORAGE = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\6tQ"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
HOOKS = b"\x89ccollections\nOrderedDict\n)R"
KEY = b"}X\1\0\0\0w"


def tensor_code(storage=STORAGE, offset=b"K\0", shape=b"K\2K\3\x86", strides=b"K\3K\1\x86"):
    return REBUILD + b"(" + storage + offset + shape + strides + HOOKS + b"tR"


def test_the_opcodes_below_are_a_state_dict(tmp_path):
    path = with_pickle(tmp_path / "x.bin", KEY + tensor_code() + b"s.")
    found = torch_file.read_torch_file(path)
    np.testing.assert_array_equal(found["w"].read(), np.arange(6.0).reshape(2, 3))


NEGATIVE = b"J\xff\xff\xff\xff"
HUGE = b"\x8a\x08" + b"\xff" * 7 + b"\x0f"
DEEP = b")" + b"\x85" * 200_000


@pytest.mark.parametrize(
    "content, error",
    [
        # Sizes.
        (KEY + tensor_code(offset=NEGATIVE) + b"s.", "has the offset -1 and"),
        (KEY + tensor_code(offset=b"K\1") + b"s.", "up to number 6 of a storage of 6"),
        (KEY + tensor_code(offset=b"]") + b"s.", "opcode EMPTY_LIST"),
        (KEY + tensor_code(offset=b"X\1\0\0\x003") + b"s.", "has the offset '3'"),
        (KEY + tensor_code(shape=NEGATIVE + b"K\3\x86") + b"s.", r"no shape.*\(-1, 3\)"),
        (KEY + tensor_code(shape=b"K\6") + b"s.", "'w' of .* no shape: its header gives 6"),
        (KEY + tensor_code(shape=b"\x88K\3\x86") + b"s.", r"no shape.*\(True, 3\)"),
        (KEY + tensor_code(shape=b"(" + b"K\1" * 65 + b"t") + b"s.", "no shape"),
        (KEY + tensor_code(shape=HUGE + HUGE + b"\x86") + b"s.", "elements, up to number"),
        (KEY + tensor_code(strides=b"K\0K\0\x86", shape=HUGE + HUGE + b"\x86") + b"s.", "expanded"),
        (KEY + tensor_code(strides=NEGATIVE + b"K\1\x86") + b"s.", r"the strides \(-1, 1\)"),
        (KEY + tensor_code(strides=b"K\1\x85") + b"s.", r"the strides \(1,\) for shape \[2, 3\]"),
        (KEY + tensor_code(strides=HUGE + b"K\1\x86") + b"s.", "of a storage of 6"),
        (KEY + tensor_code(STORAGE.replace(b"K\6tQ", NEGATIVE + b"tQ")) + b"s.", "of -1 elements"),
        (KEY + tensor_code(STORAGE.replace(b"K\6tQ", HUGE + b"tQ")) + b"s.", "has 24 bytes"),
        # Storages.
        (KEY + b"K\1Qs.", "refers to 1, which is no storage"),
        (KEY + b"X\1\0\0\x000K\1\x86Qs.", r"refers to \('0', 1\), which is no storage"),
        (KEY + b"P0\ns.", "opcode PERSID"),
        (KEY + tensor_code(STORAGE.replace(b"torch\nFloatStorage", b"os\nsystem")), "'os.system'"),
        (KEY + tensor_code(STORAGE.replace(b"\7\0\0\0storage", b"\3\0\0\0abc")), "no storage"),
        (
            KEY + tensor_code(STORAGE.replace(b"\1\0\0\x000", b"\5\0\0\x00../..")) + b"s.",
            "not there",
        ),
        (KEY + tensor_code(b"K\1") + b"s.", "calls torch._utils._rebuild_tensor_v2 with a tuple"),
        (KEY + STORAGE + b"s.", "holds a Storage under 'w'"),
        # Calls and attributes.
        (KEY + b"K\1)Rs.", r"calls 1 with \(\) that"),
        (KEY + REBUILD + b"K\1Rs.", "calls torch._utils._rebuild_tensor_v2 with 1"),
        (KEY + REBUILD + b"}X\1\0\0\0aK\1sb.", "sets attributes of a _Name"),
        (KEY + REBUILD + b")\x81s.", "opcode NEWOBJ at byte"),
        (KEY + REBUILD + b")}\x92s.", "opcode NEWOBJ_EX"),
        (KEY + b"(ios\nsystem\ns.", "asks for 'os.system'"),
        (KEY + b"(" + REBUILD + b"os.", "opcode OBJ"),
        (KEY + b"\x82\1s.", "opcode EXT1"),
        (KEY + b"K\1K\2\x93s.", "damaged pickle .*a name that is no text"),
        (KEY + DEEP + b"K\2\x93s.", "damaged pickle"),
        # Memory and the stack.
        (DEEP + b"}" + DEEP + b"K\1s.", "has the key a tuple"),
        (KEY + DEEP + b"s.", "holds a tuple under 'w'"),
        (b"(" * 200_000 + b".", "damaged pickle"),
        (b"}r\xff\xff\xff\x7f.", "^$"),
        (b"\x96" + b"\xff" * 7 + b"\x7f.", "damaged pickle|opcode BYTEARRAY8"),
        (b"X\xff\xff\xff\x7fabc", "damaged pickle"),
        (b"h\x05.", "damaged pickle"),
        (b"t.", "damaged pickle"),
        (b"K\1\x87.", "damaged pickle"),
        (b"}}.", "damaged pickle"),
        (b"\xff", "damaged pickle"),
        (KEY + tensor_code() + b"sX\1\0\0\0w" + tensor_code() + b"s.", "names 'w' twice"),
        (b"K\1K\2K\3s.", "sets items of 1, which is no dict"),
        (b"K\1.", "holds 1 instead of a state dict"),
    ],
)
def test_hostile_pickles(tmp_path, content, error):
    path = with_pickle(tmp_path / "x.bin", content)
    if error == "^$":
        assert torch_file.read_torch_file(path) == {}
        return
    with pytest.raises(WeightsError, match=error) as caught:
        torch_file.read_torch_file(path)
    assert "x.bin" in str(caught.value)
    assert len(str(caught.value)) < 1000
