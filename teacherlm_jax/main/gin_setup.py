"""Configuration by gin, with T5X's conventions: the only module that imports gin.

Files enable dynamic registration and import what they configure, so functions and classes of the
package carry no decorators:

    from __gin__ import dynamic_registration
    from teacherlm_jax.training import stages

    include 'models/tiny.gin'

    TRAIN_STEPS = 800            # a macro; %gin.REQUIRED: must come from another file or a flag
    stages.train:
      steps = %TRAIN_STEPS

A command parses files and flags, then calls functions with what was bound:

    parse(["runs/train.gin"], ["TRAIN_STEPS=100", "stages.train.batch_size=8"])
    bound(stages.train)()

Later bindings override earlier ones, flags override files. What gin 0.5 does with flags under
dynamic registration is narrower than one expects: they see no imports, only what some file has
already bound or referenced. Here a flag may name anything that the files import, as the files
name it (`stages.train.batch_size`), by its end (`Muon.momentum`) or in full. Text on a command line
needs no quotes (`--gin.MODEL_DIR=/tmp/x`); Python literals, `%MACRO` and `@reference` keep their
meaning.

gin's configuration is one per process. `parse` starts it afresh and locks it at the end.
"""

import copy
import functools
import importlib
import inspect
import io
import sys
import tokenize
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import gin
from absl import logging
from gin import config_parser

from teacherlm_jax.main import gin_checks, gin_types
from teacherlm_jax.main.gin_names import (
    Import,
    Known,
    MacroUse,
    Reference,
    Resolved,
    Statement,
    Where,
    know,
    resolve,
    resolve_flag,
)
from teacherlm_jax.main.gin_search import ConfigurationError, find_gin_file

_DYNAMIC_REGISTRATION = "__gin__.dynamic_registration"

Result = TypeVar("Result")


class _Delegate(config_parser.ParserDelegate):
    """Keeps references and macros as they are written; nothing is looked up."""

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> Reference:
        scopes, slash, selector = scoped_configurable_name.rpartition("/")
        return Reference(scopes + slash, selector, evaluate)

    def macro(self, macro_name: str) -> MacroUse:
        return MacroUse(macro_name)


class _Piece(NamedTuple):
    """Text between two includes of a file, or a flag.

    Attributes:
      text: what gin is to parse.
      statements: the same, parsed.
      imports: import statements within `text`.
      earlier_imports: import statements above `text` in its file.
    """

    text: str
    statements: Sequence[Statement]
    imports: Sequence[Import] = ()
    earlier_imports: Sequence[Import] = ()


class _Understood(NamedTuple):
    """Files and flags, and their statements in order, names resolved."""

    pieces: list[_Piece]
    flags: list[_Piece]
    known: list[Known]
    known_flags: list[Known]


def parse(
    gin_files: Sequence[str],
    gin_bindings: Sequence[str] = (),
    gin_search_paths: Sequence[str] = (),
    *,
    read_by_code: Collection[str] = (),
) -> str:
    """Sets the configuration of this process, or raises before anything was compiled.

    Args:
      gin_files: in order; looked for in the working directory, in each search path, and among the
        package's own, with or without `gin/` in front.
      gin_bindings: `NAME = VALUE`, in order, or an import statement.
      gin_search_paths: folders of further gin files.
      read_by_code: macros that the command reads with `macro`, so that no file needs to use them.

    Returns:
      The whole configuration as text that gin can parse.

    Raises:
      ConfigurationError: missing file; wrong syntax; unknown macro, configurable, parameter or
        module; a value that is required and absent. Says file and line, the nearest name, and
        what to pass.
    """
    pieces, flags, _, known_flags = understand(
        gin_files, gin_bindings, gin_search_paths, read_by_code=read_by_code
    )
    gin.clear_config()
    _apply([_text(piece) for piece in [*pieces, *flags]] + [item.as_text() for item in known_flags])
    logging.debug("configuration:\n%s", config_str())
    return config_str()


