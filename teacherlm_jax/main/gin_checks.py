"""What gin does not check: that every statement of a configuration can be what was meant.

gin takes a misspelt macro without a word, and finds a missing argument when the function is called,
which may be after minutes of loading and compiling. The checks here read statements (in order,
includes unfolded) and raise ConfigurationError with file, line and the nearest name.
"""

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any

from teacherlm_jax.main.gin_names import (
    REQUIRED,
    Known,
    MacroUse,
    Reference,
    Statement,
    Where,
    missing_arguments,
    parameters_of,
)
from teacherlm_jax.main.gin_search import ConfigurationError, did_you_mean, nearest

_MISSPELT = {"true": "True", "false": "False", "none": "None", "null": "None"}


def check_macros(
    statements: Sequence[Statement], read_by_code: Collection[str] = (), *, complete: bool = True
) -> None:
    """Every macro that is set is used, and every macro that is used has a value.

    Args:
      statements: all, in order.
      read_by_code: macros that a command reads itself; they count as used.
      complete: a macro that is still to be given is an error as well.

    Raises:
      ConfigurationError: says which, where, and what to pass.
    """
    values = {item.parameter: item for item in statements if item.is_macro}
    uses = dict.fromkeys(read_by_code, "")
    for item in statements:
        for use in item.parts(MacroUse):
            if "." not in use.name:
                uses.setdefault(use.name, f" ({item.where})")
    unused = [item for name, item in values.items() if name not in uses]
    if unused:
        first = unused[0]
        match = nearest(first.parameter, uses)
        hint = (
            f"Did you mean {match[0]}{uses[match[0]]}?"
            if match
            else f"Macros in use are: {', '.join(sorted(uses)) or 'none'}."
        )
        raise ConfigurationError(
            f"{first.where}: the macro {first.parameter} is used nowhere, so setting it would "
            f"change nothing. {hint}"
        )
    absent = [name for name in uses if name not in values]
    required = [name for name in uses if name in values and _is_required(values[name])]
    needed = [name for name in uses if name in absent or (complete and name in required)]
    if needed:
        listed = ", ".join(f"{name}{uses[name]}" for name in needed)
        flags = " ".join(f"--gin.{name}=..." for name in needed)
        verb = "needs a value" if len(needed) == 1 else "need values"
        raise ConfigurationError(f"{listed} {verb}: pass {flags}")


def check_scopes(statements: Sequence[Statement]) -> None:
    """Every scope of a binding is one that some `@scope/function` enters.

    Raises:
      ConfigurationError: says which, where, and the nearest scope.
    """
    entered = {
        scope
        for item in statements
        for reference in item.parts(Reference)
        for scope in reference.scopes.split("/")
    }
    for item in statements:
        for scope in filter(None, item.scope.split("/")):
            if scope not in entered:
                listed = ", ".join(sorted(filter(None, entered))) or "none"
                hint = did_you_mean(scope, entered) or f" Scopes in use are: {listed}."
                raise ConfigurationError(
                    f"{item.where}: nothing is called in the scope {scope}/, so binding "
                    f"{item.scope}/{item.selector} would change nothing.{hint}"
                )


def check_flag_value(value: str, where: Where) -> None:
    """A value of the command line is there, and is no truth value in another language's spelling.

    Raises:
      ConfigurationError: says how to write it.
    """
    if not value:
        raise ConfigurationError(f"{where}: no value; for empty text write {where}='\"\"'")
    python = _MISSPELT.get(value.casefold(), value)
    if value != python:
        raise ConfigurationError(
            f"{where}: {value} would be text; write {python}, or '\"{value}\"' for the word."
        )


def check_bindings(known: Sequence[Known], known_flags: Sequence[Known], *, complete: bool) -> None:
    """Every binding can be what was meant: its parameter, its value, and that it counts.

    Args:
      known: the files' statements, in order.
      known_flags: the command line's.
      complete: a value that is still to be given is an error as well.

    Raises:
      ConfigurationError: see `check_parameters`, `check_flags_count` and `check_values`.
    """
    check_parameters([*known, *known_flags])
    check_flags_count(known, known_flags)
    check_values([*known, *known_flags], complete=complete)


