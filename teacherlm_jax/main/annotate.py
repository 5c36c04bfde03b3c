"""`teacherlm annotate`: a trained teacher writes explanations for questions."""

import sys
from collections.abc import Sequence

from teacherlm_jax.main.command_line import run_command


def run() -> None:
    """Annotates and says where things are."""
    from teacherlm_jax.main import gin_setup, saved
    from teacherlm_jax.teacher import annotate

    manifest = gin_setup.bound(annotate.annotate)()
    saved.save_configuration(manifest["folder"])
    counts = manifest["counts"]
    explanations = ", ".join(f"{n} {field}" for field, n in counts["explanations"].items())
    print(
        f"\n  {counts['records']} records with {explanations}; {counts['rejects']} rejects.\n"
        f"  Shards and manifest.json: {manifest['folder']}\n"
        "  Next: teacherlm students, with --gin.ANNOTATIONS set to that folder."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run_command(
        "annotate",
        "Lets a trained teacher write fundamentals, chain of thought and common mistakes for the "
        "questions of a task or a JSONL file. The same command continues after an interrupt.",
        ["runs/world_annotate.gin"],
        run,
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