def understand(
    gin_files: Sequence[str],
    gin_bindings: Sequence[str] = (),
    gin_search_paths: Sequence[str] = (),
    *,
    read_by_code: Collection[str] = (),
    complete: bool = True,
) -> _Understood:
    """Reads and checks as `parse` does, and sets nothing; `complete`: nothing required is absent.

    Raises:
      ConfigurationError: as `parse`.
    """
    pieces = [piece for name in gin_files for piece in _read_file(name, gin_search_paths)]
    flags = [_read_flag(binding) for binding in gin_bindings]
    statements = [item for piece in [*pieces, *flags] for item in piece.statements]
    gin_checks.check_macros(statements, read_by_code, complete=complete)
    gin_checks.check_scopes(statements)
    imports = _load_imports([*pieces, *flags])
    known = _know(pieces)
    configured = [
        meaning
        for item in known
        for meaning in (item.meaning, *item.references.values())
        if meaning is not None
    ]
    known_flags = [
        know(item, functools.partial(resolve_flag, imports, configured, item.where))
        for flag in flags
        for item in flag.statements
    ]
    gin_checks.check_bindings(known, known_flags, complete=complete)
    gin_types.check_types([*known, *known_flags])
    return _Understood(pieces, flags, known, known_flags)


def check_names(gin_file: str, search_paths: Sequence[str] = ()) -> None:
    """Checks a part of a configuration: modules, functions and parameters exist. Sets nothing.

    Values and macros may be missing, since another part may give them.

    Raises:
      ConfigurationError: as `parse`.
    """
    pieces = _read_file(gin_file, search_paths)
    _load_imports(pieces)
    gin_checks.check_parameters(_know(pieces))


# ------------------------------------------------------------------------------------------------
# Reading


def read(gin_file: str, search_paths: Sequence[str] = ()) -> list[Statement]:
    """The statements of a file and of what it includes, in order; nothing is imported or set.

    Raises:
      ConfigurationError: missing file or wrong syntax.
    """
    pieces = _read_file(gin_file, search_paths)
    return [item for piece in pieces for item in piece.statements]


def _read_file(name: str, search_paths: Sequence[str], chain: tuple[str, ...] = ()) -> list[_Piece]:
    """Reads a file and what it includes, in the order of the statements."""
    path = find_gin_file(name, search_paths, included_by=chain[-1] if chain else "")
    shown = str(path)
    if any(link.startswith(f"{shown}:") for link in chain):
        raise ConfigurationError(f"{chain[-1]}: {shown} includes itself: {' -> '.join(chain)}")
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    pieces: list[_Piece] = []
    earlier: list[Import] = []
    imports: list[Import] = []
    statements: list[Statement] = []
    start = 0
    for item in _statements(text, shown):
        line = item.location.line_num
        if isinstance(item, config_parser.IncludeStatement):
            pieces.append(_Piece("".join(lines[start : line - 1]), statements, imports, earlier))
            pieces += _read_file(item.filename, search_paths, (*chain, f"{shown}:{line}"))
            start, earlier, imports, statements = line, [*earlier, *imports], [], []
        elif isinstance(item, config_parser.ImportStatement):
            imports.append(_import(item, Where(shown, line)))
        else:
            statements.append(_statement(item, _symbols([*earlier, *imports]), Where(shown, line)))
    return [*pieces, _Piece("".join(lines[start:]), statements, imports, earlier)]


def _statements(text: str, name: str) -> list[Any]:
    """Gin's own parse of a text."""
    try:
        return list(config_parser.ConfigParser(io.StringIO(text), _Delegate()))
    except SyntaxError as error:  # IndentationError is one
        message, location = error.args
        reason = str(message).splitlines()[0]
        if "malformed node" in reason:
            reason = "a value is not a literal; text needs quotes, a macro %, a function @"
        source = str(location[3] or "").strip()
        raise ConfigurationError(f"{Where(name, location[1])}: {reason}: {source}") from error
    except tokenize.TokenError as error:
        raise ConfigurationError(
            f"{Where(name, error.args[1][0])}: a bracket or a quotation mark is never closed."
        ) from error


def _import(item: Any, where: Where) -> Import:
    symbol = item.bound_name()
    base = symbol if item.is_from or item.alias else item.module
    return Import(item.module, symbol, base, item.format(), where)


def _symbols(imports: Sequence[Import]) -> Mapping[str, Import] | None:
    if not any(item.module == _DYNAMIC_REGISTRATION for item in imports):
        return None
    return {item.symbol: item for item in imports if item.module != _DYNAMIC_REGISTRATION}


def _statement(
    item: Any, imports: Mapping[str, Import] | None, where: Where, bare: bool = False
) -> Statement:
    if isinstance(item, config_parser.BlockDeclaration):
        return Statement(item.scope, item.selector, "", None, imports, where)
    if item.arg_name:
        return Statement(item.scope, item.selector, item.arg_name, item.value, imports, where, bare)
    name = f"{item.scope}/{item.selector}" if item.scope else item.selector
    return Statement("", "", name, item.value, imports, where, bare)


