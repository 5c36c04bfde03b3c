"""The files of `torch.save` (`pytorch_model.bin`): a zip with a pickle and an entry a storage.

https://pytorch.org/docs/stable/notes/serialization.html. The pickle is read without running it
(`tensor_pickle`); the entries are stored as they are, so that parts of a tensor are read in place.
"""

from __future__ import annotations

import math
import struct
import zipfile

import ml_dtypes
import numpy as np
from etils import epath

from teacherlm_jax.weights import tensor_pickle, tensors
from teacherlm_jax.weights.tensors import ByteReader, LazyTensor, WeightsError, brief

MAX_PICKLE_BYTES = 256 * 1024**2
# What torch wrote before version 1.6: a pickle of its magic number comes first.
_LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_ZIP_START = b"PK\x03\x04"
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 1  # Bit of an entry's flags.


def read_torch_file(path: epath.PathLike) -> dict[str, LazyTensor]:
    """Reads what tensors a file of `torch.save` holds, and none of them.

    Tensors may share a storage, as tied weights do. Nothing in the file is run.

    Args:
        path: of a state dict's file, from torch 1.6 or later.

    Returns:
        Tensors by name, in the state dict's order.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file was cut off, is of another format, or holds more than tensors.
    """
    path = epath.Path(path)
    with ByteReader(path) as reader:
        archive = _Archive(path, reader)
        where = repr(str(path))
        pickled = tensor_pickle.read_state_dict(archive.read_pickle(), where)
        return {name: _tensor(name, item, archive) for name, item in pickled.items()}


