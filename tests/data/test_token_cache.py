"""Tokens written once: the same as in memory, whatever happens while they are written."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import seqio
import tensorflow as tf

from teacherlm_jax.data import ledger, pipeline, task_settings, token_cache, vocabularies
from teacherlm_jax.data.batches import MixtureBatches, RowFormat
from teacherlm_jax.data.token_cache import StaleCacheError, cached_table
from tests.data import tiny_tasks
from tests.data.tiny_tables import same
from tests.source import ROOT

COLORS = "teacherlm_test_colors"


def task_of(rows, vocabulary=None, name="teacherlm_test_cached", features=("inputs", "targets")):
    """A task of rows of token ids; not registered."""
    spec = dict.fromkeys(features, tf.TensorSpec([None], tf.int32))
    feature = seqio.Feature(vocabulary or seqio.ByteVocabulary(), add_eos=False)
    return seqio.Task(
        name,
        source=seqio.FunctionDataSource(
            lambda split, shuffle_files, seed=None: tf.data.Dataset.from_generator(
                lambda: ({key: row[key] for key in features} for row in rows), output_signature=spec
            ),
            splits=["train", "odd/split"],
        ),
        preprocessors=[],
        output_features=dict.fromkeys(features, feature),
    )


def rows_of(count, highest=200, seed=0):
    random = np.random.default_rng(seed)
    return [
        {
            "inputs": random.integers(0, highest, random.integers(0, 6)),
            "targets": random.integers(0, highest, random.integers(1, 9)),
        }
        for _ in range(count)
    ]


def assert_same_table(table, other):
    assert table.name == other.name and len(table) == len(other)
    np.testing.assert_array_equal(table.lengths_N2, other.lengths_N2)
    assert table.lengths_N2.dtype == other.lengths_N2.dtype == np.int32
    assert table.content_digest == other.content_digest
    for index, (example, expected) in enumerate(
        zip(table.read(range(len(table))), other.examples, strict=True)
    ):
        assert example.example_id == expected.example_id == table.example_id(index)
        for part, wanted in zip(
            (example.inputs, example.targets), (expected.inputs, expected.targets), strict=True
        ):
            assert part.tolist() == wanted.tolist() and part.dtype == np.int32


def manifest_of(folder):
    return json.loads(ledger.read_text(folder / token_cache.MANIFEST_NAME))


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(token_cache, "SHARD_BYTES", 300)


@pytest.mark.parametrize(("vocab_size", "dtype"), [(2**16, "<u2"), (2**16 + 1, "<i4")])
def test_a_cache_holds_what_memory_would(tmp_path, small_shards, vocab_size, dtype):
    rows = rows_of(100, vocab_size)
    rows[50]["targets"][0] = vocab_size - 1
    task = task_of(rows, seqio.PassThroughVocabulary(vocab_size))
    table = cached_table(task, "train", tmp_path)
    assert_same_table(table, pipeline.load_table(task, "train"))
    manifest = manifest_of(tmp_path / task.name / "train")
    assert manifest["settings"]["dtype"] == dtype and len(manifest["shards"]) > 3
    assert [example.example_id for example in table.examples[97:]] == [
        f"{task.name}/train:{index}" for index in (97, 98, 99)
    ]
    assert table.examples[-1].targets.tolist() == rows[-1]["targets"].tolist()


def test_a_cache_is_written_once_and_read_as_needed(tmp_path, small_shards, monkeypatch):
    task = task_of(rows_of(100))
    cached_table(task, "train", tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    asked = []
    tokenized_rows = token_cache.tokenized_rows
    monkeypatch.setattr(
        token_cache,
        "tokenized_rows",
        lambda *settings: asked.append(settings[2:]) or tokenized_rows(*settings),
    )
    table = cached_table(task, "train", tmp_path)
    assert asked == [(token_cache.FIRST_ROWS,)]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    # A plan, checks and a digest open no shard.
    batches = MixtureBatches([table], [1.0], RowFormat(32, pack=True), 4, 0)
    assert len(table.content_digest) == 64 and batches.steps is None
    assert table.examples._source is None
    in_memory = MixtureBatches(
        [pipeline.load_table(task, "train")], [1.0], RowFormat(32, pack=True), 4, 0
    )
    for step in (0, 3, 40):
        ids, arrays = batches(step, [1, 2])
        expected_ids, expected = in_memory(step, [1, 2])
        assert ids == expected_ids
        same(arrays, expected)


@pytest.mark.parametrize("features", [("targets",), ("inputs", "targets")])
def test_a_task_may_be_without_inputs_or_without_rows(tmp_path, features):
    for count in (0, 1, 5):
        task = task_of(rows_of(count), name=f"teacherlm_test_{count}", features=features)
        table = cached_table(task, "train", tmp_path)
        assert_same_table(table, pipeline.load_table(task, "train"))
        assert_same_table(cached_table(task, "train", tmp_path), table)


def test_names_never_collide(tmp_path):
    names = ["a/b", "a%2Fb", "a:b", "a_b", "..", ".", "%2E", "A" * 300, "A" * 299 + "B", "é"]
    folders = {token_cache.escaped(name) for name in names}
    assert len(folders) == len(names)
    for folder in folders:
        assert "/" not in folder and folder.strip(".") and len(folder) < 250
        (tmp_path / folder).mkdir()
    task = task_of(rows_of(3), name="teacherlm_test_odd:name")
    cached_table(task, "odd/split", tmp_path)
    assert (tmp_path / "teacherlm_test_odd%3Aname" / "odd%2Fsplit" / "manifest.json").exists()
    with pytest.raises(ValueError, match="has no split 'dev'"):
        cached_table(task, "dev", tmp_path)


def test_a_token_that_its_vocabulary_has_no_room_for_is_named(tmp_path):
    for wrong in (2**16, -1):
        rows = rows_of(5)
        rows[3]["targets"][0] = wrong
        with pytest.raises(ValueError, match=r"cached/train:3 has token id .* go from 0 to 258"):
            cached_table(task_of(rows), "train", tmp_path)


# Stale


def test_a_cache_of_another_vocabulary_or_feature_is_refused(tmp_path):
    rows = rows_of(40)
    task = task_of(rows)
    cached_table(task, "train", tmp_path)
    feature = task.output_features["targets"]
    words = ["a", "b", "c"]
    changes = {
        "targets add_eos: the cache has False, the task True": {"add_eos": True},
        r"targets vocabulary: .*ByteVocabulary of 259, special .*PassThrough": {
            "vocabulary": seqio.PassThroughVocabulary(259)
        },
        "vocab_size: the cache has 259, the task 260": {"vocabulary": seqio.ByteVocabulary(1)},
        "targets vocabulary: .*WordVocabulary of 6": {
            "vocabulary": vocabularies.WordVocabulary(words)
        },
    }
    for message, change in changes.items():
        task.output_features["targets"] = dataclasses.replace(feature, **change)
        with pytest.raises(StaleCacheError, match=rf"(?s){message}.*Delete that folder, or name"):
            cached_table(task, "train", tmp_path)


def test_vocabularies_of_one_size_are_told_apart_by_their_words():
    one, same_words, other = (
        vocabularies.WordVocabulary(words) for words in (["a", "b"], ["a", "b"], ["b", "a"])
    )
    fingerprints = [task_settings.vocabulary_fingerprint(v) for v in (one, same_words, other)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_a_cache_of_other_text_is_refused(tmp_path):
    rows = rows_of(40)
    cached_table(task_of(rows), "train", tmp_path)
    changed = [dict(row) for row in rows]
    changed[31] = {"inputs": rows[31]["targets"], "targets": rows[31]["inputs"]}
    with pytest.raises(StaleCacheError, match=r"first 32 rows .* are not those of the cache"):
        cached_table(task_of(changed), "train", tmp_path)
    with pytest.raises(StaleCacheError, match="first 32 rows"):
        cached_table(task_of(rows[:31]), "train", tmp_path)


# Kills


_KILLS = """
    import os, signal, sys

    from teacherlm_jax.data import ledger, token_cache
    from tests.data import tiny_tasks
    import seqio

    task = seqio.TaskRegistry.get("teacherlm_test_colors")
    token_cache.SHARD_BYTES = 400
    # Made once for all, since a child may not use TensorFlow after its parent did.
    rows = list(token_cache.tokenized_rows(task, "train"))
    token_cache.tokenized_rows = lambda task, split, limit=None: iter(rows[:limit])
    write_bytes = ledger._write_bytes

    def child(folder, kill):
        writes = []
        def write(path, data):
            writes.append(path)
            if len(writes) > kill:
                write_bytes(path, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            write_bytes(path, data)
        ledger._write_bytes = write
        token_cache.cached_table(task, "train", folder)

    def run(folder, kill):
        pid = os.fork()
        if pid == 0:
            try:
                child(folder, kill)
                os._exit(0)
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    for kill in range(100):
        folder = f"{sys.argv[1]}/{kill}"
        first = run(folder, kill)
        print(first, run(folder, 1000))
        if first == 0:
            break
"""


def test_kills_while_a_cache_is_written_leave_one_to_write_again(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_KILLS), str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    codes = finished.stdout.splitlines()
    (task,) = [t for t in seqio.get_mixture_or_task(tiny_tasks.MIXTURE).tasks if t.name == COLORS]
    expected = pipeline.load_table(task, "train")
    manifest = manifest_of(tmp_path / "0" / COLORS / "train")
    # Each file was torn, and each marker: shards, lengths and manifest.
    assert len(manifest["shards"]) > 1
    assert codes == ["-9 0"] * 2 * (len(manifest["shards"]) + 2) + ["0 0"]
    for kill in range(len(codes)):
        assert_same_table(cached_table(task, "train", tmp_path / str(kill)), expected)


def test_what_a_killed_writer_left_of_other_text_is_written_over(tmp_path, small_shards):
    rows = rows_of(100)
    cached_table(task_of(rows), "train", tmp_path)
    folder = tmp_path / "teacherlm_test_cached" / "train"
    (folder / "manifest.json.complete").unlink()
    task = task_of(rows_of(60, seed=1))
    assert_same_table(cached_table(task, "train", tmp_path), pipeline.load_table(task, "train"))
    assert_same_table(cached_table(task, "train", tmp_path), pipeline.load_table(task, "train"))
