"""Annotation: a trained teacher writes the explanations of questions, shard by shard."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import seqio
from etils import epath

import teacherlm_jax
from teacherlm_jax.checkpoints import restore
from teacherlm_jax.checkpoints.fingerprint import digest
from teacherlm_jax.data import data_setup, generators, pipeline, records
from teacherlm_jax.data.record_source import TeacherDataSource
from teacherlm_jax.data.whole_numbers import check_whole
from teacherlm_jax.generation import engine, sampling
from teacherlm_jax.metrics.progress import Progress
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import hosts
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.teacher import prompts, shards

Record = records.TeacherDataRecord

CUT, EMPTY = "not ended by the teacher within max_new_tokens", "empty explanation"


@dataclasses.dataclass(frozen=True)
class Annotation:
    """What is annotated, by whom and how.

    Attributes:
      task_name: seqio task whose source gives TeacherData records, and whose vocabulary is used;
        or a mixture of such tasks, whose rates do not count.
      output_dir: where shards and manifest go.
      checkpoint_dir: the teacher's `checkpoints` folder.
      model: the teacher's configuration.
      split: of the task.
      input_file: JSONL or Parquet to annotate instead of the task's records (a file, pattern or
        folder).
      fields: which explanations to write.
      policy: how tokens are chosen.
      max_new_tokens: most tokens of one explanation.
      max_length: most tokens of prompt and explanation.
      condition_on_answer: whether the prompt tells the right answer, as the paper's does.
      seed: of the sampling noise.
      bos_id: token before every prompt; None: none.
      replica: which replica, where the checkpoint holds several.
      rows_per_shard: rows of a shard.
      batch_size: prompts that run together; does not change the text.
      mesh: sizes of the mesh axes.
      data: what tasks over public data read when their data is read; None: as the process has it.
    """

    task_name: str
    output_dir: str
    checkpoint_dir: str
    model: DecoderConfig
    split: str = "train"
    input_file: str | None = None
    fields: Sequence[str] = prompts.EXPLANATION_FIELDS
    policy: sampling.Policy = engine.GREEDY
    max_new_tokens: int = 64
    max_length: int = 128
    condition_on_answer: bool = True
    seed: int = 0
    bos_id: int | None = 0
    replica: int | None = None
    rows_per_shard: int = 256
    batch_size: int = 64
    mesh: mesh_lib.MeshConfig = mesh_lib.MeshConfig()
    data: data_setup.DataSetup | None = None

    def __post_init__(self) -> None:
        check_whole(
            "annotation",
            max_new_tokens=self.max_new_tokens,
            max_length=self.max_length,
            rows_per_shard=self.rows_per_shard,
            batch_size=self.batch_size,
        )
        if isinstance(self.fields, str) or len(set(self.fields)) != len(self.fields):
            raise ValueError(
                f"fields = {self.fields!r}, but it must be a list of names, each once, as in "
                "('fundamentals',)."
            )
        unknown = [field for field in self.fields if field not in prompts.EXPLANATION_FIELDS]
        if unknown or not self.fields:
            raise ValueError(
                f"fields = {tuple(self.fields)}: give one or more of {prompts.EXPLANATION_FIELDS}."
            )

    def prompt_id(self, field: str) -> str:
        """Names the prompt that asks for an explanation."""
        return prompts.prompt_id(field, self.condition_on_answer)

    def configuration(self, rows: Sequence[Record], params_digest: str) -> dict[str, Any]:
        """All that decides the text; batch size, mesh and paths do not."""
        return {
            "task": self.task_name,
            "split": self.split,
            "questions_digest": hashlib.sha256(records.encode_jsonl(rows)).hexdigest(),
            "prompts": {field: self.prompt_id(field) for field in self.fields},
            "sampling": {"policy": type(self.policy).__name__, **dataclasses.asdict(self.policy)},
            "max_new_tokens": self.max_new_tokens,
            "condition_on_answer": self.condition_on_answer,
            "seed": self.seed,
            "bos_id": self.bos_id,
            "dtype": self.model.dtype,
            "checkpoint_digest": params_digest,
        }


def questions(annotation: Annotation) -> list[Record]:
    """The records to annotate; of a mixture, those of its tasks, ordered by name.

    Raises:
      ValueError: a task has no such split, or its source gives no TeacherData records.
    """
    if annotation.data is not None:
        annotation.data.apply()
    if annotation.input_file is not None:
        return list(TeacherDataSource({"train": annotation.input_file}).records("train"))
    provider = pipeline.registered(annotation.task_name)
    tasks = provider.tasks if isinstance(provider, seqio.Mixture) else [provider]
    return [record for task in tasks for record in _records(task, annotation.split)]


def _records(task: seqio.Task, split: str) -> Iterator[Record]:
    if split not in task.splits:
        raise ValueError(f"task {task.name} has no split {split!r}; it has {list(task.splits)}.")
    if isinstance(task.source, TeacherDataSource):
        yield from task.source.records(split)
        return
    dataset = task.source.get_dataset(split=split, shuffle=False)
    with generators.surfaced():
        for row, features in enumerate(dataset.as_numpy_iterator()):
            yield Record.from_features(features, f"{task.name}/{split}:{row}")


def check(annotation: Annotation) -> None:
    """Checks questions and prompts; needs no teacher and compiles nothing.

    Raises:
      ValueError: a prompt is too long, or a record or the configuration is not valid.
    """
    rows = questions(annotation)
    shards.check_rows([row.id for row in rows], annotation.rows_per_shard)
    vocabulary = pipeline.vocabulary(annotation.task_name)
    pipeline.check_vocabulary(annotation.task_name, annotation.model.vocab_size, annotation.bos_id)
    generator = _generator(annotation, None, vocabulary, mesh_lib.make_mesh(annotation.mesh))
    writer = _Writer(annotation, generator, vocabulary, "")
    generator.check([request for row in rows for request in writer.requests(row)])


def annotate(annotation: Annotation) -> dict[str, Any]:
    """Annotates what is not annotated yet; the same call goes on after an interrupt.

    Returns:
      The manifest, with `folder`.

    Raises:
      ValueError: a prompt is too long, a record or configuration is not valid; nothing has run.
    """
    # First of all: who mends a prompt that is too long needs no other folder.
    check(annotation)
    rows = questions(annotation)
    vocabulary = pipeline.vocabulary(annotation.task_name)
    mesh = mesh_lib.make_mesh(annotation.mesh)
    loaded = restore.load(annotation.checkpoint_dir, annotation.model, mesh)
    params = loaded.params if annotation.replica is None else loaded.replica(annotation.replica)
    if loaded.replicas is not None and annotation.replica is None:
        raise ValueError(
            f"{loaded.path} holds {loaded.replicas} replicas; choose one with Annotation.replica."
        )
    params_digest = digest(params)
    generator = _generator(annotation, params, vocabulary, mesh)
    writer = _Writer(annotation, generator, vocabulary, params_digest)
    folder = shards.AnnotationFolder(
        annotation.output_dir,
        annotation.configuration(rows, params_digest),
        [row.id for row in rows],
        annotation.rows_per_shard,
    )
    pending = folder.pending()
    hosts.wait_for_all("every host knows the shards to write")
    done = folder.plan.num_rows - sum(len(folder.plan.rows(shard)) for shard in pending)
    with Progress("annotate", folder.plan.num_rows, done=done, unit="question") as progress:
        for shard in pending:
            chosen = [rows[number] for number in folder.plan.rows(shard)]
            annotated, rejects = writer.write(chosen)
            # Every process generated the same; one writes.
            write = functools.partial(folder.write_shard, shard, annotated, rejects)
            hosts.on_first_host(f"writing shard {shard}", write)
            done += len(chosen)
            progress.update(done)
    hosts.on_first_host("writing the manifest", folder.finish)
    return {**folder.read_manifest(), "folder": annotation.output_dir}


def read(annotation: Annotation) -> list[Record]:
    """The annotated records of a finished folder, in the order of the questions."""
    return list(records.read_jsonl(epath.Path(annotation.output_dir)))


def _generator(
    annotation: Annotation, params: Any, vocabulary: seqio.Vocabulary, mesh: Any
) -> engine.Generator:
    return engine.Generator(
        Decoder(annotation.model),
        params,
        max_new_tokens=annotation.max_new_tokens,
        max_length=annotation.max_length,
        eos_id=vocabulary.eos_id,
        bos_id=annotation.bos_id,
        policy=annotation.policy,
        batch_size=annotation.batch_size,
        seed=annotation.seed,
        valid_vocab_size=vocabulary.vocab_size,
        mesh=mesh,
    )


@dataclasses.dataclass(frozen=True)
class _Writer:
    """Turns questions into annotated records."""

    annotation: Annotation
    generator: engine.Generator
    vocabulary: seqio.Vocabulary
    params_digest: str

    def requests(self, row: Record) -> list[engine.GenerationRequest]:
        """One request a field; the field is part of the id that seeds the noise."""
        return [
            engine.GenerationRequest(
                f"{row.id}/{field}",
                0,
                self.vocabulary.encode(
                    prompts.annotation_prompt(
                        row.question,
                        row.choices,
                        row.answer,
                        field,
                        self.annotation.condition_on_answer,
                    )
                ),
            )
            for field in self.annotation.fields
        ]

    def write(self, rows: Sequence[Record]) -> tuple[list[Record], list[shards.Reject]]:
        """Annotates rows; explanations that were cut or are empty go to the rejects."""
        results = iter(
            self.generator.generate([request for row in rows for request in self.requests(row)])
        )
        annotated, rejects = [], []
        for row in rows:
            # What came in for a field is not the teacher's, and would pass for it.
            texts: dict[str, Any] = dict.fromkeys(self.annotation.fields, "")
            kept = {key: row.provenance[key] for key in row.provenance if key not in texts}
            for field in self.annotation.fields:
                result = next(results)
                text = self.vocabulary.decode(list(result.tokens)).strip()
                if result.finished and text:
                    texts[field] = text
                else:
                    reason = EMPTY if result.finished else CUT
                    rejects.append(shards.Reject(row.id, reason, field, text))
            written = {field: self._provenance(field) for field, text in texts.items() if text}
            provenance = {**kept, **written}
            annotated.append(dataclasses.replace(row, **texts, provenance=provenance))
        return annotated, rejects

    def _provenance(self, field: str) -> Mapping[str, Any]:
        annotation = self.annotation
        return {
            "annotator": "teacher",
            "checkpoint": self.params_digest,
            "prompt": annotation.prompt_id(field),
            "condition_on_answer": annotation.condition_on_answer,
            "seed": annotation.seed,
            "sampling": {
                "policy": type(annotation.policy).__name__,
                **dataclasses.asdict(annotation.policy),
            },
            "version": teacherlm_jax.__version__,
        }
