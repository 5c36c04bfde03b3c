"""The habits of CONTRIBUTING.md that a program can check."""

import ast
import pathlib

import pytest

from tests import source
from tests.source import ROOT, name_of, python_files

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

# Bottom first. A module may import what is in lower layers and, without cycles, in its own.
LAYERS = [
    ("models", "partitioning", "metrics"),
    ("weights", "data", "checkpoints"),
    ("training", "generation", "scoring"),
    ("teacher", "evaluation"),
    ("star", "students", "pods", "adapters", "tasks"),
    ("main",),
]
LEVEL = {unit: level for level, units in enumerate(LAYERS) for unit in units}
TASKS_MAY_IMPORT = ("data", "scoring", "teacher.prompts", "tasks")

# What runs without TensorFlow, seqio, gin and clu.
LIGHT = (
    "models",
    "partitioning",
    "generation",
    "scoring",
    "metrics.sums",
    "training.state",
    "training.step",
    "training.loss",
    "training.optimizer",
)
HEAVY = ("tensorflow", "tensorflow_datasets", "tensorflow_text", "seqio", "gin", "clu")


def unit_of(module: str) -> str:
    """`models` for teacherlm_jax.models.decoder; empty for the package itself."""
    return [*module.split("."), ""][1]


def internal_imports(path: pathlib.Path) -> list[tuple[str, source.Import]]:
    found = [(source.module_of(item.name), item) for item in source.imports_of(path)]
    return [(module, item) for module, item in found if module]


# Layers


