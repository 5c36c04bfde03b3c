import jax
import pytest
from jax.sharding import AxisType

from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.partitioning.mesh import MeshConfig


@pytest.mark.parametrize(
    ("config", "devices", "sizes"),
    [
        (MeshConfig(), 8, (8, 1, 1)),
        (MeshConfig(), 1, (1, 1, 1)),
        (MeshConfig(fsdp=2, tensor=2), 8, (2, 2, 2)),
        (MeshConfig(data=1, fsdp=-1, tensor=3), 12, (1, 4, 3)),
        (MeshConfig(data=2, fsdp=1, tensor=-1), 2, (2, 1, 1)),
        (MeshConfig(data=2, fsdp=4, tensor=1), 8, (2, 4, 1)),
    ],
)
def test_the_free_axis_takes_the_devices_that_are_left(config, devices, sizes):
    assert config.sizes(devices) == dict(zip(("data", "fsdp", "tensor"), sizes))


@pytest.mark.parametrize(
    ("config", "devices", "message"),
    [
        (MeshConfig(data=0), 8, "data = 0; give at least 1, or -1"),
        (MeshConfig(fsdp=-2), 8, "fsdp = -2; give at least 1, or -1"),
        (MeshConfig(tensor=2.0), 8, "tensor = 2.0; give at least 1, or -1"),
        (MeshConfig(fsdp="4"), 8, "fsdp = '4'; give at least 1, or -1"),
        (MeshConfig(data=-1, tensor=-1), 8, r"\['data', 'tensor'\] are all -1; only one"),
        (
            MeshConfig(data=2, fsdp=2, tensor=1),
            8,
            r"needs 4 devices, but there are 8;.*multiply to 8 \(its divisors: \[1, 2, 4, 8\]\)",
        ),
        (MeshConfig(tensor=3), 8, r"needs a multiple of 3 devices, but there are 8;"),
        (MeshConfig(data=4, fsdp=4, tensor=1), 8, r"needs 16 devices, but there are 8;"),
        (MeshConfig(data=-1, fsdp=16), 8, r"needs a multiple of 16 devices, but there are 8;"),
    ],
)
def test_sizes_that_do_not_fit_are_errors_with_numbers(config, devices, message):
    with pytest.raises(ValueError, match=message):
        config.sizes(devices)


def test_a_mesh_has_all_devices_and_auto_axes():
    mesh = mesh_lib.make_mesh(MeshConfig(fsdp=2, tensor=2))
    assert mesh.axis_names == ("data", "fsdp", "tensor")
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    assert set(mesh.devices.flat) == set(jax.devices())
    assert mesh.axis_types == (AxisType.Auto,) * 3


def test_a_mesh_can_leave_devices_out():
    assert mesh_lib.make_mesh(MeshConfig(device_count=1)).devices.tolist() == [[[jax.devices()[0]]]]
    mesh = mesh_lib.make_mesh(MeshConfig(tensor=2, device_count=4), jax.devices()[2:])
    assert set(mesh.devices.flat) == set(jax.devices()[2:6])
    assert dict(mesh.shape) == {"data": 2, "fsdp": 1, "tensor": 2}


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
    message = rf"batch size {batch_size} does not divide .* 2 x 2 = 4 shards; .* are {nearest}\."
    with pytest.raises(ValueError, match=message):
        mesh_lib.check_batch_size(batch_size, mesh_lib.make_mesh(MeshConfig(fsdp=2, tensor=2)))
