"""Reads the one kind of pickle that `torch.save` makes of a state dict, without running it.

A pickle is a program. This is no unpickler with a list of what it may call, but a reader of its
opcodes that calls nothing: it knows the two dozen that make up names, numbers, tuples and dicts,
and the names below, for which it builds plain values itself. The first other opcode or name ends
it.
`pickletools` splits the bytes into opcodes; it decodes their arguments and does nothing else.
"""

from __future__ import annotations

import dataclasses
import pickletools
from collections.abc import Callable
from typing import Any

from teacherlm_jax.weights.tensors import WeightsError, brief

# Storage class of torch -> name of its dtype.
STORAGE_DTYPES = {
    "torch FloatStorage": "float32",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16",
    "torch DoubleStorage": "float64",
    "torch LongStorage": "int64",
    "torch IntStorage": "int32",
    "torch ShortStorage": "int16",
    "torch CharStorage": "int8",
    "torch ByteStorage": "uint8",
    "torch BoolStorage": "bool",
}
_FUNCTIONS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
}
_REMEDY = (
    "Nothing of it was run. Take the checkpoint's safetensors, or load the file with torch where"
    " you trust it, and save the state dict alone: torch.save(model.state_dict(), path)."
)


@dataclasses.dataclass(frozen=True)
class Storage:
    """A storage of torch: an entry of the zip file.

    Attributes:
        key: name of the entry.
        dtype: name of its dtype.
        size: elements.
    """

    key: str
    dtype: str
    size: int


@dataclasses.dataclass(frozen=True)
class PickledTensor:
    """What the pickle says of a tensor. Nothing but the types is checked.

    Attributes:
        storage: where its elements are.
        offset: of its first element in the storage, in elements.
        shape: of whatever the pickle holds.
        strides: of whatever the pickle holds.
    """

    storage: Storage
    offset: Any
    shape: Any
    strides: Any


@dataclasses.dataclass(frozen=True)
class _Name:
    """A name of a module that is allowed; never imported."""

    name: str


class _NoStateDictError(Exception):
    """The pickle is damaged, or does what a state dict does not need."""


def read_state_dict(content: bytes, where: str) -> dict[str, PickledTensor]:
    """Returns the tensors of a pickled state dict by name.

    Args:
        content: the pickle.
        where: its file, for the error.

    Raises:
        WeightsError: it is no dict of tensors, or asks for more than that needs.
    """
    machine = _Machine()
    try:
        for opcode, argument, position in pickletools.genops(content):
            machine.run(opcode.name, argument, position)
        found = machine.result()
    except _NoStateDictError as error:
        raise WeightsError(f"{where} {error} {_REMEDY}") from None
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise WeightsError(
            f"{where} has a damaged pickle ({type(error).__name__}: {brief(str(error))}). Download"
            " it again."
        ) from error
    for name, value in found.items():
        if not isinstance(value, PickledTensor):
            raise WeightsError(
                f"{where} holds {brief(value)} under {brief(name)}; a state dict holds tensors by"
                f" name and nothing else. {_REMEDY}"
            )
    return found


class _Machine:
    """The stack machine of a pickle, as far as state dicts need it."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []  # Stacks below each open mark.
        self._memo: dict[int, Any] = {}
        self._result: Any = None

    def run(self, opcode: str, argument: Any, position: int | None) -> None:
        """Takes one opcode."""
        if opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode])
        elif opcode in _LITERALS:
            self._stack.append(argument)
        elif opcode in _TUPLES:
            self._push_tuple(_TUPLES[opcode])
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        elif opcode in ("GLOBAL", "INST"):
            self._push_name(argument)
        elif opcode not in ("PROTO", "FRAME"):
            raise _NoStateDictError(
                f"uses the pickle opcode {opcode} at byte {position}, which tensors do not need."
            )

    def result(self) -> dict[str, Any]:
        """Returns the dict that the pickle ends with."""
        if not isinstance(self._result, dict):
            raise _NoStateDictError(f"holds {brief(self._result)} instead of a state dict.")
        return self._result

    def _push_name(self, name: str) -> None:
        if name not in _FUNCTIONS and name not in STORAGE_DTYPES:
            raise _NoStateDictError(
                f"asks for {brief(name.replace(' ', '.', 1))}, which is none of the names that"
                " tensors need."
            )
        self._stack.append(_Name(name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name that is no text")
        self._push_name(f"{module} {name}")

    def _mark(self, _: Any) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _push_tuple(self, size: int) -> None:
        if size > len(self._stack):
            raise ValueError("a tuple of more than there is")
        start = len(self._stack) - size
        self._stack[start:] = [tuple(self._stack[start:])]

    def _push_marked_tuple(self, _: Any) -> None:
        items = self._pop_mark()
        self._stack.append(tuple(items))

    def _push_dict(self, _: Any) -> None:
        self._stack.append({})

    def _put(self, index: Any) -> None:
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def _set_items(self, _: Any) -> None:
        self._update(self._pop_mark())

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise _NoStateDictError(f"sets items of {brief(target)}, which is no dict.")
        for key, value in zip(items[::2], items[1::2]):
            if not isinstance(key, str):
                raise _NoStateDictError(f"has the key {brief(key)} in a dict; names are texts.")
            if key in target:
                raise _NoStateDictError(f"names {brief(key)} twice.")
            target[key] = value

    def _build(self, _: Any) -> None:
        """Drops the attributes of a state dict (`_metadata`, the versions of its modules)."""
        state, target = self._stack.pop(), self._stack[-1]
        if not isinstance(target, dict) or not isinstance(state, dict):
            raise _NoStateDictError(f"sets attributes of {brief(target)}.")

    def _reduce(self, _: Any) -> None:
        """Stands in for a call: of one of three names, with the arguments that torch writes."""
        arguments, function = self._stack.pop(), self._stack.pop()
        match function, arguments:
            case _Name("collections OrderedDict"), ():
                self._stack.append({})
            # At the end stand requires_grad, hooks and, for a negated view, what it needs.
            case (
                _Name("torch._utils _rebuild_tensor_v2"),
                (Storage() as storage, offset, shape, strides, _, _, *more),
            ) if not any(more):
                self._stack.append(PickledTensor(storage, offset, shape, strides))
            case _Name("torch._utils _rebuild_parameter"), (PickledTensor() as tensor, _, _):
                self._stack.append(tensor)
            case _:
                name = function.name if isinstance(function, _Name) else brief(function)
                raise _NoStateDictError(
                    f"calls {name.replace(' ', '.')} with {brief(arguments)} that holds no tensor."
                )

    def _load_storage(self, _: Any) -> None:
        match self._stack.pop():
            case ("storage", _Name(name), str(key), str(), int(size)) if name in STORAGE_DTYPES:
                self._stack.append(Storage(key, STORAGE_DTYPES[name], size))
            case other:
                raise _NoStateDictError(f"refers to {brief(other)}, which is no storage.")

    def _stop(self, _: Any) -> None:
        (self._result,) = self._stack


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {"BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "STACK_GLOBAL": _Machine._stack_global,
    "MARK": _Machine._mark,
    "TUPLE": _Machine._push_marked_tuple,
    "EMPTY_DICT": _Machine._push_dict,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "MEMOIZE": _Machine._put,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "BUILD": _Machine._build,
    "REDUCE": _Machine._reduce,
    "BINPERSID": _Machine._load_storage,
    "STOP": _Machine._stop,
}
