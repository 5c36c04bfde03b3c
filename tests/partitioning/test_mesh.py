import dataclasses
import itertools
import math
import re

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.partitioning.mesh import MeshConfig

AXES = ("slice", "data", "fsdp", "tensor")


@pytest.mark.parametrize(
    ("config", "devices", "sizes"),
    [
        (MeshConfig(), 8, (1, 8, 1, 1)),
        (MeshConfig(), 1, (1, 1, 1, 1)),
        (MeshConfig(fsdp=2, tensor=2), 8, (1, 2, 2, 2)),
        (MeshConfig(data=1, fsdp=-1, tensor=3), 12, (1, 1, 4, 3)),
        (MeshConfig(data=2, fsdp=1, tensor=-1), 2, (1, 2, 1, 1)),
        (MeshConfig(data=2, fsdp=4, tensor=1), 8, (1, 2, 4, 1)),
        (MeshConfig(slices=2, fsdp=2), 8, (2, 2, 2, 1)),
        (MeshConfig(data=1, fsdp=4, slices=-1), 8, (2, 1, 4, 1)),
    ],
)
def test_the_free_axis_takes_the_devices_that_are_left(config, devices, sizes):
    assert config.sizes(devices) == dict(zip(AXES, sizes))


@pytest.mark.parametrize(
    ("config", "devices", "message"),
    [
        (MeshConfig(data=0), 8, "data = 0; give at least 1, or -1"),
        (MeshConfig(fsdp=-2), 8, "fsdp = -2; give at least 1, or -1"),
        (MeshConfig(tensor=2.0), 8, "tensor = 2.0; give at least 1, or -1"),
        (MeshConfig(tensor=True), 8, "tensor = True; give at least 1, or -1"),
        (MeshConfig(slices=0), 8, "slice = 0; give at least 1, or -1"),
        (MeshConfig(fsdp="4"), 8, "fsdp = '4'; give at least 1, or -1"),
        (MeshConfig(data=-1, tensor=-1), 8, r"\['data', 'tensor'\] are all -1; only one"),
        (
            MeshConfig(data=2, fsdp=2, tensor=1),
            8,
            r"needs 4 devices, but there are 8; sizes must multiply to 8\. .*'tensor': 2} and ",
        ),
        (
            MeshConfig(tensor=3),
            8,
            r"needs a multiple of 3 devices, but there are 8;.*'tensor': 4} and .*'tensor': 2}",
        ),
        (MeshConfig(data=4, fsdp=4, tensor=1), 8, r"needs 16 devices, but there are 8;"),
        (MeshConfig(data=-1, fsdp=16), 8, r"needs a multiple of 16 devices, but there are 8;"),
    ],
)
def test_sizes_that_do_not_fit_are_errors_with_numbers(config, devices, message):
    with pytest.raises(ValueError, match=message):
        config.sizes(devices)


def test_a_mesh_has_all_devices_and_auto_axes():
    mesh = mesh_lib.make_mesh(MeshConfig(fsdp=2, tensor=2))
    assert mesh.axis_names == AXES
    assert dict(mesh.shape) == {"slice": 1, "data": 2, "fsdp": 2, "tensor": 2}
    assert set(mesh.devices.flat) == set(jax.devices())
    assert mesh.axis_types == (AxisType.Auto,) * 4


def test_a_mesh_can_leave_devices_out():
    assert mesh_lib.make_mesh(MeshConfig(device_count=1)).devices.tolist() == [
        [[[jax.devices()[0]]]]
    ]
    mesh = mesh_lib.make_mesh(MeshConfig(tensor=2, device_count=4), jax.devices()[2:])
    assert set(mesh.devices.flat) == set(jax.devices()[2:6])
    assert dict(mesh.shape) == {"slice": 1, "data": 2, "fsdp": 1, "tensor": 2}


