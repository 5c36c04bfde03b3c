import pathlib
import subprocess
import sys

import gin
import pytest

from teacherlm_jax.main import gin_setup
from teacherlm_jax.main.gin_setup import ConfigurationError
from tests.main import kitchen, pantry

HEAD = """
from __gin__ import dynamic_registration
from tests.main import kitchen
"""
RUN = f"""{HEAD}
TRAIN_STEPS = 800
MODEL_DIR = %gin.REQUIRED
kitchen.bake:
  steps = %TRAIN_STEPS
  name = %MODEL_DIR
"""


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


@pytest.fixture
def parse(tmp_path: pathlib.Path):
    """Writes files (`run` first, others by name) and parses `run.gin` with flags."""

    def parse(run: str, *bindings: str, **others: str) -> str:
        for name, text in {"run": run, **others}.items():
            (tmp_path / f"{name}.gin").write_text(text)
        return gin_setup.parse(["run.gin"], bindings, [str(tmp_path)])

    return parse


def baked(*args, **kwargs):
    return gin_setup.bound(kitchen.bake)(*args, **kwargs)


# What is configured


def test_files_and_flags_reach_the_function(parse):
    parse(RUN, "MODEL_DIR=/tmp/x", "TRAIN_STEPS = 3", "kitchen.bake.rate=0.5")
    assert baked() == (3, 0.5, "/tmp/x", None)
    assert baked(7, rate=1.0) == (7, 1.0, "/tmp/x", None)
    assert gin_setup.macro("TRAIN_STEPS") == 3


def test_later_statements_override_earlier_ones_through_includes(parse):
    base = f"{HEAD}\nkitchen.bake.steps = 1\nkitchen.bake.rate = 1.0\nkitchen.bake.name = 'base'\n"
    run = f"{HEAD}\nkitchen.bake.steps = 2\ninclude 'base.gin'\nkitchen.bake.rate = 2.0\n"
    parse(run, "kitchen.bake.rate = 3.0", "kitchen.bake.rate = 4.0", base=base)
    assert baked() == (1, 4.0, "base", None)


def test_a_file_keeps_its_symbols_after_an_include(parse):
    other = "from __gin__ import dynamic_registration\nfrom tests.main import pantry as kitchen\n"
    run = f"{HEAD}\ninclude 'other.gin'\nkitchen.bake.steps = 5\n"
    parse(run, other=f"{other}kitchen.stock.size = 9\n")
    assert baked()[0] == 5
    assert gin_setup.bound(pantry.stock)() == 9


def test_parsing_again_forgets_what_was_before(parse):
    parse(RUN, "MODEL_DIR=a", "kitchen.bake.rate=0.5")
    parse(RUN, "MODEL_DIR=b")
    assert baked() == (800, 0.1, "b", None)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/tmp/x", "/tmp/x"),
        ("gs://bucket/a-b_c/1", "gs://bucket/a-b_c/1"),
        ('"/tmp/x"', "/tmp/x"),
        ("'/tmp/x'", "/tmp/x"),
        ("~/runs", "~/runs"),
        ("word", "word"),
        ("two words", "two words"),
        ("it's", "it's"),
        ("a#b", "a#b"),
        ("x=y", "x=y"),
        ("560M", "560M"),
        ("2024-01-01", "2024-01-01"),
        ("007", "007"),
        ("-x", "-x"),
        ("None", None),
        ("True", True),
        ("12", 12),
        ("1_000", 1000),
        ("-1e-3", -1e-3),
        ("[1, 'a', None]", [1, "a", None]),
        ("(0, 1)", (0, 1)),
        ("{'a': [1]}", {"a": [1]}),
        ('""', ""),
    ],
)
def test_values_of_the_command_line(parse, written, meant):
    parse(RUN, f"MODEL_DIR={written}")
    assert baked()[2] == meant
    assert type(baked()[2]) is type(meant)


def test_flags_find_names_as_the_files_do_by_their_end_and_in_full(parse):
    run = f"{HEAD}\nkitchen.bake:\n  steps = 1\n  oven = @kitchen.Oven()\n"
    for flag in (
        "kitchen.Oven.temperature=200",
        "Oven.temperature=200",
        "tests.main.kitchen.Oven.temperature=200",
    ):
        parse(run, flag)
        assert baked()[3] == kitchen.Oven(200)


def test_flags_reach_what_no_file_configures(parse):
    run = f"{HEAD}\nkitchen.bake.steps = 1\nkitchen.bake.name = @kitchen.Timer()\n"
    parse(run, "kitchen.Timer.minutes=5", "serve.plates=[1]")
    timer = gin.get_configurable(kitchen.Timer)()
    assert timer.minutes == 5
    assert gin_setup.bound(kitchen.serve)(make=None) == (None, [1])


