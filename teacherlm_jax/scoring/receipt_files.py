"""Receipts on disk: JSON lines, one a question, read as strictly as they are written.

Floats are written in full, so that what is read is what was written, to the last bit.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import ledger, record_files
from teacherlm_jax.scoring import boundary
from teacherlm_jax.scoring.receipts import Receipt
from teacherlm_jax.scoring.scores import NORMALISATIONS


def write(path: epath.PathLike, receipts: Sequence[Receipt]) -> epath.Path:
    """Writes receipts whole, then a marker; what stood there before is removed first.

    Raises:
      ValueError: a number is not finite, which JSON has no word for.
    """
    text = "".join(
        json.dumps(dataclasses.asdict(one), ensure_ascii=False, allow_nan=False) + "\n"
        for one in receipts
    )
    try:
        return ledger.write_whole(path, text)
    except ledger.AlreadyWrittenError:
        ledger.remove(path)
        return ledger.write_whole(path, text)


def read(path: epath.PathLike) -> list[Receipt]:
    """Reads a file of receipts; where a marker stands beside it, the two must agree.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is empty, was cut or changed, or a line is malformed: names file and line.
    """
    path = epath.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}: give one of receipts.")
    found = [parse(line, f"{path}:{number}") for line, number in record_files.read_lines(path)]
    if not found:
        raise ValueError(f"{path} holds no receipts: score a task first.")
    return found


def parse(line: bytes, where: str) -> Receipt:
    """A receipt from its line.

    Args:
      line: JSON.
      where: file and line, for errors.

    Raises:
      ValueError: it is malformed; says where, which field, and what it must be.
    """
    try:
        row = json.loads(line, parse_constant=_no_constant)
    except ValueError as error:
        raise ValueError(f"{where}: not JSON ({error}): score the task again.") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: {row!r:.80}, but a receipt is an object.")
    missing, unknown = _FIELDS.keys() - row.keys(), row.keys() - _FIELDS.keys()
    if missing or unknown:
        raise ValueError(
            f"{where}: a receipt has the fields {', '.join(_FIELDS)}; here "
            + " and ".join(
                f"{', '.join(sorted(names))} {verb}"
                for names, verb in ((missing, "lack"), (unknown, "are not known"))
                if names
            )
            + ": score the task again with this version."
        )
    values = {}
    for name, (fits, what) in _FIELDS.items():
        if not fits(row[name]):
            raise ValueError(f"{where}: {name} is {row[name]!r:.80}, but it must be {what}.")
        values[name] = _as_tuple(row[name])
    receipt = Receipt(**values)
    _check_lengths(receipt, where)
    return receipt


def _check_lengths(one: Receipt, where: str) -> None:
    options = len(one.options)
    for name in ("continuations", "option_texts", "log_likelihoods", "is_greedy", "unconditional"):
        value = getattr(one, name)
        if value is not None and len(value) != options:
            raise ValueError(
                f"{where}: {options} options but {len(value)} {name}: there must be one of each."
            )
    if not one.options or not all(one.options) or not one.context:
        raise ValueError(f"{where}: context and every option must have tokens, and one be there.")
    if not 0 <= one.answer < options:
        raise ValueError(
            f"{where}: answer is {one.answer}, but there are {options} options, numbered from 0."
        )
    if (one.unconditional is None) != (one.unconditional_prompt is None):
        raise ValueError(
            f"{where}: of unconditional and unconditional_prompt one is null, so both must be."
        )


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


_Fits = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_float(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _list_of(fits: _Fits) -> _Fits:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _or_null(fits: _Fits) -> _Fits:
    return lambda value: value is None or fits(value)


_TEXT: tuple[_Fits, str] = (_is_text, "a text")
_TEXTS: tuple[_Fits, str] = (_list_of(_is_text), "a list of texts")
_COUNT: tuple[_Fits, str] = (_is_count, "a whole number of at least 0")
_TOKENS = "a list of whole numbers of at least 0"

# Name -> (whether a value fits, what it must be), in the order of the fields.
_FIELDS: dict[str, tuple[_Fits, str]] = {
    "task": _TEXT,
    "split": _TEXT,
    "question_id": _TEXT,
    "subject": _TEXT,
    "prompt": _TEXT,
    "continuations": _TEXTS,
    "option_texts": _TEXTS,
    "answer": _COUNT,
    "boundary": (lambda value: value in boundary.RULES, f"one of {', '.join(boundary.RULES)}"),
    "moved": _COUNT,
    "bos_id": (_or_null(_is_count), "a whole number of at least 0, or null"),
    "context": (_list_of(_is_count), _TOKENS),
    "options": (_list_of(_list_of(_is_count)), "lists of whole numbers of at least 0"),
    "truncated": _COUNT,
    "log_likelihoods": (_list_of(_is_float), "a list of finite floats"),
    "is_greedy": (_list_of(_is_bool), "a list of true and false"),
    "unconditional_prompt": (_or_null(_list_of(_is_count)), f"{_TOKENS}, or null"),
    "unconditional": (_or_null(_list_of(_is_float)), "a list of finite floats, or null"),
    "dtype": _TEXT,
    "checkpoint_digest": _TEXT,
    "normalisation": (lambda v: v in NORMALISATIONS, f"one of {', '.join(NORMALISATIONS)}"),
}
