"""Two hosts evaluate a checkpoint, and a model while it trains, as one would."""

import io
import json
import textwrap

import pytest

from launch import local_launch
from teacherlm_jax.checkpoints import restore
from teacherlm_jax.data import ledger
from teacherlm_jax.evaluation import evaluate
from teacherlm_jax.evaluation.training_evaluation import ACCURACY
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.scoring import receipt_files
from tests import tiny_study
from tests.evaluation import test_training_evaluation
from tests.tiny_study import MODEL, random_params

_WORK = """
    import dataclasses, sys

    from teacherlm_jax.partitioning import hosts

    assert hosts.initialize_from_environment()

    import jax

    from teacherlm_jax.evaluation import evaluate
    from teacherlm_jax.partitioning.mesh import MeshConfig
    from teacherlm_jax.training import stages
    from tests import test_evaluation_several_hosts as several
    from tests import tiny_study
    from tests.evaluation import test_training_evaluation

    folder, checkpoint = sys.argv[1:]
    tiny_study.TinyStudy(8)
    if jax.process_index() == 1:
        def refuse(*arguments, **options):
            raise AssertionError("the second host wrote a file")

        from teacherlm_jax.data import ledger

        ledger._write_bytes = refuse
    result = evaluate.evaluate_checkpoint(several.settings(checkpoint, f"{folder}/out"))
    print("accuracy", result["models"][0]["metrics"])
    stage = dataclasses.replace(test_training_evaluation.STAGE, train_steps=2)
    stages.train(
        test_training_evaluation.curriculum(f"{folder}/model", stage, mesh=MeshConfig(data=8))
    )
    others = {
        "split": "test" if jax.process_index() == 0 else "validation",
        "mixture_or_task_name": "tiny8_two_eval",
    }
    try:
        evaluate.evaluate_checkpoint(several.settings(checkpoint, f"{folder}/other", **others))
    except ValueError as error:
        print("error:", str(error).replace(chr(10), " "))
"""


def settings(checkpoint, folder, **changes):
    values = {
        "mixture_or_task_name": "tiny8_eval",
        "max_length": 40,
        "batch_size": 8,
        "unconditional_prompt": None,
        **changes,
    }
    return evaluate.CheckpointEvaluation(str(checkpoint), output_dir=str(folder), **values)


def kept(folder):
    """Log-likelihoods by tokens and checkpoint."""
    paths = (folder / "scores").rglob("*.jsonl")
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return {line["key"]: line["log_likelihood"] for line in lines}


def said(result, start):
    lines = [line for text in result.outputs for line in text.splitlines()]
    return [line for line in lines if line.startswith(start)]


@pytest.mark.slow
def test_two_hosts_evaluate_as_one(tmp_path):
    tiny_study.TinyStudy(8)
    checkpoint = tiny_study.save_checkpoint(tmp_path / "saved", random_params())
    written = io.StringIO()
    result = local_launch.launch(
        ["python", "-c", textwrap.dedent(_WORK), str(tmp_path), checkpoint],
        devices_per_process=4,
        timeout_seconds=240,
        output=written,
    )
    assert result.exit_codes == [0, 0], written.getvalue()
    accuracies = said(result, "accuracy")
    assert len(accuracies) == 2 and accuracies[0] == accuracies[1]
    errors = said(result, "error:")
    assert len(errors) == 2 and not (tmp_path / "other").exists()
    for error in errors:
        assert "the hosts of this run are not alike" in error
        assert "questions of tiny8_two_eval" in error

    evaluation = json.loads(ledger.read_text(tmp_path / "out" / "evaluation.json"))
    receipts = receipt_files.read(tmp_path / "out" / "receipts.jsonl")
    [model] = evaluation["models"]
    # Every question, once.
    assert len({(one.task, one.question_id) for one in receipts}) == len(receipts)
    assert len(receipts) == sum(values["questions"] for values in model["metrics"].values())
    assert (tmp_path / "out" / "report.html").exists()
    for devices in (1, 8):
        own = tmp_path / str(devices)
        mesh = MeshConfig(device_count=devices)
        alone = evaluate.evaluate_checkpoint(settings(checkpoint, own, mesh=mesh, report=False))
        assert alone["models"] == evaluation["models"]
        scores, others = kept(own), kept(tmp_path / "out")
        assert scores.keys() == others.keys()
        for key, value in scores.items():
            assert value == pytest.approx(others[key], abs=2e-5)

    [row] = test_training_evaluation.rows(tmp_path / "model")
    mesh = make_mesh(MeshConfig(device_count=1))
    trained = restore.load(tmp_path / "model" / "first" / "checkpoints", MODEL, mesh)
    mean, of_tasks = test_training_evaluation.accuracies(trained.params)
    assert (row["step"], row[ACCURACY]) == (2, mean)
    assert row["validation_component_rank_accuracy"] == of_tasks
