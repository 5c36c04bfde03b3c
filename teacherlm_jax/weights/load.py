"""From a checkpoint's files straight into sharded arrays, each host reading its own part."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from flax.core import meta
from jax.sharding import Mesh, NamedSharding

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params, paths
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.partitioning.shardings import tree_shardings
from teacherlm_jax.weights import rules as rules_lib
from teacherlm_jax.weights.accounting import Matched
from teacherlm_jax.weights.rules import LAYERS, PART, Rule
from teacherlm_jax.weights.tensors import LazyTensor

Tree = Any
Progress = Callable[[int], None]
Box = tuple[tuple[int, int], ...]

# Where XLA's CPU devices take over a NumPy array as it is instead of copying it.
_ALIGNMENT = 64
# Tensors are read and transposed in blocks of about so many bytes, so many at once: the most that
# reading holds beside the parameters.
_BLOCK_BYTES = 8 * 1024**2
_READERS = 4
# NumPy transposes fastest in strips of so many columns (measured; of two or four bytes each).
_STRIP = 16


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


@dataclasses.dataclass(frozen=True)
class _Parameter:
    """One of our parameters, and where its numbers are.

    Attributes:
      rule: of its tensors.
      tensors: one, or with `is_stacked` one for each index of the first axis.
      sizes: of `rules.axis_sizes`.
      shape: whole.
      dtype: in memory.
      is_stacked: whether the first axis is that of the blocks.
    """

    rule: Rule
    tensors: Sequence[LazyTensor]
    sizes: Mapping[str, int]
    shape: tuple[int, ...]
    dtype: np.dtype
    is_stacked: bool


def default_mesh(config: DecoderConfig) -> Mesh:
    """All devices, parameters cut over as many of them as every dimension divides over."""
    boxed, slices = boxed_params(Decoder(config)), mesh_lib.slice_count()
    devices = jax.device_count() // slices
    for fsdp in range(devices, 0, -1):
        if devices % fsdp == 0:
            mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(devices // fsdp, fsdp, slices=slices))
            with contextlib.suppress(ValueError):
                tree_shardings(boxed, mesh)
                return mesh
    raise AssertionError("over one device every dimension divides")


def load_params(
    matched: Matched, config: DecoderConfig, mesh: Mesh, progress: Progress | None = None
) -> Tree:
    """Reads a checkpoint onto a mesh.

    Beside what the host's devices hold, memory holds a few blocks of 8 MiB and what
    `LazyTensor.read_box` says of each: far less than a tensor, but for torch's transposed tensors,
    which are read whole.

    Args:
      matched: of `accounting.match`.
      config: of the model.
      mesh: any; what this host's devices hold is read, and read once.
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
    with concurrent.futures.ThreadPoolExecutor(_READERS, "weights") as pool:
        for path, leaf in leaves.items():
            rule, tensors = _source(matched, path)
            is_stacked = path.startswith(f"{LAYERS}/")
            parameter = _Parameter(rule, tensors, sizes, leaf.shape, types[path], is_stacked)
            arrays[path] = _load_array(parameter, shardings[path], pool)
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
    parameter: _Parameter, sharding: NamedSharding, pool: concurrent.futures.Executor
) -> jax.Array:
    """One parameter: the parts of all of the host's devices are filled, then handed over."""
    boxes = {
        device: tuple(part.indices(size)[:2] for part, size in zip(index, parameter.shape))
        for device, index in sharding.addressable_devices_indices_map(parameter.shape).items()
        if index is not None
    }
    parts = {
        box: _aligned([stop - start for start, stop in box], parameter.dtype)
        for box in set(boxes.values())  # Devices that hold the same share it.
    }
    work = list(_blocks(parameter, parts.keys()))
    for _ in pool.map(functools.partial(_fill, parameter, parts), *zip(*work)):
        pass  # Raises what a reader raised.
    shards = [jax.device_put(parts[box], device) for device, box in boxes.items()]
    return jax.make_array_from_single_device_arrays(parameter.shape, sharding, shards)


