"""`run_plain_command`: commands with flags of their own and no gin files."""

import argparse
import json
import os
import pathlib
import signal

import pytest

from teacherlm_jax.main.command_line import run_plain_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    ways = parser.add_subparsers(dest="way", metavar="WAY", required=True)
    weigh = ways.add_parser("weigh", aliases=["w"], help="weighs")
    weigh.add_argument("folder")
    weigh.add_argument("--unit", choices=["gram", "pound"], default="gram")
    ways.add_parser("count", help="counts").add_argument("--limit", type=int)


def run(flags: argparse.Namespace) -> None:
    if flags.way == "count":
        os.kill(os.getpid(), signal.SIGTERM)
    if flags.folder == "ours":
        raise ValueError("3 scales are too many;\n  take fewer.")
    if flags.folder == "library":
        json.loads("{")
    if flags.folder == "file":
        pathlib.Path("no/such/file").read_text()
    print(flags.way, flags.folder, flags.unit, flags.debug)


def main(*arguments: str) -> int:
    return run_plain_command("scale", "Weighs folders.", add_arguments, run, arguments)


def test_flags_reach_the_function(capsys):
    assert main("weigh", "here", "--unit=pound") == 0
    assert main("w", "here", "--debug") == 0
    assert main("--debug", "weigh", "here") == 0
    out = capsys.readouterr().out
    assert out == "weigh here pound False\nw here gram True\nweigh here gram True\n"


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_the_command_and_of_its_subcommands(flag, capsys):
    for arguments, text in [((), "Weighs folders."), (("weigh",), "--unit {gram,pound}")]:
        with pytest.raises(SystemExit) as stop:
            main(*arguments, flag)
        out = capsys.readouterr().out
        assert stop.value.code == 0 and text in out and "--debug" in out
        assert out.startswith(" ".join(["usage: teacherlm scale", *arguments]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["weigh"], "the following arguments are required: folder."),
        ([], "the following arguments are required: WAY."),
        (["wiegh", "here"], "(choose from 'weigh', 'w', 'count'). Did you mean weigh?"),
        (["weigh", "here", "--unti=gram"], "arguments: --unti=gram. Did you mean --unit?"),
        (["weigh", "here", "--uni=gram"], "arguments: --uni=gram. Did you mean --unit?"),
        (["weigh", "here", "--unit=stone"], "(choose from 'gram', 'pound')."),
        (["weigh", "ours"], "3 scales are too many;\n  take fewer."),
        (["weigh", "file"], "No such file or directory"),
    ],
)
def test_mistakes_are_a_message_and_status_2(arguments, message, capsys):
    try:
        status = main(*arguments)
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 + message.count("\n")
    assert message in err


def test_debug_and_the_errors_of_libraries_show_the_traceback():
    with pytest.raises(ValueError, match="too many"):
        main("weigh", "ours", "--debug")
    with pytest.raises(ValueError, match="Expecting property name"):
        main("weigh", "library")


def test_sigterm_says_how_to_continue(capsys):
    assert main("count", "--limit=3") == 130
    assert "teacherlm scale count --limit=3" in capsys.readouterr().err