class _Archive:
    """The zip file. Its entries are found by their exact names; nothing is ever unpacked."""

    def __init__(self, path: epath.Path, reader: ByteReader):
        self.path = path
        self._reader = reader
        self._size = path.stat().length
        self._check_start(reader.read(0, 64))
        self._entries = self._read_entries()
        pickles = [name for name in self._entries if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1 or pickles[0].count("/") != 1:
            raise WeightsError(
                f"{str(path)!r} is a zip file in which {brief(sorted(self._entries))} lie, and no"
                " file of torch.save, which has one folder with one data.pkl. Save the state dict:"
                " torch.save(model.state_dict(), path)."
            )
        self._folder = pickles[0].rpartition("/")[0]
        if f"{self._folder}/constants.pkl" in self._entries:
            raise WeightsError(
                f"{str(path)!r} is a TorchScript program, not a state dict. Load it with torch and"
                " save the state dict: torch.save(model.state_dict(), path)."
            )
        self._offsets: dict[str, int] = {}
        self._check_byte_order()

    def _check_start(self, start: bytes) -> None:
        """Refuses what is no zip file, as far as its first bytes say what it is."""
        tensors.check_no_lfs_pointer(self.path, start)
        if start.startswith(_LEGACY_START):
            raise WeightsError(
                f"{str(self.path)!r} has the format of torch before version 1.6, which cannot be"
                " read in parts. With a torch of today save it again, torch.save(torch.load(path,"
                " weights_only=True), path), or take the checkpoint's safetensors."
            )
        if not start.startswith(_ZIP_START):
            raise WeightsError(
                f"{str(self.path)!r} ({self._size} bytes) is no file of torch.save, which is a zip"
                f" file: it starts with {start[:8]!r}. Download it again."
            )

    def _read_entries(self) -> dict[str, zipfile.ZipInfo]:
        try:
            with self.path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, struct.error):
            raise WeightsError(
                f"{str(self.path)!r} has {self._size} bytes and no directory at its end, which a"
                " zip file has there: it was cut off. Download it again."
            ) from None
        found: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            if entry.filename in found:
                raise WeightsError(
                    f"{str(self.path)!r} holds {brief(entry.filename)} twice, so which is meant"
                    " cannot be known. Download it again."
                )
            found[entry.filename] = entry
        return found

    def _check_byte_order(self) -> None:
        name = f"{self._folder}/byteorder"
        if name in self._entries:
            order = self._reader.read(self.offset(name), min(self._entries[name].file_size, 16))
            if order != b"little":
                raise WeightsError(
                    f"{str(self.path)!r} has the byte order {order!r}; only little-endian files can"
                    " be read. Save it again on another machine."
                )

    def read_pickle(self) -> bytes:
        """Returns the pickle of the state dict."""
        name = f"{self._folder}/data.pkl"
        size = self._entries[name].file_size
        if size > MAX_PICKLE_BYTES:
            raise WeightsError(
                f"{str(self.path)!r} has a pickle of {size} bytes; at most {MAX_PICKLE_BYTES} are"
                " read. A state dict's is far smaller: save that alone."
            )
        return self._reader.read(self.offset(name), size)

    def storage_offset(self, storage: tensor_pickle.Storage, itemsize: int, where: str) -> int:
        """Returns where a storage's bytes start in the file, once all of them are there."""
        name = f"{self._folder}/data/{storage.key}"
        if name not in self._entries:
            raise WeightsError(
                f"{where} lies in the entry {brief(name)}, which is not there. The file is damaged:"
                " download it again."
            )
        held = self._entries[name].file_size
        if not 0 <= storage.size * itemsize <= held:
            raise WeightsError(
                f"{where} lies in a storage of {storage.size} elements of {itemsize} bytes, but its"
                f" entry {brief(name)} has {held} bytes. The file is damaged: download it again."
            )
        return self.offset(name)

    def offset(self, name: str) -> int:
        """Returns where an entry's bytes start in the file, once they can be read in place."""
        if name not in self._offsets:
            self._offsets[name] = self._read_offset(self._entries[name])
        return self._offsets[name]

    def _read_offset(self, entry: zipfile.ZipInfo) -> int:
        where = f"the entry {brief(entry.filename)} of {str(self.path)!r}"
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCRYPTED:
            raise WeightsError(
                f"{where} is compressed or encrypted, and torch.save does neither. Take the file as"
                " torch.save wrote it."
            )
        # Names and extra fields may have other lengths here than in the directory at the end.
        header = b""
        if 0 <= entry.header_offset <= self._size - _LOCAL_HEADER_BYTES:
            header = self._reader.read(entry.header_offset, _LOCAL_HEADER_BYTES)
        if header.startswith(_ZIP_START) and len(header) == _LOCAL_HEADER_BYTES:
            start = entry.header_offset + len(header) + sum(struct.unpack("<HH", header[26:]))
            if entry.compress_size == entry.file_size <= self._size - start:
                return start
        raise WeightsError(
            f"{where} should have {entry.file_size} bytes from byte {entry.header_offset} of the"
            f" file's {self._size}, and has not. The file is damaged: download it again."
        )


def _tensor(name: str, item: tensor_pickle.PickledTensor, archive: _Archive) -> LazyTensor:
    """Returns a tensor once its elements are known to lie within its storage."""
    where = f"{brief(name)} of {str(archive.path)!r}"
    dtype = np.dtype(getattr(ml_dtypes, item.storage.dtype, item.storage.dtype))
    start = archive.storage_offset(item.storage, dtype.itemsize, where)
    shape = tensors.checked_shape(item.shape, where)
    strides, offset = item.strides, item.offset
    if (
        not isinstance(strides, tuple)
        or len(strides) != len(shape)
        or not all(type(number) is int and number >= 0 for number in (offset, *strides))
    ):
        raise WeightsError(
            f"{where} has the offset {brief(offset)} and the strides {brief(strides)} for shape"
            f" {list(shape)}. The file is damaged: download it again."
        )
    count = math.prod(shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
    if (count and last >= item.storage.size) or count > item.storage.size:
        raise WeightsError(
            f"{where} has {count} elements, up to number {last} of a storage of"
            f" {item.storage.size}. An expanded tensor needs .contiguous() before it is saved; else"
            " the file is damaged: download it again."
        )
    row_major = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    is_row_major = not count or all(
        size == 1 or stride == wanted for size, stride, wanted in zip(shape, strides, row_major)
    )
    position = start + offset * dtype.itemsize
    return LazyTensor(name, dtype, shape, archive.path, position, None if is_row_major else strides)
