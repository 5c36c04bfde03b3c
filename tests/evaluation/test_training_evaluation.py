"""Rank classification while a stage trains: rows, restarts, stops, and bad input."""

import dataclasses
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.checkpoints import manager, restore
from teacherlm_jax.evaluation import evaluator as evaluator_lib
from teacherlm_jax.evaluation.training_evaluation import ACCURACY, TrainingEvaluation
from teacherlm_jax.generation.batching import CompilationCount
from teacherlm_jax.models import parameters
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import shardings
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.partitioning.rules import logical_axis_rules
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.scores import ScoringPolicy
from teacherlm_jax.training import optimizer as optimizer_lib
from teacherlm_jax.training import stage_run, stages
from teacherlm_jax.training.stage import Stage
from teacherlm_jax.training.validation import TrainedModel
from tests import tiny_study
from tests.tiny_study import MODEL, random_params

ONE = MeshConfig(device_count=1)
TASKS = ("tiny8_three_eval", "tiny8_two_eval")
EVALUATION = TrainingEvaluation("tiny{n}_eval", max_length=40, batch_size=8)
STAGE = Stage(
    name="first",
    mixture_or_task_name="tiny8_base",
    task_feature_lengths={"inputs": 24, "targets": 16},
    train_steps=6,
    batch_size=8,
    optimizer=optimizer_lib.AdamW(3e-2),
    eval_period=2,
    eval_split=None,
    evaluation=EVALUATION,
)
BEST = manager.SavePolicy(
    period=2, keep=None, keep_best=1, best_metric=f"{ACCURACY}/{TASKS[1]}", best_mode="max"
)


@pytest.fixture(scope="module", autouse=True)
def study():
    return tiny_study.TinyStudy(8)


def curriculum(folder, *own_stages, **changes):
    values = {
        "mesh": ONE,
        "watch": stage_run.Watch(2),
        "save_policy": BEST,
        "name_values": {"n": 8},
        **changes,
    }
    return stages.Curriculum(own_stages or (STAGE,), str(folder), MODEL, **values)