def test_imports_go_down():
    wrong = []
    for module, path in source.package_modules().items():
        for target, item in internal_imports(path):
            unit, other = unit_of(module), unit_of(target)
            if not unit or not other:
                continue
            if unit == "tasks":
                inner = target.removeprefix("teacherlm_jax.")
                fits = any(f"{inner}.".startswith(f"{ok}.") for ok in TASKS_MAY_IMPORT)
            else:
                fits = unit == other or LEVEL[other] <= LEVEL[unit]
            if not fits:
                wrong.append(f"{name_of(path)}:{item.line} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_every_unit_has_a_layer():
    units = {unit_of(module) for module in source.package_modules()} - {""}
    assert units <= LEVEL.keys()


def test_no_cycles_between_packages():
    edges: dict[str, set[str]] = {}
    for module, path in source.package_modules().items():
        for target, item in internal_imports(path):
            if not item.lazy and unit_of(module) != unit_of(target) != "":
                edges.setdefault(unit_of(module), set()).add(unit_of(target))
    assert not find_cycle(edges)


def find_cycle(edges: dict[str, set[str]]) -> list[str]:
    """Units that import each other in a ring; empty where there is no ring."""

    def walk(unit: str, trail: tuple[str, ...]) -> list[str]:
        if unit in trail:
            return [*trail[trail.index(unit) :], unit]
        rings = (walk(other, (*trail, unit)) for other in sorted(edges.get(unit, ())))
        return next((ring for ring in rings if ring), [])

    return next((ring for ring in (walk(unit, ()) for unit in sorted(edges)) if ring), [])


def test_the_cycle_finder_finds_cycles():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert not find_cycle({"a": {"b", "c"}, "b": {"c"}})


def test_the_core_needs_no_tensorflow_seqio_gin_or_clu():
    modules = source.package_modules()
    roots = [
        name
        for name in modules
        if any(f"{name}.".startswith(f"teacherlm_jax.{unit}.") for unit in LIGHT)
    ]
    wrong, seen, queue = [], set(roots), list(roots)
    while queue:
        module = queue.pop()
        for item in source.imports_of(modules[module]):
            if item.name.partition(".")[0] in HEAVY:
                wrong.append(f"{name_of(modules[module])}:{item.line} imports {item.name}")
            target = source.module_of(item.name)
            if target and target not in seen:
                seen.add(target)
                queue.append(target)
    assert not wrong, "\n".join(wrong)


def test_only_gin_setup_imports_gin():
    importers = {
        name_of(path)
        for path in python_files("teacherlm_jax", "tasks", "launch")
        for item in source.imports_of(path)
        if item.name.partition(".")[0] == "gin"
    }
    assert importers <= {"teacherlm_jax/main/gin_setup.py"}


def test_tasks_have_one_name():
    wrong = [
        f"{name_of(path)}:{item.line}"
        for path in python_files()
        for item in source.imports_of(path)
        if item.name.partition(".")[0] == "tasks"
    ]
    assert not wrong, f"write `import teacherlm_jax.tasks` in {wrong}"


# Sizes and names


def test_files_and_functions_are_small():
    long = []
    for path in python_files():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines >= MAX_FILE_LINES:
            long.append(f"{name_of(path)}: {lines} lines")
        for node in ast.walk(source.tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines >= MAX_FUNCTION_LINES:
                    long.append(f"{name_of(path)}:{node.lineno} {node.name}: {lines} lines")
    assert not long, "\n".join(long)


def test_no_file_is_a_drawer_for_everything():
    drawers = ("utils.py", "util.py", "helpers.py", "common.py", "misc.py")
    assert not [name_of(path) for path in python_files() if path.name in drawers]


def test_gin_has_no_python():
    """A `gin/__init__.py` would hide the gin library from every program run at the root."""
    assert not list((ROOT / "gin").rglob("*.py"))


def test_links_bring_tasks_and_gin_into_the_package():
    for name, target in (("tasks", "../tasks"), ("gin_configs", "../gin")):
        link = ROOT / "teacherlm_jax" / name
        assert link.is_symlink() and link.readlink().as_posix() == target


def test_packages_start_with_a_docstring_and_nothing_else():
    for path in python_files("teacherlm_jax"):
        if path.name == "__init__.py":
            _, *rest = source.tree(path).body
            assert ast.get_docstring(source.tree(path)), name_of(path)
            if path.parent != ROOT / "teacherlm_jax":
                assert not rest, name_of(path)
            else:
                assert [ast.unparse(node).split(" = ")[0] for node in rest] == ["__version__"]


def test_every_folder_of_python_files_is_a_package():
    for path in python_files():
        if path.parent not in (ROOT, ROOT / "launch"):
            assert (path.parent / "__init__.py").is_file(), name_of(path)


def test_tests_mirror_the_package():
    """tests/tasks/world/test_facts.py, or test_world_facts.py, tests tasks/world/facts.py."""
    wrong = []
    for path in python_files("tests"):
        folder, *inner = path.relative_to(ROOT / "tests").with_suffix("").parts
        if not inner or folder == "benchmarks" or not path.name.startswith("test_"):
            continue
        base = ROOT if folder in ("tasks", "launch") else ROOT / "teacherlm_jax"
        tested = "_".join([*inner[:-1], inner[-1].removeprefix("test_")])
        modules = [
            module.relative_to(base / folder).with_suffix("")
            for module in python_files(name_of(base / folder))
        ]
        names = {
            "_".join(part for part in module.parts if part != "__init__") for module in modules
        }
        if tested not in names:
            wrong.append(f"{name_of(path)}: there is no {name_of(base)}/{folder}/{tested}.py")
    assert not wrong, "\n".join(wrong)


def test_every_file_compiles():
    for path in python_files():
        compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True)


# Files and data


def offences(tree: ast.Module) -> list[tuple[int, str]]:
    """Line and reason of what breaks on an object store, or runs code out of data."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found += [(node.lineno, reason) for reason in _offences_of_call(node)]
    for item in source.imports(tree, ""):
        root = item.name.partition(".")[0]
        if root in ("pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"):
            found.append((item.line, f"{root} runs code out of data"))
        if root in ("fcntl", "filelock", "portalocker"):
            found.append((item.line, f"{root}: there are no locks on an object store"))
        if root in ("pathlib", "shutil", "glob"):
            found.append((item.line, f"{root} sees local files alone: use etils.epath"))
    return found


def _offences_of_call(node: ast.Call) -> list[str]:
    function = ast.unparse(node.func)
    name = function.rpartition(".")[2]
    if function in ("eval", "exec"):
        return [f"{function} runs code out of data"]
    if function in ("os.rename", "os.replace", "os.renames") or name == "rename":
        return ["an object store cannot rename"]
    if name == "replace" and len(node.args) == 1 and not node.keywords:
        return ["an object store cannot rename"]
    if function == "open":
        return ["open() sees local files alone: use etils.epath"]
    if name == "open":
        modes = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "mode")]
        texts = [mode.value for mode in modes if isinstance(mode, ast.Constant)]
        if any(isinstance(text, str) and set("a+") & set(text) for text in texts):
            return ["an object store cannot append"]
    return []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "def f():\n    from pickle import loads",
        "import fcntl",
        "from pathlib import Path",
        "path.open('a')",
        "path.open(mode='r+')",
        "open(name)",
        "os.rename(a, b)",
        "path.rename(other)",
        "path.replace(other)",
        "eval(text)",
    ],
)
def test_offences_are_found(code):
    assert offences(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "text.replace('a', 'b')",
        "dataclasses.replace(config, size=3)",
        "path.open('w')",
        "epath.Path(name).open()",
        "jax.eval_shape(f)",
    ],
)
def test_what_is_fine_is_no_offence(code):
    assert not offences(ast.parse(code))


def test_the_package_works_on_object_stores_and_loads_no_code():
    wrong = [
        f"{name_of(path)}:{line} {reason}"
        for path in python_files("teacherlm_jax", "tasks")
        for line, reason in offences(source.tree(path))
    ]
    assert not wrong, "\n".join(wrong)
