"""The parts of a gin configuration, and what the names in it mean.

`gin_setup` parses files and flags into these; nothing here imports gin.
"""

import dataclasses
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.main.gin_search import ConfigurationError, did_you_mean

REQUIRED = "gin.REQUIRED"


@dataclasses.dataclass(frozen=True)
class Where:
    """A line of a gin file, or a flag (line 0)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclasses.dataclass(frozen=True)
class MacroUse:
    """`%name` within a value; a name with a dot is a constant."""

    name: str

    def __repr__(self) -> str:
        return f"%{self.name}"


@dataclasses.dataclass(frozen=True)
class Reference:
    """`@scopes/selector` or, called where it is used, `@scopes/selector()`."""

    scopes: str
    selector: str
    called: bool

    def __repr__(self) -> str:
        return f"@{self.scopes}{self.selector}{'()' if self.called else ''}"


@dataclasses.dataclass(frozen=True)
class Import:
    """An import statement of a gin file.

    Attributes:
      module: dotted name.
      symbol: the name that it binds.
      base: what a selector starts with to get at the module's attributes.
      text: the statement.
      where: its line.
    """

    module: str
    symbol: str
    base: str
    text: str
    where: Where

    def load(self) -> Any:
        """Imports the module and returns what `symbol` means.

        Raises:
          ConfigurationError: no such module, or one that it needs is not installed.
        """
        try:
            module = importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"{self.where}: {_import_problem(self, error)}") from error
        except ImportError as error:
            raise ConfigurationError(f"{self.where}: importing {self.module}: {error}") from error
        return sys.modules[self.symbol] if self.base != self.symbol else module


def _import_problem(statement: Import, error: ModuleNotFoundError) -> str:
    missing = error.name or ""
    if statement.module != missing and not statement.module.startswith(f"{missing}."):
        return f"importing {statement.module} needs {missing}, which is not installed."
    parent_name, _, name = missing.rpartition(".")
    parent = sys.modules.get(parent_name)
    if parent is None:
        return f"there is no module {missing}; is it installed?"
    if hasattr(parent, name):
        return (
            f"{missing} is not a module. gin imports modules: import {parent_name}, and write "
            f"{parent_name.rpartition('.')[2]}.{name}."
        )
    siblings = [module.name for module in pkgutil.iter_modules(getattr(parent, "__path__", []))]
    return f"{parent_name} has no module {name}.{did_you_mean(name, siblings)}"


@dataclasses.dataclass(frozen=True)
class Statement:
    """A binding, a macro, or the head of a block of bindings.

    Attributes:
      scope: with slashes, empty for none.
      selector: the configurable as written; empty for a macro.
      parameter: its parameter, or the macro's name; empty for the head of a block.
      value: literal; within it `MacroUse` and `Reference`.
      imports: symbols of the file at this line; None without dynamic registration.
      where: its line.
      bare: the value is text that came without quotes from the command line.
    """

    scope: str
    selector: str
    parameter: str
    value: Any
    imports: Mapping[str, Import] | None
    where: Where
    bare: bool = False

    @property
    def is_macro(self) -> bool:
        return not self.selector

    def parts(self, kind: type) -> Iterator[Any]:
        """The MacroUses or References within the value."""
        stack = [self.value]
        while stack:
            part = stack.pop()
            if isinstance(part, kind):
                yield part
            elif isinstance(part, Mapping):
                stack += [*part.keys(), *part.values()]
            elif isinstance(part, list | tuple):
                stack += part


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What a selector means.

    Attributes:
      target: the function or class.
      selector: a selector that reaches it through `source`.
      source: the import that it starts from.
    """

    target: Callable[..., Any]
    selector: str
    source: Import

    @property
    def full_name(self) -> str:
        return f"{self.source.module}{self.selector.removeprefix(self.source.base)}"


def resolve(selector: str, imports: Mapping[str, Import], where: Where) -> Resolved:
    """Follows a selector from an imported symbol, attribute by attribute, as gin does.

    Raises:
      ConfigurationError: names what is missing and the nearest that is there.
    """
    symbol, *attributes = selector.split(".")
    if symbol not in imports:
        raise ConfigurationError(
            f"{where}: {selector} starts with {symbol}, which is not imported."
            + (did_you_mean(symbol, imports) or f" Imported are: {', '.join(sorted(imports))}.")
        )
    target = imports[symbol].load()
    for attribute in attributes:
        if not hasattr(target, attribute):
            public = [name for name in dir(target) if not name.startswith("_")]
            raise ConfigurationError(
                f"{where}: {selector}: {getattr(target, '__name__', target)} has no {attribute}."
                + did_you_mean(attribute, public)
            )
        target = getattr(target, attribute)
    if not callable(target):
        raise ConfigurationError(
            f"{where}: {selector} is {type(target).__name__}, but only functions and classes can "
            "be configured."
        )
    return Resolved(target, selector, imports[symbol])


