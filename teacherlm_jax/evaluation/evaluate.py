"""`teacherlm evaluate`: a checkpoint, ours or Hugging Face's, on tasks of rank classification."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath
from jax.sharding import Mesh

from teacherlm_jax.checkpoints import fingerprint, restore
from teacherlm_jax.data import claim, data_setup, ledger, pipeline
from teacherlm_jax.evaluation.evaluator import (
    Metrics,
    RankEvaluator,
    groups_of,
    mean_accuracy,
)
from teacherlm_jax.evaluation.policy import FROM_VOCABULARY, check_tokenizer, scoring_policy
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import hosts, preflight
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.scoring import clean_subset as clean_lib
from teacherlm_jax.scoring import receipt_files, report
from teacherlm_jax.scoring.averages import averages, over_subjects
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.receipts import Receipt
from teacherlm_jax.scoring.results import summarize
from teacherlm_jax.scoring.score_store import Reuse, ScoreStore
from teacherlm_jax.scoring.scores import QuestionScore, ScoringPolicy
from teacherlm_jax.weights.any_checkpoint import (
    folder_of,
    is_hugging_face,
    load_model,
    saved_model,
)

# Between the first and the last host to have read all questions.
_LONGEST_READING_SECONDS = 3600.0


@dataclasses.dataclass(frozen=True)
class CheckpointEvaluation:
    """What is evaluated, and on what.

    Attributes:
      checkpoint_dir: a `checkpoints` folder, whose newest checkpoint is taken, or a Hugging Face
        directory with config.json and safetensors.
      mixture_or_task_name: rank-classification tasks.
      output_dir: where `evaluation.json` goes; a folder for each checkpoint folder.
      model: the model's configuration; None: as the checkpoint says.
      split: of every task.
      bos_id: token before every prompt; None: none; "vocabulary": what the vocabulary says that
        the model's texts begin with.
      max_length: most tokens of prompt and option; longer ones are an error, or cut.
      truncation: "error", or "left" to cut the prompt's first tokens, which is counted.
      boundary: "apart" or "joint", see `scoring.boundary`.
      normalisation: what options are ranked by in the headline, see `scores.NORMALISATIONS`; all
        of them are reported.
      unconditional_prompt: text after which options are scored once more; "": after BOS, or where
        there is none after the token that the vocabulary begins or ends texts with; None: they
        are not.
      batch_size: questions that are scored together; does not change the result.
      mesh: sizes of the mesh axes. Replicas are scored together on one device.
      data: what tasks over public data read when their data is read; None: as the process has it.
      report: whether report.html, results.json and charts are written beside it; where replicas are
        evaluated, a folder for each and a comparison.
      score_cache_dir: where log-likelihoods are kept, by tokens and checkpoint, so that nothing is
        scored twice; evaluations may share it. None: in the output folder. Not of replicas.
      clean_subset: a clean_subset.json of `teacherlm data decontaminate`: accuracies are told for
        its questions as well; None: for all questions alone.
    """

    checkpoint_dir: str
    mixture_or_task_name: str
    output_dir: str
    model: DecoderConfig | None = None
    split: str = "test"
    bos_id: int | str | None = FROM_VOCABULARY
    max_length: int = 128
    truncation: str = "error"
    boundary: str = "apart"
    normalisation: str = "sum"
    unconditional_prompt: str | None = ""
    batch_size: int = 128
    mesh: mesh_lib.MeshConfig = mesh_lib.MeshConfig()
    data: data_setup.DataSetup | None = None
    report: bool = True
    score_cache_dir: str | None = None
    clean_subset: str | None = None

    def policy(self) -> ScoringPolicy:
        """How options are scored. The data must be set up, as the vocabulary is asked.

        Raises:
          ValueError: a setting is impossible.
        """
        return scoring_policy(
            self.mixture_or_task_name,
            bos_id=self.bos_id,
            max_length=self.max_length,
            truncation=self.truncation,
            boundary=self.boundary,
            normalisation=self.normalisation,
            unconditional_prompt=self.unconditional_prompt,
        )

    def shown(self, policy: ScoringPolicy) -> dict[str, Any]:
        """What is told of it beside its numbers."""
        shown = {
            "mixture_or_task_name": self.mixture_or_task_name,
            "split": self.split,
            "scoring": json.loads(json.dumps(dataclasses.asdict(policy))),
        }
        if self.clean_subset is not None:
            shown["clean_subset"] = self.clean_subset
        return shown


def _with_averages(metrics: Metrics, groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    found = averages(metrics, groups)
    told: dict[str, Any] = {
        "accuracy": mean_accuracy(metrics),
        "metrics": metrics,
        "averages": {name: dataclasses.asdict(value) for name, value in found.items()},
    }
    if clean := clean_lib.as_metrics(metrics):
        left = {name: [task for task in tasks if task in clean] for name, tasks in groups.items()}
        of_groups = averages(clean, {name: tasks for name, tasks in left.items() if tasks})
        told["clean_accuracy"] = mean_accuracy(clean)
        told["clean_averages"] = {n: dataclasses.asdict(value) for n, value in of_groups.items()}
    return told


def _with_subjects(receipts: Sequence[Receipt], normalisation: str) -> dict[str, Any]:
    """Averages over the subjects of a task, where one has several."""
    found = over_subjects(receipts, normalisation)
    told = {task: dataclasses.asdict(value) for task, value in found.items()}
    return {"subject_averages": told} if told else {}


def evaluate_checkpoint(settings: CheckpointEvaluation) -> dict[str, Any]:
    """Evaluates a checkpoint, or each replica of it, and writes the metrics.

    Of several hosts all must call it, and see the same checkpoint; the first writes.

    Returns:
      {"step", "models": [{"replica", "accuracy", "metrics", "averages"}], "file", "work", ...}:
      `averages` has those of the mixture and of the mixtures inside of it, `subject_averages`
      those of tasks with several subjects, where there are such, `work` what this call had to do:
      the programs that it compiled, and where scores came from (`score_store.Reuse`).
      With "page" where there is a report.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: it is damaged or of another model, a prompt is too long, or the folder holds
        something else.
    """
    if settings.data is not None:
        settings.data.apply()
    policy = settings.policy()
    model = settings.model or saved_model(settings.checkpoint_dir)
    pipeline.check_vocabulary(settings.mixture_or_task_name, model.vocab_size, policy.bos_id)
    check_tokenizer(settings.mixture_or_task_name, settings.checkpoint_dir)
    mesh = _mesh(settings, model)
    scorer = Scorer(Decoder(model), policy, batch_size=settings.batch_size, mesh=mesh)
    evaluator = RankEvaluator(
        settings.mixture_or_task_name,
        settings.split,
        scorer,
        description="evaluate",
        clean_subset=settings.clean_subset,
    )
    # Hosts that read other questions would score other batches. A host that is late reads still.
    facts = {f"questions of {settings.mixture_or_task_name}": evaluator.digest}
    preflight.check(facts, timeout_seconds=_LONGEST_READING_SECONDS)
    shown = settings.shown(policy)
    # Another checkpoint's numbers, or a student's own, are not to be written over.
    claimed = {"checkpoint_dir": str(folder_of(settings.checkpoint_dir)), **shown}
    _check_folders(settings, claimed)
    loaded = load_model(settings.checkpoint_dir, model, mesh)
    hosts.on_first_host(
        f"claiming {settings.output_dir}", lambda: claim.claim_folder(settings.output_dir, claimed)
    )
    scored, reuse = _scored(settings, evaluator, loaded, model)
    details = {"checkpoint": str(loaded.path), "step": loaded.step, **shown}
    work = {"programs": scorer.compilations, **dataclasses.asdict(reuse)}
    return {**_written(settings, scored, details), "work": work}


def _check_folders(settings: CheckpointEvaluation, claimed: Mapping[str, Any]) -> None:
    """Checks where results go before parameters are read, and makes nothing.

    Raises:
      ValueError: the output folder holds something else.
      PermissionError: it, or that of the scores, cannot be written to.
    """

    def check() -> None:
        claim.check_can_be_made(settings.output_dir, "output folder")
        claim.check_folder(settings.output_dir, claimed)
        if settings.score_cache_dir is not None:
            claim.check_can_be_made(settings.score_cache_dir, "folder of the score cache")

    hosts.on_first_host(f"checking {settings.output_dir}", check)


def _mesh(settings: CheckpointEvaluation, model: DecoderConfig) -> Mesh:
    replicas = None
    if not is_hugging_face(settings.checkpoint_dir):
        replicas = restore.replicas(settings.checkpoint_dir, model)
    if replicas is None:
        return mesh_lib.make_mesh(settings.mesh)
    hosts.check_alone("an evaluation of replicas, which are scored together on one device,")
    return mesh_lib.make_mesh(mesh_lib.MeshConfig(device_count=1))


def _written(
    settings: CheckpointEvaluation, scored: Sequence[_Scored], details: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes what was found, on the first host; returns it."""
    groups = groups_of(settings.mixture_or_task_name)
    path = epath.Path(settings.output_dir) / "evaluation.json"
    result = {
        **details,
        "models": [
            {
                "replica": one.replica,
                **_with_averages(one.metrics, groups),
                **_with_subjects(one.receipts, settings.normalisation),
            }
            for one in scored
        ],
    }
    page: dict[str, str] = {}
    if settings.report and scored[0].receipts:
        page = {"page": str(path.parent / _page_name(scored))}

    def write() -> None:
        ledger.remove(path)
        ledger.write_whole(path, json.dumps(result, indent=2) + "\n")
        if page:
            _report(settings, scored, groups, details)

    hosts.on_first_host(f"writing {path}", write)
    return {**result, "file": str(path), **page}


