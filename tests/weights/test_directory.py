import json

import numpy as np
import pytest
import safetensors.torch
import torch

from teacherlm_jax.weights import directory, tensors
from teacherlm_jax.weights.tensors import WeightsError

FORMATS = ["safetensors", "bin"]
BASES = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}
ARRAYS = {name: torch.full((3, 2), float(i)) for i, name in enumerate("abcd")}


def save(path, names):
    """One file with some of the tensors."""
    found = {name: ARRAYS[name] for name in names}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(found, path)
    else:
        torch.save(found, path)


def shard(kind, number):
    return BASES[kind].replace(".", f"-{number:05d}-of-00002.")


def save_index(folder, kind, weight_map):
    content = weight_map if isinstance(weight_map, str) else json.dumps({"weight_map": weight_map})
    (folder / f"{BASES[kind]}.index.json").write_text(content)


def save_shards(folder, kind, first="ab", second="cd", weight_map=None):
    save(folder / shard(kind, 1), first)
    save(folder / shard(kind, 2), second)
    places = {name: shard(kind, 1) for name in first} | {name: shard(kind, 2) for name in second}
    save_index(folder, kind, places if weight_map is None else weight_map)


def assert_holds(found, names="abcd"):
    assert sorted(found) == [*names]
    assert len(found) == len(names)
    for name, tensor in found.items():
        np.testing.assert_array_equal(tensor.read(), ARRAYS[name].numpy())


@pytest.mark.parametrize("kind", FORMATS)
def test_one_file(tmp_path, kind):
    save(tmp_path / BASES[kind], "abcd")
    for name in ("config.json", "optimizer.bin", "flax_model.msgpack", "tf_model.h5"):
        (tmp_path / name).write_text("not read")
    found = directory.open_directory(tmp_path)
    assert_holds(found)
    assert found.file_names == (BASES[kind],)


@pytest.mark.parametrize("kind", FORMATS)
def test_shards(tmp_path, kind):
    save_shards(tmp_path, kind)
    found = directory.open_directory(str(tmp_path))
    assert_holds(found)
    assert found.file_names == (shard(kind, 1), shard(kind, 2))
    assert found["c"].file.name == shard(kind, 2)
    with pytest.raises(KeyError):
        found["e"]


