"""A curriculum: stages one after another, with a ledger of what is done.

MODEL_DIR/configuration.json        the configuration that the folder belongs to
MODEL_DIR/STAGE/configuration.json  its data by a digest
MODEL_DIR/STAGE/checkpoints/STEP/   Orbax checkpoints
MODEL_DIR/STAGE/metrics.jsonl       metric rows
MODEL_DIR/STAGE/validation.jsonl    rows of validation metrics, where there is validation
MODEL_DIR/STAGE/events.out.*        the same rows for TensorBoard
MODEL_DIR/STAGE/goodput.json        where wall-clock time went
MODEL_DIR/STAGE/done.json           the ledger: written when the stage is done
"""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging
from etils import epath
from jax.sharding import Mesh

from teacherlm_jax.checkpoints import manager, restore
from teacherlm_jax.checkpoints import policy as policy_lib
from teacherlm_jax.checkpoints.fingerprint import digest
from teacherlm_jax.data import claim, data_setup, ledger, pipeline, vocabularies
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params, parameter_count
from teacherlm_jax.partitioning import hosts, preflight
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.training import stage as stage_lib
from teacherlm_jax.training import stage_data, stage_run
from teacherlm_jax.training.placement import Placement
from teacherlm_jax.training.stage import Stage
from teacherlm_jax.training.validation import ModelEvaluation, PreparedEvaluation, TrainedModel

Tree = Any

DONE_NAME = "done.json"

# Between the first and the last host to have read all data.
_LONGEST_READING_SECONDS = 3600.0


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """Stages of one model in one folder.

    Attributes:
      stages: in the order in which they are trained.
      model_dir: MODEL_DIR.
      model: the decoder's configuration.
      mesh: sizes of the mesh axes.
      rules: from logical axes to mesh axes.
      save_policy: when to save.
      watch: how the run is watched.
      bos_id: token before every text; None: none.
      initial_checkpoint_path: a `checkpoints` folder, or the folder of one step in it.
      token_cache_dir: where token ids are kept, made once a task and read as needed; None: every
        start tokenizes everything, and holds it in memory.
      name_values: fills braces in the stages' mixture names: with {"world": 1},
        "world{world}_base" is "world1_base".
      data: what tasks over public data read when their data is read; None: as the process has it.
    """

    stages: Sequence[Stage]
    model_dir: str
    model: DecoderConfig
    mesh: mesh_lib.MeshConfig = mesh_lib.MeshConfig()
    rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES
    save_policy: manager.SavePolicy = manager.SavePolicy()
    watch: stage_run.Watch = stage_run.Watch()
    bos_id: int | None = 0
    initial_checkpoint_path: str | None = None
    token_cache_dir: str | None = None
    name_values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: data_setup.DataSetup | None = None

    def __post_init__(self) -> None:
        for name in ("model_dir", "token_cache_dir"):
            path = getattr(self, name)
            if path is not None and not os.fspath(path):
                raise ValueError(f"Curriculum.{name} is empty text: name a folder.")
            if path is not None:
                object.__setattr__(self, name, os.path.expanduser(os.fspath(path)))
        if not self.stages:
            raise ValueError("a curriculum needs at least one stage; bind Curriculum.stages.")
        known: set[str] = {stage_lib.PREVIOUS}
        for stage in self.stages:
            if stage.name in known:
                raise ValueError(f"two stages are named {stage.name!r}; names must differ.")
            source = stage.initialize_from
            if source not in known and "/" not in source:
                raise ValueError(
                    f"stage {stage.name!r} starts from {source!r}, which is no earlier stage "
                    f"(those are {sorted(known)}) and no checkpoint folder."
                )
            known.add(stage.name)
            self.mixture_name(stage)

    def mixture_name(self, stage: Stage) -> str:
        """The name of a stage's mixture, braces filled."""
        return pipeline.fill_name(stage.mixture_or_task_name, self.name_values)

    def trained_model(self, mesh: Mesh) -> TrainedModel:
        """The model of all stages, as evaluations see it."""
        return TrainedModel(self.model, mesh, self.rules, self.bos_id, self.name_values)

    def configuration(self) -> dict[str, Any]:
        """What decides the parameters but for the data: no folders but the start, no mesh."""
        return {
            "model": {**dataclasses.asdict(self.model), "remat_policy": "may change"},
            "order": [stage.name for stage in self.stages],
            "stages": {stage.name: stage.configuration() for stage in self.stages},
            "bos_id": self.bos_id,
            "initial_checkpoint_path": self.initial_checkpoint_path,
            "name_values": dict(self.name_values),
        }


