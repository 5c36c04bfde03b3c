"""The command that an error gives for data that TFDS has not prepared."""

import ast
import inspect
import re
import shlex

import pytest
import tensorflow_datasets as tfds

from teacherlm_jax.data import prepared_tfds, tfds_preparation

RAW_NAMES = {"beautifulsoup4": "bs4", "apache-beam": "beam"}


def test_the_command_is_python_that_a_shell_takes():
    program, flag, code = shlex.split(tfds_preparation.how_to_prepare("glue/rte:2.0.0"))
    assert (program, flag) == ("python", "-c")
    ast.parse(code)
    assert "tfds.builder('glue/rte:2.0.0').download_and_prepare()" in code


def test_files_fetched_by_hand_are_named_with_their_folder():
    first, second = tfds_preparation.needs("samsum:1.0.0", "a.json goes into it")
    assert "a.json goes into it" in first
    assert re.search(r"the manual folder is .+/downloads/manual\)", second)


def test_what_tfds_cannot_prepare_is_told_in_a_line(tmp_path, monkeypatch):
    builder = tfds.builder("samsum:1.0.0", data_dir=tmp_path)
    monkeypatch.setattr(prepared_tfds, "builder_of", lambda name: builder)
    with pytest.raises(prepared_tfds.NotPreparedError, match=r"Manual .* train\.json") as e:
        tfds_preparation.prepare("samsum:1.0.0")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["c4/en:3.1.0", "wikipedia/20230601.en:1.0.0", "wsc273:1.0.0"])
def test_what_the_builder_imports_beyond_tfds_is_named(name):
    packages = tfds_preparation.needs(name)[0].split()[2:]
    text = inspect.getsource(
        inspect.getmodule(tfds.builder_cls(name.partition("/")[0].partition(":")[0]))
    )
    assert packages and all(RAW_NAMES.get(name, name) in text for name in packages)
