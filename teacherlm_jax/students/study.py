"""The whole loop: teacher, annotation, students, results; for one subject or several."""

import dataclasses
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from teacherlm_jax import evaluation
from teacherlm_jax.data import ledger
from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.students import experiment, report
from teacherlm_jax.students.subject import Subject
from teacherlm_jax.teacher import annotate
from teacherlm_jax.training import restore, stages

CAVEATS = (
    "Plain students are near chance by construction: they rarely see the facts that the test "
    "questions need. The gain shows knowledge carried over by explanations, not better reasoning.",
    "The scrambled control keeps form and length of the fundamentals but draws fresh names for "
    "every sample, so it must not help; if it does, something leaks.",
    "Teacher and students are of the same size and share the base model.",
    "One small synthetic world in invented language: nothing here is a claim about real data.",
    "Settings were chosen on the validation split, never on the test split.",
)


@dataclasses.dataclass(frozen=True)
class Study:
    """The method's parts, to be run on every world.

    The parts are given as makers, which take what differs from world to world: bind them in gin
    by reference, without a call, as in `Study.annotation = @annotate.Annotation`.

    Attributes:
      output_dir: OUTPUT_DIR; each world has a folder in it, the report lies beside.
      worlds: seeds of the worlds.
      subject: makes the subject of a world from its seed.
      curriculum: makes the teacher's stages; students start from the first.
      annotation: makes the annotation.
      students: makes the students' settings.
      samples: questions shown in the report with their explanations.
    """

    output_dir: str
    worlds: Sequence[int]
    subject: Callable[[int], Subject]
    curriculum: Callable[..., stages.Curriculum]
    annotation: Callable[..., annotate.Annotation]
    students: Callable[..., experiment.Students]
    samples: int = 6

    def __post_init__(self) -> None:
        if not self.worlds or len(set(self.worlds)) != len(self.worlds):
            raise ValueError(f"worlds = {tuple(self.worlds)}: give one or more seeds, each once.")

    def plan(self, seed: int) -> "WorldPlan":
        """The parts for one world, with its names and folders."""
        subject = self.subject(seed)
        folder = epath.Path(self.output_dir) / subject.name
        teacher = folder / "teacher"
        curriculum = self.curriculum(model_dir=str(teacher), name_values={"world": seed})
        first, last = curriculum.stages[0].name, curriculum.stages[-1].name
        return WorldPlan(
            seed=seed,
            folder=folder,
            subject=subject,
            curriculum=curriculum,
            annotation=self.annotation(
                task_name=subject.questions_task,
                output_dir=str(folder / "annotations"),
                checkpoint_dir=str(teacher / last / "checkpoints"),
            ),
            students=self.students(
                output_dir=str(folder / "students"),
                start_checkpoint_dir=str(teacher / first / "checkpoints"),
            ),
            samples=self.samples,
        )


@dataclasses.dataclass(frozen=True)
class WorldPlan:
    """What is run on one world."""

    seed: int
    folder: epath.Path
    subject: Subject
    curriculum: stages.Curriculum
    annotation: annotate.Annotation
    students: experiment.Students
    samples: int


def run(study: Study, command: str) -> dict[str, Any]:
    """Runs what is not done yet, and writes the report.

    Args:
      study: what to run.
      command: how to repeat it, for the report.

    Returns:
      The results, as in results.json.
    """
    began = time.monotonic()
    plans = [study.plan(seed) for seed in study.worlds]
    results = collect(plans, [_run_world(plan) for plan in plans], command)
    results["timings_s"]["total"] = round(time.monotonic() - began, 1)
    report.write_report(results, epath.Path(study.output_dir))
    return results


@dataclasses.dataclass(frozen=True)
class WorldResult:
    """What came out of one world."""

    arms: Mapping[str, Mapping[str, Any]]
    meanings: Mapping[str, str]
    chance: float
    teacher: Mapping[str, Any]
    samples: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, float]


def _run_world(plan: WorldPlan) -> WorldResult:
    subject = plan.subject
    done = stages.train(plan.curriculum)
    seconds = {name: float(entry["seconds"]) for name, entry in done.items()}
    seconds["annotate"] = _timed(
        plan.folder / "annotate.json", lambda: annotate.annotate(plan.annotation)
    )
    records, dropped = subject.clean(annotate.read(plan.annotation))
    arms = experiment.run(plan.students, subject, records)
    seconds["students"] = sum(arm["seconds"] for arm in arms.values())
    teacher = {
        **subject.audit(records, list(arms)),
        "dropped_held_out": dropped,
        "base_accuracy": _base_accuracy(plan),
    }
    return WorldResult(
        arms=arms,
        meanings={arm: subject.meaning(arm) for arm in arms},
        chance=subject.chance,
        teacher=teacher,
        samples=subject.samples(records, plan.samples),
        seconds=seconds,
    )


