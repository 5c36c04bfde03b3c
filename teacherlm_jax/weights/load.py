"""From a checkpoint's files straight into sharded arrays, each host reading its own part."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from flax.core import meta
from jax.sharding import Mesh, NamedSharding

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params, paths
from teacherlm_jax.partitioning.shardings import tree_shardings
from teacherlm_jax.weights import rules as rules_lib
from teacherlm_jax.weights.accounting import Matched
from teacherlm_jax.weights.rules import LAYERS, Rule
from teacherlm_jax.weights.tensors import LazyTensor

Tree = Any
Progress = Callable[[int], None]

# Where XLA's CPU devices take over a NumPy array as it is instead of copying it.
_ALIGNMENT = 64


def parameter_types(matched: Matched, config: DecoderConfig) -> dict[str, np.dtype]:
    """The type in which each parameter is stored, by its path in a decoder's tree.

    That of its tensor; of a stack of layers the narrowest that holds all of them exactly.
    """
    types = {}
    for path in _leaves(config):
        _, tensors = _source(matched, path)
        found = {tensor.dtype for tensor in tensors}
        # Of bfloat16 and float16 neither holds the other.
        types[path] = found.pop() if len(found) == 1 else np.dtype(np.float32)
    return types


def load_params(
    matched: Matched, config: DecoderConfig, mesh: Mesh, progress: Progress | None = None
) -> Tree:
    """Reads a checkpoint onto a mesh.

    Beside what the host's devices hold, memory holds one device's part of one parameter at most
    twice, and what `LazyTensor.read_box` says.

    Args:
      matched: of `accounting.match`.
      config: of the model.
      mesh: any; a device's part alone is read.
      progress: called with the bytes of each parameter when it is done.

    Returns:
      Parameters in the types of `parameter_types`.

    Raises:
      ValueError: a dimension does not divide over the mesh.
      WeightsError: a file cannot be read to its end.
    """
    boxed = boxed_params(Decoder(config))
    leaves, shardings = paths(meta.unbox(boxed)), paths(tree_shardings(boxed, mesh))
    types = parameter_types(matched, config)
    sizes = rules_lib.axis_sizes(config)
    arrays = {}
    for path, leaf in leaves.items():
        rule, tensors = _source(matched, path)
        is_stacked = path.startswith(f"{LAYERS}/")
        arrays[path] = _load_array(
            rule, tensors, sizes, leaf.shape, types[path], shardings[path], is_stacked
        )
        if progress is not None:
            progress(math.prod(leaf.shape) * types[path].itemsize)
    return traverse_util.unflatten_dict(arrays, sep="/")


def _leaves(config: DecoderConfig) -> Mapping[str, Any]:
    return paths(meta.unbox(boxed_params(Decoder(config))))


def _source(matched: Matched, path: str) -> tuple[Rule, Sequence[LazyTensor]]:
    """The rule and the tensors of a parameter; one tensor where blocks are not stacked."""
    first, _, rest = path.partition("/")
    if not first.startswith(f"{LAYERS}_"):
        return matched.sources[path]
    rule, tensors = matched.sources[f"{LAYERS}/{rest}"]
    layer = int(first.removeprefix(f"{LAYERS}_"))
    return rule, tensors[layer : layer + 1]


def _load_array(
    rule: Rule,
    tensors: Sequence[LazyTensor],
    sizes: Mapping[str, int],
    shape: tuple[int, ...],
    dtype: np.dtype,
    sharding: NamedSharding,
    is_stacked: bool,
) -> jax.Array:
    """One parameter: every device's part read and handed over, one after the other."""
    parts: dict[tuple[tuple[int, int], ...], np.ndarray] = {}
    shards = []
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        assert index is not None
        box = tuple(
            (part.start or 0, size if part.stop is None else part.stop)
            for part, size in zip(index, shape, strict=True)
        )
        if box not in parts:
            parts.clear()  # Devices that hold the same part come one after another.
            parts[box] = _read(rule, tensors, sizes, box, dtype, is_stacked)
        shards.append(jax.device_put(parts[box], device))
    return jax.make_array_from_single_device_arrays(shape, sharding, shards)


def _read(
    rule: Rule,
    tensors: Sequence[LazyTensor],
    sizes: Mapping[str, int],
    box: Sequence[tuple[int, int]],
    dtype: np.dtype,
    is_stacked: bool,
) -> np.ndarray:
    """A box of one of our parameters, cast on the host: XLA would flush subnormal numbers."""
    out = _aligned([stop - start for start, stop in box], dtype)
    if not is_stacked:
        out[...] = rule.read(tensors[0], sizes, box)
        return out
    first, last = box[0]
    for layer in range(first, last):
        out[layer - first] = rule.read(tensors[layer], sizes, box[1:])
    return out


def _aligned(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """An empty array that a CPU device takes over without a copy."""
    size = math.prod(shape) * dtype.itemsize
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)
