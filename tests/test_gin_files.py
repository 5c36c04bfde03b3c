"""Every gin file of the repository: it parses, its names exist, and its header tells the truth."""

import collections
import re

import gin
import pytest

from teacherlm_jax.main import gin_search, gin_setup
from teacherlm_jax.main.gin_names import REQUIRED, MacroUse, Statement

FILES = gin_search.list_gin_files()
# A file of these folders is run by itself; others are parts of such files.
COMPLETE = ("runs/", "experiments/")
RUNS = [name for name in FILES if name.startswith(COMPLETE)]
PARTS = [name for name in FILES if not name.startswith(COMPLETE)]
# models/FAMILY/SIZE.gin
SIZES = [name for name in FILES if re.fullmatch(r"models/[^/]+/[^/]+\.gin", name)]
DIMENSIONS = {
    "vocab_size",
    "num_layers",
    "emb_dim",
    "num_heads",
    "num_kv_heads",
    "head_dim",
    "mlp_dim",
    "token_dim",
    "max_positions",
    "rotary_dim",
}


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


def macros(statements: list[Statement]) -> dict[str, Statement]:
    """The macros that are set, with their last values."""
    return {item.parameter: item for item in statements if item.is_macro}


def uses(statements: list[Statement]) -> set[str]:
    """The macros that values use."""
    return {use.name for item in statements for use in item.parts(MacroUse)} - {REQUIRED}


def required(name: str) -> list[str]:
    """Macros that a file leaves to the command line."""
    values = macros(gin_setup.read(name))
    return [macro for macro, item in values.items() if item.value == MacroUse(REQUIRED)]


def test_there_are_runs():
    assert RUNS


@pytest.mark.parametrize("name", RUNS)
def test_runs_parse_given_what_they_require(name):
    """Also: every macro is used, every name exists, and every call has its arguments."""
    gin_setup.parse([name], [f"{macro} = 'folder'" for macro in required(name)])


@pytest.mark.parametrize("name", PARTS)
def test_the_names_of_parts_exist(name):
    gin_setup.check_names(name)


@pytest.mark.parametrize("name", PARTS)
def test_what_a_part_sets_some_file_uses(name):
    used = set().union(*(uses(gin_setup.read(other)) for other in FILES))
    assert macros(gin_setup.read(name)).keys() <= used


@pytest.mark.parametrize("name", FILES)
def test_no_file_sets_anything_twice(name):
    """The second value would hide the first from a reader (T5X's finetune.gin does this)."""
    shown = str(gin_search.find_gin_file(name))
    own = [item for item in gin_setup.read(name) if item.where.file == shown and item.parameter]
    counts = collections.Counter((item.scope, item.selector, item.parameter) for item in own)
    assert not [key for key, count in counts.items() if count > 1]


@pytest.mark.parametrize("name", SIZES)
def test_size_files_set_dimensions_alone(name):
    shown = str(gin_search.find_gin_file(name))
    statements = gin_setup.read(name)
    own = [item for item in statements if item.where.file == shown and item.parameter]
    assert {item.parameter for item in own} <= DIMENSIONS
    assert {item.selector for item in own} == {"config.DecoderConfig"}
    assert not any(item.parameter in DIMENSIONS for item in statements if item not in own)


@pytest.mark.parametrize("name", RUNS)
def test_headers_of_runs_say_how_where_and_what_to_expect(name):
    header = gin_search.header(gin_search.find_gin_file(name))
    assert re.search(r"\bteacherlm (quickstart|train|annotate|evaluate|students)\b", header)
    assert re.search(r"^Hardware:", header, re.MULTILINE)
    assert re.search(r"^Expected:", header, re.MULTILINE)


@pytest.mark.parametrize("name", RUNS)
def test_headers_of_runs_name_macros_that_are_there(name):
    header = gin_search.header(gin_search.find_gin_file(name))
    known = macros(gin_setup.read(name)).keys()
    for macro in required(name):
        assert re.search(rf"\b{macro}\b", header), f"the header does not list {macro} as required"
    listed = re.findall(r"^\s*-? ?([A-Z][A-Z0-9]*_[A-Z0-9_]*)\b", header, re.MULTILINE)
    listed += re.findall(r"--gin\.([A-Z][A-Z0-9_]*)=", header)
    assert set(listed) <= known
