"""The command that an error gives for data that TFDS has not prepared."""

import ast
import inspect
import re
import shlex

import pytest
import tensorflow_datasets as tfds

from teacherlm_jax.data import tfds_preparation

RAW_NAMES = {"beautifulsoup4": "bs4", "apache-beam": "beam"}


def test_the_command_is_python_that_a_shell_takes():
    program, flag, code = shlex.split(tfds_preparation.how_to_prepare("glue/rte:2.0.0"))
    assert (program, flag) == ("python", "-c")
    ast.parse(code)
    assert "tfds.builder('glue/rte:2.0.0').download_and_prepare()" in code


def test_files_fetched_by_hand_come_first_with_their_folder():
    lines = tfds_preparation.how_to_prepare("samsum:1.0.0", "a.json goes into it").splitlines()
    assert "a.json goes into it" in lines[0]
    assert re.search(r"the manual folder is .+/downloads/manual\)", lines[1])
    assert lines[2].startswith("python -c")


@pytest.mark.parametrize("name", ["c4/en:3.1.0", "wikipedia/20230601.en:1.0.0", "wsc273:1.0.0"])
def test_what_the_builder_imports_beyond_tfds_is_named(name):
    needs = tfds_preparation.how_to_prepare(name).splitlines()[0].split()[2:]
    text = inspect.getsource(
        inspect.getmodule(tfds.builder_cls(name.partition("/")[0].partition(":")[0]))
    )
    assert needs and all(RAW_NAMES.get(need, need) in text for need in needs)
