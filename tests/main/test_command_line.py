import argparse
import os
import pathlib
import resource
import shlex
import socket
import subprocess
import sys
import types

import gin
import pytest

import teacherlm_jax
from teacherlm_jax.main import command_line
from tests.main import tiny_command

TINY = """# Does little.
#
# Required to be set:
#   STEPS
# Commonly overridden:
#   MODEL_DIR: where it writes

from __gin__ import dynamic_registration
from tests.main import tiny_command

STEPS = %gin.REQUIRED
MODEL_DIR = 'here'  # not of the header
tiny_command.run:
  steps = %STEPS
  model_dir = %MODEL_DIR
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: pathlib.Path, monkeypatch) -> pathlib.Path:
    """The working directory, with the default gin file of the tiny command."""
    (tmp_path / "tiny.gin").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    gin.clear_config()


def in_process(*command: str, folder: pathlib.Path, **variables: str):
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        capture_output=True,
        text=True,
    )


# teacherlm


def test_help_answers_within_a_second_and_lists_the_commands(folder):
    # Of its own work: what else runs here takes time as well.
    start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = in_process("teacherlm_jax.main.command_line", "--help", folder=folder)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start < 1.0
    assert done.returncode == 0
    for name in ("quickstart", "train", "annotate", "evaluate", "students"):
        assert f"\n  {name} " in done.stdout


def test_no_command_is_help_and_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main([])
    assert stop.value.code == 0 and "commands:" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command_line.main(["--version"])
    assert capsys.readouterr().out.strip() == teacherlm_jax.__version__


@pytest.mark.parametrize(
    ("word", "hint"), [("trian", "Did you mean train?"), ("zzz", "Commands: quickstart, train")]
)
def test_an_unknown_command_names_the_nearest(capsys, word, hint):
    assert command_line.main([word]) == 2
    assert f"there is no command {word}." in (error := capsys.readouterr().err) and hint in error


def test_a_command_is_a_module_with_main(monkeypatch):
    seen = []
    module = types.ModuleType("teacherlm_jax.main.tiny")
    module.main = lambda argv: seen.append(argv) or 7
    monkeypatch.setitem(sys.modules, "teacherlm_jax.main.tiny", module)
    monkeypatch.setitem(command_line.COMMANDS, "tiny", "does little")
    assert command_line.main(["tiny", "--gin.X=1", "--help"]) == 7
    assert seen == [["--gin.X=1", "--help"]]


# run_command


def test_flags_configure_the_function(capsys):
    assert tiny_command.main(["--gin.STEPS=3"]) == 0
    assert tiny_command.main(["--gin.tiny_command.run.model_dir=/tmp/x", "--gin.STEPS=4"]) == 0
    assert tiny_command.main(["--gin_bindings=STEPS = 5", "--gin.MODEL_DIR=a b"]) == 0
    assert capsys.readouterr().out == "ran 3 here\nran 4 /tmp/x\nran 5 a b\n"


def test_gin_files_replace_the_default_and_are_searched_for(folder, capsys):
    (folder / "more").mkdir()
    (folder / "more" / "first.gin").write_text("include 'tiny.gin'\nSTEPS = 8\n")
    (folder / "more" / "second.gin").write_text("MODEL_DIR = 'second'\n")
    files = ["--gin_file=first.gin", "--gin_file", "second.gin", "--gin_search_paths=none,more"]
    assert tiny_command.main(files) == 0
    assert capsys.readouterr().out == "ran 8 second\n"


def test_help_shows_the_header_of_the_default_file(capsys):
    with pytest.raises(SystemExit) as stop:
        tiny_command.main(["--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    assert "teacherlm tiny" in out and "Does little, but with flags." in out
    assert "--gin_file" in out and "--gin.NAME=VALUE" in out
    assert "tiny.gin:" in out and "Required to be set:" in out and "MODEL_DIR: where" in out
    assert "not of the header" not in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "STEPS (tiny.gin:14) needs a value: pass --gin.STEPS=..."),
        (["--gin.STPES=3"], "Did you mean STEPS (tiny.gin:14)?"),
        (["--gin_file=tny.gin"], "there is no gin file tny.gin"),
        (["--gin.STEPS"], "write --gin.STEPS=VALUE"),
        (["--gin_fil=x"], "unrecognized arguments: --gin_fil=x. Did you mean --gin_file?"),
        (
            ["--gin.STEPS=3", "--gin.tiny_command.run.mood=ours"],
            "3 steps are too many;\n  take fewer.",
        ),
        (["--gin.STEPS=3", "--gin.tiny_command.run.mood=file"], "No such file or directory"),
    ],
)
def test_mistakes_are_a_message_and_status_2(capsys, flags, message):
    try:
        status = tiny_command.main(flags)
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert status == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 + message.count("\n")
    assert message in err
    assert "In call to configurable" not in err


def test_debug_and_the_errors_of_libraries_show_the_traceback():
    with pytest.raises(ValueError, match="too many"):
        tiny_command.main(["--debug", "--gin.STEPS=3", "--gin.tiny_command.run.mood=ours"])
    with pytest.raises(ValueError, match="Expecting property name"):
        tiny_command.main(["--gin.STEPS=3", "--gin.tiny_command.run.mood=library"])


def test_an_error_of_jax_shows_its_traceback_though_our_code_called_it(folder):
    flags = ["--gin.STEPS=3", "--gin.tiny_command.run.mood=jax"]
    done = in_process("tests.main.tiny_command", *flags, folder=folder)
    assert done.returncode == 1 and "Traceback" in done.stderr
    assert "vmap got inconsistent sizes" in done.stderr


def test_an_interrupt_says_how_to_continue(capsys):
    flags = ["--gin.STEPS=3", "--gin.MODEL_DIR=a b", "--gin.tiny_command.run.mood=interrupt"]
    assert tiny_command.main(flags) == 130
    assert shlex.join(["teacherlm", "tiny", *flags]) in capsys.readouterr().err


def test_a_module_runs_as_a_program_with_its_bindings(folder):
    done = in_process("tests.main.tiny_command", "--gin.STEPS=3", folder=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran 3 here\n", "")
    done = in_process("tests.main.tiny_command", "--gin.STPES=3", folder=folder)
    assert (done.returncode, done.stdout) == (2, "")


def test_only_errors_of_libraries_reach_the_terminal(folder):
    flags = ["--gin.STEPS=3", "--gin.tiny_command.run.mood=log"]
    done = in_process("tests.main.tiny_command", *flags, folder=folder)
    assert "an error of a library" in done.stderr and "from a library" not in done.stderr
    done = in_process("tests.main.tiny_command", *flags, "--debug", folder=folder)
    assert "from a library" in done.stderr and "a detail" in done.stderr
    assert "tiny_command.run.steps = %STEPS" in done.stderr


def test_a_command_that_loads_tensorflow_starts_in_silence(folder):
    (folder / "loud.gin").write_text("import tensorflow\ninclude 'tiny.gin'\n")
    flags = ["--gin_file=loud.gin", "--gin.STEPS=3"]
    done = in_process("tests.main.tiny_command", *flags, folder=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran 3 here\n", "")


# Several hosts


def as_hosts(folder, *commands, **variables):
    """Runs a command for each host, as a launcher would; returns status, output and errors."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.main.tiny_command", *command],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "JAX_PLATFORMS": "cpu",
                "TEACHERLM_COORDINATOR": f"localhost:{port}",
                "TEACHERLM_NUM_PROCESSES": str(len(commands)),
                "TEACHERLM_PROCESS_ID": str(process_id),
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process_id, command in enumerate(commands)
        if command is not None
    ]
    outputs = [process.communicate(timeout=60) for process in started]
    return [(process.returncode, *texts) for process, texts in zip(started, outputs)]


