"""Fields of a checkpoint's config.json, read with a clear word where one does not fit."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.models.positions import RopeScaling
from teacherlm_jax.weights import strict_json
from teacherlm_jax.weights.tensors import WeightsError

FILE_NAME = "config.json"

# Names of activations there -> of ours.
ACTIVATIONS = {
    "gelu": "gelu_exact",
    "gelu_fast": "gelu",
    "gelu_new": "gelu",
    "gelu_python": "gelu_exact",
    "gelu_pytorch_tanh": "gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}

_REQUIRED = object()
_LARGEST = 1e30


def their_activation(ours: str) -> str:
    """Their name of an activation; of several the first in `ACTIVATIONS`."""
    return next(name for name, own in ACTIVATIONS.items() if own == ours)


def read_json(path: epath.Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
      WeightsError: the file is not there, or holds something else.
    """
    if not path.exists():
        raise WeightsError(
            f"{path} is not there: give the folder that holds a checkpoint's config.json beside "
            "its weights."
        )
    return strict_json.parse_object(path.read_bytes(), str(path))


class ConfigFields:
    """The fields, each under one of several names; errors name the file and the field."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def get(self, *names: str, default: Any = _REQUIRED) -> Any:
        """The value under whichever of these names is there and not null; they must agree."""
        present = [name for name in names if self.values.get(name) is not None]
        for other in present[1:]:
            if self.values[other] != self.values[present[0]]:
                self.refuse(other, self.values[other], f"{present[0]}, {self.values[present[0]]!r}")
        if present:
            return self.values[present[0]]
        if default is _REQUIRED:
            raise WeightsError(
                f"{self.where} has no field {' or '.join(map(repr, names))}, which says a "
                "dimension of the model: add it."
            )
        return default

    def integer(self, *names: str, default: Any = _REQUIRED) -> Any:
        """A whole number of at least 1; or the default, which may be None."""
        value = self.get(*names, default=default)
        if value is default:
            return value
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.refuse(self._present(names), value, "a whole number of at least 1")
        return value

    def number(self, *names: str, default: Any = _REQUIRED) -> float:
        """A finite number above 0."""
        value = self.get(*names, default=default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value < _LARGEST:  # Not of NaN.
            self.refuse(self._present(names), value, f"a number above 0 and below {_LARGEST:g}")
        return float(value)

    def flag(self, *names: str, default: bool) -> bool:
        """True or false."""
        value = self.get(*names, default=default)
        if not isinstance(value, bool):
            self.refuse(self._present(names), value, "true or false")
        return bool(value)

    def activation(self, *names: str, default: str) -> str:
        """Our name of an activation."""
        value = self.get(*names, default=default)
        if not isinstance(value, str) or value not in ACTIVATIONS:
            self.refuse(self._present(names), value, f"one of {sorted(ACTIVATIONS)}")
        return ACTIVATIONS[value]

    def require(self, name: str, allowed: Collection[Any], default: Any) -> None:
        """Checks a field that would change the model in a way that it cannot be changed in."""
        value = self.values.get(name, default)
        # Not `in`: 0 is not false here, nor 1 true.
        if not any(value == item and type(value) is type(item) for item in allowed):
            self.refuse(name, value, f"one of {list(allowed)}, all that this family can do")

    def refuse(self, name: str, value: Any, expected: str) -> None:
        """Raises the error of a field."""
        raise WeightsError(f"{self.where}: {name} = {value!r}, but it must be {expected}.")

    def _present(self, names: Sequence[str]) -> str:
        """Which of a field's names the file has."""
        return next((name for name in names if self.values.get(name) is not None), names[0])

    def layers_alike(self, count: int, kind: str) -> None:
        """Checks `layer_types`: every layer is of one kind."""
        kinds = self.values.get("layer_types")
        if kinds is not None and kinds != [kind] * count:
            self.refuse("layer_types", kinds, f"{kind!r} for each of the {count} layers")

    def head_dim(self, heads: int, width: int) -> int:
        """Width of a head, given or what is left for each."""
        given: int | None = self.integer("head_dim", default=None)
        if given is not None:
            return given
        if width % heads:
            self.refuse("num_attention_heads", heads, f"a divisor of the width, {width}")
        return width // heads


def rope(
    fields: ConfigFields,
    theta_name: str = "rope_theta",
    share_name: str = "partial_rotary_factor",
    share: float = 1.0,
) -> tuple[float, RopeScaling | None, float]:
    """Rotary base, stretching, and the part of a head that is rotated.

    Older files have them beside `rope_scaling`, newer ones all of them in `rope_parameters`; as in
    transformers, `rope_scaling` wins where it says something.

    Args:
      fields: of config.json.
      theta_name: the family's name of the base in older files.
      share_name: the family's name of the part in older files.
      share: the part where none is given.
    """
    old = fields.values.get("rope_scaling")
    new = fields.values.get("rope_parameters")
    for name, value in (("rope_scaling", old), ("rope_parameters", new)):
        if value is not None and not isinstance(value, dict):
            fields.refuse(name, value, "an object or null")
    name, values = ("rope_scaling", old) if old else ("rope_parameters", new or {})
    inner = ConfigFields(values, f"{fields.where}: {name}")
    theta = inner.number("rope_theta", default=fields.number(theta_name, default=10_000.0))
    share = fields.number(share_name, default=share)
    share = inner.number("partial_rotary_factor", default=share)
    if share > 1:
        fields.refuse(share_name, share, "at most 1: it is the part of a head that is rotated")
    kind = values.get("rope_type", values.get("type", "default"))
    if kind == "default":
        return theta, None, share
    if kind == "linear":
        return theta, RopeScaling("linear", inner.number("factor")), share
    if kind != "llama3":
        inner.refuse("rope_type", kind, "one of ['default', 'linear', 'llama3']")
    original, longest = "original_max_position_embeddings", "max_position_embeddings"
    length = fields.integer(original, default=None) or inner.integer(original, default=None)
    scaling = RopeScaling(
        "llama3",
        inner.number("factor"),
        inner.number("low_freq_factor"),
        inner.number("high_freq_factor"),
        fields.integer(longest) if length is None else length,
    )
    return theta, scaling, share


def rope_fields(theta: float, scaling: RopeScaling | None) -> dict[str, Any]:
    """The fields of `rope` under their older names, which all versions of transformers read."""
    values: dict[str, Any] = {"rope_theta": theta, "rope_scaling": None}
    if scaling is not None and scaling.kind == "linear":
        values["rope_scaling"] = {"type": "linear", "rope_type": "linear", "factor": scaling.factor}
    elif scaling is not None:
        values["rope_scaling"] = {
            "rope_type": scaling.kind,
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_max_positions,
        }
    return values