def _timed(path: epath.Path, work: Callable[[], object]) -> float:
    """Does the work (which passes over what is done) and keeps the first finished run's seconds."""
    began = time.monotonic()
    work()
    if not ledger.is_complete(path):
        ledger.write_whole(path, json.dumps({"seconds": round(time.monotonic() - began, 3)}))
    return float(json.loads(ledger.read_text(path))["seconds"])


def _base_accuracy(plan: WorldPlan) -> dict[str, float]:
    students = plan.students
    scorer = experiment.make_scorer(students.model, students.bos_id, students.score_batch_size)
    evaluator = evaluation.RankEvaluator(plan.subject.base_evaluation, "test", scorer)
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(data=1), jax.devices()[:1])
    start = restore.load(students.start_checkpoint_dir, students.model, mesh)
    metrics = evaluator.evaluate(start.params)
    return {**experiment.by_type(metrics), "mean": evaluation.mean_accuracy(metrics)}


def collect(
    plans: Sequence[WorldPlan], worlds: Sequence[WorldResult], command: str
) -> dict[str, Any]:
    """Puts the results of all worlds together, in percent."""
    students = plans[0].students
    timings: dict[str, float] = {}
    for world in worlds:
        for phase, value in world.seconds.items():
            timings[phase] = round(timings.get(phase, 0.0) + value, 1)
    arms = {arm: _arm(plans, worlds, arm) for arm in students.arms}
    return {
        "unit": "percent",
        "chance": worlds[0].chance,
        "worlds": [plan.seed for plan in plans],
        "seeds": list(students.seeds),
        "steps": {
            **{stage.name: stage.train_steps for stage in plans[0].curriculum.stages},
            "student": students.train_steps,
        },
        "arms": arms,
        "teacher": _mean_over_worlds([world.teacher for world in worlds]),
        "samples": list(worlds[0].samples),
        "timings_s": timings,
        "environment": {
            "jax": jax.__version__,
            "devices": len(jax.devices()),
            "platform": jax.devices()[0].platform,
            "python": platform.python_version(),
        },
        "command": command,
        "caveats": list(CAVEATS),
    }


def _runs(plans: Sequence[WorldPlan], worlds: Sequence[WorldResult], arm: str) -> list[dict[str, Any]]:
    return [
        {"world": plan.seed, **run}
        for plan, world in zip(plans, worlds, strict=True)
        for run in world.arms[arm]["runs"]
    ]


def _arm(plans: Sequence[WorldPlan], worlds: Sequence[WorldResult], arm: str) -> dict[str, Any]:
    runs = _runs(plans, worlds, arm)
    accuracies = [run["accuracy"] for run in runs]
    entry: dict[str, Any] = {
        "accuracy_mean": float(np.mean(accuracies)),
        "accuracy_std": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else 0.0,
        "accuracy_per_seed": accuracies,
        "by_type": _mean_over_worlds([run["by_type"] for run in runs]),
        "runs": runs,
        "validation_mean": float(np.mean([run["validation"] for run in runs])),
        "trained_tokens": round(float(np.mean([world.arms[arm]["tokens"] for world in worlds]))),
        "learning_curve": [
            {"step": rows[0]["step"], "loss": float(np.mean([row["loss"] for row in rows]))}
            for rows in zip(*(world.arms[arm]["rows"] for world in worlds), strict=True)
        ],
        "meaning": worlds[0].meanings[arm],
    }
    if arm != "plain" and "plain" in plans[0].students.arms:
        plain = [run["accuracy"] for run in _runs(plans, worlds, "plain")]
        differences = [a - b for a, b in zip(accuracies, plain, strict=True)]
        entry["paired_difference"] = {
            "mean": float(np.mean(differences)),
            "min": min(differences),
            "max": max(differences),
            "per_run": differences,
        }
    return entry


def _mean_over_worlds(values: Sequence[Any]) -> Any:
    """Means of nested mappings of numbers."""
    if isinstance(values[0], Mapping):
        return {key: _mean_over_worlds([value[key] for value in values]) for key in values[0]}
    return float(np.mean(values))
