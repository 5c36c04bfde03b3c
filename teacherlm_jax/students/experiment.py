"""Students of several arms: same start, same steps, same replay; only the samples differ."""

import dataclasses
import functools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from etils import epath

from teacherlm_jax.checkpoints import manager, restore
from teacherlm_jax.checkpoints.fingerprint import digest
from teacherlm_jax.data import batches as batches_lib
from teacherlm_jax.data import claim, ledger, pipeline, vocabularies
from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.data.whole_numbers import check_whole
from teacherlm_jax.evaluation import evaluator as evaluator_lib
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params
from teacherlm_jax.partitioning import hosts
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.scores import ScoringPolicy
from teacherlm_jax.students.subject import Subject
from teacherlm_jax.training import stage as stage_lib
from teacherlm_jax.training import stage_run
from teacherlm_jax.training.optimizer import Optimizer
from teacherlm_jax.training.placement import Placement, replica_mesh

ARMS = (
    "plain",
    "fundamentals",
    "cot",
    "mistakes",
    "all",
    "gold_fundamentals",
    "scrambled_fundamentals",
)

EVALUATION_NAME = "evaluation.json"


@dataclasses.dataclass(frozen=True)
class Students:
    """How students are trained and evaluated.

    Attributes:
      model: the students' configuration, that of the start checkpoint.
      start_checkpoint_dir: `checkpoints` folder that every student starts from.
      output_dir: a folder an arm goes in here.
      optimizer: of every student.
      train_steps: updates of every student.
      batch_size: rows an update of one student.
      seeds: a student each; seeds order the data. They train together, stacked.
      arms: keys that the subject knows; "plain" is what the others are compared with.
      bos_id: token before every text; None: none.
      length_multiple: rows are as long as the arm's longest example, rounded up to this, so that
        arms of nearly the same length share a compilation.
      save_policy: when to save.
      log_period: steps that a row of metrics covers.
      score_batch_size: questions that are scored together.
      score_max_length: most tokens of a question of the evaluation, BOS included.
    """

    model: DecoderConfig
    start_checkpoint_dir: str
    output_dir: str
    optimizer: Optimizer
    train_steps: int
    batch_size: int = 16
    seeds: Sequence[int] = (0, 1)
    arms: Sequence[str] = ARMS
    bos_id: int | None = 0
    length_multiple: int = 8
    save_policy: manager.SavePolicy = manager.SavePolicy()
    log_period: int = 50
    score_batch_size: int = 128
    score_max_length: int = 64

    def __post_init__(self) -> None:
        check_whole(
            "students",
            train_steps=self.train_steps,
            batch_size=self.batch_size,
            length_multiple=self.length_multiple,
            log_period=self.log_period,
            score_batch_size=self.score_batch_size,
            score_max_length=self.score_max_length,
        )
        check_seeds("seeds", self.seeds)
        if isinstance(self.arms, str) or not isinstance(self.arms, Sequence):
            raise ValueError(
                f"arms = {self.arms!r}, but it must be a list of names, as in "
                "('plain', 'fundamentals')."
            )
        if not self.arms or len(set(self.arms)) != len(self.arms):
            raise ValueError(f"arms = {tuple(self.arms)}: give one or more, each once.")


def check_seeds(name: str, seeds: Any) -> None:
    """Raises ValueError unless the value is a list of one or more seeds, each once."""
    if not isinstance(seeds, list | tuple) or not all(
        isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**32 for seed in seeds
    ):
        raise ValueError(
            f"{name} = {seeds!r}, but it must be a list of whole numbers from 0 on (below 2**32), "
            "as in (0, 1)."
        )
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"{name} = {tuple(seeds)}: give one or more, each once.")


def check(students: Students, subject: Subject) -> None:
    """Checks what can be known before there are a teacher and annotations.

    Raises:
      ValueError: there are several processes, or a question of the evaluation is too long.
    """
    hosts.check_alone("training of students, each on a device of its own,")
    room = students.score_max_length - (students.bos_id is not None)
    for split in ("validation", "test"):
        for table in pipeline.load_tables(subject.evaluation, split)[0]:
            for example in table.examples:
                if len(example) > room:
                    raise ValueError(
                        f"{example.example_id} has {len(example)} tokens, but Students."
                        f"score_max_length = {students.score_max_length} leaves room for {room}: "
                        "raise it."
                    )


def run(
    students: Students, subject: Subject, records: Sequence[TeacherDataRecord]
) -> dict[str, dict[str, Any]]:
    """Trains and evaluates the students of every arm that are not done yet.

    Args:
      students: what to train.
      subject: the data.
      records: the annotated questions, already cleaned.

    Returns:
      arm -> {"runs": [{"seed", "accuracy", "by_type", "validation"}], "tokens", "rows",
      "seconds", "evaluation_seconds"}.

    Raises:
      ValueError: bad configuration or data; found before the first compile.
    """
    hosts.check_alone("training of students, each on a device of its own,")
    restore.check(students.start_checkpoint_dir, students.model)
    names = {arm: subject.register_arm(arm, records) for arm in students.arms}
    # The arms share their replay, so its tables are read once.
    loader = functools.cache(pipeline.load_table)
    batches = {arm: _Data.load(students, name, loader) for arm, name in names.items()}
    mesh = replica_mesh(len(students.seeds))
    start = restore.load(students.start_checkpoint_dir, students.model, mesh)
    model = Decoder(students.model)
    placement = Placement(
        model, students.optimizer.build(boxed_params(model)), mesh, len(students.seeds)
    )
    start_digest = digest(start.params)
    configurations = {
        epath.Path(students.output_dir) / arm: _configuration(students, arm, data, start_digest)
        for arm, data in batches.items()
    }
    for directory, configuration in configurations.items():
        claim.check_folder(directory, configuration)
    for data in batches.values():
        data.batches(students, students.seeds[0])  # Raises for what cannot be trained on.
    evaluators = _evaluators(students, subject)
    # Claimed last, and together: a folder must not belong to what cannot be run.
    for directory, configuration in configurations.items():
        claim.claim_folder(directory, configuration)
    results = {}
    for arm, data in batches.items():
        directory = epath.Path(students.output_dir) / arm
        path = directory / EVALUATION_NAME
        if not ledger.is_complete(path):
            result = _train(students, arm, data, placement, start.params, directory)
            began = time.monotonic()
            outcome = _outcome(students, evaluators, result, data)
            outcome["evaluation_seconds"] = round(time.monotonic() - began, 3)
            ledger.write_whole(path, json.dumps(outcome, indent=2) + "\n")
        results[arm] = json.loads(ledger.read_text(path))
    return results


