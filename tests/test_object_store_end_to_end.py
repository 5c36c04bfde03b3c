"""train, annotate, students and evaluate on gs://, by the commands that the gin files tell.

The commands of the headers of `gin/runs/` run as they are written there, but for /tmp, which is a
bucket here, and for flags that make them small.
"""

import json
import re
import shlex

import pytest

from teacherlm_jax.main import gin_search
from tests.object_store import run_on_object_store

pytestmark = pytest.mark.slow

# Few steps of a small model: enough that the teacher ends its sentences.
SMALL = [
    "--gin.config.DecoderConfig.num_layers=1",
    "--gin.config.DecoderConfig.emb_dim=32",
    "--gin.config.DecoderConfig.mlp_dim=64",
]
FLAGS = {
    "train": ["--gin.BASE_STEPS=60", "--gin.CORPUS_STEPS=51", "--gin.TEACHER_STEPS=150"],
    "annotate": [],
    "students": ["--gin.STUDENT_STEPS=60", "--gin.experiment.Students.arms=('fundamentals',)"],
    "evaluate": [],
}

CODE = """
import json, sys
from teacherlm_jax.main import command_line

for command in json.loads(sys.argv[1]):
    assert command[0] == "teacherlm"
    print(">>>", *command[1:2], flush=True)
    status = command_line.main(command[1:])
    assert status == 0, status
"""


def command_of(name):
    """The command of a run file's header, with its folders in the bucket."""
    text = gin_search.header(gin_search.find_gin_file(f"runs/world_{name}.gin"))
    [command] = re.findall(r"^ +(teacherlm (?:.*\\\n)*.*)$", text, re.MULTILINE)
    return [
        word.replace("/tmp/", "gs://bucket/") for word in shlex.split(command.replace("\\\n", " "))
    ]


def run(store, names):
    commands = [[*command_of(name), *SMALL, *FLAGS[name]] for name in names]
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    return run_on_object_store(store, ["-c", CODE, json.dumps(commands)], env=two).stdout


@pytest.fixture(scope="module")
def output(shared_object_store):
    return run(shared_object_store, FLAGS)


@pytest.fixture(scope="module")
def shared_object_store():
    from tests.object_store import FakeObjectStore

    with FakeObjectStore() as store:
        yield store


def ours(name):
    """Whether this package wrote an object, and not Orbax or TensorBoard's writer."""
    return "/checkpoints/" not in name and ".tfevents." not in name


def test_the_headers_commands_run_one_after_another(output):
    assert re.findall("^>>> (.*)$", output, re.MULTILINE) == list(FLAGS)
    assert "step 60: mean accuracy" not in output  # students are several
    for replica in (0, 1):
        assert f"step 60 replica {replica}: mean accuracy" in output


def test_nothing_is_tried_that_an_object_store_lacks(shared_object_store, output):
    assert shared_object_store.refused == []
    assert shared_object_store.unknown == []


def test_our_files_are_written_once_and_marked(shared_object_store, output):
    assert [name for name in shared_object_store.overwritten if ours(name)] == []
    names = [name for name in shared_object_store.names() if ours(name)]
    reports = {"results.json", "report.md", "report.html", "arms.png", "learning_curves.png"}
    for name in names:
        last = name.rpartition("/")[2]
        marked = name.endswith(".complete") or f"{name}.complete" in names
        assert marked or name.startswith("students/") and last in reports, name


def test_what_the_commands_hand_on_is_there(shared_object_store, output):
    names = set(shared_object_store.names())
    for stage in ("base", "corpus", "teacher"):
        assert f"world_teacher/{stage}/done.json.complete" in names
    assert "annotations/manifest.json.complete" in names
    assert "students/fundamentals/evaluation.json.complete" in names
    evaluation = json.loads(shared_object_store.read("evaluation/evaluation.json"))
    assert evaluation["checkpoint"] == "gs://bucket/students/fundamentals/checkpoints/60"
    results = json.loads(shared_object_store.read("students/results.json"))
    assert results["arms"]["fundamentals"]["accuracy_per_seed"] == [
        model["accuracy"] for model in evaluation["models"]
    ]


def test_the_same_commands_again_change_nothing_but_the_report(shared_object_store, output):
    before = dict(shared_object_store.buckets["bucket"])
    assert run(shared_object_store, ("train", "annotate", "students"))
    after = shared_object_store.buckets["bucket"]
    assert after.keys() == before.keys()
    assert [name for name in after if after[name].content != before[name].content] == []
