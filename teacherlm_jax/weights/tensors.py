"""Tensors of a checkpoint that stay in their file until a part of them is asked for.

The readers of this package turn a file's header into `LazyTensor`s. A host then reads the box that
its devices hold and nothing else. Files are read, never mapped: mapped pages count as resident
memory, and an object store (gs://) has nothing to map.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import threading
from collections.abc import Sequence
from typing import IO

import numpy as np
from etils import epath

# Runs of bytes with at most this much between them are read as one: another request costs more.
LARGEST_GAP_BYTES = 4 * 1024
# The most that is read at once, and so what reading needs beside the box itself.
PIECE_BYTES = 32 * 1024**2

MAX_RANK = 64  # Of NumPy.
_MAX_DIMENSION = 2**63 - 1
_LFS_POINTER = b"version https://git-lfs"


class WeightsError(ValueError):
    """A file of weights is damaged, is not what its name says, or holds what cannot be read."""


class ByteCounter:
    """Counts bytes over all threads. Take the difference of two readings of `total`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total = 0

    @property
    def total(self) -> int:
        """Bytes since the process began."""
        return self._total

    def add(self, count: int) -> None:
        """Adds to the total."""
        with self._lock:
            self._total += count


# Bytes of tensors that this process read, gaps included and headers not.
bytes_read = ByteCounter()


