"""`teacherlm data mirror` over files of our own, and TFDS with made-up rows."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest
import seqio

from teacherlm_jax.data.dataset_source import DatasetSource
from teacherlm_jax.data.row_rendering import rendered
from teacherlm_jax.main import command_line

CB = [{"premise": f"P{n}.", "hypothesis": f"h{n}", "idx": n, "label": n % 3} for n in range(60)]


@pytest.fixture
def mirror(capfd, tmp_path, monkeypatch):
    """Runs the command; what it prints."""
    monkeypatch.setenv("TEACHERLM_DATA_DIR", str(tmp_path / "data"))

    def run(*arguments, status=0):
        capfd.readouterr()
        assert command_line.main(["data", "mirror", *map(str, arguments)]) == status
        output = capfd.readouterr()
        return output.err if status else output.out

    return run


@pytest.fixture
def hub(tmp_path):
    """A downloaded repository with two configs."""
    for config in ("cb", "rte"):
        (tmp_path / "hub" / config).mkdir(parents=True)
        for split, rows in (("train", CB), ("validation", CB[:9]), ("test", CB[:2])):
            path = tmp_path / "hub" / config / f"{split}-00000-of-00001.parquet"
            pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    return tmp_path / "hub"


def rows_of(name, split, **arguments):
    dataset = DatasetSource(name, {split: split}).get_dataset(split, **arguments)
    return [json.loads(element["row"]) for element in dataset.as_numpy_iterator()]


def test_a_data_set_of_the_catalogue_from_a_repository(mirror, hub, tmp_path):
    text = mirror("super_glue_cb", "--from", hub)
    folder = tmp_path / "data" / "super_glue_cb"
    assert f"{hub}/cb/train-00000-of-00001.parquet" in text
    assert f"{folder}: rows of test 2, train 60, validation 9" in text
    assert "split 'train' has 60 rows; public tables say 250" in text
    assert rows_of("super_glue_cb", "train") == CB
    assert f"{folder} is complete" in mirror("super_glue_cb", "--from", hub)
    error = mirror("super_glue_cb", "--from", hub, "--limit", "3", status=2)
    assert "is a mirror of another source" in error
    other = mirror("super_glue_cb", "--from", hub, "--split", "train", "--to", tmp_path / "x")
    assert "rows of train 60;" in other
    assert "tasks read split 'validation' too, which is not here" in other
    assert f"tasks look for 'super_glue_cb' in {folder}" in other


def test_rows_that_tasks_cannot_read_are_told_of(mirror, tmp_path):
    (tmp_path / "train.csv").write_text("premise,hypothesis,label\na,b,e\n")
    (tmp_path / "of_numbers.csv").write_text("premise,hypothesis,label\na,b,1\n")
    text = mirror("super_glue_cb", "--split", f"train={tmp_path}/train.csv")
    assert "tasks cannot read the first row of 'train'" in text and "field 'label' is 'e'" in text
    for number, more in enumerate(((), ("--integers", "label"))):
        to = ("--to", tmp_path / str(number))
        text = mirror("super_glue_cb", "--split", f"train={tmp_path}/of_numbers.csv", *more, *to)
        assert "cannot read" not in text


def test_the_original_files_of_mmlu(mirror, tmp_path):
    for split, file in (("dev", "dev"), ("validation", "val")):
        (tmp_path / split).mkdir()
        for subject in ("anatomy", "high_school_physics"):
            rows = f'"What of {subject}, then?",one,"two, or 2",3,4,B\n' * 2
            (tmp_path / split / f"{subject}_{file}.csv").write_text(rows)
    splits = [
        part
        for split in ("dev", "validation")
        for part in ("--split", f"{split}={tmp_path}/{split}/*.csv")
    ]
    columns = ("--columns", "question,A,B,C,D,answer")
    text = mirror("mmlu", *splits, *columns, "--named", "subject=(.+)_(?:dev|val|test)")
    assert "cannot read" not in text and "rows of dev 4, validation 4" in text
    found = rows_of("mmlu", "validation")
    assert [row["subject"] for row in found] == ["anatomy"] * 2 + ["high_school_physics"] * 2
    assert found[0]["B"] == "two, or 2"


def test_a_name_of_one_s_own_and_a_task_of_it(mirror, hub, tmp_path):
    mirror("my_cb", "--from", hub / "cb", "--format", "array_record", "--limit", "5")
    assert rows_of("my_cb", "train") == CB[:5]
    seqio.TaskRegistry.add(
        "tests_data_mirror_cb",
        source=DatasetSource("their_cb", {"train": "train"}),
        preprocessors=[rendered(lambda row: [], {})],
        output_features={},
    )
    try:
        mirror("tests_data_mirror_cb", "--from", hub / "cb")
    finally:
        seqio.TaskRegistry.remove("tests_data_mirror_cb")
    assert (tmp_path / "data/their_cb/manifest.json").exists()


def test_what_tfds_has_prepared(mirror, tmp_path):
    import tensorflow_datasets as tfds

    error = mirror("super_glue_cb", status=2)
    assert "mirror super_glue_cb --prepare" in error and "mirror super_glue_cb --from" in error
    with tfds.testing.mock_data(num_examples=4):
        text = mirror("super_glue_cb", "--prepare")
    assert "rows of train 4, validation 4" in text
    assert len(rows_of("super_glue_cb", "train")) == 4


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["qqqqqq"], "no data set or task is called 'qqqqqq'. Give --from PATH"),
        (["super_glue_cbb"], "Did you mean super_glue_cb?"),
        (["creak"], "TFDS does not have it"),
        (["creak", "--split", "train=x.json", "--split", "test"], "give files to all splits"),
        (["creak", "--from", "x", "--split", "train=x.json"], "--from PATH finds the files"),
        (["creak", "--from", "x", "--prepare"], "--prepare is for TFDS"),
        (["super_glue_cb", "--drop", "idx"], "--drop is for files"),
        (["creak", "--from", "/nowhere"], "'/nowhere' is not there"),
        (["creak", "--from", "/nowhere", "--limit", "0"], "limit = 0; it must be at least 1"),
        (["world1_teacher"], "is a mixture: mirror its tasks one by one"),
        (["world1_mc_eval"], "reads no mirror: its rows are in"),
    ],
)
def test_what_cannot_be_mirrored(mirror, arguments, reason):
    assert reason in mirror(*arguments, status=2)


def test_malformed_rows(mirror, tmp_path):
    (tmp_path / "train.jsonl").write_bytes(b'{"n": 1}\n{"n": \n{"n": 2}\n')
    error = mirror("mine", "--from", tmp_path, status=2)
    assert "train.jsonl:2: not valid JSON" in error and "--malformed_rows skip" in error
    arguments = ("mine", "--from", tmp_path / "train.jsonl", "--malformed_rows", "skip")
    text = mirror(*arguments, "--to", tmp_path / "data2" / "mine")
    assert "rows of train 2" in text
    assert list((tmp_path / "data2/mine/rejects/train").glob("*.rejects.jsonl"))
