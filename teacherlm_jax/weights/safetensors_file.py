"""The safetensors format: eight bytes of length, a JSON header, then the tensors' bytes.

https://huggingface.co/docs/safetensors. Each tensor has its own dtype. All that the header says is
checked when it is read, so that a file that was cut off is known before any weight is.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from etils import epath

from teacherlm_jax.weights import strict_json, tensors
from teacherlm_jax.weights.tensors import LazyTensor, WeightsError, brief

# Longer ones are refused by the format's own library, too.
MAX_HEADER_BYTES = 100_000_000
_METADATA = "__metadata__"

# The order is that in which the format's library sorts tensors of a file: the reverse of this.
DTYPES: dict[str, np.dtype] = {
    "BOOL": np.dtype(bool),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "I16": np.dtype(np.int16),
    "U16": np.dtype(np.uint16),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I32": np.dtype(np.int32),
    "U32": np.dtype(np.uint32),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "I64": np.dtype(np.int64),
    "U64": np.dtype(np.uint64),
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}
_RANKS = {code: rank for rank, code in enumerate(DTYPES)}


@dataclasses.dataclass(frozen=True)
class SafetensorsFile:
    """What a file holds, from its header alone.

    Attributes:
        path: of the file.
        tensors: by name, in the order of their bytes.
        metadata: the header's `__metadata__`; empty where it has none.
    """

    path: epath.Path
    tensors: dict[str, LazyTensor]
    metadata: dict[str, str]


def read_header(path: epath.PathLike) -> SafetensorsFile:
    """Reads a file's header, and nothing else of it.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file was cut off, or its header breaks the format.
    """
    path = epath.Path(path)
    size = path.stat().length
    header, start = _read_json(path, size)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise WeightsError(
            f"{_METADATA} in the header of {str(path)!r} is {brief(metadata)}; the format has texts"
            " by name there. Download the file again, or write it anew."
        )
    found = [_tensor(name, entry, path, start) for name, entry in header.items()]
    found.sort(key=lambda tensor: (tensor.offset, tensor.nbytes))
    _check_layout(found, path, start, size)
    return SafetensorsFile(path, {tensor.name: tensor for tensor in found}, metadata)


def _read_json(path: epath.Path, size: int) -> tuple[dict[str, Any], int]:
    """Returns the header, and where the tensors' bytes start in the file."""
    with tensors.ByteReader(path) as reader:
        start = reader.read(0, 8)
        tensors.check_no_lfs_pointer(path, start)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or 8 + length > size:
            needs = 8 if len(start) < 8 else 8 + length
            raise WeightsError(
                f"{str(path)!r} has {size} bytes, and the header of a safetensors file would take"
                f" {needs}: it was cut off or is no safetensors file. Download it again."
            )
        if length > MAX_HEADER_BYTES:
            raise WeightsError(
                f"{str(path)!r} has a header of {length} bytes; at most {MAX_HEADER_BYTES} are"
                " allowed. Is it a safetensors file? Download it again."
            )
        content = reader.read(8, length)
    return strict_json.parse_object(content, f"the header of {str(path)!r}"), 8 + length


def _tensor(name: str, entry: Any, path: epath.Path, start: int) -> LazyTensor:
    """Returns a tensor of the header once dtype, shape and offsets agree."""
    where = f"{name!r} in the header of {str(path)!r}"
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise WeightsError(
            f"{where} is {brief(entry)}, without dtype, shape and data_offsets. The file is"
            " damaged: download it again."
        )
    code, offsets = entry["dtype"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise WeightsError(
            f"{where} has the dtype {brief(code)}, which cannot be read; known are"
            f" {', '.join(DTYPES)}. Store the tensor with one of those."
        )
    shape = tensors.checked_shape(entry["shape"], where)
    needs = math.prod(shape) * DTYPES[code].itemsize
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(type(offset) is int and offset >= 0 for offset in offsets)
        or offsets[1] - offsets[0] != needs
    ):
        raise WeightsError(
            f"{where} has data_offsets {brief(offsets)}, but {code} of shape {list(shape)} takes"
            f" {needs} bytes. The file is damaged: download it again."
        )
    return LazyTensor(name, DTYPES[code], shape, path, start + offsets[0])