@dataclasses.dataclass(frozen=True)
class _Data:
    """What one arm trains on."""

    mixture: str
    tables: Sequence[batches_lib.ExampleTable]
    rates: Sequence[float]
    row_format: batches_lib.RowFormat

    @classmethod
    def load(cls, students: Students, mixture: str, loader: pipeline.TableLoader) -> "_Data":
        """Tokenizes a mixture."""
        pipeline.check_vocabulary(mixture, students.model.vocab_size, students.bos_id)
        tables, rates = pipeline.load_tables(mixture, loader=loader)
        longest = max(len(example) for table in tables for example in table.examples)
        multiple = students.length_multiple
        length = -(-longest // multiple) * multiple
        students.model.check_row_length(length, f"length of the rows of {mixture}")
        return cls(mixture, tables, rates, batches_lib.RowFormat(length, students.bos_id))

    def batches(self, students: Students, seed: int) -> batches_lib.MixtureBatches:
        """The batches of one student."""
        return batches_lib.MixtureBatches(
            self.tables, self.rates, self.row_format, students.batch_size, seed
        )

    def digest(self) -> str:
        """Names the data by its content."""
        return batches_lib.tables_digest(self.tables, self.rates)


def _configuration(students: Students, arm: str, data: _Data, start_digest: str) -> dict[str, Any]:
    return {
        "arm": arm,
        "model": dataclasses.asdict(students.model),
        "start": start_digest,
        "data": data.digest(),
        "optimizer": stage_lib.describe(students.optimizer, students.train_steps),
        "train_steps": students.train_steps,
        "batch_size": students.batch_size,
        "row_length": data.row_format.length,
        "bos_id": students.bos_id,
        "seeds": list(students.seeds),
    }


def _train(
    students: Students,
    arm: str,
    data: _Data,
    placement: Placement,
    start_params: Any,
    directory: epath.Path,
) -> stage_run.StageResult:
    stage = stage_lib.Stage(
        name=f"student {arm}",
        mixture_or_task_name=data.mixture,
        task_feature_lengths={"targets": data.row_format.length},
        train_steps=students.train_steps,
        batch_size=students.batch_size,
        optimizer=students.optimizer,
    )
    run = stage_run.StageRun(
        stage=stage,
        placement=placement,
        directory=directory,
        policy=students.save_policy,
        metadata={
            "model": dataclasses.asdict(students.model),
            restore.VOCABULARY: vocabularies.identity(pipeline.vocabulary(data.mixture)),
            "arm": arm,
            "replicas": len(students.seeds),
            "seeds": list(students.seeds),
        },
        watch=stage_run.Watch(students.log_period, tensorboard=False),
        replica_seeds=students.seeds,
    )
    replicas = [data.batches(students, seed) for seed in students.seeds]
    return stage_run.run(run, batches_lib.ReplicaBatches(replicas), lambda: start_params)


def _evaluators(students: Students, subject: Subject) -> dict[str, evaluator_lib.RankEvaluator]:
    scorer = make_scorer(students)
    return {
        split: evaluator_lib.RankEvaluator(subject.evaluation, split, scorer)
        for split in ("validation", "test")
    }


def make_scorer(students: Students) -> Scorer:
    """A scorer of the paper's letters: summed log-likelihood, nothing cut."""
    policy = ScoringPolicy(max_length=students.score_max_length, bos_id=students.bos_id)
    return Scorer(Decoder(students.model), policy, batch_size=students.score_batch_size)


def by_type(metrics: evaluator_lib.Metrics) -> dict[str, float]:
    """Accuracy of each question type; task names read NAME_TYPE_eval."""
    return {task.split("_")[-2]: values["accuracy"] for task, values in metrics.items()}


def _outcome(
    students: Students,
    evaluators: Mapping[str, evaluator_lib.RankEvaluator],
    result: stage_run.StageResult,
    data: _Data,
) -> dict[str, Any]:
    # The replicas lie on several devices; scoring runs on one.
    params = jax.device_get(result.params)
    metrics = {
        split: evaluator.evaluate_stacked(params, students.train_steps)
        for split, evaluator in evaluators.items()
    }
    runs = [
        {
            "seed": seed,
            "accuracy": evaluator_lib.mean_accuracy(metrics["test"][index]),
            "by_type": by_type(metrics["test"][index]),
            "validation": evaluator_lib.mean_accuracy(metrics["validation"][index]),
        }
        for index, seed in enumerate(students.seeds)
    ]
    return {
        "runs": runs,
        "row_length": data.row_format.length,
        "tokens": sum(row["tokens"] for row in result.rows) / len(students.seeds),
        "rows": result.rows,
        "seconds": round(result.seconds, 3),
    }
