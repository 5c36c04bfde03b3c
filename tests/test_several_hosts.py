"""Two hosts train, stop, go on, save and annotate as one would."""

import io
import json
import textwrap

import numpy as np

from launch import local_launch
from teacherlm_jax.data import records
from teacherlm_jax.partitioning.mesh import MeshConfig
from teacherlm_jax.teacher import annotate
from teacherlm_jax.training import stages
from tests.teacher import test_annotate
from tests.training import test_stages

_WORK = """
    import os, signal, sys

    from teacherlm_jax.partitioning import hosts

    assert hosts.initialize_from_environment()

    import jax

    from teacherlm_jax.partitioning.mesh import MeshConfig
    from teacherlm_jax.teacher import annotate
    from teacherlm_jax.training import loop, stages
    from tests.teacher import test_annotate
    from tests.training import test_stages

    folder, teacher = sys.argv[1:]
    train = loop.Loop.run

    def run(self, state, batches, first, last, rng):
        def stopping(step, rows):
            if first == 0 and step == 3 and jax.process_index() == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return batches(step, rows)

        return train(self, state, stopping, first, last, rng)

    loop.Loop.run = run
    curriculum = test_stages.curriculum(f"{folder}/model", mesh=MeshConfig(data=2))
    try:
        stages.train(curriculum)
    except KeyboardInterrupt as stop:
        print(stop)
    print(stages.train(curriculum)["first"]["step"])
    mesh = MeshConfig(data=2)
    annotate.annotate(test_annotate.settings(teacher, f"{folder}/annotations", mesh=mesh))
"""


def test_two_hosts_train_stop_go_on_and_annotate_as_one(tmp_path):
    teacher = test_annotate.make_teacher(tmp_path / "teacher")
    output = io.StringIO()
    result = local_launch.launch(
        ["python", "-c", textwrap.dedent(_WORK), str(tmp_path), str(teacher)],
        output=output,
        timeout_seconds=240,
    )
    assert result.exit_codes == [0, 0], output.getvalue()
    first, second = (
        [line for line in text.splitlines() if line.startswith(("stopped", "6"))]
        for text in result.outputs
    )
    assert first == second
    assert first[0].startswith("stopped after step") and first[1] == "6"

    mesh = MeshConfig(data=2, device_count=2)
    one = tmp_path / "one"
    stages.train(test_stages.curriculum(one / "model", mesh=mesh))
    losses = [
        [
            json.loads(line)["loss"]
            for line in (folder / "model" / "first" / "metrics.jsonl").read_text().splitlines()
        ]
        for folder in (tmp_path, one)
    ]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)
    annotate.annotate(test_annotate.settings(teacher, one / "annotations"))
    texts = [list(records.read_jsonl(folder / "annotations")) for folder in (tmp_path, one)]
    assert texts[0] == texts[1]
