"""Values of bindings against the type hints of the parameters that they are for.

gin passes on whatever is bound; a text where a number was meant would come up minutes later, in the
depths of something else. Only what is certainly wrong is refused.
"""

import collections.abc
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.main.gin_names import Known, MacroUse, Reference
from teacherlm_jax.main.gin_search import ConfigurationError

_OWN = "teacherlm_jax."
_WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "None",
}


def check_types(known: Sequence[Known]) -> None:
    """Every value can be of the type that its parameter has.

    Args:
      known: all statements, in order.

    Raises:
      ConfigurationError: file and line, the value, and what it should be.
    """
    final = {item.key: item for item in known}
    macros = {
        item.statement.parameter: item.statement.value
        for item in final.values()
        if item.statement.is_macro
    }
    for item in final.values():
        if item.meaning is None or not item.statement.parameter:
            continue
        hint = _hints(item.meaning.target).get(item.statement.parameter, Any)
        value = item.statement.value
        passed: list[str] = []
        while isinstance(value, MacroUse) and value.name in macros:
            if value.name in passed:
                circle = " -> ".join([*passed, value.name])
                raise ConfigurationError(
                    f"{item.statement.where}: the macro {circle} goes in a circle; give one of "
                    "them a value."
                )
            passed.append(value.name)
            value = macros[value.name]
        if not _fits(value, hint):
            raise ConfigurationError(
                f"{item.statement.where}: {item.name} = {value!r}, but it must be {_say(hint)}."
            )


def _hints(target: Any) -> dict[str, Any]:
    try:
        if inspect.isclass(target) and "__init__" in vars(target):
            fields = typing.get_type_hints(target) if hasattr(target, "__annotations__") else {}
            return {**fields, **typing.get_type_hints(target.__init__)}
        return typing.get_type_hints(target)
    except (NameError, TypeError):
        return {}  # A hint that cannot be read here refuses nothing.


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in arguments)
    if isinstance(value, Reference):
        return value.called or not _is_own_class(hint)
    if isinstance(value, MacroUse):
        return True
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    if hint in (int, float):
        numbers = int if hint is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)
    if origin in (collections.abc.Sequence, list, tuple):
        fitting = isinstance(value, list | tuple)
        return fitting and (not arguments or all(_fits(one, arguments[0]) for one in value))
    if origin in (collections.abc.Mapping, dict):
        return isinstance(value, Mapping)
    return not _is_own_class(hint) and origin is not collections.abc.Callable


def _is_own_class(hint: Any) -> bool:
    return inspect.isclass(hint) and hint.__module__.startswith(_OWN)


def _say(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_say(one) for one in arguments))
    if hint in _WORDS:
        return _WORDS[hint]
    if origin in (collections.abc.Sequence, list, tuple):
        return f"a list (each {_say(arguments[0])})" if arguments else "a list"
    if origin in (collections.abc.Mapping, dict):
        return "a dictionary"
    if origin is collections.abc.Callable:
        return "a function (@module.function)"
    name = getattr(hint, "__name__", str(hint))
    return f"@{hint.__module__.rpartition('.')[2]}.{name}()" if _is_own_class(hint) else name
