import logging

import pytest

from teacherlm_jax.data import data_setup, row_source
from teacherlm_jax.data.record_source import TeacherDataSource
from tests.data import tiny_records

ROWS = tiny_records.make(5)
HELD_OUT = tiny_records.make(2, first=5)


def read(path, split="train"):
    return list(TeacherDataSource(path).records(split))


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv(data_setup.DATA_DIR_VARIABLE, str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path


def test_a_folder_has_its_splits_as_files_shards_or_folders(tmp_path):
    tiny_records.write_jsonl(tmp_path / "train-b.jsonl", ROWS[3:])
    tiny_records.write_jsonl(tmp_path / "train-a.jsonl", ROWS[:3])
    tiny_records.write_jsonl(tmp_path / "train-a.rejects.jsonl", HELD_OUT)
    tiny_records.write_parquet(tmp_path / "validation" / "x.parquet", HELD_OUT)
    assert read(str(tmp_path)) == ROWS
    assert read(str(tmp_path), "validation") == HELD_OUT
    tiny_records.write_parquet(tmp_path / "train.parquet", ROWS)
    with pytest.raises(ValueError, match=r"several forms .*keep one"):
        read(str(tmp_path))


def test_files_that_name_no_split_are_of_the_first(tmp_path):
    tiny_records.write_jsonl(tmp_path / "annotation-00000-of-00001.jsonl", ROWS)
    assert read(str(tmp_path)) == ROWS
    assert read(str(tmp_path / "*.jsonl")) == ROWS
    several = [str(tmp_path / "annotation-00000-of-00001.jsonl")] * 2
    assert read(several) == ROWS + ROWS
    assert read({"train": str(tmp_path)}) == ROWS
    with pytest.raises(FileNotFoundError, match="no split 'validation'"):
        read(str(tmp_path), "validation")
    with pytest.raises(FileNotFoundError, match="no split 'validation'"):
        read(several, "validation")
    with pytest.raises(ValueError, match="split = 'test', but this source has train"):
        read({"train": str(tmp_path)}, "test")


def test_without_a_path_the_folder_of_data_is_read_or_says_what_is_missing(data_dir):
    with pytest.raises(FileNotFoundError, match=r"no folder 'teacherdata' in .*not prepared"):
        read(None)
    tiny_records.write_jsonl(data_dir / "teacherdata" / "train.jsonl", ROWS)
    assert read(None) == ROWS
    with pytest.raises(FileNotFoundError, match=r"needs validation\.jsonl"):
        read(None, "validation")


def test_elements_are_raw_rows_in_blocks_of_any_number(tmp_path, monkeypatch):
    monkeypatch.setattr(row_source, "ROWS_AT_ONCE", 2)
    file = tiny_records.write_jsonl(tmp_path / "a.jsonl", ROWS)
    elements = list(TeacherDataSource(str(file)).get_dataset("train").as_numpy_iterator())
    assert [int(element["index"]) for element in elements] == [0, 1, 2, 3, 4]
    assert [element["where"].decode() for element in elements] == [
        f"{file}:{number}" for number in range(1, 6)
    ]
    assert elements[1]["row"].decode() == ROWS[1].to_json_line() + "\n"


def test_what_is_malformed_is_named_by_file_and_line(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    file = tmp_path / "a.jsonl"
    lines = {
        '{"question": "half': "not valid JSON",
        '{"question": "q?", "choices": ["x", "y"]}': "field 'answer' is missing",
        '{"question": "q?", "choices": ["x", "y"], "answer": "C"}': "'answer' is 'C'",
        '{"question": " ", "choices": ["x", "y"], "answer": "A"}': "'question' is ' '",
        '{"question": "q?", "choices": [], "answer": "A", "provenance": "{"}': "'provenance': not",
    }
    for line, message in lines.items():
        file.write_text(ROWS[0].to_json_line() + "\n" + line)
        with pytest.raises(ValueError, match=rf"^{file}:2: .*{message}"):
            read(str(file))
    file.write_bytes(b'\n\n{"question": "\xff"}')
    with pytest.raises(ValueError, match=rf"^{file}:3: not UTF-8"):
        read(str(file))
