"""What is registered: names by pattern, counts without reading, what is here."""

import json

import pytest
import seqio
from etils import epath

from teacherlm_jax.data import data_setup, inventory, ledger, mirror, prepared_tfds
from teacherlm_jax.data.dataset_source import DatasetSource
from teacherlm_jax.data.record_source import TeacherDataSource
from tests.data import tiny_tasks

COUNTS = {"train": 392, "validation": 20}


def source(**settings) -> DatasetSource:
    splits = {"train": "train[:-50]", "validation": "train[-50:]"}
    return DatasetSource("some_set", splits, counts=COUNTS, **settings)


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


def test_origins(folder, task, monkeypatch):
    name = task(source(tfds="some/config:1.0.2", hub="who/some"))

    def found() -> inventory.TaskEntry:
        return inventory.take([name]).tasks[name]

    assert found().origin == inventory.Origin("tfds", "some/config:1.0.2", inventory.ABSENT)
    prepared = folder / "tfds/some/config/1.0.2/dataset_info.json"
    prepared.parent.mkdir(parents=True)
    assert found().origin.state == inventory.ABSENT
    assert found().examples == {"train": 342, "validation": 50}
    prepared.write_text("{}")
    monkeypatch.setattr(prepared_tfds, "counts", lambda name: {"train": 400})
    assert found().origin.state == inventory.HERE
    assert found().examples == {"train": 350, "validation": 50}


def test_mirrors_go_first_and_their_counts_too(folder, task):
    name = task(source(tfds="some/config:1.0.2", max_examples={"train": 9}))
    shards = {"train": [("a", 60)], "validation": []}
    written = {
        split: [mirror.Shard(file, count, 1, "0") for file, count in files]
        for split, files in shards.items()
    }
    (folder / "some_set").mkdir()
    text = mirror.manifest_text(mirror.JSONL, {}, written)
    ledger.write_whole(epath.Path(folder) / "some_set/manifest.json", text)
    found = inventory.take([name]).tasks[name]
    assert found.origin == inventory.Origin("mirror", "some_set", inventory.HERE)
    assert found.examples == {"train": 9, "validation": 50}
    (folder / "some_set/manifest.json").write_text("{}")
    assert inventory.take([name]).tasks[name].origin.state == inventory.ABSENT


def test_records_of_teacher_data(folder, task):
    name = task(TeacherDataSource())
    assert inventory.take([name]).tasks[name].origin.state == inventory.ABSENT
    (folder / "teacherdata").mkdir()
    (folder / "teacherdata/train.jsonl").write_text("{}")
    assert inventory.take([name]).tasks[name].origin == inventory.Origin(
        "records", f"{folder}/teacherdata", inventory.HERE
    )


def test_a_set_that_has_to_be_mirrored(folder, task):
    entry = inventory.take([name := task(source(hub="who/some"))]).tasks[name]
    assert entry.origin == inventory.Origin("hub", "who/some", inventory.ABSENT)
    assert json.loads(json.dumps(entry.as_json()))["examples"]["train"] == 342


def test_the_cap_counts(folder, task):
    entry = inventory.take([task(source(max_examples={"train": 100}))])
    assert entry.tasks["inventory_task"].examples == {"train": 100, "validation": 50}


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


def test_groups():
    tests = [f"set{number}_letters" for number in range(8)]
    names = ["muffin_rte", "muffin_cb", "alone", *tests, "mmlu_law_letters"]
    found = inventory.groups(names)
    assert found["muffin_rte"] == found["muffin_cb"] == "muffin_*" and found["alone"] == "alone"
    assert {found[name] for name in [*tests, "mmlu_law_letters"]} == {"*_letters"}
    assert inventory.groups(tests[:3])["set1_letters"] == "set1_*"
