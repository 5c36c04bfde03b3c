"""`teacherlm quickstart`: the whole method on the embedded world."""

import sys
from collections.abc import Sequence

from teacherlm_jax.main.command_line import run_command

NEXT = """
  Report:   {folder}/report.html (also report.md, results.json, *.png)
  Teacher:  {folder}/{name}/teacher/teacher/checkpoints
  Texts:    {folder}/{name}/annotations
  Students: {folder}/{name}/students/ARM/checkpoints

  Next, try: more students     --gin.STUDENT_SEEDS="(0, 1, 2)" --gin.OUTPUT_DIR=three_seeds
             another world     --gin.WORLDS="(1,)" --gin.OUTPUT_DIR=world1
             a single command  teacherlm train --help (annotate, students and evaluate alike)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    flags = list(sys.argv[1:] if argv is None else argv)

    def run() -> None:
        from teacherlm_jax.main import devices, gin_setup, saved

        devices.one_device_a_core()
        from teacherlm_jax.students import report, study

        results = gin_setup.bound(study.run)(command=devices.command("quickstart", flags))
        saved.save_configuration(results["folder"])
        print("\n" + report.table(results))
        print(NEXT.format(folder=results["folder"], name=f"world{results['worlds'][0]}"))

    return run_command(
        "quickstart",
        "Runs the whole method on the embedded world: trains a teacher, lets it annotate, trains "
        "students on plain and on augmented samples, evaluates them, and writes a report. The same "
        "command continues after an interrupt.",
        ["runs/quickstart.gin"],
        run,
        flags,
    )


if __name__ == "__main__":
    sys.exit(main())
