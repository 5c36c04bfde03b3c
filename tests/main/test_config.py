"""`teacherlm config`: what it finds, and what it says."""

import re

import pytest

from teacherlm_jax.main import config
from tests.main import kitchen


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = f"from __gin__ import dynamic_registration\nfrom {kitchen.__name__.rpartition('.')[0]} "
    head += "import kitchen\n"

    def write(name, text):
        (tmp_path / name).write_text(head + text)
        return name

    return write


def test_a_sound_file_is_fine_and_says_what_a_run_needs(files, capsys):
    name = files("a.gin", "DISH = %gin.REQUIRED\nkitchen.bake.name = %DISH\n")
    assert config.main(["check", name]) == 0
    assert capsys.readouterr().out == (
        "a.gin: all fine (values: 1, macros: 1)\na run needs --gin.DISH=...\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kitchen.bake.nme = 'soup'", "a.gin:3: .*no parameter nme. Did you mean name?"),
        ("DISH = 'soup'", "a.gin:3: the macro DISH is used nowhere"),
        ("kitchen.bake.name = %DSH\nDISH = 'soup'", "a.gin:4: the macro DISH is used nowhere"),
        ("include 'b.gin'", "a.gin:3: .*b.gin"),
        ("DISH = %DISH\nkitchen.bake.name = %DISH", "the macro DISH -> DISH goes in a circle"),
        ("kitchen.bke.name = 1", "has no bke. Did you mean bake?"),
        ("kitchen.bake.name = [", "never closed"),
    ],
)
def test_an_unsound_file_is_an_error_with_file_and_line(files, capsys, text, message):
    assert config.main(["check", files("a.gin", f"{text}\n")]) == 2
    assert re.search(message.replace("?", r"\?"), capsys.readouterr().err)


def test_explain_says_where_a_value_comes_from_and_what_it_replaces(files, capsys):
    files("base.gin", "DISH = 'soup'\nkitchen.bake.name = %DISH\n")
    name = files("a.gin", "include 'base.gin'\nDISH = 'stew'\n")
    assert config.main(["explain", name, "--gin.DISH=pie"]) == 0
    written = capsys.readouterr().out
    assert "DISH = 'pie'\n    --gin.DISH\n    replaces 'stew'  " in written
    assert "a.gin:4\n    replaces 'soup'  " in written
    assert "kitchen.bake.name = %DISH  = 'pie'" in written


def test_diff_compares_values_and_not_how_they_are_written(files, capsys):
    one = files("a.gin", "DISH = 'soup'\nkitchen.bake.name = %DISH\n")
    same = files("b.gin", "kitchen.bake.name = 'soup'\n")
    other = files("c.gin", "kitchen.bake.name = 'stew'\n")
    assert config.main(["diff", one, same]) == 0
    assert "kitchen.bake.name" not in capsys.readouterr().out
    assert config.main(["diff", same, other]) == 0
    assert capsys.readouterr().out == (
        "kitchen.bake.name\n    b.gin: 'soup'\n    c.gin: 'stew'\n1 value differs\n"
    )
    assert config.main(["diff", other, other]) == 0
    assert capsys.readouterr().out == "no values differ\n"
