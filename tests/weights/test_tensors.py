import concurrent.futures
import math
import random
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from etils import epath

from teacherlm_jax.weights import tensors
from teacherlm_jax.weights.tensors import LazyTensor, WeightsError
from tests.object_store import REPOSITORY

DTYPES = [ml_dtypes.bfloat16, np.float16, np.float32, np.int64, np.int8, bool]
SKIPPED_BYTES = 24  # Before the tensor, as a header would be.


def stored(folder, array, shape=None, strides=None) -> LazyTensor:
    """A file that holds an array, and others' bytes around it."""
    path = epath.Path(folder) / "tensor"
    path.write_bytes(b"x" * SKIPPED_BYTES + array.tobytes() + b"y" * 16)
    return LazyTensor("w", array.dtype, shape or array.shape, path, SKIPPED_BYTES, strides)


def random_bits(generator, shape, dtype):
    """Any bits at all, NaNs and subnormals among them; for bool, the two there are."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(bool)
    return np.frombuffer(generator.bytes(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)


def random_shape(chance, elements):
    """A shape with that many elements; some axes have size 1."""
    shape = [1] * chance.randrange(3)
    while elements > 1:
        factor = chance.choice([n for n in range(2, elements + 1) if elements % n == 0])
        shape.append(factor)
        elements //= factor
    chance.shuffle(shape)
    return tuple(shape)


def random_range(chance, size):
    start = chance.randrange(size + 1)
    return start, chance.randrange(start, size + 1)


def assert_same_bits(read, wanted):
    assert (read.dtype, read.shape) == (wanted.dtype, wanted.shape)
    assert read.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("piece", [8, 40, 200, tensors.PIECE_BYTES])
@pytest.mark.parametrize("gap", [0, 10, 100, tensors.LARGEST_GAP_BYTES])
def test_boxes_are_numpys(tmp_path, monkeypatch, dtype, piece, gap):
    monkeypatch.setattr(tensors, "PIECE_BYTES", piece)
    monkeypatch.setattr(tensors, "LARGEST_GAP_BYTES", gap)
    sizes = []
    read_into = tensors.ByteReader.read_into
    monkeypatch.setattr(
        tensors.ByteReader,
        "read_into",
        lambda self, offset, target: sizes.append(target.size) or read_into(self, offset, target),
    )
    chance, generator = random.Random(f"{dtype} {piece} {gap}"), np.random.default_rng(piece + gap)
    for _ in range(25):
        elements = chance.choice([1, 6, 24, 210, 720])
        array = random_bits(generator, random_shape(chance, elements), dtype)
        tensor = stored(tmp_path, array)
        view = random_shape(chance, elements)
        box = [random_range(chance, size) for size in view]
        before = tensors.bytes_read.total
        read = tensor.read_box(view, box)
        wanted = array.reshape(view)[tuple(slice(*part) for part in box)]
        assert_same_bits(read, wanted)
        assert tensors.bytes_read.total - before >= read.nbytes
        if gap == 0:
            assert tensors.bytes_read.total - before == read.nbytes
        assert_same_bits(tensor.read(), array)
    assert max(sizes) <= piece


def test_transposed_tensors_are_read_too(tmp_path):
    array = random_bits(np.random.default_rng(0), (6, 4, 5), ml_dtypes.bfloat16)
    tensor = stored(tmp_path, array, (5, 6, 4), (1, 20, 5))
    wanted = np.transpose(array, (2, 0, 1))
    assert_same_bits(tensor.read(), wanted)
    assert_same_bits(
        tensor.read_box((10, 12), [(3, 7), slice(2, None)]), wanted.reshape(10, 12)[3:7, 2:]
    )


def test_scalars_and_empty_tensors(tmp_path):
    tensor = stored(tmp_path, np.array(7, np.int64))
    assert_same_bits(tensor.read(), np.array(7, np.int64))
    assert_same_bits(tensor.read_box((1, 1), [(0, 1), slice(None)]), np.array([[7]], np.int64))
    assert stored(tmp_path, np.zeros((0, 3), bool)).read().shape == (0, 3)
    assert tensor.read_box((1,), [(1, 1)]).shape == (0,)


def test_what_is_read_is_writable_and_the_readers_own(tmp_path):
    tensor = stored(tmp_path, np.arange(4.0))
    first = tensor.read()
    first[0] = 9
    assert tensor.read()[0] == 0


def test_an_eighth_of_the_rows_costs_an_eighth_of_the_bytes(tmp_path):
    tensor = stored(tmp_path, np.zeros((800, 300), np.float16))
    for host in range(8):
        before = tensors.bytes_read.total
        tensor.read_box((800, 300), [(host * 100, host * 100 + 100), slice(None)])
        assert tensors.bytes_read.total - before == tensor.nbytes // 8


def test_long_rows_cost_what_is_asked_of_them_and_short_ones_are_read_whole(tmp_path):
    tensor = stored(tmp_path, np.zeros((16, 16384), np.float16))
    before = tensors.bytes_read.total
    tensor.read_box((16, 16384), [slice(None), (0, 4096)])
    assert tensors.bytes_read.total - before == tensor.nbytes // 4
    before = tensors.bytes_read.total
    tensor.read_box((16 * 128, 128), [slice(None), (0, 64)])
    assert tensors.bytes_read.total - before == tensor.nbytes - 64 * 2


def test_threads_read_at_once(tmp_path):
    array = np.arange(64 * 1000, dtype=np.int32).reshape(64, 1000)
    tensor = stored(tmp_path, array)
    before = tensors.bytes_read.total
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        rows = list(
            pool.map(lambda i: tensor.read_box((64, 1000), [(i, i + 1), (0, 1000)]), range(64))
        )
    assert_same_bits(np.concatenate(rows), array)
    assert tensors.bytes_read.total - before == array.nbytes


@pytest.mark.parametrize("view", [(5, 5), (-4, -6), (24, 0), ()])
def test_a_view_has_as_many_elements(tmp_path, view):
    tensor = stored(tmp_path, np.zeros((4, 6)))
    with pytest.raises(WeightsError, match=r"'w' of '.*' has shape \[4, 6\].* with 24 elements"):
        tensor.read_box(view, [(0, 1)] * len(view))


@pytest.mark.parametrize(
    "box",
    [
        [(0, 4)],
        [(0, 4), (0, 6), (0, 1)],
        [(0, 5), (0, 6)],
        [(-1, 4), (0, 6)],
        [(3, 2), (0, 6)],
        [slice(0, 4, 2), slice(None)],
        [slice(None), slice(-1, None)],
    ],
)
def test_a_box_lies_within_the_view(tmp_path, box):
    tensor = stored(tmp_path, np.zeros((4, 6)))
    with pytest.raises(WeightsError, match=r"'w' of .*seen as \[4, 6\], has no box .*in steps of"):
        tensor.read_box((4, 6), box)


def test_a_file_cut_off_meanwhile_is_known(tmp_path):
    tensor = stored(tmp_path, np.zeros((4, 6)))
    tensor.file.write_bytes(tensor.file.read_bytes()[:100])
    with pytest.raises(WeightsError, match=r"ends at byte 100, .* byte 216.*Download it again"):
        tensor.read()


def test_a_file_that_is_gone_is_a_missing_file(tmp_path):
    tensor = stored(tmp_path, np.zeros(3))
    tensor.file.unlink()
    with pytest.raises(FileNotFoundError):
        tensor.read()


_READS = """
import sys
import numpy as np
from etils import epath
from teacherlm_jax.weights.tensors import LazyTensor

def resident(key):
    lines = epath.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

columns, row_count = int(sys.argv[2]), int(sys.argv[3])
tensor = LazyTensor("w", np.dtype(np.float16), (96 * 1024, 1024), epath.Path(sys.argv[1]), 0)
tensor.read_box((96 * 1024, 1024), [(0, 8), (0, 8)])
before = resident("VmRSS")
box = tensor.read_box((96 * 1024, 1024), [(0, row_count), (0, columns)])
print(resident("VmHWM") - before, box.nbytes, "torch" in sys.modules or "jax" in sys.modules)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("columns, rows", [(1024, 96 * 1024), (1024, 48 * 1024), (512, 96 * 1024)])
def test_memory_holds_the_box_and_a_piece(tmp_path, columns, rows):
    path = tmp_path / "tensor"
    with path.open("wb") as stream:
        stream.truncate(192 * 1024**2)
    arguments = ["-c", _READS, str(path), str(columns), str(rows)]
    out = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=REPOSITORY
    ).stdout
    grown, box, heavy = out.split()
    assert int(box) == columns * rows * 2
    assert int(box) // 2 < int(grown) <= int(box) + tensors.PIECE_BYTES + 8 * 1024**2
    assert heavy == "False"
