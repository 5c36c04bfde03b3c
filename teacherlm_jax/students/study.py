"""The whole loop: teacher, annotation, students, results; for one subject or several."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.checkpoints import restore
from teacherlm_jax.data import ledger, records
from teacherlm_jax.evaluation import evaluator as evaluator_lib
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.students import experiment, report, results
from teacherlm_jax.students.subject import Subject
from teacherlm_jax.teacher import annotate
from teacherlm_jax.training import stages


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
        experiment.check_seeds("worlds", self.worlds)

    def plan(self, seed: int) -> "WorldPlan":
        """The parts for one world, with its names and folders."""
        subject = self.subject(seed)
        folder = epath.Path(self.output_dir) / subject.name
        teacher = folder / "teacher"
        curriculum = self.curriculum(model_dir=str(teacher), name_values={"world": seed})
        first, last = curriculum.stages[0].name, curriculum.stages[-1].name
        students = self.students(
            output_dir=str(folder / "students"),
            start_checkpoint_dir=str(teacher / first / "checkpoints"),
        )
        for arm in students.arms:
            subject.meaning(arm)  # An arm that is not known, before the teacher is trained.
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
            students=students,
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
      The results, as in results.json, and `folder`.
    """
    began = time.monotonic()
    plans = [study.plan(seed) for seed in study.worlds]
    for plan in plans:
        # What the later phases would stumble over, before the first is trained.
        annotate.check(plan.annotation)
        experiment.check(plan.students, plan.subject)
    worlds = [_run_world(plan) for plan in plans]
    merged = results.merge([plan.students for plan in plans], worlds)
    merged["steps"] = {
        **{stage.name: stage.train_steps for stage in plans[0].curriculum.stages},
        **merged["steps"],
    }
    return _report(merged, study.output_dir, command, began)


def compare(
    subject: Subject, annotations: str, students: experiment.Students, command: str
) -> dict[str, Any]:
    """Trains and compares students from annotations that are there; writes the report.

    Args:
      subject: the data.
      annotations: a finished folder of annotations of the subject's questions, or a JSONL file.
      students: what to train, and where.
      command: how to repeat it, for the report.

    Returns:
      The results, as in results.json, and `folder`.
    """
    began = time.monotonic()
    experiment.check(students, subject)
    outcome = _run_students(subject, students, list(records.read_jsonl(annotations)), 6, {})
    return _report(results.merge([students], [outcome]), students.output_dir, command, began)


def _report(merged: dict[str, Any], folder: str, command: str, began: float) -> dict[str, Any]:
    merged["command"] = command
    parts = sum(merged["timings_s"].values())
    # Kept from the run that came to the end first: a look at the results is no new measurement.
    # After an interrupt that run was shorter than its parts.
    whole = _first_seconds(epath.Path(folder) / "finished.json", time.monotonic() - began)
    merged["timings_s"]["total"] = round(max(whole, parts), 1)
    report.write_report(merged, epath.Path(folder))
    return {**merged, "folder": folder}


def _run_world(plan: WorldPlan) -> results.WorldResult:
    done = stages.train(plan.curriculum)
    seconds = {name: float(entry["seconds"]) for name, entry in done.items()}
    seconds["annotate"] = _timed(
        plan.folder / "annotate.json", lambda: annotate.annotate(plan.annotation)
    )
    annotated = annotate.read(plan.annotation)
    return _run_students(plan.subject, plan.students, annotated, plan.samples, seconds)


def _run_students(
    subject: Subject,
    students: experiment.Students,
    annotated: Sequence[records.TeacherDataRecord],
    samples: int,
    seconds: Mapping[str, float],
) -> results.WorldResult:
    kept, dropped = subject.clean(annotated)
    arms = experiment.run(students, subject, kept)
    return results.WorldResult(
        seed=subject.seed,
        arms=arms,
        meanings={arm: subject.meaning(arm) for arm in arms},
        chance=subject.chance,
        teacher={
            **subject.quality(annotated),
            "coverage": subject.coverage(kept, list(arms)),
            "dropped_held_out": dropped,
            "base_accuracy": _base_accuracy(subject, students),
        },
        samples=subject.samples(annotated, samples),
        seconds={
            **seconds,
            "students": sum(arm["seconds"] for arm in arms.values()),
            "evaluate": sum(arm["evaluation_seconds"] for arm in arms.values()),
        },
    )


def _timed(path: epath.Path, work: Callable[[], object]) -> float:
    """Does the work (which passes over what is done) and keeps the first finished run's seconds."""
    began = time.monotonic()
    work()
    return _first_seconds(path, time.monotonic() - began)


def _first_seconds(path: epath.Path, seconds: float) -> float:
    """Keeps a time, unless one is kept; returns what is kept."""
    if not ledger.is_complete(path):
        ledger.write_whole(path, json.dumps({"seconds": round(seconds, 3)}) + "\n")
    return float(json.loads(ledger.read_text(path))["seconds"])


def _base_accuracy(subject: Subject, students: experiment.Students) -> dict[str, float]:
    scorer = experiment.make_scorer(students)
    evaluator = evaluator_lib.RankEvaluator(subject.base_evaluation, "test", scorer)
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(device_count=1))
    start = restore.load(students.start_checkpoint_dir, students.model, mesh)
    metrics = evaluator.evaluate(start.params)
    return {**experiment.by_type(metrics), "mean": evaluator_lib.mean_accuracy(metrics)}
