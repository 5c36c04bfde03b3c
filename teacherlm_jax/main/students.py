"""`teacherlm students`: trains and compares the students of every arm."""

import sys
from collections.abc import Sequence

from teacherlm_jax.main.command_line import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    flags = list(sys.argv[1:] if argv is None else argv)

    def run() -> None:
        from teacherlm_jax.main import devices, gin_setup, saved

        devices.one_device_a_core()
        from teacherlm_jax.students import report, study

        command = devices.command("students", flags)
        results = gin_setup.bound(study.compare)(command=command)
        saved.save_configuration(results["folder"])
        print("\n" + report.table(results))
        print(f"\n  Report: {results['folder']}/report.html, report.md, results.json")
        print(
            "  Next: teacherlm evaluate --gin.OUTPUT_DIR=FOLDER "
            f"--gin.CHECKPOINT_DIR={results['folder']}/{next(iter(results['arms']))}/checkpoints"
        )

    return run_command(
        "students",
        "Trains students on plain and on augmented samples, from annotations that are there, "
        "evaluates them and writes a report. The same command continues after an interrupt.",
        ["runs/world_students.gin"],
        run,
        flags,
    )


if __name__ == "__main__":
    sys.exit(main())
