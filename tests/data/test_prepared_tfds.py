import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import file_utils

from teacherlm_jax.data import prepared_tfds
from teacherlm_jax.data.prepared_tfds import NotPreparedError, PreparedRows
from teacherlm_jax.data.row_rendering import RowError, parsed
from tests.data import tiny_tfds

TRAIN = [tiny_tfds.row(number) for number in range(tiny_tfds.COUNTS["train"])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfds")
    tiny_tfds.prepare(path)
    return path


@pytest.fixture
def prepared(folder, monkeypatch):
    monkeypatch.setattr(file_utils, "_REGISTERED_DATA_DIRS", {folder})


def read(spec, **arguments):
    rows = list(PreparedRows(tiny_tfds.NAME, spec).read(**arguments))
    return [parsed(row) for row, _ in rows], [place for _, place in rows]


def test_rows_are_json_of_what_was_prepared(prepared):
    assert read("train") == (TRAIN, list(range(25)))
    rows = PreparedRows("tiny_rows", "validation")
    assert rows.count == 7 and rows.whole_counts == tiny_tfds.COUNTS
    assert prepared_tfds.is_prepared(tiny_tfds.NAME) and prepared_tfds.is_prepared("tiny_rows")
    assert prepared_tfds.counts(tiny_tfds.NAME) == tiny_tfds.COUNTS


@pytest.mark.parametrize("first, last", [(None, -20), (-4, None), (7, 19)])
def test_slices_are_numpy_s(prepared, first, last):
    spec = f"train[{'' if first is None else first}:{'' if last is None else last}]"
    rows, places = read(spec)
    assert rows == TRAIN[first:last] and places == list(range(len(rows)))


@pytest.mark.parametrize("parsed_whole", [False, True])
def test_chosen_rows_alone_become_python_values(prepared, parsed_whole, monkeypatch):
    if parsed_whole:  # As where files are of another kind than TFRecord.
        monkeypatch.setattr(PreparedRows, "_chosen_records", lambda self, chosen: None)
    else:
        monkeypatch.delattr(PreparedRows, "_filtered")
        monkeypatch.setattr(prepared_tfds, "_RECORDS_AT_ONCE", 4)
    rows, places = read("train", chosen=np.array([0, 3, 24]))
    assert rows == [TRAIN[place] for place in places] and places == [0, 3, 24]
    assert read("train", chosen=np.array([], np.int64)) == ([], [])
    sums = read("train[20:]+validation", chosen=np.array([1, 4, 5, 11]))[0]
    assert [row["number"] for row in sums] == [21, 24, 0, 6]


def test_values_that_json_lacks_are_left_for_the_reader_to_refuse(prepared):
    fine, text, number = (row for row, _ in PreparedRows("flat_rows", "train").read())
    assert json.loads(fine) == {"text": "fine", "score": 4.2, "big": 2**63 - 1}
    for row, reason in ((text, "not UTF-8: byte 0xe9"), (number, "NaN is not finite")):
        with pytest.raises(RowError, match=reason):
            parsed(row)


def test_what_is_not_prepared_says_so(prepared, monkeypatch):
    with pytest.raises(ValueError, match="has no split 'test'; it has train, validation"):
        PreparedRows(tiny_tfds.NAME, "test[:3]")
    for name in ("no_such_set:1.0.0", "tiny_rows:9.9.9", "super_glue/no_such_config"):
        with pytest.raises(NotPreparedError, match=f"TFDS cannot load '{name}'"):
            PreparedRows(name, "train")
    monkeypatch.setattr(file_utils, "_REGISTERED_DATA_DIRS", set())
    assert not prepared_tfds.is_prepared(tiny_tfds.NAME)
    assert prepared_tfds.counts(tiny_tfds.NAME) == {}
    with pytest.raises(NotPreparedError, match="TFDS has not prepared 'tiny_rows:"):
        PreparedRows(tiny_tfds.NAME, "train")


def test_mocks_have_no_splits(folder):
    with tfds.testing.mock_data(num_examples=5):
        rows = PreparedRows("super_glue/cb:1.0.2", "train[:-50]")
        assert rows.count == 5 and rows.whole_counts == {}
        found = [parsed(row) for row, _ in rows.read(np.array([1, 4]))]
    assert len(found) == 2 and set(found[0]) == {"premise", "hypothesis", "idx", "label"}


def test_numbers_are_those_that_were_meant():
    for value in (4.2, 0.1, 1e-30, 3.0, 16777216.0):
        assert prepared_tfds.plain(np.float32(value)) == value
    assert prepared_tfds.plain(np.array([[1.5, 0.3]], np.float16)) == [[1.5, 0.3]]
    assert prepared_tfds.plain(np.array([0.1], np.float64)) == [0.1]
    assert prepared_tfds.plain({"a": np.array([b"\xc3\xa9", b"x"], object)}) == {"a": ["é", "x"]}
    assert prepared_tfds.plain(np.zeros((0,), np.float32)) == []
    assert prepared_tfds.plain(np.bool_(True)) is True