def _page_name(scored: Sequence[_Scored]) -> str:
    """Of the page to look at first."""
    return "report.html" if len(scored) == 1 else "comparison.html"


@dataclasses.dataclass(frozen=True)
class _Scored:
    """A model, scored.

    Attributes:
      replica: which, where there are several.
      metrics: of the tasks' metric functions.
      receipts: of the questions whose task says what is right.
    """

    replica: int | None
    metrics: Metrics
    receipts: list[Receipt]


def _scored(
    settings: CheckpointEvaluation,
    evaluator: RankEvaluator,
    loaded: restore.LoadedModel,
    model: DecoderConfig,
) -> tuple[list[_Scored], Reuse]:
    """The models, scored, and what of it was known."""
    models: list[tuple[int | None, list[QuestionScore], str]]
    if loaded.replicas is None:
        digest = fingerprint.digest(loaded.params)
        folder = settings.score_cache_dir or str(epath.Path(settings.output_dir) / "scores")
        store = ScoreStore(folder, digest)
        models = [(None, evaluator.score(loaded.params, store), digest)]
        reuse = store.reuse
    else:
        together = evaluator.score_stacked(loaded.params)
        reuse = Reuse(scored=len(evaluator.questions))
        models = [
            (number, scores, fingerprint.digest(loaded.replica(number)))
            for number, scores in enumerate(together)
        ]
    scored = [
        _Scored(
            replica,
            evaluator.metrics(scores, loaded.step),
            evaluator.receipts(scores, digest, model.dtype),
        )
        for replica, scores, digest in models
    ]
    return scored, reuse


def _report(
    settings: CheckpointEvaluation,
    scored: Sequence[_Scored],
    groups: Mapping[str, Sequence[str]],
    details: Mapping[str, Any],
) -> None:
    """Writes the pages."""
    folder = epath.Path(settings.output_dir)
    told = {task for one in scored for task in (receipt.task for receipt in one.receipts)}
    whole = {name: tasks for name, tasks in groups.items() if told.issuperset(tasks)}
    found = []
    for one in scored:
        results = summarize(one.receipts, settings.normalisation, whole)
        label = "" if one.replica is None else f"replica_{one.replica}"
        title = f"{settings.mixture_or_task_name} {label}".strip()
        own = folder / label if label else folder
        receipt_files.write(own / "receipts.jsonl", one.receipts)
        report.write(results, one.receipts, own, title, details)
        found.append((label, results))
    if len(found) > 1:
        report.write_comparison(found, folder, settings.mixture_or_task_name, details)
