import hashlib

import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import file_utils

from teacherlm_jax.data import ledger, records, teacher_data_builder
from teacherlm_jax.data.record_source import TeacherDataSource
from teacherlm_jax.data.row_rendering import RowError
from tests.data import tiny_records

ROWS = tiny_records.make(7)


def prepare(manual_dir, data_dir):
    builder = tfds.builder("teacher_data", data_dir=str(data_dir))
    settings = tfds.download.DownloadConfig(manual_dir=str(manual_dir))
    builder.download_and_prepare(download_config=settings)
    return builder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of a prepared builder."""
    manual, folder = tmp_path_factory.mktemp("manual"), tmp_path_factory.mktemp("tfds")
    inner = manual / "teacher_data"
    inner.mkdir()
    ledger.write_whole(inner / "train-00000-of-00001.jsonl", records.encode_jsonl(ROWS[:5]))
    tiny_records.write_parquet(inner / "validation.parquet", ROWS[5:])
    prepare(manual, folder)
    return folder


def test_plain_tfds_reads_what_was_prepared(prepared):
    rows = tfds.load("teacher_data", data_dir=str(prepared), split="train")
    found = [records.TeacherDataRecord.from_features(row) for row in tfds.as_numpy(rows)]
    assert found == ROWS[:5]


def test_splits_sizes_and_checksums_are_those_of_the_files(prepared):
    info = tfds.builder("teacher_data", data_dir=str(prepared)).info
    assert {name: split.num_examples for name, split in info.splits.items()} == {
        "train": 5,
        "validation": 2,
    }
    assert info.dataset_size > 0
    content = records.encode_jsonl(ROWS[:5])
    assert info.metadata["files"]["train"] == [
        {
            "name": "train-00000-of-00001.jsonl",
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    ]


def test_tasks_read_the_prepared_builder(prepared, monkeypatch, tmp_path):
    # TFDS reads its variable TFDS_DATA_DIR when it is imported.
    monkeypatch.setattr(file_utils, "_REGISTERED_DATA_DIRS", {prepared})
    monkeypatch.setenv("TEACHERLM_DATA_DIR", str(tmp_path))
    for path in (None, "tfds:teacher_data:1.0.0"):
        assert list(TeacherDataSource(path).records("validation")) == ROWS[5:]


def test_bad_rows_and_torn_files_stop_the_preparation(tmp_path):
    file = tmp_path / "train.jsonl"
    with pytest.raises(FileNotFoundError, match="holds no"):
        prepare(tmp_path, tmp_path / "tfds")
    file.write_text("")
    with pytest.raises(ValueError, match=rf"split 'train' in {tmp_path} hold no rows"):
        prepare(tmp_path, tmp_path / "tfds")
    file.write_text(ROWS[0].to_json_line() + '\n{"question": "q?"}\n')
    with pytest.raises(RowError, match=rf"{file}:2: field 'choices' is missing"):
        prepare(tmp_path, tmp_path / "tfds")
    file.unlink()
    ledger.write_whole(file, records.encode_jsonl(ROWS[:1]))
    file.write_bytes(records.encode_jsonl(ROWS[1:2]))
    with pytest.raises(ledger.TornFileError, match=r"train\.jsonl is not what its marker"):
        prepare(tmp_path, tmp_path / "tfds")
    ledger.marker_path(file).write_text("damaged")
    with pytest.raises(ledger.TornFileError, match=r"train\.jsonl is not what its marker"):
        prepare(tmp_path, tmp_path / "tfds")


def test_the_record_of_the_builder_is_the_project_s():
    names = set(teacher_data_builder.TeacherData(data_dir="unused").info.features)
    assert names == set(ROWS[0].to_mapping())
