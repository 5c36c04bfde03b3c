"""`teacherlm quickstart`: the whole method on the embedded world."""

import os
import shlex
import sys
from collections.abc import Sequence

from teacherlm_jax.main.command_line import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    flags = list(sys.argv[1:] if argv is None else argv)

    def run() -> None:
        import jax

        if jax.config.jax_num_cpu_devices in (None, -1):
            # One device a core: students of different seeds then train side by side.
            jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, 8))
        from teacherlm_jax.main import gin_setup
        from teacherlm_jax.students import report, study

        results = gin_setup.bound(study.run)(
            command=shlex.join(["teacherlm", "quickstart", *flags])
        )
        print("\n" + report.table(results))

    return run_command(
        "quickstart",
        "Runs the whole method on the embedded world: trains a teacher, lets it annotate, trains "
        "students on plain and on augmented samples, evaluates them, and writes a report.",
        ["runs/quickstart.gin"],
        run,
        flags,
    )


if __name__ == "__main__":
    sys.exit(main())
