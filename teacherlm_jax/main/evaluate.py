"""`teacherlm evaluate`: evaluates a checkpoint by rank classification."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.main.command_line import run_command


def run() -> None:
    """Evaluates and prints the metrics."""
    from etils import epath

    from teacherlm_jax.evaluation import evaluate
    from teacherlm_jax.main import gin_setup, saved
    from teacherlm_jax.scoring.words import counted

    result = gin_setup.bound(evaluate.evaluate_checkpoint)()
    saved.save_configuration(epath.Path(result["file"]).parent)
    scoring = result["scoring"]
    bos = "no BOS" if scoring["bos_id"] is None else f"BOS {scoring['bos_id']}"
    print(
        f"\n  {bos} before every prompt, options ranked by {scoring['normalisation']}, "
        f"boundary {scoring['boundary']}"
    )
    for model in result["models"]:
        replica = "" if model["replica"] is None else f" replica {model['replica']}"
        of = f" over {len(model['metrics'])} tasks" if len(model["metrics"]) > 1 else ""
        print(f"  step {result['step']}{replica}: mean accuracy {model['accuracy']:.1f} %{of}")
        for task, values in model["metrics"].items():
            print(
                f"    {task}: {values['accuracy']:.1f} % of"
                f" {counted(round(values['questions']), 'question')}; {_counts(values)}"
            )
            if subjects := model.get("subject_averages", {}).get(task):
                print(f"      mean over {subjects['subjects']} subjects: {subjects['macro']:.1f} %")
            if values.get("clean_questions"):
                print(
                    f"      clean: {values['clean_accuracy']:.1f} % of"
                    f" {counted(round(values['clean_questions']), 'question')}"
                )
        for kind, averages in (("", "averages"), (" clean", "clean_averages")):
            for group, values in model.get(averages, {}).items():
                print(
                    f"    {group}:{kind} {values['macro']:.1f} % over"
                    f" {counted(values['tasks'], 'task')}, {values['micro']:.1f} % over"
                    f" {counted(values['questions'], 'question')}"
                )
    print(f"\n  {_work(result['work'])}")
    print(f"  Written to {result['file']}")
    if "page" in result:
        print(f"  Every normalisation, errors and charts: {result['page']}")
    print(
        "  Next: another --gin.CHECKPOINT_DIR and --gin.OUTPUT_DIR; `teacherlm scores diff A B`"
        " says why they differ"
    )


# What is told where there is any.
_COUNTS = {"ties": "exact ties", "truncated": "prompts cut", "moved": "boundaries moved"}
_KNOWN = {
    "reused": "known from other evaluations",
    "resumed": "known from before an interruption",
    "repeated": "asked twice",
}


def _counts(values: Mapping[str, float]) -> str:
    """What to look at before an accuracy is believed."""
    told = {what: values[name] for name, what in _COUNTS.items() if values.get(name)}
    counts = {"near-ties": values["near_ties"], **told}
    return ", ".join(f"{what} {count:.0f}" for what, count in counts.items())


def _work(work: Mapping[str, Any]) -> str:
    """What was compiled and scored, and what was known before."""
    told = [f"programs compiled: {work['programs']}; questions scored: {work['scored']:,}"]
    told += [f"{what}: {work[name]:,}" for name, what in _KNOWN.items() if work[name]]
    if work["removed"]:
        told.append(f"damaged files of scores removed: {len(work['removed'])}")
    return ", ".join(told)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run_command(
        "evaluate",
        "Evaluates a checkpoint by rank classification: of each question's options the one with "
        "the highest log-likelihood is the prediction.",
        ["runs/world_evaluate.gin"],
        run,
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
