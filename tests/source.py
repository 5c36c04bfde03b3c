"""The repository's Python files as syntax trees, for the tests of its layout."""

import ast
import functools
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("teacherlm_jax", "tasks", "launch", "tests")


class Import(NamedTuple):
    """One imported module (or attribute of one, where the statement cannot tell).

    Attributes:
      name: dotted.
      line: of the statement.
      lazy: within a function.
    """

    name: str
    line: int
    lazy: bool


def python_files(*folders: str) -> list[pathlib.Path]:
    """Each file once, at its real place: links are not followed."""
    files = [ROOT / "setup.py"] if not folders else []
    for folder in folders or FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.relative_to(ROOT / folder).parts[:-1]
            links = [ROOT / folder / pathlib.Path(*inner[: n + 1]) for n in range(len(inner))]
            if not any(link.is_symlink() for link in links):
                files.append(path)
    return files


def name_of(path: pathlib.Path) -> str:
    """From the root, with slashes."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_name(path: pathlib.Path) -> str:
    """Dotted name under which a file is imported; `tasks` is a part of the package."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "tasks":
        parts.insert(0, "teacherlm_jax")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(node: ast.AST, package: str, lazy: bool = False) -> Iterator[Import]:
    """Every module that the code imports; `from a import b` is a.b.

    Imports under `if TYPE_CHECKING:` do not count.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, lazy)
        elif isinstance(child, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - child.level + 1]
            base = ".".join(parents) if child.level else ""
            prefix = ".".join(part for part in (base, child.module or "") if part)
            for alias in child.names:
                yield Import(f"{prefix}.{alias.name}", child.lineno, lazy)
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(child, package, lazy or function)


@functools.cache
def imports_of(path: pathlib.Path) -> tuple[Import, ...]:
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return tuple(imports(tree(path), package))


@functools.cache
def package_modules() -> dict[str, pathlib.Path]:
    """Module name -> file, of the package and its tasks."""
    return {module_name(path): path for path in python_files("teacherlm_jax", "tasks")}


def module_of(name: str) -> str | None:
    """The package's module that an imported name lies in: itself, or its parent."""
    modules = package_modules()
    return next((item for item in (name, name.rpartition(".")[0]) if item in modules), None)
