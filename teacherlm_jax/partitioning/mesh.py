"""Device meshes, and which sizes fit them."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from teacherlm_jax.partitioning import rules as rules_lib


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Sizes of the mesh axes; at most one is -1 and takes the devices that are left.

    Attributes:
      data: replicas that see other rows and keep whole parameters.
      fsdp: shards of rows and of parameters.
      tensor: shards of heads, feed-forward width and vocabulary.
      slices: TPU slices that the slower network joins; as `data`, but outermost, so that nothing
        but gradients crosses that network. Elsewhere the first, second, ... part of the devices.
      device_count: use the first so many devices and leave the others; None: use all.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    slices: int = 1
    device_count: int | None = None

    def sizes(self, device_count: int) -> dict[str, int]:
        """Resolves -1; returns the size of every axis of `rules.MESH_AXES`.

        Raises:
          ValueError: the sizes do not multiply to `device_count`.
        """
        sizes = {
            "slice": self.slices,
            "data": self.data,
            "fsdp": self.fsdp,
            "tensor": self.tensor,
        }
        for axis, size in sizes.items():
            if isinstance(size, bool) or not isinstance(size, int) or (size != -1 and size < 1):
                raise ValueError(
                    f"mesh axis {axis} = {size!r}; give at least 1, or -1 for the rest."
                )
        free = [axis for axis, size in sizes.items() if size == -1]
        if len(free) > 1:
            raise ValueError(f"mesh axes {free} are all -1; only one can take what is left.")
        fixed = math.prod(size for size in sizes.values() if size != -1)
        if device_count % fixed or (not free and fixed != device_count):
            nearest = " and ".join(map(str, _nearest_sizes(sizes, device_count)))
            raise ValueError(
                f"mesh {sizes} needs {'a multiple of ' if free else ''}{fixed} devices, but there "
                f"are {device_count}; sizes must multiply to {device_count}. The nearest that do "
                f"are {nearest}; or set one axis to -1, or MeshConfig.device_count."
            )
        if free:
            sizes[free[0]] = device_count // fixed
        return sizes


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh (slice, data, fsdp, tensor) over `devices`, all of them by default.

    Axes are Auto: the compiler propagates shardings from the constraints, as linen expects.

    Raises:
      ValueError: the sizes do not fit the devices, or TPU slices are not what `slices` says.
    """
    devices = jax.devices() if devices is None else list(devices)
    if config.device_count is not None:
        if not 1 <= config.device_count <= len(devices):
            raise ValueError(
                f"MeshConfig.device_count = {config.device_count}, but there are {len(devices)} "
                "devices; give 1 to that many, or None for all."
            )
        devices = devices[: config.device_count]
        absent = set(range(jax.process_count())) - {device.process_index for device in devices}
        if absent:
            raise ValueError(
                f"MeshConfig.device_count = {config.device_count} leaves hosts "
                f"{', '.join(map(str, sorted(absent)))} of {jax.process_count()} without a device; "
                "start fewer hosts, or set it to None for all devices."
            )
    sizes = config.sizes(len(devices))
    shape = tuple(sizes[axis] for axis in rules_lib.MESH_AXES)
    axis_types = (AxisType.Auto,) * len(shape)
    real_slices = slice_count(devices)
    if devices[0].platform == "tpu" and sizes["slice"] != real_slices:
        raise ValueError(
            f"MeshConfig.slices = {config.slices} makes {sizes['slice']} of {len(devices)} TPU "
            f"devices, but they lie in {real_slices}; set MeshConfig.slices = {real_slices}."
        )
    if devices[0].platform != "tpu":
        return jax.make_mesh(shape, rules_lib.MESH_AXES, axis_types=axis_types, devices=devices)
    return Mesh(_on_tpu(shape, devices), rules_lib.MESH_AXES, axis_types=axis_types)


