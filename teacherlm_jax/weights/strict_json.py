"""JSON of headers and indices, in which no name may stand twice."""

import json
from typing import Any

from teacherlm_jax.weights.tensors import WeightsError, brief


def parse_object(content: bytes, where: str) -> dict[str, Any]:
    """Returns a JSON object.

    Args:
        content: UTF-8.
        where: what it is of which file, for the error.

    Raises:
        WeightsError: it is no JSON, no object, or holds an object that names something twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise _NamedTwiceError(name)
            found[name] = value
        return found

    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=unique)
    except _NamedTwiceError as error:
        raise WeightsError(
            f"{where} names {brief(error.args[0])} twice, so which is meant cannot be known."
            " Download the file again, or write it anew."
        ) from None
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{where} is no JSON ({error}). Download the file again.") from error
    if not isinstance(value, dict):
        raise WeightsError(
            f"{where} is {brief(value)} where there should be a JSON object. Download it again."
        )
    return value


class _NamedTwiceError(Exception):
    """An object has two values under one name."""