def without_chatter(errors):
    return [line for line in errors.splitlines() if line.startswith(("error:", "  ", "Traceback"))]


def test_hosts_that_are_alike_work_and_the_first_speaks(folder):
    first, second = as_hosts(folder, ["--gin.STEPS=3"], ["--gin.STEPS=3"])
    # Lines of the library of CPU collectives come between the words.
    assert first[0] == 0 and "here" in first[1], first
    assert second[0] == 0 and "here" not in second[1], second


def test_hosts_of_other_flags_end_with_status_2_before_they_work(folder):
    results = as_hosts(folder, ["--gin.STEPS=3"], ["--gin.STEPS=4"])
    assert [(status, output) for status, output, _ in results] == [(2, "")] * 2, results
    first, second = (without_chatter(errors) for _, _, errors in results)
    assert first == second
    assert first[0] == "error: the hosts of this run are not alike:"
    assert "launch all hosts with the same gin files and flags" in first[1]
    assert [line.split(": ")[1] for line in first[2:]] == ["STEPS = 3", "STEPS = 4"]


def test_an_absent_host_is_a_message_and_status_2_for_the_others(folder):
    results = as_hosts(
        folder, ["--gin.STEPS=3"], None, ["--gin.STEPS=3"], TEACHERLM_CONNECT_SECONDS="4"
    )
    assert [(status, output) for status, output, _ in results] == [(2, "")] * 2, results
    for _, _, errors in results:
        (line,) = without_chatter(errors)
        assert line.startswith("error: host 1 of 3 did not come within 4 s; there are hosts 0 (")


def test_commands_without_gin_files_compare_their_flags_but_for_debug():
    texts = [
        command_line._flags_text(argparse.Namespace(source=source, debug=debug))
        for source, debug in (("a", False), ("a", True), ("b", False))
    ]
    assert texts[0] == texts[1] != texts[2]


def test_a_reader_that_has_gone_is_noticed(monkeypatch):
    """Also where nothing is left in Python's buffer, as after a long table."""
    read, write = os.pipe()
    with os.fdopen(write, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert not command_line._nobody_reads()
        os.close(read)
        assert command_line._nobody_reads()
        print("dropped", flush=True)


@pytest.mark.parametrize(
    ("redirection", "expected"), [("", "caf\\xe9\n"), ("2>&-", "caf\\xe9\n"), (">&- 2>&-", "")]
)
def test_streams_that_are_closed_or_lack_a_character_stop_nothing(redirection, expected):
    code = (
        "import os; from teacherlm_jax.main import terminal; terminal.prepare_streams(); "
        "print('caf\\xe9'); print('caf\\xe9', file=__import__('sys').stderr); os.dup(2)"
    )
    run = subprocess.run(
        f'{sys.executable} -c "{code}" {redirection}',
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
    )
    assert (run.returncode, run.stdout) == (0, expected), run.stderr