def _on_tpu(shape: tuple[int, ...], devices: Sequence[jax.Device]) -> np.ndarray:
    """Devices so arranged that each axis is of neighbours, its slices but the first."""

    def arranged(**options: bool) -> np.ndarray:
        if shape[0] == 1:
            return mesh_utils.create_device_mesh(shape, devices, **options)
        across, within = (shape[0], 1, 1, 1), (1, *shape[1:])
        return mesh_utils.create_hybrid_device_mesh(within, across, devices, **options)

    try:
        return arranged()
    except NotImplementedError:
        # No axis is whole dimensions of the torus, such as 32 x 2 of 4 x 4 x 4 chips.
        return arranged(allow_split_physical_axes=True)


def slice_count(devices: Sequence[jax.Device] | None = None) -> int:
    """TPU slices in which devices lie, all devices by default; 1 where there are no TPUs."""
    devices = jax.devices() if devices is None else devices
    # GPUs have the attribute too, where it numbers hosts that a faster network joins.
    is_tpu = devices[0].platform == "tpu"
    return len({getattr(device, "slice_index", 0) for device in devices}) if is_tpu else 1


def batch_shards(mesh: Mesh, rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES) -> int:
    """Into how many parts the rows of a batch are cut."""
    return rules_lib.shard_count(dict(rules)["activation_batch"], mesh)


def check_batch_size(
    batch_size: int, mesh: Mesh, rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES
) -> None:
    """Checks that rows divide over the mesh.

    Raises:
      ValueError: with the numbers and the nearest sizes that work.
    """
    shards = batch_shards(mesh, rules)
    if batch_size < 1 or batch_size % shards:
        axes = rules_lib.axes_of(dict(rules)["activation_batch"])
        sizes = " x ".join(str(mesh.shape[axis]) for axis in axes)
        raise ValueError(
            f"batch size {batch_size} does not divide over {' x '.join(axes)} = {sizes} = {shards} "
            f"shards; the nearest that do are {nearest_multiples(batch_size, shards)}."
        )


def check_row_length(
    length: int, mesh: Mesh, rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES
) -> None:
    """Checks that the positions of a row divide over the axes that cut them, if any do.

    Args:
      length: positions of a row, as the model sees them.
      mesh: the device mesh.
      rules: the table of logical axes.

    Raises:
      ValueError: with the numbers and the nearest lengths and sizes that work.
    """
    for name in ("activation_length", "activation_residual_length"):
        axes = rules_lib.mesh_axes((name,), rules)[0]
        shards = rules_lib.shard_count(axes, mesh)
        if length % shards:
            raise ValueError(
                f"a row of {length} positions does not divide over mesh axes {axes} of {shards} "
                f"devices, which {name} is cut over (sequence sharding); the nearest lengths that "
                f"do are {nearest_multiples(length, shards)}. Or take "
                f"{nearest_divisors(length, shards, mesh.size)} devices on {axes}, or turn "
                "sequence sharding off."
            )


def nearest_divisors(size: int, shards: int, devices: int) -> str:
    """The divisors of `size`, of those that a mesh of `devices` can have, beside `shards`."""
    common = math.gcd(size, devices)
    fitting = [n for n in range(1, common + 1) if common % n == 0]
    below = [n for n in fitting if n < shards][-1:]
    return " or ".join(map(str, below + [n for n in fitting if n > shards][:1]))


def nearest_multiples(size: int, shards: int) -> str:
    """The multiples of `shards` below and above a size."""
    lower = max(size // shards * shards, shards)
    return f"{lower} and {lower + shards}"


def _nearest_sizes(sizes: dict[str, int], device_count: int) -> list[dict[str, int]]:
    """The two nearest meshes of so many devices; an axis that is -1 may have any size."""

    def distance(candidate: tuple[int, ...]) -> float:
        pairs = zip(candidate, sizes.values(), strict=True)
        return sum(abs(math.log(own / asked)) for own, asked in pairs if asked != -1)

    nearest = sorted(_factorizations(device_count, len(sizes)), key=distance)[:2]
    return [dict(zip(sizes, candidate, strict=True)) for candidate in nearest]


def _factorizations(product: int, length: int) -> Iterator[tuple[int, ...]]:
    """All tuples of so many factors with this product."""
    if length == 1:
        yield (product,)
        return
    for first in range(1, product + 1):
        if product % first == 0:
            for rest in _factorizations(product // first, length - 1):
                yield (first, *rest)
