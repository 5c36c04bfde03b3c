"""The offline cache of seqio: the same whenever it is written, and never taken for whole too early.

Tests of the job need Apache Beam (`pip install -e '.[test,cache]'`), which CI does not install.
"""

import hashlib
import importlib.util
import json

import numpy as np
import pytest
import seqio
import tensorflow as tf

from teacherlm_jax.data import default_vocabulary, pipeline, seqio_cache
from teacherlm_jax.data.seqio_cache import Settings, StaleSeqioCacheError
from teacherlm_jax.data.vocabularies import WordVocabulary

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="Apache Beam is not installed: pip install -e '.[test,cache]'",
)
NAME = "teacherlm_test_cached"
WORDS = WordVocabulary(["red", "is", "not", *map(str, range(60))])
SIZES = {"train": 60, "validation": 3}


class InShards(seqio.FunctionDataSource):
    """Rows in three shards."""

    def list_shards(self, split):
        return [f"{split}-{number}" for number in range(3)]

    def get_dataset(self, split="train", shuffle=True, seed=None, shard_info=None, **unused):
        rows = self._dataset_fn(split, shuffle)
        return rows if shard_info is None else rows.shard(shard_info.num_shards, shard_info.index)


def rows(split: str, shuffle_files: bool, seed=None) -> tf.data.Dataset:
    numbers = [str(number) for number in range(SIZES[split])]
    return tf.data.Dataset.from_tensor_slices(
        {
            "id": [f"id-{number}" for number in numbers],
            "inputs": [f"red is {number}" if int(number) % 7 else "" for number in numbers],
            "targets": [f"not {number}" for number in numbers],
        }
    )


@pytest.fixture
def task(monkeypatch):
    """A task as those of the catalogue; seqio forgets where caches lie afterwards."""
    monkeypatch.setattr(seqio.utils, "_GLOBAL_CACHE_DIRECTORIES", [])
    default_vocabulary.forget()
    default_vocabulary.choose(WORDS)
    feature = seqio.Feature(default_vocabulary.DEFAULT)
    yield seqio.TaskRegistry.add(
        NAME,
        source=InShards(rows, splits=tuple(SIZES)),
        output_features={"inputs": seqio.Feature(feature.vocabulary, False), "targets": feature},
        preprocessors=[
            seqio.preprocessors.tokenize,
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos,
        ],
    )
    seqio.TaskRegistry.remove(NAME)
    default_vocabulary.forget()


def files_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def tokens_of(examples) -> list[tuple]:
    return [(e.inputs.tolist(), e.targets.tolist()) for e in examples]


# The job


@needs_beam
def test_a_cache_is_the_same_whenever_it_is_written(task, tmp_path):
    for name in ("one", "two"):
        settings = Settings(str(tmp_path / name), shards=4)
        assert seqio_cache.write([task], settings) == {NAME: "written"}
    one, two = files_of(tmp_path / "one" / NAME), files_of(tmp_path / "two" / NAME)
    assert one == two
    names = {f"train.tfrecord-{number:05d}-of-00004" for number in range(4)}
    assert names < one.keys() and {"COMPLETED", "info.train.json", "stats.train.json"} < one.keys()
    stats = json.loads(one["stats.train.json"])
    assert stats["examples"] == 60 and stats["targets_tokens"] == 120
    info = json.loads(one["info.train.json"])
    assert info["num_shards"] == 4 and info["features"]["id"] == {"shape": [], "dtype": "string"}
    assert info["features"]["targets"] == {"shape": [None], "dtype": "int32"}
    seqio_cache.write([task], Settings(str(tmp_path / "three"), shards=4, seed=1))
    assert files_of(tmp_path / "three" / NAME).keys() == one.keys()
    assert files_of(tmp_path / "three" / NAME) != one


