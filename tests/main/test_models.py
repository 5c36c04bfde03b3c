"""`teacherlm models`, and the wording of mistakes in commands that have no gin files."""

import json
import os
import subprocess
import sys

import gin
import pytest

from teacherlm_jax.main import command_line, gin_search, models

MINE = """include 'models/opt.gin'
from __gin__ import dynamic_registration
from teacherlm_jax.models import config

config.DecoderConfig:
  vocab_size = 10
  num_layers = {layers}
  emb_dim = 4
  num_heads = 2
  head_dim = 2
  mlp_dim = 8
  max_positions = 6
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working directory, which is empty."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    gin.clear_config()


def listed(capsys, *arguments: str) -> list[dict]:
    capsys.readouterr()
    assert command_line.main(["models", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def write(path, layers: int | str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MINE.format(layers=layers))


def test_every_size_file_is_found():
    files = [name for name in gin_search.list_gin_files() if name.count("/") == 2]
    assert [file.gin_file for file in models.find_size_files()] == files and len(files) > 50
    assert all(file.gin_file == f"models/{file.family}/{file.size}.gin" for file in files_of("opt"))


def files_of(family: str) -> list[models.SizeFile]:
    return [file for file in models.find_size_files() if file.family == family]


def test_a_family_is_listed_by_size(capsys):
    rows = listed(capsys, "bloom")
    assert [row["size"] for row in rows] == ["560m", "1b1", "1b7", "3b", "7b1", "176b"]
    assert rows[0] == {
        "family": "bloom",
        "size": "560m",
        "gin_file": "models/bloom/560m.gin",
        "num_layers": 24,
        "emb_dim": 1024,
        "num_heads": 16,
        "num_kv_heads": 16,
        "parameters": 559_214_592,
    }


def test_the_table_says_the_same(capsys):
    assert command_line.main(["models", "qwen3"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.split() == ["family", "size", "layers", "width", "heads", "parameters", *FILE]
    small = "qwen3 0.6b 28 1024 16 / 8 596,049,920 models/qwen3/0.6b.gin"
    assert " ".join(lines[0].split()) == small
    assert len(lines[:6]) == len(files_of("qwen3")) and lines[6] == ""
    assert len({line.index("models/") for line in lines[:6]} | {first.index("gin file")}) == 1


FILE = ["gin", "file"]


def test_files_of_the_user_are_listed_and_come_first(folder, capsys):
    write(folder / "models" / "mine" / "here.gin", 1)
    write(folder / "more" / "models" / "mine" / "here.gin", 2)
    write(folder / "more" / "models" / "mine" / "there.gin", 3)
    rows = listed(capsys, "mine", "--gin_search_paths=none,more")
    # Per block 2 norms, 4 projections with biases, and 2 of width 8; then 2 tables and a norm.
    per_block, rest = 2 * 8 + 4 * 20 + 40 + 36, 10 * 4 + 8 * 4 + 8
    assert [(row["size"], row["num_layers"], row["parameters"]) for row in rows] == [
        ("here", 1, per_block + rest),
        ("there", 3, 3 * per_block + rest),
    ]


def test_a_file_that_describes_no_model_hides_no_other(folder, capsys):
    write(folder / "models" / "mine" / "good.gin", 1)
    write(folder / "models" / "mine" / "bad.gin", 0)
    (folder / "models" / "mine" / "part.gin").write_text("include 'models/opt.gin'\n")
    assert command_line.main(["models", "mine"]) == 0
    out, err = capsys.readouterr()
    assert "models/mine/good.gin" in out and "bad" not in out and "part" not in out
    assert "left out: models/mine/bad.gin: DecoderConfig.num_layers = 0, but it must" in err
    assert "left out: models/mine/part.gin: config.DecoderConfig needs vocab_size" in err
    assert "In call to configurable" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["blom"], "there is no folder models/blom with size files. Did you mean bloom?"),
        (["zzzz"], "with size files. Families: bloom, gpt_neox, llama, opt, qwen2, qwen3."),
        (["--jsn"], "unrecognized arguments: --jsn. Did you mean --json?"),
        (["--gin_file=x.gin"], "unrecognized arguments: --gin_file=x.gin."),
    ],
)
def test_mistakes_are_a_message_and_status_2(arguments, message, capsys):
    try:
        status = command_line.main(["models", *arguments])
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
    assert message in err


def test_help_tells_the_flags(capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main(["models", "--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0 and out.startswith("usage: teacherlm models")
    assert all(flag in out for flag in ("FAMILY", "--json", "--gin_search_paths", "--debug"))


def test_no_accelerator_is_taken(folder):
    """A list must not disturb a run that holds this machine's TPU."""
    write(folder / "models" / "mine" / "here.gin", 1)
    program = (
        "from teacherlm_jax.main import command_line\n"
        "assert command_line.main(['models', 'mine']) == 0\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized()\n"
    )
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
