"""Device meshes."""

import dataclasses
import math
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh

from teacherlm_jax.partitioning import rules


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Sizes of the mesh axes; at most one is -1 and takes the devices that are left.

    Attributes:
      data: replicas that see other rows and keep whole parameters.
      fsdp: shards of rows and of parameters.
      tensor: shards of heads, feed-forward width and vocabulary.
      device_count: use the first so many devices and leave the others; None: use all.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    device_count: int | None = None

    def sizes(self, device_count: int) -> dict[str, int]:
        """Resolves -1.

        Raises:
          ValueError: the sizes do not multiply to `device_count`.
        """
        sizes = {"data": self.data, "fsdp": self.fsdp, "tensor": self.tensor}
        for axis, size in sizes.items():
            if not isinstance(size, int) or (size != -1 and size < 1):
                raise ValueError(
                    f"mesh axis {axis} = {size!r}; give at least 1, or -1 for the rest."
                )
        free = [axis for axis, size in sizes.items() if size == -1]
        if len(free) > 1:
            raise ValueError(f"mesh axes {free} are all -1; only one can take what is left.")
        fixed = math.prod(size for size in sizes.values() if size != -1)
        if device_count % fixed or (not free and fixed != device_count):
            divisors = [n for n in range(1, device_count + 1) if device_count % n == 0]
            raise ValueError(
                f"mesh {sizes} needs {'a multiple of ' if free else ''}{fixed} devices, but there "
                f"are {device_count}; sizes must multiply to {device_count} (its divisors: "
                f"{divisors}), or set one axis to -1."
            )
        if free:
            sizes[free[0]] = device_count // fixed
        return sizes


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh (data, fsdp, tensor) over `devices`, all of them by default.

    Axes are Auto: the compiler propagates shardings from the constraints, as linen expects.
    """
    devices = jax.devices() if devices is None else list(devices)
    if config.device_count is not None:
        if not 1 <= config.device_count <= len(devices):
            raise ValueError(
                f"MeshConfig.device_count = {config.device_count}, but there are {len(devices)} "
                "devices; give 1 to that many, or None for all."
            )
        devices = devices[: config.device_count]
    sizes = config.sizes(len(devices))
    return jax.make_mesh(
        tuple(sizes[axis] for axis in rules.MESH_AXES),
        rules.MESH_AXES,
        axis_types=(AxisType.Auto,) * len(rules.MESH_AXES),
        devices=devices,
    )


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Checks that rows divide over the mesh.

    Raises:
      ValueError: with the numbers and the nearest sizes that work.
    """
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size < 1 or batch_size % shards:
        lower = max(batch_size // shards * shards, shards)
        raise ValueError(
            f"batch size {batch_size} does not divide over data x fsdp = {mesh.shape['data']} x "
            f"{mesh.shape['fsdp']} = {shards} shards; the nearest that do are {lower} and "
            f"{lower + shards}."
        )