def _blocks(parameter: _Parameter, boxes: Iterable[Box]) -> Iterator[tuple[int, Box]]:
    """What is read at once: the tensor's index, and a box of it in the order of our axes.

    Devices divide a tensor's rows, as often as not, into runs so short that each device would read
    all of it. So the box around all of them is read, where they fill it.
    """
    first = 1 if parameter.is_stacked else 0
    layers = {layer for box in boxes for layer in range(*box[0])} if first else {0}
    inner = {box[first:] for box in boxes}
    around = tuple(
        (min(start for start, _ in ranges), max(stop for _, stop in ranges))
        for ranges in zip(*inner)
    )
    if _volume(around) == sum(map(_volume, inner)):
        inner = {around}
    # The file's outermost axis, so that blocks are runs of bytes.
    name = next(name for name in parameter.rule.view if name != PART)
    axis = parameter.rule.order.index(name)
    for layer, box in itertools.product(sorted(layers), sorted(inner)):
        tensor = parameter.tensors[layer]
        start, stop = box[axis]
        row_bytes = _volume(box) // (stop - start) * tensor.dtype.itemsize
        step = max(1, _BLOCK_BYTES // row_bytes) if tensor.strides is None else stop - start
        for row in range(start, stop, step):
            yield layer, (*box[:axis], (row, min(row + step, stop)), *box[axis + 1 :])


def _fill(parameter: _Parameter, parts: Mapping[Box, np.ndarray], layer: int, block: Box) -> None:
    """Reads a block and puts it into every part that it touches."""
    values = parameter.rule.read(parameter.tensors[layer], parameter.sizes, block)
    for box, part in parts.items():
        target, inner = part, box
        if parameter.is_stacked:
            if not box[0][0] <= layer < box[0][1]:
                continue
            target, inner = part[layer - box[0][0]], box[1:]
        common = [(max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(block, inner)]
        if all(start < stop for start, stop in common):
            _copy(values[_within(common, block)], target[_within(common, inner)])


def _copy(source: np.ndarray, target: np.ndarray) -> None:
    """Copies; casts on the host, since XLA would flush subnormal numbers."""
    if source.dtype == target.dtype:
        # As whole numbers: NumPy knows them better than it does bfloat16.
        bits = np.dtype(f"u{source.dtype.itemsize}")
        source, target = source.view(bits), target.view(bits)
    source, target = _merged(source, target)
    row = int(np.argmin([abs(stride) for stride in source.strides])) if source.ndim else 0
    if row >= source.ndim - 1:
        np.copyto(target, source, casting="unsafe")
        return
    # The axis along which the source runs, and the last, along which the target does: strips of
    # these two, one after the other, stay in the processor's cache.
    others = [range(1) if axis == row else range(n) for axis, n in enumerate(source.shape[:-1])]
    for place in itertools.product(*others):
        index = tuple(slice(None) if axis == row else n for axis, n in enumerate(place))
        one, other = source[index], target[index]
        for start in range(0, one.shape[1], _STRIP):
            strip = slice(start, start + _STRIP)
            np.copyto(other[:, strip], one[:, strip], casting="unsafe")


def _merged(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two with neighbouring axes made one where both run on from one to the next."""
    shape: list[int] = []
    steps: list[tuple[int, int]] = []
    for size, *strides in zip(source.shape, source.strides, target.strides):
        if size == 1:
            continue
        if shape and steps[-1] == (strides[0] * size, strides[1] * size):
            shape[-1] *= size
            steps[-1] = (strides[0], strides[1])
        else:
            shape.append(size)
            steps.append((strides[0], strides[1]))
    view = np.lib.stride_tricks.as_strided
    return (
        view(source, shape, [step[0] for step in steps]),
        view(target, shape, [step[1] for step in steps]),
    )


def _within(box: Sequence[tuple[int, int]], outer: Box) -> tuple[slice, ...]:
    """Where a box is in an array that holds another box around it."""
    return tuple(slice(a - b, c - b) for (a, c), (b, _) in zip(box, outer))


def _volume(box: Sequence[tuple[int, int]]) -> int:
    return math.prod(stop - start for start, stop in box)


def _aligned(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """An empty array that a CPU device takes over without a copy."""
    size = math.prod(shape) * dtype.itemsize
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)
