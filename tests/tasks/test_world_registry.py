import pathlib
import subprocess
import sys

import numpy as np
import pytest
import seqio
import tensorflow as tf

import teacherlm_jax.tasks.world  # registers
from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.tasks.world import audit
from teacherlm_jax.tasks.world.registry import register_arm, register_world
from teacherlm_jax.tasks.world.world import get_world
from teacherlm_jax.teacher.prompts import EXPLANATION_FIELDS, plain_text

ROOT = pathlib.Path(teacherlm_jax.tasks.__file__).parent.parent
TYPES = ("tf", "mc", "both")


@pytest.fixture(scope="module")
def world():
    return get_world(0)


@pytest.fixture(scope="module")
def records(world):
    return [audit.gold_record(world, record) for record in world.records("student")]


def read(name, split="train", count=20, **arguments):
    dataset = seqio.get_mixture_or_task(name).get_dataset(split=split, shuffle=False, **arguments)
    return list(dataset.take(count).as_numpy_iterator())


def task_names(seed):
    names = ["base_text", "corpus", "questions"]
    names += [f"base_plain_{t}" for t in TYPES] + [f"plain_{t}" for t in TYPES]
    names += [f"{t}_eval" for t in TYPES] + [f"base_{t}_eval" for t in TYPES]
    names += [
        f"gold_{group}_{field}_{t}"
        for group in ("known", "rare")
        for field in EXPLANATION_FIELDS
        for t in TYPES
    ]
    return [f"world{seed}_{name}" for name in names]


def mixture_names(seed):
    names = ["base", "replay", "teacher", "eval", "base_eval"]
    names += [f"gold_{g}_{field}" for g in ("known", "rare") for field in EXPLANATION_FIELDS]
    return [f"world{seed}_{name}" for name in names]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_import_registers_three_worlds(seed):
    assert set(task_names(seed)) <= set(seqio.TaskRegistry.names())
    assert set(mixture_names(seed)) <= set(seqio.MixtureRegistry.names())


def test_registering_makes_no_rows_and_can_be_repeated():
    register_world(17)
    tasks = [seqio.TaskRegistry.get(name) for name in task_names(17)]
    assert all(not task.source._rows for task in tasks)
    register_world(17)
    assert [seqio.TaskRegistry.get(name) for name in task_names(17)] == tasks


