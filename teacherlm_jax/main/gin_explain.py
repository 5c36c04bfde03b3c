"""What a configuration comes down to: each value, where it is set, and what it replaced."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.main.gin_names import Known, MacroUse, Where


@dataclasses.dataclass(frozen=True)
class Value:
    """A parameter or macro with the value that counts.

    Attributes:
      name: as a flag takes it: `TRAIN_STEPS`, `base/stage.Stage.train_steps`.
      is_macro: whether it is a macro.
      written: the value as written.
      meant: the value with macros replaced; the same text where there are none.
      where: file and line, or flag, that set it.
      replaced: what it overrides, the last first: (value as written, where).
    """

    name: str
    is_macro: bool
    written: str
    meant: str
    where: Where
    replaced: tuple[tuple[str, Where], ...]


def explain(known: Sequence[Known]) -> list[Value]:
    """The values that count, macros first, in the order in which they are first set.

    Args:
      known: all statements, in order (`gin_setup.understand`).
    """
    settings: dict[Any, list[Known]] = {}
    for item in known:
        if item.statement.parameter:  # The head of a block sets nothing.
            settings.setdefault(item.key, []).append(item)
    macros = {
        items[-1].statement.parameter: items[-1].statement.value
        for items in settings.values()
        if items[-1].statement.is_macro
    }
    values = [_value(items, macros) for items in settings.values()]
    return sorted(values, key=lambda value: not value.is_macro)


def difference(one: Sequence[Value], other: Sequence[Value]) -> Iterator[tuple[str, str, str]]:
    """(name, value here, value there) of what differs; "-" where a side does not set it.

    Values count, not how they are written: a macro and its value are the same.
    """
    first, second = ({value.name: value.meant for value in side} for side in (one, other))
    for name in dict.fromkeys([*first, *second]):
        if first.get(name) != second.get(name):
            yield name, first.get(name, "-"), second.get(name, "-")


def _value(items: Sequence[Known], macros: Mapping[str, Any]) -> Value:
    *earlier, last = items
    statement = last.statement
    return Value(
        name=statement.parameter if statement.is_macro else last.name,
        is_macro=statement.is_macro,
        written=repr(statement.value),
        meant=repr(_filled(statement.value, macros)),
        where=statement.where,
        replaced=tuple(
            (repr(item.statement.value), item.statement.where) for item in reversed(earlier)
        ),
    )


def _filled(value: Any, macros: Mapping[str, Any], within: frozenset[str] = frozenset()) -> Any:
    """A value with its macros replaced, and theirs; one that goes in a circle is left."""
    if isinstance(value, MacroUse):
        if value.name not in macros or value.name in within:
            return value
        return _filled(macros[value.name], macros, within | {value.name})
    if isinstance(value, dict):
        return {
            _filled(key, macros, within): _filled(part, macros, within)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_filled(part, macros, within) for part in value)
    return value
