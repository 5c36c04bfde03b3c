"""The mixtures of a teacher's stages: their rates, a training by the run's gin file."""

import collections

import gin
import pytest
import seqio

from teacherlm_jax.data import data_setup, default_vocabulary, split_slices
from teacherlm_jax.evaluation import evaluate
from teacherlm_jax.main import config, gin_setup
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.tasks import mixtures
from teacherlm_jax.tasks.evaluation import registry as evaluation_registry
from teacherlm_jax.teacher import annotate
from teacherlm_jax.training import optimizer, stages
from teacherlm_jax.training.stage import Stage
from tests import source
from tests.data import tiny_records, tiny_tokenizers

GROUPS = ("p3_", "muffin_", "teacherdata_")


def rates(name):
    mixture = seqio.MixtureRegistry.get(name)
    return {task.name: mixture.get_rate(task) for task in mixture.tasks}


def share(found, prefix):
    return sum(rate for name, rate in found.items() if name.startswith(prefix)) / sum(
        found.values()
    )


def test_multitask_training_takes_each_collection_by_its_examples():
    found = rates("teacher_multitask")
    p3 = seqio.MixtureRegistry.get("p3_sense_3k").total_rate
    muffin = seqio.MixtureRegistry.get("muffin_3w").total_rate
    total = p3 + muffin + 2_000_000
    assert [share(found, prefix) for prefix in GROUPS] == pytest.approx(
        [p3 / total, muffin / total, 2_000_000 / total]
    )
    assert sum(share(found, prefix) for prefix in GROUPS) == pytest.approx(1)
    # Within a collection its own rates hold.
    own = rates("muffin_3w")
    assert found["muffin_rte"] / found["muffin_mnli_matched"] == pytest.approx(
        own["muffin_rte"] / own["muffin_mnli_matched"]
    )
    assert len({found[f"teacherdata_{form}"] for form in ("plain", "cot", "mistakes")}) == 1


def test_parts_and_rates_of_the_mixture_are_the_callers_choice():
    name = mixtures.teacher_multitask(500_000, p3="p3_sense_3k_by_prompt")
    assert name == "teacher_multitask_p3_sense_3k_by_prompt_500000"
    assert mixtures.teacher_multitask(500_000, p3="p3_sense_3k_by_prompt") == name
    assert share(rates(name), "teacherdata_") < share(rates("teacher_multitask"), "teacherdata_")
    with pytest.raises(ValueError, match="no mixture 'p3' is registered"):
        mixtures.teacher_multitask(p3="p3")
    with pytest.raises(ValueError, match="teacherdata_examples = 0"):
        mixtures.teacher_multitask(0)
    with pytest.raises(ValueError, match="form = 'plain', but it must be one of five_fields"):
        mixtures.teacher_stage("plain")
    with pytest.raises(ValueError, match="no task 'mine_cot' is registered"):
        mixtures.teacher_stage("cot", "mine")


def test_every_public_part_of_multitask_training_has_a_validation_split():
    parts = seqio.MixtureRegistry.get("teacher_multitask").tasks
    assert not [
        task.name
        for task in parts
        if not task.name.startswith("teacherdata_") and "validation" not in task.splits
    ]


def test_later_stages_have_one_form_each():
    assert {name: list(rates(name)) for name in mixtures.NAMES[1:]} == {
        f"teacher_{form}": [f"teacherdata_{form}"]
        for form in ("five_fields", "fundamentals", "cot", "mistakes")
    }


def test_nothing_registers_the_tfds_builder_but_reading_it():
    builder = "teacherlm_jax.data.teacher_data_builder"
    importers = [
        item.lazy
        for path in source.python_files("teacherlm_jax", "tasks")
        for item in source.imports_of(path)
        if item.name.startswith(builder)
    ]
    assert importers == [True]


def places(task, split):
    """Ranges of the rows of a task's split, by the source that they are from."""
    source = seqio.TaskRegistry.get(task).source
    origin = (source.tfds or source.name).partition(":")[0]
    unknown = dict.fromkeys(split_slices.splits_of(source.slices[split]), 10**9)
    ranges = split_slices.ranges(source.slices[split], {**unknown, **source.counts})
    return [(origin, *each) for each in ranges]