@dataclasses.dataclass(frozen=True)
class Known:
    """A statement whose names are resolved.

    Attributes:
      statement: as parsed.
      meaning: what it configures; None for a macro, and where gin's own registry is to find it.
      references: the same for each reference within its value.
    """

    statement: Statement
    meaning: Resolved | None
    references: Mapping[Reference, Resolved | None]

    @property
    def key(self) -> tuple[str, int | str, str]:
        """Statements with equal keys override each other."""
        target = id(self.meaning.target) if self.meaning else self.statement.selector
        return self.statement.scope, target, self.statement.parameter

    @property
    def name(self) -> str:
        """The name to bind it by on the command line."""
        scope = f"{self.statement.scope}/" if self.statement.scope else ""
        selector = self.meaning.selector if self.meaning else self.statement.selector
        return f"{scope}{selector}.{self.statement.parameter}".lstrip(".")

    def as_text(self) -> str:
        """The binding by itself, with the imports that its names need."""
        meanings = [item for item in (self.meaning, *self.references.values()) if item]
        sources = {item.source.symbol: item.source for item in meanings}
        if any(sources[item.source.symbol].module != item.source.module for item in meanings):
            raise ConfigurationError(
                f"{self.statement.where}: its names come from two modules that are imported under "
                "one name; set it in a gin file, with aliases."
            )
        imports = ["from __gin__ import dynamic_registration", *(i.text for i in sources.values())]
        return "\n".join([*imports, f"{self.name} = {self._renamed(self.statement.value)!r}"])

    def _renamed(self, value: Any) -> Any:
        """The value, its references written as they were resolved."""
        if isinstance(value, Reference):
            meaning = self.references[value]
            return dataclasses.replace(value, selector=meaning.selector) if meaning else value
        if isinstance(value, dict):
            return {self._renamed(key): self._renamed(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._renamed(part) for part in value)
        return value


def know(statement: Statement, find: Callable[[str], Resolved | None]) -> Known:
    """Resolves the names of a statement with `find`; gin's own names stay as they are."""
    names = {reference: reference.selector for reference in statement.parts(Reference)}
    references = {
        reference: None if name.startswith("gin.") else find(name)
        for reference, name in names.items()
    }
    selector = statement.selector
    own = not selector or selector.startswith("gin.")
    return Known(statement, None if own else find(selector), references)


def _path_within(item: Import, selector: str) -> str:
    """The selector, written from this import's symbol on."""
    if selector.partition(".")[0] == item.symbol:
        return selector
    return f"{item.base}.{selector.removeprefix(f'{item.module}.')}"


def resolve_flag(
    imports: Sequence[Import], configured: Sequence[Resolved], where: Where, selector: str
) -> Resolved:
    """Finds what a flag means, given what all gin files import and configure.

    In this order: a selector as in the files; the end of the name of something that a file
    configures (`Muon` for `optimizer.Muon`); an attribute of an imported module, with the module's
    full name or without.

    Raises:
      ConfigurationError: it means nothing, or several things.
    """
    symbol = selector.partition(".")[0]
    namesakes = {item.module: item for item in imports if item.symbol == symbol}
    if len(namesakes) == 1:
        return resolve(selector, {symbol: next(iter(namesakes.values()))}, where)
    found = [item for item in configured if f".{item.full_name}".endswith(f".{selector}")]
    for item in [] if found else imports:
        try:
            found.append(resolve(_path_within(item, selector), {item.symbol: item}, where))
        except ConfigurationError:
            continue
    meanings = {id(item.target): item for item in found}
    if len(meanings) == 1:
        return next(iter(meanings.values()))
    if meanings:
        names = ", ".join(sorted(item.full_name for item in meanings.values()))
        raise ConfigurationError(
            f"{where}: {selector} may mean {names}. Write one of these names in full."
        )
    known = {item.selector for item in configured}
    hint = did_you_mean(selector, known) or f" Configured are: {', '.join(sorted(known))}."
    raise ConfigurationError(f"{where}: nothing configurable is called {selector}.{hint}")


def parameters_of(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Parameters by name; None for what has no signature, such as a C function."""
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None


def missing_arguments(target: Callable[..., Any], given: Collection[str]) -> list[str]:
    """Parameters without a default that are not among `given`."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        name
        for name, parameter in (parameters_of(target) or {}).items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in variable
        and name not in given
    ]