def check_flags_count(known: Sequence[Known], known_flags: Sequence[Known]) -> None:
    """A flag for a class binds one that the files bind or use: gin takes another without a word.

    A function may be one that the command itself calls.

    Raises:
      ConfigurationError: says which, and how to have it used.
    """
    everything = [*known, *known_flags]
    used = {
        id(meaning.target)
        for item in everything
        for meaning in item.references.values()
        if meaning is not None
    }
    used |= {id(item.meaning.target) for item in known if item.meaning}
    for item in known_flags:
        if (
            item.meaning
            and inspect.isclass(item.meaning.target)
            and id(item.meaning.target) not in used
        ):
            selector = item.meaning.selector
            raise ConfigurationError(
                f"{item.statement.where}: the files of this run neither bind nor use {selector}, "
                f"so binding it would change nothing: bind something to @{selector}() as well."
            )


def check_parameters(known: Sequence[Known]) -> None:
    """Every binding is for a parameter that its function has.

    Raises:
      ConfigurationError: file and line, and the nearest parameter.
    """
    for item in known:
        _check_parameter(item)


def check_values(known: Sequence[Known], *, complete: bool = True) -> None:
    """Every binding has a value of its kind, and every `@function()` all it needs.

    Args:
      known: all statements, in order.
      complete: a value that is still to be given is an error as well.

    Raises:
      ConfigurationError: file and line, and what to bind.
    """
    final = {item.key: item for item in known}
    _check_bare(known)
    for item in final.values():
        if complete and not item.statement.is_macro and _is_required(item.statement):
            raise ConfigurationError(
                f"{item.statement.where}: {item.name} needs a value: pass --gin.{item.name}=..."
            )
    _check_calls(list(final.values()))


def _is_required(statement: Statement) -> bool:
    return bool(statement.value == MacroUse(REQUIRED))


def _check_parameter(item: Known) -> None:
    parameter = item.statement.parameter
    parameters = parameters_of(item.meaning.target) if item.meaning else None
    if parameters is None or item.meaning is None or parameter in ("", *parameters):
        return
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    hint = did_you_mean(parameter, parameters) or f" It has: {', '.join(parameters) or 'none'}."
    raise ConfigurationError(
        f"{item.statement.where}: {item.meaning.selector} has no parameter {parameter}.{hint}"
    )


def _check_bare(known: Sequence[Known]) -> None:
    """Text without quotes does not replace a number, a list or a truth value unnoticed."""
    before: dict[Any, Statement] = {}
    for item in known:
        statement = item.statement
        earlier = before.get(item.key)
        if statement.bare and earlier and isinstance(earlier.value, int | float | list | tuple):
            remedy = "a list as [1, 2]" if isinstance(earlier.value, list | tuple) else "no unit"
            raise ConfigurationError(
                f"{statement.where}: {statement.value} would be taken as text, but it replaces "
                f"{earlier.value!r} ({earlier.where}). Write a value of that kind ({remedy}), or "
                "put the text in quotes."
            )
        before[item.key] = statement


def _check_calls(known: Sequence[Known]) -> None:
    """Bindings of any scope count, so that nothing that could work is refused."""
    bound: dict[int, set[str]] = {}
    for item in known:
        if item.meaning:
            bound.setdefault(id(item.meaning.target), set()).add(item.statement.parameter)
    for item in known:
        for reference, meaning in item.references.items():
            if meaning is None or not reference.called:
                continue
            missing = missing_arguments(meaning.target, bound.get(id(meaning.target), set()))
            if missing:
                name = f"{meaning.selector}.{missing[0]}"
                raise ConfigurationError(
                    f"{item.statement.where}: {reference} needs {missing[0]}, which nothing "
                    f"binds: pass --gin.{name}=..., or set {name} in a file."
                )


def check_arguments(function: Callable[..., Any], given: Collection[str]) -> None:
    """A function that is about to be called has all it needs.

    Args:
      function: of a module.
      given: names of the parameters that have values.

    Raises:
      ConfigurationError: names the rest, and the flags to pass.
    """
    missing = missing_arguments(function, given)
    if missing:
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        flags = " ".join(f"--gin.{name}.{parameter}=..." for parameter in missing)
        raise ConfigurationError(f"{name} needs {', '.join(missing)}: pass {flags}")