def train(
    curriculum: Curriculum, on_claimed: Callable[[epath.Path], object] = lambda folder: None
) -> dict[str, dict[str, Any]]:
    """Trains what is not done yet; the same call goes on after an interrupt.

    Everything that can be wrong with data, folder and mesh is found before the first compile.

    Args:
      curriculum: what to train, and where.
      on_claimed: called with MODEL_DIR once it is known that the curriculum can be trained, before
        the first stage.

    Returns:
      The ledger: stage name -> {"step", "seconds", "params_digest", "tokens", ...}.

    Raises:
      ValueError: bad configuration or data (see the message).
      KeyboardInterrupt: stopped, with everything saved; call again to go on.
    """
    began = time.monotonic()
    if curriculum.data is not None:
        curriculum.data.apply()
    folder = epath.Path(curriculum.model_dir)
    mesh = mesh_lib.make_mesh(curriculum.mesh)
    configuration = curriculum.configuration()
    claim.check_folder(folder, configuration)
    entries = {stage.name: read_done(folder, stage.name) for stage in curriculum.stages}
    pending = _pending_stages(curriculum, entries, mesh)
    for checked in pending:
        claim.check_folder(folder / checked.stage.name, checked.configuration)

    def claim_all() -> None:
        claim.claim_folder(folder, configuration)
        for checked in pending:
            claim.claim_folder(folder / checked.stage.name, checked.configuration)

    # Claimed last: a folder must not belong to a configuration that cannot be trained.
    hosts.on_first_host(f"claiming {folder}", claim_all)
    on_claimed(folder)
    logging.info(
        "%d parameters, %s, %s.",
        parameter_count(boxed_params(Decoder(curriculum.model))),
        f"{mesh.devices.size} devices",
        f"stages to train: {', '.join(checked.stage.name for checked in pending) or 'none'}",
    )
    while pending:
        checked = pending.pop(0)
        entries[checked.stage.name] = _run_stage(curriculum, checked, began)
        began = time.monotonic()
    return {name: entry for name, entry in entries.items() if entry is not None}


def read_done(folder: epath.Path, stage: str) -> dict[str, Any] | None:
    """The ledger's entry of a stage, None where it is not done."""
    path = folder / stage / DONE_NAME
    if not ledger.is_complete(path):
        return None
    entry: dict[str, Any] = json.loads(ledger.read_text(path))
    # Where it lies now: a folder may have been moved.
    checkpoints = folder / stage / "checkpoints"
    best = entry.get("best_checkpoint")
    where = {"best_checkpoint": best and str(checkpoints / epath.Path(best).name)}
    return {**entry, "checkpoint": str(checkpoints), **where}


@dataclasses.dataclass(frozen=True)
class _Reading:
    """How stages read what they share, each once: tables, and evaluations."""

    loader: pipeline.TableLoader
    prepare: Callable[[ModelEvaluation], PreparedEvaluation]


@dataclasses.dataclass(frozen=True)
class _PendingStage:
    """A stage that can be trained.

    Attributes:
      stage: the stage, its train_steps a number.
      source: the checkpoint folder that it starts from; None: random parameters.
      placement: its model and optimizer on the mesh.
      data: what it trains on.
      configuration: what the stage's folder belongs to, beside the curriculum's: its data.
    """

    stage: Stage
    source: str | None
    placement: Placement
    data: stage_data.StageData
    configuration: Mapping[str, Any]


def _pending_stages(
    curriculum: Curriculum, entries: Mapping[str, Any], mesh: Mesh
) -> list[_PendingStage]:
    """The stages that have no entry in the ledger, checked; all hosts have read the same."""
    pending: list[_PendingStage] = []
    reading = _Reading(
        stage_data.shared_loader(curriculum.token_cache_dir),
        stage_data.shared_evaluations(curriculum.trained_model(mesh)),
    )
    previous: str | None = None
    for stage in curriculum.stages:
        if entries[stage.name] is None:
            pending.append(_check_stage(curriculum, stage, previous, mesh, reading))
        previous = stage.name
    # Hosts that read other data would train on a mixture of both. A host that is late reads still.
    facts: dict[str, str] = {}
    for one in pending:
        facts |= stage_data.digests(one.stage, one.data)
    preflight.check(facts, timeout_seconds=_LONGEST_READING_SECONDS)
    return pending