def test_a_second_name_is_refused():
    result = subprocess.run(
        [sys.executable, "-c", "import tasks"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode != 0
    assert "ImportError: the tasks were imported as 'tasks'" in result.stderr
    assert "import teacherlm_jax.tasks" in result.stderr


GOLD_SAMPLE = ("fundamentals_tf", "chain_of_thought_mc", "common_mistakes_both")


@pytest.mark.parametrize(
    "name", [n for n in task_names(0) if "_gold_" not in n or n.endswith(GOLD_SAMPLE)]
)
def test_tasks_yield_tokens_that_read_as_their_text(world, name):
    vocabulary = world.vocabulary()
    task = seqio.TaskRegistry.get(name)
    assert set(task.output_features) == {"inputs", "targets"}
    assert task.output_features["targets"].vocabulary == vocabulary
    evaluates = name.endswith("_eval")
    for split in task.splits:
        for example in read(name, split, count=5):
            inputs, targets = example["inputs"].tolist(), example["targets"].tolist()
            assert example["inputs"].dtype == example["targets"].dtype == np.int32
            assert vocabulary.unk_id not in inputs + targets
            assert vocabulary.decode(inputs) == example["inputs_pretokenized"].decode()
            assert vocabulary.decode(targets) == example["targets_pretokenized"].decode()
            has_eos = targets[-1] == vocabulary.eos_id
            assert has_eos != (evaluates or name.endswith("_questions"))
            assert vocabulary.eos_id not in inputs


def test_plain_tasks_are_the_papers_text(world):
    question = next(q for q in world.questions("student") if q.type == "both")
    (example,) = read("world0_plain_both", count=1)
    text = (example["inputs_pretokenized"] + example["targets_pretokenized"]).decode()
    assert text == plain_text(question.text, question.choices, question.answer)


def test_corpus_has_no_inputs():
    assert all(len(example["inputs"]) == 0 for example in read("world0_corpus"))


def test_questions_source_yields_records(world):
    source = seqio.TaskRegistry.get("world0_questions").source
    examples = list(source.get_dataset("train", shuffle=False).as_numpy_iterator())
    assert [TeacherDataRecord.from_features(e) for e in examples] == world.records("student")
    assert source.num_input_examples("train") == len(examples)


def test_mixture_rates():
    base = seqio.MixtureRegistry.get("world0_base")
    rates = {task.name: base.get_rate(task) for task in base.tasks}
    assert rates == {
        "world0_base_text": pytest.approx(0.3),
        **{f"world0_base_plain_{t}": pytest.approx(0.7 / 3) for t in TYPES},
    }
    teacher = seqio.MixtureRegistry.get("world0_teacher")
    rates = {task.name: teacher.get_rate(task) for task in teacher.tasks}
    assert len(rates) == 19
    assert rates.pop("world0_corpus") == pytest.approx(0.25)
    known = sum(rate for name, rate in rates.items() if "_known_" in name)
    assert known == pytest.approx(0.375)
    assert list(rates.values()) == pytest.approx([0.75 / 18] * 18)


def test_mixtures_pack_for_a_decoder(world):
    dataset = seqio.get_dataset(
        "world0_gold_rare_fundamentals",
        {"inputs": 64, "targets": 64},
        feature_converter=seqio.DecoderFeatureConverter(pack=True),
        dataset_split="train",
        shuffle=True,
        seed=0,
        num_epochs=None,
    )
    (row,) = dataset.take(1).as_numpy_iterator()
    assert row["decoder_target_tokens"].shape == (128,)
    assert row["decoder_segment_ids"].max() >= 2
    assert not (row["decoder_target_tokens"] == world.vocabulary().unk_id).any()


def test_mixtures_can_be_saved_in_a_tf_data_checkpoint(tmp_path):
    mixture = seqio.get_mixture_or_task("world0_gold_rare_fundamentals")

    def iterator():
        lengths = {"inputs": 64, "targets": 64}
        dataset = mixture.get_dataset(lengths, split="train", shuffle=True, seed=3, num_epochs=None)
        return iter(dataset)

    first = iterator()
    for _ in range(5):
        next(first)
    path = tf.train.Checkpoint(it=first).save(str(tmp_path / "it"))
    expected = next(first)["inputs"].numpy().tolist()
    second = iterator()
    tf.train.Checkpoint(it=second).restore(path)
    assert next(second)["inputs"].numpy().tolist() == expected


def evaluate(evaluator, targets, score):
    """Runs seqio's evaluator with a function of whether a row's option is correct."""
    current = iter(evaluator.eval_tasks)

    def score_fn(enumerated):
        of_task = targets[next(current).name]
        assert enumerated.cardinality() == len(of_task)
        return [(index, score(bool(correct))) for index, correct in enumerate(of_task)]

    metrics, _ = evaluator.evaluate(compute_metrics=True, score_fn=score_fn)
    return metrics.result()


def test_evaluator_ranks_options_of_all_types(world):
    evaluator = seqio.Evaluator(
        "world0_eval",
        seqio.DecoderFeatureConverter(pack=False),
        eval_split="validation",
        async_compute_metrics=False,
    )
    types = [question.type for question in world.questions("validation")]
    targets = {
        name: [row["is_correct"] for row in dataset.as_numpy_iterator()]
        for name, dataset in evaluator.cached_task_datasets.items()
    }
    right = evaluate(evaluator, targets, lambda correct: -1.0 if correct else -2.0)
    assert right == {
        f"world0_{t}_eval": {"accuracy": 100.0, "questions": types.count(t), "ties": 0}
        for t in TYPES
    }
    wrong = evaluate(evaluator, targets, lambda correct: -2.0 if correct else -1.0)
    assert {metrics["accuracy"] for metrics in wrong.values()} == {0.0}
    # Answers are balanced, so that always choosing the first option is chance.
    same = evaluate(evaluator, targets, lambda correct: 0.0)
    assert same["world0_tf_eval"]["accuracy"] == same["world0_both_eval"]["accuracy"] == 50.0
    assert same["world0_mc_eval"]["accuracy"] == pytest.approx(100 / 3, abs=0.5)
    assert [same[f"world0_{t}_eval"]["ties"] for t in TYPES] == [types.count(t) for t in TYPES]


def test_evaluation_rows(world):
    rows = read("world0_tf_eval", "test", count=4)
    assert [row["idx"].tolist() for row in rows] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert rows[0]["idx"].dtype == np.int32
    assert rows[0]["is_correct"].dtype == np.bool_
    assert [row["targets_pretokenized"] for row in rows] == [b"A", b"B", b"A", b"B"]
    assert rows[0]["inputs_pretokenized"] == rows[1]["inputs_pretokenized"]
    question = world.questions("test")[0]
    assert [row["is_correct"] for row in rows[:2]] == [question.label, not question.label]


def test_arm_is_registered_with_replay(records):
    name = register_arm(0, "fundamentals", records, "t1")
    assert name == "world0_student_fundamentals_t1"
    mixture = seqio.MixtureRegistry.get(name)
    rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
    assert rates == {
        **{f"{name}_{t}": pytest.approx(0.2) for t in TYPES},
        **{f"world0_base_plain_{t}": pytest.approx(0.4 / 3) for t in TYPES},
    }
    rows = read(f"{name}_tf", count=3)
    texts = [row["targets_pretokenized"] for row in rows]
    assert all(b"). The fundamental of this question is: the " in text for text in texts)
    assert len(read(name, count=10)) == 10


def test_registering_an_arm_again_replaces_it(records, world):
    name = register_arm(0, "mistakes", records, "t2")
    changed = [
        TeacherDataRecord.from_mapping({**r.to_mapping(), "common_mistakes": "ferns are plants."})
        for r in records
    ]
    assert register_arm(0, "mistakes", changed, "t2") == name
    (example, *_) = read(f"{name}_tf")
    assert example["targets_pretokenized"].endswith(b"are: ferns are plants.")
    (example, *_) = read(name)
    assert example


@pytest.mark.parametrize("tag", ["", "a b", "a/b", "\u00e9"])
def test_wrong_tags_are_refused(records, tag):
    with pytest.raises(ValueError, match=r"tag = .*letters, digits and underscores"):
        register_arm(0, "plain", records, tag)


def test_wrong_split_is_refused():
    source = seqio.TaskRegistry.get("world0_corpus").source
    with pytest.raises(ValueError, match=r"split = 'test'.*only train"):
        source.get_dataset("test")