def test_what_one_task_is_validated_or_evaluated_on_no_other_is_trained_on():
    tasks = {
        name: seqio.TaskRegistry.get(name).source.splits
        for name in seqio.TaskRegistry.names()
        if name.startswith(("p3_", "muffin_", "questions_"))
    }
    trained = collections.defaultdict(list)
    for name, splits in tasks.items():
        for origin, split, first, last in places(name, "train") if "train" in splits else ():
            trained[origin, split].append((first, last, name))
    held_out = [
        (name, each)
        for names, split in (
            ([name for name, splits in tasks.items() if "validation" in splits], "validation"),
            (evaluation_registry.TASKS, evaluation_registry.REPORTED),
        )
        for name in names
        for each in places(name, split)
    ]
    assert len(held_out) > 400
    for name, (origin, split, first, last) in held_out:
        for begin, end, trainer in trained[origin, split]:
            assert min(last, end) <= max(first, begin), (name, trainer, origin, split)


# The run's gin file


def test_the_teachers_run_needs_a_folder_a_start_and_a_tokenizer(capsys):
    assert config.main(["check", "runs/teacher.gin"]) == 0
    needed = "--gin.MODEL_DIR=... --gin.INITIAL_CHECKPOINT_PATH=... --gin.TOKENIZER=..."
    assert needed in capsys.readouterr().out


def test_a_teacher_trains_on_teacherdata_by_the_runs_gin_file(tmp_path, monkeypatch):
    monkeypatch.setenv(data_setup.DATA_DIR_VARIABLE, "elsewhere")
    default_vocabulary.forget()
    tokenizer = tiny_tokenizers.bloom(tmp_path / "tokenizer")
    tiny_records.write_jsonl(tmp_path / "data/teacherdata/train.jsonl", tiny_records.make(12))
    dimensions = {"vocab_size": 512, "num_layers": 1, "emb_dim": 16, "num_heads": 2}
    dimensions |= {"head_dim": 8, "mlp_dim": 16}
    bindings = [
        f"MODEL_DIR={tmp_path / 'model'}",
        "INITIAL_CHECKPOINT_PATH=None",
        f"TOKENIZER={tokenizer}",
        f"DATA_DIR={tmp_path / 'data'}",
        "TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 192}",
        "BATCH_SIZE=2",
        "FIVE_FIELDS_STEPS=2",
        "five_fields/schedules.warmup_cosine.warmup_steps=0",
        "stages.Curriculum.stages=[@five_fields/stage.Stage()]",
        "mesh.MeshConfig.device_count=1",
        "config.DecoderConfig.dtype=float32",
        *(f"config.DecoderConfig.{name}={value}" for name, value in dimensions.items()),
    ]
    try:
        gin_setup.parse(["runs/teacher.gin"], bindings)
        ledger = gin_setup.bound(stages.train)()
    finally:
        gin.clear_config()
        default_vocabulary.forget()
    assert ledger["five_fields"]["step"] == 2
    assert ledger["five_fields"]["tokens"] > 0


class _AppliedError(Exception):
    pass


class _Setup:
    def apply(self):
        raise _AppliedError


def test_commands_set_up_their_data_before_anything_else(tmp_path):
    model = DecoderConfig(
        vocab_size=512, num_layers=1, emb_dim=16, num_heads=2, head_dim=8, mlp_dim=16
    )
    stage = Stage("one", "no_such_mixture", {"targets": 8}, 1, 1, optimizer.AdamW(0.1))
    there, none = str(tmp_path), "no_such_task"
    calls = [
        (stages.train, stages.Curriculum([stage], there, model, data=_Setup())),
        (annotate.annotate, annotate.Annotation(none, there, there, model, data=_Setup())),
        (
            evaluate.evaluate_checkpoint,
            evaluate.CheckpointEvaluation(there, none, there, model, data=_Setup()),
        ),
    ]
    for function, settings in calls:
        with pytest.raises(_AppliedError):
            function(settings)
        assert not list(tmp_path.iterdir())