def _read_flag(binding: str) -> _Piece:
    """Reads `NAME = VALUE` of a command line; a value that is no literal is text."""
    if binding.startswith(("import ", "from ")):
        items = _statements(binding, binding)
        return _Piece(binding, [], [_import(item, Where(binding)) for item in items])
    name, equals, value = (part.strip() for part in binding.partition("="))
    where = Where(f"--gin.{name}")
    if not equals:
        raise ConfigurationError(f"{where}: write --gin.{name}=VALUE, with = and without spaces.")
    gin_checks.check_flag_value(value, where)
    bare = not _is_literal(value, where)
    [item] = _statements(f"{name} = {value!r}" if bare else f"{name} = {value}", str(where))
    return _Piece("", [_statement(item, None, where, bare)])  # text follows when names are known


def _is_literal(value: str, where: Where) -> bool:
    """Whether gin can read the value; opening brackets, quotes, % and @ say that it should."""
    try:
        items = _statements(f"value = {value}", str(where))
    except ConfigurationError:
        if value[0] in "[({'\"%@":
            raise
        return False
    return len(items) == 1


# ------------------------------------------------------------------------------------------------
# Names


def _load_imports(pieces: Sequence[_Piece]) -> list[Import]:
    """Imports what the files import, and returns the statements."""
    imports = [
        item for piece in pieces for item in piece.imports if not item.module.startswith("__gin__.")
    ]
    for item in imports:
        item.load()
    return imports


def _know(pieces: Sequence[_Piece]) -> list[Known]:
    return [know(item, _finder(item)) for piece in pieces for item in piece.statements]


def _finder(statement: Statement) -> Callable[[str], Resolved | None]:
    """How the names of a file's statement are found."""

    def in_registry(selector: str) -> None:
        try:
            gin.get_configurable(selector)
        except (KeyError, ValueError) as error:
            raise ConfigurationError(
                f"{statement.where}: nothing is registered as {selector}. Does the file start with "
                "`from __gin__ import dynamic_registration`, and import the module?"
            ) from error

    if statement.imports is None:
        return in_registry
    return functools.partial(resolve, imports=statement.imports, where=statement.where)


# ------------------------------------------------------------------------------------------------
# Handing over to gin


def _text(piece: _Piece) -> str:
    return "\n".join([*(item.text for item in piece.earlier_imports), piece.text])


def _apply(texts: Sequence[str]) -> None:
    try:
        for text in texts:
            gin.parse_config(text)
        gin.finalize()
    except (AttributeError, NameError, RuntimeError, SyntaxError, ValueError) as error:
        raise ConfigurationError(f"gin: {error}") from error


# ------------------------------------------------------------------------------------------------
# Using the configuration


def bound(function: Callable[..., Result]) -> Callable[..., Result]:
    """The function with its gin bindings; arguments of the caller win.

    A function of the module that Python runs as `__main__` is taken from the module under its own
    name, which is the one that gin files import. A function that no file mentions is registered,
    so that its defaults stand in the operative configuration.

    Args:
      function: of a module; not a lambda or a function within a function.

    Returns:
      A callable that raises ConfigurationError where a parameter has no value.
    """
    target = _under_own_name(function)
    try:
        configured = gin.get_configurable(target)
    except ValueError:
        with gin.unlock_config():
            gin.external_configurable(target, module=target.__module__)
        configured = gin.get_configurable(target)

    @functools.wraps(target)
    def call(*args: Any, **kwargs: Any) -> Result:
        given = inspect.signature(target).bind_partial(*args, **kwargs).arguments
        gin_checks.check_arguments(target, {*given, *gin.get_bindings(target, False)})
        return configured(*args, **kwargs)

    return call


def _under_own_name(function: Callable[..., Result]) -> Callable[..., Result]:
    specification = getattr(sys.modules["__main__"], "__spec__", None)
    if function.__module__ != "__main__" or specification is None:
        return function
    owner: Any = importlib.import_module(specification.name)
    for name in function.__qualname__.split("."):
        owner = getattr(owner, name)
    return cast(Callable[..., Result], owner)


def macro(name: str) -> Any:
    """The value of a macro.

    Raises:
      ConfigurationError: nothing sets it.
    """
    try:
        return copy.deepcopy(gin.query_parameter(f"{name}/gin.macro.value"))
    except ValueError as error:
        raise ConfigurationError(f"the macro {name} has no value: pass --gin.{name}=...") from error


def config_str() -> str:
    """All bindings, used or not, as text that gin can parse. Known before anything has run."""
    return gin.config_str(max_line_length=100)