def test_references_on_the_command_line(parse):
    run = f"{HEAD}\nkitchen.bake.steps = 1\n"
    parse(run, "kitchen.bake.oven=@hot/kitchen.Oven()", "hot/Oven.temperature=250")
    assert baked()[3] == kitchen.Oven(250)
    parse(f"{run}kitchen.serve.make = None\n", "kitchen.serve.plates = [{'t': @Timer}, (1,)]")
    (_, plates) = gin_setup.bound(kitchen.serve)()
    assert issubclass(plates[0]["t"], kitchen.Timer) and plates[1] == (1,)


def test_a_name_of_two_modules_must_be_written_in_full(parse):
    run = f"{HEAD}from tests.main import pantry\nkitchen.bake.steps = 1\n"
    with pytest.raises(ConfigurationError, match=r"main\.kitchen\.serve, tests\.main\.pantry"):
        parse(run, "serve.make=1")
    parse(run, "tests.main.pantry.serve.tray=1")
    assert gin_setup.bound(pantry.serve)() == 1
    # One class in both: no question.
    parse(f"{run}kitchen.bake.name = @kitchen.Timer()\n", "Timer.minutes=3")


def test_a_flag_for_a_class_that_nothing_uses_is_refused(parse):
    """gin would take it, and the run would go on as if it were not there."""
    run = f"{HEAD}\nkitchen.bake.steps = 1\n"
    with pytest.raises(ConfigurationError, match=r"neither bind nor use kitchen\.Timer, so"):
        parse(run, "kitchen.Timer.minutes=5")
    parse(run, "kitchen.bake.name=@kitchen.Timer()", "kitchen.Timer.minutes=5")


def test_one_symbol_for_two_modules(parse):
    other = "from __gin__ import dynamic_registration\nfrom tests.main import pantry as kitchen\n"
    run = f"{HEAD}\ninclude 'other.gin'\nkitchen.bake.steps = 5\n"
    parse(run, "kitchen.stock.size=4", "kitchen.bake.rate=0.2", other=other)
    assert gin_setup.bound(pantry.stock)() == 4
    assert baked()[1] == 0.2
    with pytest.raises(ConfigurationError, match=r"kitchen\.serve may mean"):
        parse(run, "kitchen.serve.tray=4", other=other)


def test_import_statements_as_flags(parse):
    parse(RUN, "from tests.main import pantry", "MODEL_DIR=a", "pantry.stock.size=8")
    assert gin_setup.bound(pantry.stock)() == 8
    assert "from tests.main import pantry" in gin_setup.config_str()


def test_macros_in_scopes_and_macros_of_macros(parse):
    run = f"{HEAD}\ntrain/STEPS = 4\nSTEPS = %train/STEPS\nkitchen.bake.steps = %STEPS\n"
    parse(run, "train/STEPS=6")
    assert baked()[0] == 6
    assert gin_setup.macro("STEPS") == 6


def test_files_without_dynamic_registration_may_set_macros(parse):
    parse(f"include 'sizes.gin'\n{RUN}".replace("TRAIN_STEPS = 800\n", ""), "MODEL_DIR=a",
          sizes="TRAIN_STEPS = 5\n")  # fmt: skip
    assert baked()[0] == 5


# The configuration as text


def test_the_configuration_round_trips(parse):
    run = f"{HEAD}\nkitchen.bake:\n  steps = %STEPS\n  name = %DIR\n  oven = @hot/kitchen.Oven()\n"
    run += "hot/kitchen.Oven.temperature = 250\nSTEPS = 1\nDIR = 'a'\n"
    first = parse(run)
    assert first == gin_setup.config_str()
    assert parse(first) == first


def test_the_configuration_does_not_depend_on_the_process(tmp_path):
    (tmp_path / "run.gin").write_text(RUN)
    program = (
        "from teacherlm_jax.main import gin_setup as g\n"
        f"print(g.parse([{str(tmp_path / 'run.gin')!r}], ['MODEL_DIR=a']))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": str(seed)},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in (1, 2)
    }  # fmt: skip
    assert len(texts) == 1


# What is refused. Each message says where, what, and what was probably meant.

