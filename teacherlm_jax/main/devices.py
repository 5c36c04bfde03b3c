"""What commands that train students say to JAX and to the reader."""

import os
import shlex
from collections.abc import Sequence


def one_device_a_core() -> None:
    """Gives a CPU a device a core, unless the user has asked for another number.

    Students of different seeds then train side by side; call it before any device is used.
    """
    import jax

    asked = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not asked and "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, 8))


def command(name: str, flags: Sequence[str]) -> str:
    """The command line that repeats a run."""
    return shlex.join(["teacherlm", name, *flags])
