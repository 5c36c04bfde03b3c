"""Mirrors of rendered files, as they lie in their repositories."""

import json

import pyarrow
import pyarrow.parquet
import pytest
import tensorflow as tf

from teacherlm_jax.data import rendered_files

ROWS = [{"inputs": f"question {n}", "targets": f"answer {n}"} for n in range(5)]


def write(path, rows=ROWS):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_records(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            features = {}
            for name, values in row.items():
                if isinstance(values[0], bytes):
                    features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
                else:
                    features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


@pytest.mark.parametrize(
    ("path", "name", "split"),
    [
        ("anli_r1_based_on/train-00000-of-00001.parquet", "anli_r1_based_on", "train"),
        ("cb_can_we_infer/train/0000.parquet", "cb_can_we_infer", "train"),
        ("cb_can_we_infer/partial-validation/0001.parquet", "cb_can_we_infer", "validation"),
        ("train/arc_easy_10templates_train.jsonl", "arc_easy_10templates", "train"),
        ("cos_e_v1.11.jsonl", "cos_e_v1.11", "train"),
        ("anli_r3.jsonl", "anli_r3", "train"),
        ("data/glue-rte/test.jsonl", "glue_rte", "test"),
        ("flan2021_fsopt_data/part.0.parquet", "flan2021_fsopt_data", "train"),
    ],
)
def test_paths_say_names_and_splits(tmp_path, path, name, split):
    write(tmp_path / "mirror" / path)
    (found,) = rendered_files.find(tmp_path / "mirror").values()
    assert (found.name, [*found.files]) == (name, [split])
    assert [json.loads(text) for text, *_ in found.rows(split)] == ROWS
    assert found.count(split, 3) == 3 and found.count(split, 9) == 5


def test_records_and_what_lies_beside_them(tmp_path):
    row = {
        "inputs": [3, 4, 1],
        "inputs_pretokenized": [b"q"],
        "answer_choices": [b"yes", b"no"],
        "empty": [b""],
    }
    write_records(tmp_path / "cb" / "train.tfrecord-00000-of-00002", [row])
    write_records(tmp_path / "cb" / "train.tfrecord-00001-of-00002", [row, row])
    (tmp_path / "cb" / "info.train.json").write_text("{}")
    (tmp_path / "cb" / "stats.train.json").write_text("{}")
    (found,) = rendered_files.find(tmp_path).values()
    rows = list(found.rows("train"))
    assert [number for _, number, _ in rows] == [0, 1, 2]
    assert json.loads(rows[0][0]) == {
        "inputs": [3, 4, 1],
        "inputs_pretokenized": "q",
        "answer_choices": ["yes", "no"],
        "empty": "",
    }
    assert rows[2][2].endswith("train.tfrecord-00001-of-00002:2")


def test_a_missing_shard_is_an_error(tmp_path):
    write_records(tmp_path / "cb" / "train.tfrecord-00000-of-00002", [{"inputs": [1]}])
    with pytest.raises(FileNotFoundError, match="1 of 00002 shards"):
        rendered_files.find(tmp_path)


def test_names_are_chosen_by_patterns(tmp_path):
    for name in ("anli_r1", "anli_r2", "cb"):
        write(tmp_path / f"{name}.jsonl")
    assert [*rendered_files.find(tmp_path, "anli_*")] == ["anli_r1", "anli_r2"]
    assert [*rendered_files.find(tmp_path, ["cb", "*r2"])] == ["anli_r2", "cb"]
    with pytest.raises(FileNotFoundError, match="none of the 3"):
        rendered_files.find(tmp_path, "mnli")
    with pytest.raises(FileNotFoundError, match="no files of rows"):
        rendered_files.find(tmp_path / "elsewhere")