@needs_beam
def test_a_cache_is_read_by_seqio_and_by_training(task, tmp_path):
    plain = pipeline.load_table(task, "train").examples
    seqio_cache.write([task], Settings(str(tmp_path)))
    seqio.add_global_cache_dirs([str(tmp_path)])
    read = list(task.get_dataset(None, "train", use_cached=True, shuffle=False).as_numpy_iterator())
    assert sorted(row["id"] for row in read) == sorted(f"id-{n}".encode() for n in range(60))
    assert read[0]["targets"].dtype == np.int32
    cached = pipeline.load_table(task, "train").examples
    assert sorted(tokens_of(cached)) == sorted(tokens_of(plain))
    assert tokens_of(cached) == [(r["inputs"].tolist(), r["targets"].tolist()) for r in read]
    assert tokens_of(cached) != tokens_of(plain)  # The cache is shuffled.
    assert all(example.targets[-1] == WORDS.eos_id for example in cached)
    assert len(pipeline.load_table(task, "validation")) == 3
    # Other tokens under the same name are refused, where plain seqio would read them.
    default_vocabulary.forget()
    default_vocabulary.choose(seqio.ByteVocabulary())
    with pytest.raises(StaleSeqioCacheError, match="inputs vocabulary"):
        pipeline.load_table(task, "train")


@needs_beam
def test_what_is_there_is_kept_and_what_is_not_whole_is_written_anew(task, tmp_path):
    settings = Settings(str(tmp_path), shards=2)
    seqio_cache.write([task], settings)
    good = files_of(tmp_path / NAME)
    assert seqio_cache.write([task], settings) == {NAME: "there already"}
    (tmp_path / NAME / "COMPLETED").unlink()
    (tmp_path / NAME / "train.tfrecord-00000-of-00002").write_bytes(b"half")
    (tmp_path / NAME / "train.tfrecord-00007-of-00064").write_bytes(b"of another try")
    seqio.add_global_cache_dirs([str(tmp_path)])
    assert task.cache_dir is None
    assert seqio_cache.write([task], settings) == {NAME: "written"}
    assert files_of(tmp_path / NAME) == good
    changed = Settings(str(tmp_path), shards=3, overwrite=True)
    assert seqio_cache.write([task], changed) == {NAME: "written"}
    assert seqio_cache.write([task], changed) == {NAME: "there already"}


@needs_beam
def test_a_failing_job_completes_nothing(task, tmp_path, monkeypatch):
    def fail(split, shuffle_files, seed=None):
        raise ValueError("no rows today")

    task.source._dataset_fn = fail
    with pytest.raises(Exception, match="no rows today"):
        seqio_cache.write([task], Settings(str(tmp_path)))
    assert not seqio_cache.is_complete(tmp_path / NAME)


# Without Beam


def records(count: int) -> list[tuple[str, bytes]]:
    return [(seqio_cache.place_of(0, "t", 0, n), f"record {n}".encode()) for n in range(count)]


def test_a_shard_does_not_depend_on_the_order_of_arrival(tmp_path):
    written = [
        seqio_cache.write_shard(str(tmp_path / name), 5, 3, order)
        for name, order in (("a", records(9)), ("b", [None, *records(9)[::-1]]))
    ]
    assert written[0] == {**written[1], "name": "a-00003-of-00005"}
    path = tmp_path / "a-00003-of-00005"
    assert written[0]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    found = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    assert found == [record for _, record in sorted(records(9))] and written[0]["examples"] == 9
    assert found != [record for _, record in records(9)]


def test_an_empty_shard_is_a_file(tmp_path):
    written = seqio_cache.write_shard(str(tmp_path / "a"), 2, 0, [None])
    assert written["examples"] == 0 and (tmp_path / "a-00000-of-00002").exists()


def test_places_are_apart():
    places = {
        seqio_cache.place_of(seed, task, shard, index)
        for seed in (0, 1)
        for task in ("a", "b")
        for shard in (0, 1)
        for index in range(50)
    }
    assert len(places) == 400
    shards = [int(seqio_cache.place_of(0, "t", 0, n), 16) % 4 for n in range(400)]
    assert min(np.bincount(shards)) > 70


def made_by_hand(task, folder, examples: int = 2) -> None:
    """What a finished job leaves of both splits, but for COMPLETED."""
    folder.mkdir(parents=True)
    for split in SIZES:
        prefix = seqio.get_cached_tfrecord_prefix(str(folder), split)
        shards = [seqio_cache.write_shard(prefix, 1, 0, records(2))]
        (folder / f"stats.{split}.json").write_text(json.dumps({"examples": examples}))
        (folder / f"shards.{split}.json").write_text(json.dumps(shards))


