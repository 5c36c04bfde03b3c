"""Reading out of a token cache: from object stores, and with damage."""

import textwrap

import numpy as np
import pytest

from teacherlm_jax.data import token_cache
from teacherlm_jax.data.cached_examples import CachedExamples, DamagedCacheError, NumberedIds
from teacherlm_jax.data.token_cache import cached_table
from tests.data.test_token_cache import manifest_of, rows_of, task_of
from tests.object_store import FakeObjectStore, run_on_object_store

COLORS = "teacherlm_test_colors"


def test_ids_are_numbered():
    ids = NumberedIds("task/train", 12)
    assert len(ids) == 12 and [*ids] == [f"task/train:{index}" for index in range(12)]
    assert ids[-1] == "task/train:11" and ids[3:5] == ["task/train:3", "task/train:4"]
    for index in (12, -13):
        with pytest.raises(IndexError, match=f"task/train has 12 examples, none of number {index}"):
            ids[index]


def test_examples_are_found_by_place_and_in_slices(tmp_path):
    rows = rows_of(30)
    examples = cached_table(task_of(rows), "train", tmp_path).examples
    assert isinstance(examples, CachedExamples) and len(examples) == 30
    assert examples[-1].targets.tolist() == rows[29]["targets"].tolist()
    assert [e.example_id[-2:] for e in examples[10:14:2]] == ["10", "12"]
    assert examples.__getitems__([]) == []
    with pytest.raises(IndexError):
        examples[30]
    np.testing.assert_array_equal(examples[7].inputs, rows[7]["inputs"])


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(token_cache, "SHARD_BYTES", 300)
    task = task_of(rows_of(100))
    cached_table(task, "train", tmp_path)
    folder = tmp_path / task.name / "train"
    shard = folder / manifest_of(folder)["shards"][1]["name"]
    content = shard.read_bytes()

    shard.write_bytes(content[:-1])
    with pytest.raises(DamagedCacheError, match=rf"{shard}.*has {len(content) - 1} bytes.*Delete"):
        cached_table(task, "train", tmp_path)
    shard.unlink()
    with pytest.raises(DamagedCacheError, match=rf"{shard}.*is missing"):
        cached_table(task, "train", tmp_path)
    # Of the right size: found when it is read.
    shard.write_bytes(content[:70] + bytes([content[70] ^ 255]) + content[71:])
    table = cached_table(task, "train", tmp_path)
    with pytest.raises(DamagedCacheError, match=rf"{shard}.*content is not what was written"):
        table.read(range(100))
    shard.write_bytes(content)

    lengths = folder / token_cache.LENGTHS_NAME
    lengths.write_bytes(lengths.read_bytes()[:-4] + b"abcd")
    with pytest.raises(DamagedCacheError, match=r"lengths.npy' is torn.*Delete that folder"):
        cached_table(task, "train", tmp_path)


_HOST = """
    from teacherlm_jax.partitioning import hosts

    hosts.initialize_from_environment()

    import jax
    from teacherlm_jax.data import pipeline, token_cache
    from tests.data import test_token_cache, tiny_tasks
    import seqio

    token_cache.SHARD_BYTES = 400
    task = seqio.TaskRegistry.get("teacherlm_test_colors")
    table = token_cache.cached_table(task, "train", "gs://bucket/tokens")
    test_token_cache.assert_same_table(table, pipeline.load_table(task, "train"))
    test_token_cache.assert_same_table(table, pipeline.load_table(task, "train"))
    print("host", jax.process_index(), "of", jax.process_count(), "is content")
"""


def test_hosts_share_a_cache_on_an_object_store(object_store: FakeObjectStore):
    launcher = ["launch/local_launch.py", "--devices_per_process=1", "--", "python", "-c"]
    out = run_on_object_store(object_store, [*launcher, textwrap.dedent(_HOST)]).stdout
    assert all(f"host {host} of 2 is content" in out for host in range(2))
    folder = f"tokens/{COLORS}/train"
    shards = [name for name in object_store.names() if name.endswith(".array_record")]
    assert len(shards) > 1 and all(name.startswith(folder) for name in shards)
    assert f"{folder}/manifest.json.complete" in object_store.names()
    # The first host wrote each object once; each host fetched each shard once.
    assert object_store.overwritten == object_store.refused == object_store.unknown == []
    for name in shards:
        reads = [path for method, path in object_store.requests if is_download(method, path, name)]
        assert len(reads) == 2


def is_download(method, path, name):
    is_read = method == "GET" and path.startswith("/download/")
    return is_read and path.partition("?")[0].endswith(name.replace("/", "%2F"))