@pytest.mark.parametrize(
    ("config", "devices"),
    [(MeshConfig(3, 4, 1), 16), (MeshConfig(1, 3, 5), 12), (MeshConfig(-1, 5, 3, slices=2), 24)],
)
def test_the_meshes_that_an_error_names_are_the_nearest_of_all(config, devices):
    with pytest.raises(ValueError) as error:
        config.sizes(devices)
    named = [
        {axis: int(size) for axis, size in re.findall(r"'(\w+)': (-?\d+)", mesh)}
        for mesh in re.findall(r"{[^}]*}", str(error.value))
    ]
    asked, *found = named

    def distance(sizes):
        return sum(abs(math.log(sizes[a] / asked[a])) for a in AXES if asked[a] != -1)

    every = [
        dict(zip(AXES, sizes))
        for sizes in itertools.product(range(1, devices + 1), repeat=4)
        if math.prod(sizes) == devices
    ]
    assert len(found) == 2 and all(sizes in every for sizes in found)
    distances = sorted(map(distance, every))[:2]
    np.testing.assert_allclose([distance(sizes) for sizes in found], distances)


@dataclasses.dataclass(frozen=True)
class Chip:
    """As much of a TPU's device as a mesh reads."""

    id: int
    slice_index: int
    platform: str = "tpu"
    device_kind: str = "TPU v5e"
    process_index: int = 0
    core_on_chip: int = 0

    @property
    def coords(self):
        return (self.id % 2, self.id % 4 // 2, 0)


# Two slices of 2 x 2 chips whose devices come in turns.
CHIPS = [Chip(4 * part + place, part) for place in range(4) for part in range(2)]


def test_slices_are_outermost_and_hold_each_one_slice_of_the_tpu():
    mesh = mesh_lib.make_mesh(MeshConfig(slices=2, data=1, fsdp=2, tensor=2), CHIPS)
    assert mesh.axis_names == AXES and mesh.devices.shape == (2, 1, 2, 2)
    assert mesh.axis_types == (AxisType.Auto,) * 4
    for index in range(2):
        assert {chip.slice_index for chip in mesh.devices[index].flat} == {index}
        assert len(set(mesh.devices[index].flat)) == 4


@dataclasses.dataclass(frozen=True)
class Cube(Chip):
    """One of 4 x 4 x 4 chips."""

    device_kind: str = "TPU v4"

    @property
    def coords(self):
        return (self.id % 4, self.id // 4 % 4, self.id // 16)


@pytest.mark.parametrize(("fsdp", "tensor"), [(64, 1), (32, 2), (16, 4), (8, 8)])
def test_axes_that_are_no_whole_dimensions_of_the_torus_are_made_of_parts_of_them(fsdp, tensor):
    chips = [Cube(place, 0) for place in range(64)]
    mesh = mesh_lib.make_mesh(MeshConfig(data=1, fsdp=fsdp, tensor=tensor), chips)
    assert mesh.devices.shape == (1, 1, fsdp, tensor)
    assert set(mesh.devices.flat) == set(chips)
    if tensor == 2:  # What talks most are neighbours.
        for first, second in mesh.devices.reshape(-1, 2):
            apart = np.abs(np.subtract(first.coords, second.coords))
            assert np.minimum(apart, 4 - apart).sum() <= 2


@pytest.mark.parametrize(("config", "made"), [(MeshConfig(), 1), (MeshConfig(slices=4), 4)])
def test_slices_that_the_tpu_has_not_are_an_error_with_both_numbers(config, made):
    message = (
        f"slices = {config.slices} makes {made} of 8 TPU devices, but they lie in 2; set "
        "MeshConfig.slices = 2"
    )
    with pytest.raises(ValueError, match=message):
        mesh_lib.make_mesh(config, CHIPS)


def test_devices_of_one_slice_are_one_slice():
    assert mesh_lib.slice_count(CHIPS) == 2
    assert mesh_lib.slice_count(CHIPS[::2]) == 1
    assert mesh_lib.slice_count() == 1
    # GPUs number hosts so, which no mesh needs to know.
    gpus = [dataclasses.replace(chip, platform="gpu") for chip in CHIPS]
    assert mesh_lib.slice_count(gpus) == 1


def test_without_tpus_slices_are_parts_of_the_devices_in_order():
    mesh = mesh_lib.make_mesh(MeshConfig(slices=2, data=1, fsdp=2, tensor=2))
    assert mesh.devices.reshape(-1).tolist() == jax.devices()
    assert mesh.devices.shape == (2, 1, 2, 2)


@pytest.mark.parametrize("count", [0, -1, 9])
def test_device_counts_out_of_range_are_errors_with_numbers(count):
    message = f"device_count = {count}, but there are 8 devices; give 1 to that many"
    with pytest.raises(ValueError, match=message):
        mesh_lib.make_mesh(MeshConfig(device_count=count))


@pytest.mark.parametrize("batch_size", [4, 8, 400])
def test_rows_that_divide_are_fine(batch_size):
    mesh_lib.check_batch_size(batch_size, mesh_lib.make_mesh(MeshConfig(fsdp=2, tensor=2)))


@pytest.mark.parametrize(
    ("batch_size", "nearest"),
    [(6, "4 and 8"), (1, "4 and 8"), (0, "4 and 8"), (-4, "4 and 8"), (11, "8 and 12")],
)
def test_rows_that_do_not_divide_are_errors_with_the_nearest_that_do(batch_size, nearest):
    message = (
        rf"batch size {batch_size} does not divide over slice x data x fsdp = 1 x 2 x 2 = 4 shards;"
        rf" .* are {nearest}\."
    )
    with pytest.raises(ValueError, match=message):
        mesh_lib.check_batch_size(batch_size, mesh_lib.make_mesh(MeshConfig(fsdp=2, tensor=2)))


def test_rows_are_cut_as_the_rules_say():
    mesh = mesh_lib.make_mesh(MeshConfig(slices=2, fsdp=2))
    assert mesh_lib.batch_shards(mesh) == 8
    rules = rules_lib.logical_axis_rules(overrides={"activation_batch": "data"})
    assert mesh_lib.batch_shards(mesh, rules) == 2
    mesh_lib.check_batch_size(2, mesh, rules)
    with pytest.raises(ValueError, match="batch size 3 does not divide over data = 2 = 2 shards"):
        mesh_lib.check_batch_size(3, mesh, rules)
    whole = rules_lib.logical_axis_rules(overrides={"activation_batch": None})
    mesh_lib.check_batch_size(3, mesh, whole)


def test_a_row_must_divide_where_the_residual_stream_is_cut_by_positions():
    mesh = mesh_lib.make_mesh(MeshConfig(fsdp=2, tensor=4))
    mesh_lib.check_row_length(2050, mesh)
    sharded = rules_lib.logical_axis_rules(sequence_sharding=True)
    mesh_lib.check_row_length(2048, mesh, sharded)
    message = (
        r"a row of 2050 positions does not divide over mesh axes tensor of 4 devices, .* nearest "
        r"lengths that do are 2048 and 2052\. Or take 2 devices on tensor, or turn sequence"
    )
    with pytest.raises(ValueError, match=message):
        mesh_lib.check_row_length(2050, mesh, sharded)


@pytest.mark.parametrize(
    ("size", "shards", "devices", "expected"),
    [
        (250_880, 3, 12, "2 or 4"),
        (250_880, 3, 3, "1"),
        (2, 4, 8, "2"),
        (14, 4, 56, "2 or 7"),
        (7, 2, 14, "1 or 7"),
    ],
)
def test_nearest_divisors_are_those_that_a_mesh_can_have(size, shards, devices, expected):
    assert mesh_lib.nearest_divisors(size, shards, devices) == expected