def test_only_what_is_whole_is_completed(task, tmp_path):
    settings, folder = Settings(str(tmp_path), shards=1), tmp_path / NAME
    with pytest.raises(ValueError, match="the job left no"):
        seqio_cache.complete(task, settings)
    made_by_hand(task, folder)
    (folder / "train.tfrecord-00000-of-00001").write_bytes(b"half")
    with pytest.raises(ValueError, match="are not as they were written"):
        seqio_cache.complete(task, settings)
    seqio_cache.clear(folder)
    made_by_hand(task, folder, examples=3)
    with pytest.raises(ValueError, match="hold 2 of 3 examples"):
        seqio_cache.complete(task, settings)
    seqio_cache.clear(folder)
    made_by_hand(task, folder, examples=0)
    with pytest.raises(ValueError, match="gives no examples"):
        seqio_cache.complete(task, settings)
    assert not seqio_cache.is_complete(folder)
    seqio_cache.clear(folder)
    made_by_hand(task, folder)
    seqio_cache.complete(task, settings)
    assert seqio_cache.is_complete(folder)
    assert seqio_cache.write([task], settings) == {NAME: "there already"}
    seqio_cache.check(task, folder)


def test_a_cache_of_another_seed_or_number_of_shards_is_refused(task, tmp_path):
    settings = Settings(str(tmp_path), shards=1)
    made_by_hand(task, tmp_path / NAME)
    seqio_cache.complete(task, settings)
    assert seqio_cache.write([task], Settings(str(tmp_path))) == {NAME: "there already"}
    with pytest.raises(StaleSeqioCacheError, match="seed: the cache has 0, not 5"):
        seqio_cache.write([task], Settings(str(tmp_path), seed=5))
    with pytest.raises(StaleSeqioCacheError, match=r"shards: the cache has .*--overwrite"):
        seqio_cache.write([task], Settings(str(tmp_path), shards=2))


@pytest.mark.parametrize("content", [b"half", None])
def test_a_damaged_cache_is_not_taken_for_whole(task, tmp_path, content):
    made_by_hand(task, tmp_path / NAME)
    seqio_cache.complete(task, Settings(str(tmp_path), shards=1))
    shard = tmp_path / NAME / "train.tfrecord-00000-of-00001"
    shard.unlink() if content is None else shard.write_bytes(content)
    with pytest.raises(StaleSeqioCacheError, match=r"train\.tfrecord-00000-of-00001 is not as it"):
        seqio_cache.write([task], Settings(str(tmp_path), shards=1))


def test_an_interrupt_inside_of_beam_is_one():
    for text, expected in (("KeyboardInterrupt [while", KeyboardInterrupt), ("x", RuntimeError)):
        with pytest.raises(expected), seqio_cache._interrupts():
            raise RuntimeError(text)


def test_a_cache_of_another_vocabulary_is_refused(task, tmp_path):
    settings = Settings(str(tmp_path), shards=1)
    made_by_hand(task, tmp_path / NAME)
    seqio_cache.complete(task, settings)
    default_vocabulary.forget()
    default_vocabulary.choose(seqio.ByteVocabulary())
    with pytest.raises(StaleSeqioCacheError, match="vocab_size: the cache has 66"):
        seqio_cache.write([task], settings)
    # Of caches that seqio's own job wrote nothing is known.
    (tmp_path / NAME / "COMPLETED").write_text("tfrecord")
    seqio_cache.check(task, tmp_path / NAME)


def test_tasks_that_say_not_where_they_are_cached(tmp_path):
    from tests.data import tiny_tasks  # noqa: F401

    task = seqio.get_mixture_or_task("teacherlm_test_colors")
    with pytest.raises(ValueError, match=r"no seqio\.CacheDatasetPlaceholder"):
        seqio_cache.write([task], Settings(str(tmp_path)))


def test_shards_are_as_many_as_the_source_has(task):
    assert seqio_cache.shard_count(task, "train", Settings("x")) == seqio_cache.LEAST_SHARDS
    task.source.list_shards = lambda split: ["shard"] * 40
    assert seqio_cache.shard_count(task, "train", Settings("x")) == 40
    assert seqio_cache.shard_count(task, "train", Settings("x", shards=3)) == 3