def test_links_are_followed_as_the_hub_cache_needs(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    save_shards(tmp_path / "blobs", "safetensors")
    for number, file in enumerate(sorted((tmp_path / "blobs").iterdir())):
        file.rename(tmp_path / "blobs" / str(number))
        (tmp_path / "snapshot" / file.name).symlink_to(f"../blobs/{number}")
    assert_holds(directory.open_directory(tmp_path / "snapshot"))


def test_safetensors_come_first_and_whole_files_before_shards(tmp_path):
    save_shards(tmp_path, "bin", "a", "b")
    assert_holds(directory.open_directory(tmp_path), "ab")
    save(tmp_path / BASES["bin"], "abc")
    assert_holds(directory.open_directory(tmp_path), "abc")
    save_shards(tmp_path, "safetensors", "a", "c")
    assert_holds(directory.open_directory(tmp_path), "ac")
    save(tmp_path / BASES["safetensors"], "abcd")
    assert_holds(directory.open_directory(tmp_path), "abcd")


@pytest.mark.parametrize("kind", FORMATS)
def test_headers_alone_are_read(tmp_path, kind, monkeypatch):
    save_shards(tmp_path, kind)
    monkeypatch.setattr(tensors.ByteReader, "read_into", None)
    assert len(directory.open_directory(tmp_path)) == 4


def test_no_directory(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere' does not exist or is empty\. Name the dir"):
        directory.open_directory(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match=r"file' is a file\. Name the directory"):
        directory.open_directory(tmp_path / "file")


def test_no_weights(tmp_path):
    with pytest.raises(WeightsError, match=r"has no weights: it holds nothing, and none of model"):
        directory.open_directory(tmp_path)
    for name in ("config.json", "flax_model.msgpack", "model.fp16.safetensors"):
        (tmp_path / name).write_text("")
    with pytest.raises(
        WeightsError,
        match=r"holds 'config\.json', 'flax_model\.msgpack', 'model\.fp16\.safetensors', and none"
        r" of model\.safetensors, model\.safetensors\.index\.json, pytorch_model\.bin, ",
    ):
        directory.open_directory(tmp_path)


def test_long_lists_are_cut(tmp_path):
    for number in range(15):
        (tmp_path / f"{number:02d}.txt").write_text("")
    with pytest.raises(WeightsError, match=r"'09\.txt' and 5 more, and none of"):
        directory.open_directory(tmp_path)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_missing_shard(tmp_path, kind):
    save_shards(tmp_path, kind)
    (tmp_path / shard(kind, 2)).unlink()
    with pytest.raises(
        WeightsError,
        match=rf"index\.json' names '{shard(kind, 2)}', which is not there, for 2 tensors: 'c', ",
    ):
        directory.open_directory(tmp_path)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_shard_cut_off(tmp_path, kind):
    save_shards(tmp_path, kind)
    path = tmp_path / shard(kind, 2)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match=rf"{shard(kind, 2)}' .*cut off.*Download it again"):
        directory.open_directory(tmp_path)


@pytest.mark.parametrize("kind", FORMATS)
def test_index_and_shards_disagree(tmp_path, kind):
    one, two = shard(kind, 1), shard(kind, 2)
    whole = {"a": one, "b": one, "c": two, "d": two}
    for weight_map, error in [
        ({**whole, "e": two}, "1 tensors are listed and in none of its files: 'e'"),
        ({"a": one, "c": two}, "2 tensors are in its files and not listed: 'b', 'd'"),
        ({**whole, "b": two}, "1 tensors lie in another file than listed: 'b'"),
    ]:
        save_shards(tmp_path, kind, weight_map=weight_map)
        with pytest.raises(WeightsError, match=rf"index\.json' and its files disagree: {error}"):
            directory.open_directory(tmp_path)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_tensor_in_two_shards(tmp_path, kind):
    save_shards(tmp_path, kind, "abc", "cd")
    with pytest.raises(
        WeightsError, match=rf"'c' lies both in '.*{shard(kind, 1)}' and in '.*{shard(kind, 2)}'"
    ):
        directory.open_directory(tmp_path)


@pytest.mark.parametrize(
    "index, error",
    [
        ("{", "model.safetensors.index.json' is no JSON"),
        ("", "is no JSON"),
        ("[]", r"is \[\] where there should be a JSON object"),
        ("{}", "has no weight_map from tensors to files, but None"),
        ('{"weight_map": ["a"]}', r"has no weight_map .*, but \['a'\]"),
        ('{"weight_map": {}}', "has no weight_map .*, but a dict"),
        ('{"weight_map": {"a": "1.safetensors", "a": "2.safetensors"}}', "names 'a' twice"),
        ({"a": "../model.safetensors"}, r"says that 'a' lies in '\.\./model\.safetensors'; that"),
        ({"a": "/etc/x.safetensors"}, "without a folder"),
        ({"a": "..\\x.safetensors"}, "without a folder"),
        ({"a": "x\0.safetensors"}, "without a folder"),
        ({"a": ".."}, "name of a .*safetensors file"),
        ({"a": ".safetensors"}, "name of a .*safetensors file"),
        ({"a": "pytorch_model.bin"}, "name of a .*safetensors file"),
        ({"a": 3}, "says that 'a' lies in 3"),
        ({"a": None}, "says that 'a' lies in None"),
    ],
)
def test_a_damaged_index(tmp_path, index, error):
    save_index(tmp_path, "safetensors", index)
    with pytest.raises(WeightsError, match=error):
        directory.open_directory(tmp_path)