REFUSED = [
    # macros
    (RUN, ["MODEL_DIR=a", "TRAIN_STPES=3"],
     r"--gin\.TRAIN_STPES: the macro TRAIN_STPES is used nowhere.*TRAIN_STEPS \(.*run\.gin:8\)"),
    (f"{RUN}WARM_UP = 3\n", ["MODEL_DIR=a"], r"run\.gin:10: the macro WARM_UP is used nowhere"),
    (RUN, [], r"MODEL_DIR \(.*run\.gin:9\) needs a value: pass --gin\.MODEL_DIR=\.\.\."),
    (f"{RUN}  rate = %RATE\n", [], r"need values: pass --gin\.MODEL_DIR=\.\.\. --gin\.RATE=\.\.\."),
    (f"{HEAD}\nkitchen.bake.steps = %gin.REQUIRED", [],
     r"run\.gin:5: kitchen\.bake\.steps needs a value: pass --gin\.kitchen\.bake\.steps=\.\.\."),
    # names
    (f"{HEAD}\nkitchn.bake.steps = 3", [], r"run\.gin:5: .*not imported\. Did you mean kitchen\?"),
    (f"{HEAD}\nkitchen.bak.steps = 3", [], r"run\.gin:5: .*no bak\. Did you mean bake\?"),
    (f"{HEAD}\nkitchen.bake.step = 3", [], r"run\.gin:5: .*parameter step\. Did you mean steps\?"),
    (f"{HEAD}\nkitchen.Oven:\n  # hot\n  temprature = 3", [], r":7: .*Did you mean temperature\?"),
    (f"{HEAD}\nkitchen.bake.oven = [@kitchen.Ofen]", [], r"run\.gin:5: .*Did you mean Oven\?"),
    (f"{HEAD}\nkitchen.NOT_CALLABLE.x = 3", [], r"run\.gin:5: .*NOT_CALLABLE is int"),
    (RUN, ["MODEL_DIR=a", "kitchen.bake.ratte=1"], r"--gin\.kitchen.bake.ratte: .*mean rate\?"),
    (RUN, ["MODEL_DIR=a", "kitchen.bkae.rate=1"], r"--gin\.kitchen.bkae.rate: .*mean bake\?"),
    (RUN, ["MODEL_DIR=a", "ktchen.bake.rate=1"], r"--gin\.ktchen.* called ktchen\.bake.*n\.bake\?"),
    (RUN, ["MODEL_DIR=@kitchen.Ofen"], r"--gin\.MODEL_DIR: .*Did you mean Oven\?"),
    ("kitchen.never.steps = 3", [], r"run\.gin:1: .*from __gin__ import dynamic_registration"),
    # arguments
    (f"{HEAD}\nkitchen.bake:\n  steps = 1\n  oven = @kitchen.Oven()", [],
     r"run\.gin:7: @kitchen\.Oven\(\) needs temperature.*--gin\.kitchen\.Oven\.temperature=\.\.\."),
    # imports
    ("from __gin__ import dynamic_registration\nfrom tests.main import kitchn", [],
     r"run\.gin:2: tests\.main has no module kitchn\. Did you mean kitchen\?"),
    ("from __gin__ import dynamic_registration\nfrom tests.main.kitchen import bake", [],
     r"run\.gin:2: .*is not a module.*import tests\.main\.kitchen, and write kitchen\.bake"),
    ("import no_such_package.x", [], r"run\.gin:1: there is no module no_such_package"),
    # syntax
    (f"{HEAD}\nTRAIN_STEPS = fast", [], r"run\.gin:5: .*text needs quotes.*TRAIN_STEPS = fast"),
    (f"{HEAD}\nTRAIN_STEPS 3", [], r"run\.gin:5: .*expected.*TRAIN_STEPS 3"),
    (f"{HEAD}\nkitchen.bake:\nsteps = 3", [], r"run\.gin:6: "),
    (f"{HEAD}\nkitchen.bake:\n    steps = 3\n  rate = 1", [], r"run\.gin:7: "),
    (f"{HEAD}\nX = [1, 2\n", [], r"run\.gin:\d: a bracket"),
    (RUN, ["MODEL_DIR=[1, 2"], r"--gin\.MODEL_DIR:\d: a bracket"),
    (RUN, ["MODEL_DIR"], r"write --gin\.MODEL_DIR=VALUE"),
    (RUN, ["MODEL_DIR="], r"--gin\.MODEL_DIR: no value"),
    (RUN, ["MODEL_DIR=a", "kitchen.bake.rate=true"], r"write True"),
    # text for a number
    (RUN, ["MODEL_DIR=a", "TRAIN_STEPS=8k"], r"STEPS: 8k would be taken as text.*800.*gin:5"),
    # files
    ("include 'bsae.gin'", [], r"run\.gin:1: .*no gin file bsae\.gin.*mean base\.gin\?"),
    ("include 'run.gin'", [], r"run\.gin:1: .*includes itself"),
]  # fmt: skip


