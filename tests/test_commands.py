"""The commands: what they say of themselves, and what they say to mistakes."""

import dataclasses
import pathlib
import shutil

import gin
import jax
import pytest
from jax import monitoring

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.data import claim, records
from teacherlm_jax.main import command_line
from teacherlm_jax.models import parameters
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.tasks.world import audit
from teacherlm_jax.tasks.world.world import get_world

# As gin/models/world_tiny.gin and rmsnorm_untied.gin have it, but narrow.
NARROW = ["emb_dim=16", "num_heads=2", "head_dim=8", "mlp_dim=16", "num_layers=1"]
MODEL_FLAGS = [f"--gin.config.DecoderConfig.{setting}" for setting in NARROW]
MODEL = DecoderConfig(
    vocab_size=200,
    num_layers=1,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    mlp_dim=16,
    mlp_activation="relu",
    norm="rmsnorm",
    embedding_norm=False,
    use_bias=False,
    logits_via_embedding=False,
    scan_layers=False,
)

compilations: list[str] = []
monitoring.register_event_duration_secs_listener(
    lambda name, _, **others: compilations.append(name) if "backend_compile" in name else None
)


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with a checkpoint and with annotations."""
    folder = tmp_path_factory.mktemp("given")
    params = jax.jit(lambda: parameters.init_params(Decoder(MODEL), jax.random.key(0)))()
    with manager.Checkpoints(folder / "checkpoints", manager.SavePolicy()) as checkpoints:
        metadata = {"model": dataclasses.asdict(MODEL)}
        checkpoints.save(3, params, {"step": jax.numpy.int32(3)}, metadata)
    world = get_world(0)
    rows = [audit.gold_record(world, record) for record in world.records("student")]
    (folder / "annotations.jsonl").write_bytes(records.encode_jsonl(rows))
    (folder / "file").write_text("a file, no folder")
    return folder


def flags(name, given, output):
    """What a command needs to run, on what the fixture has."""
    checkpoint = f"--gin.CHECKPOINT_DIR={given}/checkpoints"
    return {
        "quickstart": [f"--gin.OUTPUT_DIR={output}"],
        "train": [f"--gin.MODEL_DIR={output}"],
        "annotate": [f"--gin.OUTPUT_DIR={output}", checkpoint],
        "evaluate": [f"--gin.OUTPUT_DIR={output}", checkpoint],
        "students": [
            f"--gin.OUTPUT_DIR={output}",
            f"--gin.ANNOTATIONS={given}/annotations.jsonl",
            f"--gin.START_CHECKPOINT_DIR={given}/checkpoints",
            "--gin.experiment.Students.arms=('plain',)",
        ],
    }[name] + MODEL_FLAGS


def refused(capfd, name, arguments):
    """Runs a command that must fail with a message and nothing else; returns it."""
    capfd.readouterr()
    try:
        status = command_line.main([name, *arguments])
    except SystemExit as stop:
        status = stop.code
    out, err = capfd.readouterr()
    assert status == 2, err
    assert out == ""
    first, *others = err.splitlines()
    assert first.startswith("error: ") and not any(" INFO " in line for line in others), err
    assert "Traceback" not in err and "In call to configurable" not in err
    return err


PLAIN = ("config", "convert", "data", "models", "scores")  # They take no gin files.
COMMANDS = [name for name in command_line.COMMANDS if name not in PLAIN]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_a_command_does_and_what_its_file_wants(name, capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main([name, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: teacherlm {name}")
    for text in ("--gin_file", "--gin.NAME=VALUE", "Required:", "Commonly overridden:"):
        assert text in out


@pytest.mark.parametrize("name", COMMANDS)
def test_a_misspelt_macro_names_the_nearest(name, given, tmp_path, capfd):
    macro = "MODEL_DIR" if name == "train" else "OUTPUT_DIR"
    wrong = [*flags(name, given, tmp_path / "out"), f"--gin.{macro.replace('DIR', 'DRI')}=x"]
    del compilations[:]
    assert f"Did you mean {macro}" in refused(capfd, name, wrong)
    assert not compilations and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "parameter", "meant"),
    [
        ("quickstart", "study.Study.world", "worlds"),
        ("train", "stages.Curriculum.bosid", "bos_id"),
        ("annotate", "annotate.Annotation.seeds", "seed"),
        ("evaluate", "evaluate.CheckpointEvaluation.batchsize", "batch_size"),
        ("students", "experiment.Students.seed", "seeds"),
    ],
)
def test_a_misspelt_parameter_names_the_nearest(name, parameter, meant, given, tmp_path, capfd):
    wrong = [*flags(name, given, tmp_path / "out"), f"--gin.{parameter}=1"]
    del compilations[:]
    assert f"Did you mean {meant}?" in refused(capfd, name, wrong)
    assert not compilations and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_misspelt_file_names_the_nearest(name, capfd):
    file = "runs/quickstart.gin" if name == "quickstart" else f"runs/world_{name}.gin"
    message = refused(capfd, name, [f"--gin_file={file.replace('.gin', 's.gn')}"])
    assert f"Did you mean {file}?" in message


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "quickstart"])
def test_what_is_required_is_asked_for(name, capfd):
    message = refused(capfd, name, [])
    macro = "MODEL_DIR" if name == "train" else "OUTPUT_DIR"
    assert f"--gin.{macro}=..." in message


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_cannot_be_written_to_is_refused_at_once(name, given, capfd):
    wrong = flags(name, given, given / "file" / "out")
    assert "cannot write into the output folder" in refused(capfd, name, wrong)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_of_another_configuration_is_refused_and_kept(name, given, tmp_path, capfd):
    inside = {"quickstart": "world0/teacher", "students": "plain"}.get(name, "")
    claim.claim_folder(tmp_path / "out" / inside, {"seed": "another's"})
    before = content(tmp_path)
    message = refused(capfd, name, flags(name, given, tmp_path / "out"))
    assert "belongs to another configuration" in message and "another's" in message
    assert content(tmp_path) == before


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["annotate", "evaluate", "students"])
def test_a_corrupt_checkpoint_is_named(name, given, tmp_path, capfd):
    spoilt = tmp_path / "given"
    shutil.copytree(given, spoilt)
    largest = max((spoilt / "checkpoints").rglob("*"), key=lambda p: p.stat().st_size)
    largest.write_bytes(bytes(len(largest.read_bytes())))
    message = refused(capfd, name, flags(name, spoilt, tmp_path / "out"))
    assert f"checkpoint {spoilt}/checkpoints/3 cannot be read" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["annotate", "evaluate", "students"])
def test_a_missing_checkpoint_and_one_of_another_model_are_named(name, given, tmp_path, capfd):
    right = flags(name, given, tmp_path / "out")
    missing = [flag.replace("/checkpoints", "/checkpoint") for flag in right]
    message = refused(capfd, name, missing)
    assert f"no checkpoint directory {given}/checkpoint:" in message
    other = [*right, "--gin.config.DecoderConfig.mlp_dim=32"]
    assert "another model: mlp_dim 16 (asked: 32)" in refused(capfd, name, other)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "flag", "message"),
    [
        ("train", "base/stage.Stage.task_feature_lengths={'inputs': 8, 'targets': 8}", "raise"),
        ("annotate", "annotate.Annotation.max_length=60", "max_length = 60"),
        ("evaluate", "evaluate.CheckpointEvaluation.max_length=16", "max_length = 16"),
    ],
)
def test_a_text_that_is_too_long_is_named(name, flag, message, given, tmp_path, capfd):
    wrong = [*flags(name, given, tmp_path / "out"), f"--gin.{flag}"]
    assert message in refused(capfd, name, wrong)


@pytest.mark.parametrize(
    ("name", "flag", "message"),
    [
        ("quickstart", "WORLDS=1", "worlds = 1, but"),
        ("quickstart", "WORLDS=(-1,)", "worlds = (-1,)"),
        ("quickstart", "STUDENT_SEEDS=3", "seeds = 3, but"),
        ("quickstart", "experiment.Students.arms=('plain', 'fundamental')", "'fundamentals'"),
        ("quickstart", "STUDENT_STEPS=20", "warmup_steps = 50"),
        ("quickstart", "experiment.Students.batch_size=0", "students: batch_size = 0"),
        ("quickstart", "annotate.Annotation.rows_per_shard=0", "rows_per_shard = 0"),
        ("train", "WORLD=-1", "must be an integer, 0 or more"),
        ("train", "stage_run.Watch.log_period=0", "log_period = 0"),
        ("train", "bse/stage.Stage.train_steps=5", "scope bse/"),
        ("train", "stages.Curriculum.bos_id=999", "bos_id = 999"),
        ("train", "manager.SavePolicy.period='a'", "must be a whole number"),
        ("annotate", "annotate.Annotation.bos_id=999", "bos_id = 999"),
        ("annotate", "annotate.Annotation.condition_on_answer='no'", "must be True or False"),
        ("annotate", "annotate.Annotation.input_file=''", "empty text"),
        ("evaluate", "evaluate.CheckpointEvaluation.batch_size='a'", "must be a whole number"),
        ("students", "experiment.Students.score_max_length=10", "score_max_length = 10"),
        ("train", "BATCH_SIZE=0", "batch_size = 0"),
        ("annotate", "TASK_NAME=world0_question", "'world0_questions'"),
        ("annotate", "annotate.Annotation.fields=('fundamental',)", "'fundamentals'"),
        ("evaluate", "SPLIT=tests", "no split 'tests'"),
        ("evaluate", "MIXTURE_OR_TASK_NAME=world0_plain_tf", "no split 'test'"),
        ("students", "WORLD=1", "world 1 has no question"),
        ("students", "ANNOTATIONS=/none", "no such file or folder: '/none'"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(name, flag, message, given, tmp_path, capfd):
    wrong = [*flags(name, given, tmp_path / "out"), f"--gin.{flag}"]
    del compilations[:]
    assert message in refused(capfd, name, wrong)
    assert not compilations
    assert not pathlib.Path(tmp_path / "out").exists()
