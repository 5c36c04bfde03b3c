"""Rows of files and tasks as texts."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest
import seqio
import tensorflow as tf

from teacherlm_jax.data import data_setup, text_rows
from teacherlm_jax.data.row_rendering import RowError

ROW = {
    "id": 7,
    "question": "Why?",
    "choices": ["so", "or so", " "],
    "answer": "A",
    "task": "t",
    "provenance": {"chain_of_thought": {"annotator": "human"}},
}


def test_json_lines(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW) + "\n\n" + json.dumps({"text": "x"}) + "\n")
    first, second = text_rows.of_files([tmp_path / "a.jsonl"])
    assert first.texts == {
        "question": "Why?",
        "choices[0]": "so",
        "choices[1]": "or so",
        "answer": "A",
    }
    assert (first.id, first.values) == ("7", ROW)
    assert second.where.endswith("a.jsonl:3")


def test_fields_are_chosen(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW) + "\n")
    (row,) = text_rows.of_files([tmp_path], ["answer", "task"])
    assert row.texts == {"answer": "A", "task": "t"}
    with pytest.raises(RowError, match="no field inputs"):
        list(text_rows.of_files([tmp_path], ["inputs"]))


def test_parquet_and_tables(tmp_path):
    table = pyarrow.table({"inputs": ["one", "two"], "n": [1, 2]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(b"Why?\\nOptions:\tyes\n"))
    rows = list(text_rows.of_files([tmp_path / "a.parquet", tmp_path / "b.tsv.gz"]))
    assert [dict(row.texts) for row in rows] == [
        {"inputs": "one"},
        {"inputs": "two"},
        {"column_0": "Why?\\nOptions:", "column_1": "yes"},
    ]


def test_a_file_of_which_every_row_is_malformed_is_an_error_though_they_are_skipped(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(data_setup, "skips_malformed_rows", lambda: True)
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n[1]\n')
    assert len(list(text_rows.of_files([tmp_path]))) == 1
    (tmp_path / "b.jsonl").write_text('{"a"\n[1]\n')
    with pytest.raises(RowError, match=r"all 2 rows of .*b\.jsonl' are malformed.*b\.jsonl:1"):
        list(text_rows.of_files([tmp_path]))


def test_what_is_no_row_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n[1]\n')
    with pytest.raises(RowError, match=r"a\.jsonl:2.*JSON object"):
        list(text_rows.of_files([tmp_path]))


def test_the_key_is_of_the_texts_alone():
    one, other = {"inputs": "a", "targets": "b"}, {"targets": "b", "inputs": "a"}
    assert text_rows.content_key(one) == text_rows.content_key(other)
    assert text_rows.content_key(one) != text_rows.content_key({"inputs": "b", "targets": "a"})
    assert len(text_rows.content_key(one)) == 20


def test_examples_of_a_task_are_read_before_they_are_tokens():
    examples = [{"id": "x1", "question": "Why?", "answer": "So."}]

    def rows(split, shuffle_files, seed=None):
        types = dict.fromkeys(examples[0], tf.string)
        return tf.data.Dataset.from_generator(
            lambda: iter(examples),
            output_signature={n: tf.TensorSpec((), t) for n, t in types.items()},
        )

    def to_text(dataset):
        return dataset.map(
            lambda row: {
                "id": row["id"],
                "inputs": "Q: " + row["question"],
                "targets": row["answer"],
            }
        )

    task = seqio.Task(
        "text_rows_test",
        source=seqio.FunctionDataSource(rows, splits=["train"]),
        output_features={n: seqio.Feature(seqio.ByteVocabulary()) for n in ("inputs", "targets")},
        preprocessors=[to_text, seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
    )
    (row,) = text_rows.of_task(task, "train")
    assert row.texts == {"inputs": "Q: Why?", "targets": "So."}
    assert (row.id, row.where, row.source) == ("x1", "text_rows_test/train:0", "text_rows_test")
    with pytest.raises(ValueError, match="no split 'test'"):
        list(text_rows.of_task(task, "test"))
    with pytest.raises(ValueError, match="no step"):
        text_rows.before_tokens([to_text])