def _check_stage(
    curriculum: Curriculum,
    stage: Stage,
    previous: str | None,
    mesh: Mesh,
    reading: _Reading,
) -> _PendingStage:
    """Reads a stage's data, and checks that its mesh fits and that its start is there."""
    rules = curriculum.rules
    _check_rows(stage, mesh, rules)
    model = Decoder(curriculum.model)
    optimizer = stage.optimizer.build(boxed_params(model))
    placement = Placement(
        model,
        optimizer,
        mesh,
        z_loss=stage.z_loss,
        microbatches=stage.microbatches,
        rules=rules,
    )
    _ = placement.abstract_state  # Raises where a dimension does not divide over the mesh.
    source = _source(curriculum, stage, previous)
    is_outside = previous is None or "/" in stage.initialize_from
    is_begun = (epath.Path(curriculum.model_dir) / stage.name / "checkpoints").is_dir()
    if source is not None and is_outside and not is_begun:
        restore.check(source, curriculum.model)
    name = curriculum.mixture_name(stage)
    pipeline.check_vocabulary(name, curriculum.model.vocab_size, curriculum.bos_id)
    curriculum.model.check_row_length(
        stage.row_length, f"stage {stage.name!r}: sum of task_feature_lengths"
    )
    evaluation = None if stage.evaluation is None else reading.prepare(stage.evaluation)
    data = stage_data.load(stage, name, curriculum.bos_id, reading.loader, evaluation)
    policy_lib.check_best_metric(curriculum.save_policy, stage_data.metric_names(data))
    placement = dataclasses.replace(placement, components=data.batches.components)
    stage = dataclasses.replace(stage, train_steps=data.train_steps)
    configuration = {"mixture": name, "data_digest": data.digest}
    return _PendingStage(stage, source, placement, data, configuration)


def _check_rows(stage: Stage, mesh: Mesh, rules: rules_lib.Rules) -> None:
    """A batch, and a microbatch, divides over the mesh, and so does a row where it is cut."""
    mesh_lib.check_batch_size(stage.batch_size, mesh, rules)
    mesh_lib.check_row_length(stage.row_length, mesh, rules)
    shards = mesh_lib.batch_shards(mesh, rules)
    if stage.batch_size % (stage.microbatches * shards):
        fitting = [
            n for n in range(1, stage.batch_size + 1) if stage.batch_size % (n * shards) == 0
        ]
        raise ValueError(
            f"stage {stage.name!r}: batch_size = {stage.batch_size} does not divide into "
            f"microbatches = {stage.microbatches} over {shards} shards of the batch; with this "
            f"batch size and mesh microbatches may be {', '.join(map(str, fitting))}."
        )


def _source(curriculum: Curriculum, stage: Stage, previous: str | None) -> str | None:
    """The checkpoint folder that a stage starts from; None: random parameters."""
    source = previous if stage.initialize_from == stage_lib.PREVIOUS else stage.initialize_from
    if source is None:
        return curriculum.initial_checkpoint_path
    inside = epath.Path(curriculum.model_dir) / source / "checkpoints"
    return source if "/" in source else str(inside)


def _run_stage(curriculum: Curriculum, pending: _PendingStage, began: float) -> dict[str, Any]:
    stage, placement = pending.stage, pending.placement

    def start_params() -> Tree:
        # A resume has come before this.
        if pending.source is None:
            return placement.scratch_params(stage.seed)
        loaded = restore.load(pending.source, curriculum.model, placement.mesh, curriculum.rules)
        return loaded.params

    run = stage_run.StageRun(
        stage=stage,
        placement=placement,
        directory=epath.Path(curriculum.model_dir) / stage.name,
        policy=curriculum.save_policy,
        metadata={
            "model": dataclasses.asdict(curriculum.model),
            "stage": stage.name,
            restore.VOCABULARY: vocabularies.identity(
                pipeline.vocabulary(curriculum.mixture_name(stage))
            ),
        },
        watch=curriculum.watch,
        began=began,
        validation=stage_data.validation(stage, pending.data, placement),
    )
    result = stage_run.run(run, pending.data.batches, start_params)
    done = {
        "stage": stage.name,
        "step": stage.train_steps,
        "checkpoint": str(run.directory / "checkpoints"),
        "params_digest": digest(result.params),
        "tokens": sum(row["tokens"] for row in result.rows),
        "skipped": sum(row["skipped"] for row in result.rows),
        "final": {key: result.rows[-1][key] for key in ("loss", "accuracy")},
        "best_checkpoint": result.best_checkpoint,
        "seconds": round(result.seconds, 3),
    }
    hosts.on_first_host(
        f"writing the ledger of stage {stage.name}",
        lambda: ledger.write_whole(run.directory / DONE_NAME, json.dumps(done, indent=2) + "\n"),
    )
    return done