def _check_layout(found: Sequence[LazyTensor], path: epath.Path, start: int, size: int) -> None:
    """Checks that the tensors, sorted, fill the file: one after the other, up to its end."""
    end, before = start, "the header"
    for tensor in found:
        if tensor.offset != end:
            fault = "overlaps" if tensor.offset < end else "leaves a gap after"
            raise WeightsError(
                f"{tensor.name!r} in {str(path)!r} {fault} {before}: it starts at byte"
                f" {tensor.offset}, and {before} ends at {end}. The file is damaged: download it"
                " again."
            )
        end, before = tensor.offset + tensor.nbytes, repr(tensor.name)
    if end > size:
        lost = [tensor.name for tensor in found if tensor.offset + tensor.nbytes > size]
        raise WeightsError(
            f"{str(path)!r} was cut off: its header speaks of {end} bytes and it has {size}, so"
            f" {lost[0]!r} and {len(lost) - 1} more are not whole. Download it again."
        )
    if end < size:
        raise WeightsError(
            f"{str(path)!r} has {size} bytes where its header speaks of {end}: the last"
            f" {size - end} belong to no tensor. The file is damaged: download it again."
        )


def write(
    path: epath.PathLike,
    entries: Sequence[tuple[str, Any, Sequence[int]]],
    read: Callable[[str], np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a file, one tensor at a time, so that memory holds one.

    The order is the format's own, large dtypes first and then by name, which keeps each tensor
    aligned to its dtype. Since the header comes first, a file that was not written to its end is
    refused by `read_header`.

    Args:
        path: of the file, which is written over; its folder must be there.
        entries: (name, dtype, shape) for each tensor.
        read: name -> the tensor; called once for each, when its turn comes.
        metadata: for `__metadata__`; by default `{"format": "pt"}`, without which transformers
            refuses a file.

    Raises:
        WeightsError: a name stands twice, a dtype cannot be stored, or `read` gave an array of
            another dtype or shape than promised.
    """
    path = epath.Path(path)
    order = sorted(
        ((name, _code(name, dtype), tuple(shape)) for name, dtype, shape in entries),
        key=lambda entry: (-_RANKS[entry[1]], entry[0]),
    )
    header = _header(path, order, {"format": "pt"} if metadata is None else metadata)
    with path.open("wb") as stream:
        stream.write(header)
        for name, code, shape in order:
            array = np.asarray(read(name))
            if array.dtype != DTYPES[code] or array.shape != shape:
                raise WeightsError(
                    f"{name!r} was to be written to {str(path)!r} as {DTYPES[code]} of shape"
                    f" {list(shape)}, and is {array.dtype} of shape {list(array.shape)}."
                )
            content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            for first in range(0, content.size, tensors.PIECE_BYTES):
                stream.write(content[first : first + tensors.PIECE_BYTES].tobytes())


def _code(name: str, dtype: Any) -> str:
    """Returns the format's word for a dtype."""
    try:
        return _CODES[np.dtype(dtype)]
    except KeyError:
        known = ", ".join(str(known) for known in _CODES)
        raise WeightsError(
            f"{name!r} is {dtype}, which has no safetensors dtype: {known}"
        ) from None


def _header(
    path: epath.Path, order: Sequence[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> bytes:
    """Returns the length and the header, which ends on a multiple of eight bytes."""
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    end = 0
    for name, code, shape in order:
        if name in header or name == _METADATA:
            raise WeightsError(
                f"{name!r} cannot be written to {str(path)!r}: the name is taken. Each tensor needs"
                f" a name of its own, other than {_METADATA}."
            )
        start, end = end, end + math.prod(shape) * DTYPES[code].itemsize
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [start, end]}
    content = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    content += b" " * (-len(content) % 8)
    return len(content).to_bytes(8, "little") + content
