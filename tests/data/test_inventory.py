"""What is registered: names by pattern, counts without reading, what is here."""

import json

import pytest
import seqio
import tensorflow_datasets as tfds

from teacherlm_jax.data import data_setup, inventory
from teacherlm_jax.data.dataset_source import DatasetSource
from tests.data import tiny_tasks

COUNTS = {"train": 392, "validation": 20}


def tfds_rows(spec: str) -> int:
    """As TFDS counts a slice."""
    splits = {
        name: tfds.core.SplitInfo(
            name=name,
            shard_lengths=[count],
            num_bytes=0,
            filename_template=tfds.core.ShardedFileTemplate(
                dataset_name="x", data_dir="/nowhere", split=name, filetype_suffix="tfrecord"
            ),
        )
        for name, count in COUNTS.items()
    }
    return tfds.core.SplitDict(list(splits.values()))[spec].num_examples


@pytest.mark.parametrize(
    "spec",
    [
        "train",
        "train[:-50]",
        "train[-50:]",
        "train[10:20]",
        "train[:10%]",
        "train[33%:]",
        "train[390:]",
        "train+validation",
        "train[:5]+validation[5:]",
    ],
)
def test_slices_are_counted_as_tfds_does(spec):
    assert inventory.rows_of_slice(spec, COUNTS) == tfds_rows(spec)


@pytest.mark.parametrize("spec", ["test", "train[:5]+test", "train[a:b]", "train(3)"])
def test_what_cannot_be_counted_is_unknown(spec):
    assert inventory.rows_of_slice(spec, COUNTS) is None


def source(**settings) -> DatasetSource:
    splits = {"train": "train[:-50]", "validation": "train[-50:]"}
    return DatasetSource("some_set", splits, counts=COUNTS, **settings)


def test_the_cap_counts():
    capped = source(max_examples={"train": 100})
    assert inventory.expected_rows(source(), "train") == 342
    assert [inventory.expected_rows(capped, split) for split in capped.splits] == [100, 50]


@pytest.fixture
def task():
    """Registers a task over a source."""
    added = []

    def add(source: seqio.DataSource, name: str = "inventory_task") -> str:
        seqio.TaskRegistry.add(name, source, tiny_tasks.FEATURES)
        added.append(name)
        return name

    yield add
    for name in added:
        seqio.TaskRegistry.remove(name)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where mirrors, and TFDS's data sets, are looked for."""
    from tensorflow_datasets.core import constants

    monkeypatch.setenv(data_setup.DATA_DIR_VARIABLE, str(tmp_path))
    monkeypatch.setattr(constants, "DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path


def test_origins(folder, task):
    name = task(source(tfds="some/config:1.0.2", hub="who/some"))

    def found() -> inventory.TaskEntry:
        return inventory.take([name]).tasks[name]

    assert found().origin == inventory.Origin("tfds", "some/config:1.0.2", inventory.ABSENT)
    prepared = folder / "tfds/some/config/1.0.2/dataset_info.json"
    prepared.parent.mkdir(parents=True)
    assert found().origin.state == inventory.ABSENT
    prepared.write_text("{}")
    assert found().origin.state == inventory.HERE
    assert found().examples == {"train": 342, "validation": 50}
    (folder / "some_set").mkdir()
    (folder / "some_set/manifest.json").write_text("{}")
    assert found().origin == inventory.Origin("mirror", "some_set", inventory.HERE)


def test_a_set_that_has_to_be_mirrored(folder, task):
    entry = inventory.take([name := task(source(hub="who/some"))]).tasks[name]
    assert entry.origin == inventory.Origin("hub", "who/some", inventory.ABSENT)
    assert json.loads(json.dumps(entry.as_json()))["examples"]["train"] == 342


def test_tfds_versions(folder):
    (folder / "tfds/some/2.0.0").mkdir(parents=True)
    (folder / "tfds/some/2.0.0/dataset_info.json").write_text("{}")
    assert inventory.is_prepared("some") and inventory.is_prepared("some:2.0.0")
    assert not inventory.is_prepared("some:1.0.0") and not inventory.is_prepared("some/config")


def test_sources_of_seqio(folder, task, tmp_path):
    lines = tmp_path / "lines.txt"
    files = task(seqio.TextLineDataSource({"train": str(lines)}), "inventory_files")
    from_tfds = task(seqio.TfdsDataSource("some/config:1.0.2"), "inventory_tfds")
    function = task(
        seqio.FunctionDataSource(lambda split, shuffle_files: None, ["train"]), "inventory_made"
    )
    found = inventory.take([files, from_tfds, function]).tasks
    assert [found[name].origin.state for name in (files, from_tfds, function)] == [
        inventory.ABSENT,
        inventory.ABSENT,
        inventory.UNKNOWN,
    ]
    assert found[function].examples == {"train": None}
    lines.write_text("a\nb\n")
    assert inventory.take([files]).tasks[files].origin == inventory.Origin(
        "files", str(lines), inventory.HERE
    )


def test_patterns(task):
    task(source(), "inventory_a")
    task(source(), "inventory_ab")
    assert inventory.matching("inventory_a") == ["inventory_a"]
    assert inventory.matching("inventory_*") == ["inventory_a", "inventory_ab"]
    assert inventory.matching("ventory_a") == ["inventory_a", "inventory_ab"]
    assert inventory.matching("inventory_?") == ["inventory_a"]
    assert set(inventory.matching(None)) >= {"inventory_a", "inventory_ab"}
    with pytest.raises(ValueError, match=r"nearest are .*inventory_a"):
        inventory.matching("inventori_a")


def test_shares_of_a_mixture(task):
    names = [task(source(), "inventory_a"), task(source(), "inventory_b")]
    seqio.MixtureRegistry.add("inventory_mixture", [(names[0], 3), (names[1], 1)])
    try:
        found = inventory.take(["inventory_mixture"], with_rates=True)
    finally:
        seqio.MixtureRegistry.remove("inventory_mixture")
    assert found.mixtures["inventory_mixture"].tasks == {names[0]: 0.75, names[1]: 0.25}
    assert sorted(found.tasks) == names