@pytest.mark.parametrize(("run", "bindings", "message"), REFUSED)
def test_mistakes_are_named(parse, run, bindings, message):
    with pytest.raises(ConfigurationError, match=message):
        parse(run, *bindings, base="")


def test_a_part_may_lack_values_but_not_names(tmp_path):
    part = tmp_path / "part.gin"
    part.write_text(f"{HEAD}\nkitchen.bake.oven = @kitchen.Oven()\nkitchen.bake.steps = %STEPS\n")
    gin_setup.check_names(str(part))
    part.write_text(f"{HEAD}\nkitchen.bake.owen = @kitchen.Oven()\n")
    with pytest.raises(ConfigurationError, match=r"part\.gin:5: .*Did you mean oven\?"):
        gin_setup.check_names(str(part))


def test_quoted_text_may_replace_a_number_and_any_scope_may_give_an_argument(parse):
    parse(RUN, "MODEL_DIR=a", "TRAIN_STEPS='8k'")
    assert baked()[0] == "8k"
    run = f"{HEAD}\nkitchen.bake:\n  steps = 1\n  oven = @hot/kitchen.Oven()"
    parse(run, "hot/kitchen.Oven.temperature=250")
    assert baked()[3] == kitchen.Oven(250)


def test_keyword_parameters_take_any_name(parse):
    parse(f"{HEAD}\nkitchen.anything.salt = 1\n", "kitchen.anything.sugar=2")
    assert gin_setup.bound(kitchen.anything)() == {"salt": 1, "sugar": 2}


def test_macros_that_code_reads_need_no_use(tmp_path):
    (tmp_path / "run.gin").write_text(f"{HEAD}\nOUTPUT = %gin.REQUIRED\n")
    file = str(tmp_path / "run.gin")
    gin_setup.parse([file], ["OUTPUT=here"], read_by_code=["OUTPUT"])
    assert gin_setup.macro("OUTPUT") == "here"
    with pytest.raises(ConfigurationError, match=r"OUTPUT needs a value: pass --gin.OUTPUT=..."):
        gin_setup.parse([file], read_by_code=["OUTPUT"])


def test_a_missing_argument_is_named_when_a_function_is_called(parse):
    parse(f"{HEAD}\nkitchen.bake.rate = 1.0\n")
    with pytest.raises(ConfigurationError, match=r"kitchen\.bake needs steps: pass --gin\.kitchen"):
        baked()
    assert baked(3)[0] == 3


def test_an_unknown_macro_has_no_value(parse):
    parse(RUN, "MODEL_DIR=a")
    with pytest.raises(ConfigurationError, match="OTHER has no value"):
        gin_setup.macro("OTHER")


def test_a_function_of_main_is_found_under_its_module(tmp_path):
    """`python -m pkg.command` has two copies of the function; gin files name the other one."""
    (tmp_path / "command.gin").write_text(
        "from __gin__ import dynamic_registration\nimport a_command\na_command.run.x = 3\n"
    )
    (tmp_path / "a_command.py").write_text(
        "from teacherlm_jax.main import gin_setup\n"
        "def run(x=0):\n    print('x is', x)\n"
        "if __name__ == '__main__':\n"
        "    gin_setup.parse(['command.gin'])\n    gin_setup.bound(run)()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "a_command"],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "x is 3\n", done.stderr


def test_files_of_the_package_are_found_from_everywhere(tmp_path, monkeypatch):
    from teacherlm_jax.main import gin_search

    (tmp_path / "package" / "runs").mkdir(parents=True)
    (tmp_path / "package" / "runs" / "train.gin").write_text(RUN)
    monkeypatch.setattr(gin_search, "GIN_CONFIGS", gin_search.epath.Path(tmp_path / "package"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name in ("runs/train.gin", "gin/runs/train.gin"):
        gin_setup.parse([name], ["MODEL_DIR=a"])
        assert baked()[0] == 800
    for wrong in ("runs/trian.gin", "train.gin"):
        with pytest.raises(ConfigurationError, match=r"Did you mean runs/train\.gin\?"):
            gin_setup.parse([wrong])
    (tmp_path / "elsewhere" / "runs").mkdir()
    (tmp_path / "elsewhere" / "runs" / "train.gin").write_text(RUN.replace("800", "9"))
    gin_setup.parse(["runs/train.gin"], ["MODEL_DIR=a"])
    assert baked()[0] == 9  # the working directory comes first