@dataclasses.dataclass(frozen=True)
class LazyTensor:
    """A tensor in a file. Making one reads nothing.

    Attributes:
        name: as the file has it.
        dtype: of NumPy or, for bfloat16 and the 8-bit floats, of ml_dtypes.
        shape: as the file has it.
        file: where its bytes are.
        offset: position of its first element in the file, in bytes.
        strides: elements from one index to the next, for each axis; None where the tensor is
            stored in row-major order without gaps, as it is but for transposed tensors of torch.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    file: epath.Path
    offset: int
    strides: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> np.ndarray:
        """Reads all of the tensor."""
        return self.read_box(self.shape, [(0, size) for size in self.shape])

    def read_box(self, view: Sequence[int], box: Sequence[slice | tuple[int, int]]) -> np.ndarray:
        """Reads a box of the tensor, seen with another shape.

        Runs of bytes that lie close together are read together (`LARGEST_GAP_BYTES`), at most
        `PIECE_BYTES` at once, so memory holds the box and one piece. A tensor with `strides` is
        the exception: all of it is read, and memory holds it twice.

        Args:
            view: a shape with as many elements; the tensor is reshaped to it (row-major).
            box: for each axis of `view`, (start, stop) or a slice without a step.

        Returns:
            A new array of the box's shape, bit for bit what the file holds.

        Raises:
            WeightsError: view or box do not fit the tensor, or the file ends early.
        """
        view = tuple(operator.index(size) for size in view)
        ranges = self._checked_ranges(view, box)
        counts = tuple(stop - start for start, stop in ranges)
        # As whole numbers: a copy of floats may touch a NaN.
        bits = np.dtype(f"u{self.dtype.itemsize}")
        if 0 in counts:
            return np.empty(counts, self.dtype)
        if self.strides is not None:
            whole = self._read_strided(bits).reshape(view)
            return whole[tuple(slice(*item) for item in ranges)].copy().view(self.dtype)
        out = np.empty(counts or (1,), bits)
        with ByteReader(self.file) as reader:
            _BoxReader(reader, view or (1,), ranges or [(0, 1)], self).fill(out)
        return out.view(self.dtype).reshape(counts)

    def _checked_ranges(
        self, view: tuple[int, ...], box: Sequence[slice | tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """Returns (start, stop) for each axis of the view."""
        if min(view, default=0) < 0 or math.prod(view) != math.prod(self.shape):
            raise WeightsError(
                f"{self.name!r} of {str(self.file)!r} has shape {list(self.shape)}: it cannot be"
                f" seen as {list(view)}. Ask for a shape with {math.prod(self.shape)} elements."
            )
        ranges = []
        for size, part in zip(view, box):
            if isinstance(part, slice):
                start = 0 if part.start is None else operator.index(part.start)
                stop = size if part.stop is None else operator.index(part.stop)
                step = part.step
            else:
                start, stop, step = operator.index(part[0]), operator.index(part[1]), 1
            if not 0 <= start <= stop <= size or step not in (None, 1):
                break
            ranges.append((start, stop))
        if not len(ranges) == len(box) == len(view):
            raise WeightsError(
                f"{self.name!r} of {str(self.file)!r}, seen as {list(view)}, has no box"
                f" {list(box)}. Give each axis 0 <= start <= stop <= size, in steps of 1."
            )
        return ranges

    def _read_strided(self, bits: np.dtype) -> np.ndarray:
        """Reads all of a tensor that is not stored in row-major order."""
        assert self.strides is not None
        count = 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides))
        stored = np.empty(count, bits)
        with ByteReader(self.file) as reader:
            _BoxReader(reader, (count,), [(0, count)], self).fill(stored)
        strides = [stride * self.dtype.itemsize for stride in self.strides]
        return np.ascontiguousarray(np.ndarray(self.shape, bits, stored, strides=strides))


class ByteReader:
    """Reads ranges of a file's bytes. A context manager; one thread's own."""

    def __init__(self, path: epath.Path):
        self._path = path
        self._stream: IO[bytes] = path.open("rb")

    def __enter__(self) -> ByteReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, offset: int, size: int) -> bytes:
        """Reads bytes; fewer where the file ends."""
        self._stream.seek(offset)
        return self._stream.read(size)

    def read_into(self, offset: int, target: np.ndarray) -> None:
        """Fills an array of bytes, [size] of uint8, at most a piece at once.

        Raises:
            WeightsError: the file ends before.
        """
        self._stream.seek(offset)
        filled = 0
        while filled < target.size:
            part = target[filled : filled + PIECE_BYTES]
            if hasattr(self._stream, "readinto"):
                count = self._stream.readinto(part.data)
            else:  # TensorFlow's files, which epath takes for gs:// where it is installed.
                content = self._stream.read(part.size)
                count = len(content)
                part[:count] = np.frombuffer(content, np.uint8)
            if not count:
                raise WeightsError(
                    f"{str(self._path)!r} ends at byte {offset + filled}, within a tensor that"
                    f" should reach byte {offset + target.size}: it was cut off since it was"
                    " opened. Download it again."
                )
            filled += count


class _BoxReader:
    """Reads a box out of a tensor in row-major order.

    From the outermost axis inwards it looks for the first where the box, from that axis on, has
    small gaps and fits a piece a row; such rows are read as many at once as fit.
    """

    def __init__(
        self,
        reader: ByteReader,
        view: tuple[int, ...],
        ranges: Sequence[tuple[int, int]],
        tensor: LazyTensor,
    ):
        itemsize, offset = tensor.dtype.itemsize, tensor.offset
        strides, spans, close = [], [itemsize], [True]
        stride = itemsize
        for size, (start, stop) in zip(reversed(view), reversed(ranges)):
            gap = stride - spans[-1] if stop - start > 1 else 0
            close.append(close[-1] and gap <= LARGEST_GAP_BYTES)
            spans.append((stop - start - 1) * stride + spans[-1])
            strides.append(stride)
            offset += start * stride
            stride *= size
        self._reader = reader
        self._position = offset  # Of the box's first byte.
        self._strides = strides[::-1]  # [axis]: bytes from one index to the next.
        self._spans = spans[::-1]  # [axis]: from the box's first byte to its last, from there on.
        self._close = close[::-1]  # [axis]: whether its gaps, from there on, are small.

    def fill(self, out: np.ndarray) -> None:
        """Reads the box into an array of its shape, in row-major order."""
        self._fill(out, 0, self._position)

    def _fill(self, out: np.ndarray, axis: int, position: int) -> None:
        stride, row = self._strides[axis], self._spans[axis + 1]
        if not self._close[axis] or (row > PIECE_BYTES and axis + 1 < len(self._strides)):
            for index in range(len(out)):
                self._fill(out[index], axis + 1, position + index * stride)
            return
        rows = max(PIECE_BYTES - row, 0) // stride + 1
        for first in range(0, len(out), rows):
            self._read_rows(out[first : first + rows], axis, position + first * stride)

    def _read_rows(self, out: np.ndarray, axis: int, position: int) -> None:
        span = (len(out) - 1) * self._strides[axis] + self._spans[axis + 1]
        if span == out.nbytes:
            self._reader.read_into(position, out.reshape(-1).view(np.uint8))
        else:
            piece = np.empty(span, np.uint8)
            self._reader.read_into(position, piece)
            out[...] = np.ndarray(out.shape, out.dtype, piece, strides=self._strides[axis:])
        bytes_read.add(span)


def checked_shape(shape: object, where: str) -> tuple[int, ...]:
    """Returns a shape that a header gives, once it is one.

    Args:
        shape: anything.
        where: the tensor and its file, for the error.

    Raises:
        WeightsError: it is no list of at most 64 whole numbers of which none is negative.
    """
    if (
        not isinstance(shape, list | tuple)
        or len(shape) > MAX_RANK
        or not all(type(size) is int and 0 <= size <= _MAX_DIMENSION for size in shape)
    ):
        raise WeightsError(
            f"{where} has no shape: its header gives {brief(shape)} where there should be at most"
            f" {MAX_RANK} whole numbers from 0. The file is damaged: download it again."
        )
    return tuple(shape)


def check_no_lfs_pointer(path: epath.Path, start: bytes) -> None:
    """Refuses the small text that a git clone without LFS leaves in a file's place.

    Args:
        path: of the file.
        start: its first bytes, eight of them at least.
    """
    if len(start) >= 8 and start.startswith(_LFS_POINTER[: len(start)]):
        raise WeightsError(
            f"{str(path)!r} holds no weights but a pointer of Git LFS. Run `git lfs pull` in its"
            " folder, or download the file itself."
        )


def brief(value: object) -> str:
    """Returns a value as an error shows it: never long, however hostile."""
    if isinstance(value, str | int | float | bool | None):
        text = repr(value)
    else:
        text = f"a {type(value).__name__}"
        if isinstance(value, list | tuple) and all(isinstance(item, int | str) for item in value):
            text = repr(value[:8] if len(value) > 8 else value)
    return text if len(text) <= 200 else f"{text[:200]}..."
