import os

import pytest
import seqio

from teacherlm_jax.data import data_setup, default_vocabulary
from teacherlm_jax.data.data_setup import DataSetup


@pytest.fixture(autouse=True)
def unchanged(monkeypatch):
    monkeypatch.delenv(data_setup.DATA_DIR_VARIABLE, raising=False)
    default_vocabulary.forget()
    yield
    default_vocabulary.forget()
    DataSetup().apply()


def test_settings_hold_for_the_process_and_what_it_starts(tmp_path):
    assert data_setup.data_dir() == os.path.expanduser("~/teacherlm_data")
    vocabulary = seqio.ByteVocabulary()
    DataSetup(vocabulary, str(tmp_path), "skip", "/rejects").apply()
    assert default_vocabulary.DEFAULT.chosen is vocabulary
    assert data_setup.data_dir() == os.environ["TEACHERLM_DATA_DIR"] == str(tmp_path)
    assert data_setup.skips_malformed_rows() and data_setup.rejects_dir() == "/rejects"


def test_what_is_not_given_keeps_where_data_lies_and_stops_at_malformed_rows(tmp_path):
    DataSetup(data_dir=str(tmp_path), malformed_rows="skip", rejects_dir="/rejects").apply()
    DataSetup().apply()
    assert data_setup.data_dir() == str(tmp_path)
    assert not data_setup.skips_malformed_rows() and data_setup.rejects_dir() is None
    assert not default_vocabulary.DEFAULT.is_chosen


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="malformed_rows = 'ignore', but it must be 'error'"):
        DataSetup(malformed_rows="ignore")
