"""`teacherlm train`: trains a model through the stages of a gin file."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from teacherlm_jax.main.command_line import run_command


def run() -> None:
    """Trains and says where things are."""
    from etils import epath

    from teacherlm_jax.main import gin_setup, saved
    from teacherlm_jax.training import stages

    done = gin_setup.bound(stages.train)(on_claimed=saved.save_configuration)
    last = list(done.values())[-1]["checkpoint"]
    model_dir = epath.Path(last).parent.parent
    print()
    for name, entry in done.items():
        print(
            f"  {name}: {entry['step']} steps, {_loss(entry)}, "
            f"{entry['seconds']:.0f} s, {entry['checkpoint']}"
            + (f", the best {entry['best_checkpoint']}" if entry["best_checkpoint"] else "")
        )
    print(f"\nWhere the time went:\n\n{_times(model_dir, done)}", end="")
    print(
        f"\n  Next: teacherlm annotate --gin.CHECKPOINT_DIR={last} --gin.OUTPUT_DIR=FOLDER"
        "\n  (of a public model: --gin_file=runs/annotate.gin, or evaluate with runs/evaluate.gin)"
    )


def _loss(entry: Mapping[str, Any]) -> str:
    loss = entry["final"]["loss"]
    return "no loss (every update was left out)" if loss is None else f"loss {loss:.3f} per token"


def _times(model_dir: Any, names: Iterable[str]) -> str:
    """The table of goodput, without stages whose record cannot be read."""
    import contextlib
    import json
    import textwrap

    from teacherlm_jax.data import ledger
    from teacherlm_jax.training import goodput

    summaries = {}
    for name in names:
        with contextlib.suppress(FileNotFoundError, ValueError):
            summaries[name] = json.loads(ledger.read_text(model_dir / name / "goodput.json"))
    return textwrap.indent(goodput.table(summaries), "  ")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run_command(
        "train",
        "Trains a model through the stages of a gin file. The same command continues after an "
        "interrupt, from the newest checkpoint of the stage that was under way.",
        ["runs/world_train.gin"],
        run,
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