def rows(folder):
    text = (folder / "first" / "validation.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def trained_model(mesh=ONE, **changes):
    values = {"bos_id": 0, "name_values": {"n": 8}, **changes}
    return TrainedModel(MODEL, make_mesh(mesh), **values)


def accuracies(params, **changes):
    """(mean, of each task) by an evaluator of the same questions."""
    policy = ScoringPolicy(max_length=40, bos_id=0, **changes)
    scorer = Scorer(Decoder(MODEL), policy, batch_size=8, mesh=make_mesh(ONE))
    evaluator = evaluator_lib.RankEvaluator("tiny8_eval", "validation", scorer)
    metrics = evaluator.evaluate(params)
    return evaluator_lib.mean_accuracy(metrics), {t: metrics[t]["accuracy"] for t in TASKS}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return tiny_study.save_checkpoint(tmp_path_factory.mktemp("start"), random_params())


@pytest.fixture(scope="module")
def trained(study, start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, stages.train(curriculum(folder, initial_checkpoint_path=start))["first"]


def test_rows_are_the_accuracies_of_the_checkpoints(trained):
    folder, _ = trained
    found = rows(folder)
    assert [row["step"] for row in found] == [2, 4, 6]
    for row in found:
        step = folder / "first" / "checkpoints" / str(row["step"])
        mean, of_tasks = accuracies(restore.load(step, MODEL, make_mesh(ONE)).params)
        assert row == {
            "step": row["step"],
            "validation_rank_accuracy": mean,
            "validation_component_rank_accuracy": of_tasks,
        }
    assert len({row[ACCURACY] for row in found}) > 1


def test_the_best_is_kept_by_it_and_tensorboard_shows_it(trained):
    folder, entry = trained
    of_step = {
        row["step"]: row["validation_component_rank_accuracy"][TASKS[1]] for row in rows(folder)
    }
    best = max(of_step, key=lambda step: (of_step[step], step))
    assert entry["best_checkpoint"] == str(folder / "first" / "checkpoints" / str(best))
    content = b"".join(path.read_bytes() for path in (folder / "first").glob("events.*"))
    for name in (ACCURACY, *(f"{ACCURACY}/{task}" for task in TASKS)):
        assert name.encode() in content


def test_it_stands_beside_the_loss_and_changes_no_parameter(trained, start, tmp_path):
    with_loss = dataclasses.replace(STAGE, eval_split="train", eval_period=3)
    settings = curriculum(tmp_path, with_loss, initial_checkpoint_path=start)
    entry = stages.train(settings)["first"]
    assert entry["params_digest"] == trained[1]["params_digest"]
    third, last = rows(tmp_path)
    assert third["step"] == 3 and third["validation_loss"] > 0
    assert {**last, "validation_loss": 0}.keys() == third.keys() | {"validation_loss"}
    assert last[ACCURACY] == rows(trained[0])[-1][ACCURACY]


def test_a_stop_ends_an_evaluation_which_is_made_up_for(trained, start, tmp_path, monkeypatch):
    run, of_call = Scorer.run, []

    def killing(self, *arguments, **options):
        of_call.append(0)
        for found in run(self, *arguments, **options):
            of_call[-1] += 1
            if len(of_call) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield found

    small = dataclasses.replace(STAGE, evaluation=dataclasses.replace(EVALUATION, batch_size=4))
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "run", killing)
        with pytest.raises(KeyboardInterrupt, match="stopped after step 4, which is saved"):
            stages.train(curriculum(tmp_path, small, initial_checkpoint_path=start))
    whole, begun = of_call
    assert begun == 1 < whole
    assert [row["step"] for row in rows(tmp_path)] == [2]
    # An evaluation may change on a restart; its results do not depend on the batch size.
    stages.train(curriculum(tmp_path, initial_checkpoint_path=start))
    assert rows(tmp_path) == rows(trained[0])


def test_likelihoods_that_are_not_finite_cost_no_run():
    prepared = EVALUATION.prepare(trained_model())
    broken = jax.tree.map(lambda leaf: jnp.full_like(leaf, np.nan), random_params())
    assert prepared(broken, lambda: False) == {ACCURACY: None}
    assert prepared(random_params(), lambda: False)[ACCURACY] is not None
    assert prepared(random_params(), lambda: True) is None


def test_ranks_may_be_by_what_a_prompt_adds():
    evaluation = dataclasses.replace(EVALUATION, normalisation="unconditional")
    prepared = evaluation.prepare(trained_model())
    params = random_params(1)
    mean, _ = accuracies(params, normalisation="unconditional", unconditional_prompt=())
    assert prepared(params, lambda: False)[ACCURACY] == mean != accuracies(params)[0]
    assert prepared(params, lambda: True) is None


def test_eight_devices_measure_the_same():
    """With sequence sharding, which rows of any length could not be cut by."""
    rules = logical_axis_rules(sequence_sharding=True)
    model = trained_model(MeshConfig(data=2, fsdp=2, tensor=2), rules=rules)
    boxed = parameters.boxed_params(Decoder(MODEL))
    placed = shardings.tree_shardings(boxed, model.mesh, rules)
    found = EVALUATION.prepare(model)(jax.device_put(random_params(), placed), lambda: False)
    assert found == EVALUATION.prepare(trained_model())(random_params(), lambda: False)


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"mixture_or_task_name": "tiny8_evl"}, {}, "no task or mixture 'tiny8_evl'"),
        ({"split": "dev"}, {}, r"has no split 'dev'; it has \["),
        ({"mixture_or_task_name": "tiny8_base"}, {}, "has no split 'validation'"),
        ({"mixture_or_task_name": "tiny8_base", "split": "train"}, {}, "no metrics of scores"),
        ({"max_length": 12}, {}, "tiny8_.*_eval/validation:.*max_length = 12"),
        ({"truncation": "right"}, {}, "truncation = 'right'"),
        ({"batch_size": 6}, {"mesh": MeshConfig(data=4, device_count=4)}, "batch size 6 .*4 and 8"),
        ({}, {"name_values": {}}, r"'tiny\{n\}_eval' has braces"),
        ({}, {"save_policy": dataclasses.replace(BEST, best_metric="validation_loss")}, ACCURACY),
    ],
)
def test_mistakes_are_found_before_the_first_compile(changes, settings, message, tmp_path):
    wrong = dataclasses.replace(STAGE, evaluation=dataclasses.replace(EVALUATION, **changes))
    count = CompilationCount()
    with pytest.raises(ValueError, match=message), count.watch():
        stages.train(curriculum(tmp_path / "run", wrong, **settings))
    assert count.total == 0 and not (tmp_path / "run").exists()


def test_a_model_with_too_few_words_is_refused():
    small = dataclasses.replace(trained_model(), config=dataclasses.replace(MODEL, vocab_size=8))
    with pytest.raises(ValueError, match=r"TrainingEvaluation: .* vocabulary of .* vocab_size 8"):
        EVALUATION.prepare(small)


def test_a_split_without_held_out_data_is_refused_with_what_to_do(tmp_path):
    wrong = dataclasses.replace(STAGE, eval_split="validation")
    message = r"eval_split = 'validation', but task tiny8_base_.*None for no loss"
    with pytest.raises(ValueError, match=message):
        stages.train(curriculum(tmp_path, wrong))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation": TrainingEvaluation}, "bind an evaluation with brackets"),
        ({"evaluation": "tiny8_eval"}, "bind an evaluation with brackets"),
        ({"eval_period": None}, "eval_period is None, so it would never run"),
        ({"evaluation": None}, "eval_split and evaluation are None"),
    ],
)
def test_stages_that_measure_nothing_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(STAGE, **changes)


def test_an_evaluation_is_no_part_of_what_a_folder_belongs_to():
    other = dataclasses.replace(STAGE, evaluation=None, eval_period=None)
    assert STAGE.configuration() == other.configuration()


def test_names_and_digest_are_those_of_the_questions():
    prepared = EVALUATION.prepare(trained_model())
    assert set(prepared.metric_names) == {ACCURACY, *(f"{ACCURACY}/{task}" for task in TASKS)}
    digests = [
        dataclasses.replace(EVALUATION, **changes).prepare(trained_model()).digest
        for changes in ({"batch_size": 4}, {"split": "test"})
    ]
    assert digests[0] == prepared.digest != digests[1]
