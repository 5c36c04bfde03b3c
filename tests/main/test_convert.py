"""`teacherlm convert`: there and back, and what is said to mistakes."""

import re

import pytest

from teacherlm_jax.main import command_line
from tests.weights import reference_models


def run(*arguments: str) -> int:
    try:
        return command_line.main(["convert", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return reference_models.save("gpt_neox", tmp_path_factory.mktemp("models") / "theirs")


@pytest.fixture(scope="module")
def ours(theirs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "ours"
    assert run("import", f"--from={theirs}", f"--to={folder}") == 0
    return folder


def test_there_and_back(theirs, ours, tmp_path, capsys):
    assert run("verify", f"--from={theirs}", f"--to={ours}") == 0
    out = capsys.readouterr().out
    largest = re.search(r"largest difference of two logits: (\S+) \(allowed: 0.0001\)", out)
    assert float(largest[1]) < 1e-4
    assert all(name in out for name in ("short", "long", "padded right", "padded left"))
    back = tmp_path / "back"
    arguments = ["--shard_gigabytes=0.0005", "--mesh=data=1,fsdp=4,tensor=2"]
    assert run("export", f"--from={ours}", f"--to={back}", *arguments) == 0
    out = capsys.readouterr().out
    assert "gpt_neox: 28 tensors" in out and str(back) in out
    assert len(list(back.glob("model-*.safetensors"))) > 1
    assert run("verify", f"--from={back}", f"--to={ours}", "--mesh=data=8,fsdp=1") == 0


def test_an_import_says_what_comes_next(theirs, tmp_path, capsys):
    target = tmp_path / "ours"
    assert run("import", f"--from={theirs}", f"--to={target}", "--no_scan_layers") == 0
    out = capsys.readouterr().out
    assert f"teacherlm convert verify --from={theirs} --to={target}" in out
    assert f"include '{target}/model.gin'" in out
    assert f"initial_checkpoint_path = '{target}/checkpoints'" in out
    assert "scan_layers = False" in (target / "model.gin").read_text()


def test_a_difference_above_the_tolerance_fails(theirs, ours, capsys):
    assert run("verify", f"--from={theirs}", f"--to={ours}", "--tolerance=1e-12") == 2
    out, err = capsys.readouterr()
    assert "largest difference of two logits" in out
    assert err.startswith("error: the largest difference is") and "at most 1e-12" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "--from={theirs}", "--to={ours}"], "is not empty (it holds checkpoints,"),
        (["import", "--from={theirs}/none", "--to={out}"], "none/config.json is not there"),
        (["import", "--from={theirs}", "--to={out}", "--mesh=fdsp=2"], "'fdsp=2' must be data=N"),
        (["import", "--from={theirs}", "--to={out}", "--mesh=data=3"], "3"),
        (["import", "--from={theirs}"], "the following arguments are required: --to."),
        (["export", "--from={out}", "--to={out}2"], "no checkpoint directory {out}"),
        (["export", "--from={ours}", "--to={out}", "--dtype=fp16"], "dtype = 'fp16', but it must"),
        (["export", "--from={ours}", "--to={out}", "--replica=1"], "holds one model, no replicas"),
        (["export", "--from={ours}", "--to={out}", "--license_file=none"], "'none' cannot be read"),
        (["export", "--from={ours}", "--to={out}", "--shard_gigabytes=0"], "shard_gigabytes"),
        (["export", "--from={ours}", "--to={out}", "--shard_gigabytes=inf"], "shard_gigabytes"),
        (["verify", "--from={out}", "--to={ours}"], "config.json is not there"),
        (["improt", "--from={theirs}"], "Did you mean import?"),
    ],
)
def test_mistakes_are_a_message_and_leave_nothing(
    arguments, message, theirs, ours, tmp_path, capsys
):
    names = {"theirs": theirs, "ours": ours, "out": tmp_path / "out"}
    assert run(*(argument.format(**names) for argument in arguments)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and "Traceback" not in err
    assert message.format(**names) in err
    assert not list(tmp_path.iterdir())
