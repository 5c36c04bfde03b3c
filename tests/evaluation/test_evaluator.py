"""Rank classification: our evaluator, seqio's own, and a slow one in float64 say the same."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seqio
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.data import claim, ledger
from teacherlm_jax.data.feature_converter import DecoderFeatureConverter
from teacherlm_jax.evaluation import evaluate
from teacherlm_jax.evaluation import evaluator as evaluator_lib
from teacherlm_jax.generation.batching import CompilationCount
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.scores import ScoringPolicy
from teacherlm_jax.teacher import prompts
from tests import tiny_study
from tests.generation import tiny
from tests.tiny_study import MODEL, random_params, vocabulary

POLICY = ScoringPolicy(max_length=40, bos_id=0)
TASKS = ("tiny0_two_eval", "tiny0_three_eval", "tiny0_words_eval")


@pytest.fixture(scope="module", autouse=True)
def study():
    """Letters as options in two tasks, and a third with options of several words."""
    study = tiny_study.TinyStudy(0)
    rows = []
    asked = [record for record in study.records() if len(record.choices) == 2]
    for number, record in enumerate(asked):
        prompt = prompts.evaluation_prompt(record.question, record.choices).partition(" A: ")[0]
        for option, choice in enumerate(record.choices):
            text = f"the answer is {choice}." if option else choice
            correct = "ABC"[option] == record.answer
            row = {"idx": [number, option], "is_correct": correct}
            rows.append({"inputs": prompt, "targets": text, **row})
    tiny_study.add_evaluation("tiny0_words_eval", {"test": rows})
    seqio.MixtureRegistry.add("tiny0_all_eval", list(TASKS), default_rate=1)
    return study


def scorer(**overrides):
    return Scorer(Decoder(MODEL), POLICY, **{"batch_size": 8, **overrides})


@functools.cache
def evaluator(batch_size=8):
    return evaluator_lib.RankEvaluator("tiny0_all_eval", "test", scorer(batch_size=batch_size))


@functools.cache
def forward():
    model = Decoder(MODEL)
    return jax.jit(
        lambda params, tokens: model.apply({"params": params}, tokens, tokens, enable_dropout=False)
    )


@functools.cache
def slow_scores(seed, task):
    """(question, option, is correct, log-likelihood) of a task's rows, one row at a time."""
    found = []
    for row in seqio.get_mixture_or_task(task).get_dataset(split="test", shuffle=False):
        inputs, targets = row["inputs"].numpy().tolist(), row["targets"].numpy().tolist()
        tokens = [0, *inputs, *targets]
        padded = np.full((1, 48), 9, np.int32)
        padded[0, : len(tokens)] = tokens
        logits = np.asarray(forward()(random_params(seed), padded)[0], np.float64)
        table = tiny.log_softmax(logits)
        begin = 1 + len(inputs)
        value = sum(table[at - 1, tokens[at]] for at in range(begin, len(tokens)))
        found.append((*row["idx"].numpy().tolist(), bool(row["is_correct"]), value))
    return found


def slow_near_ties(scores):
    """Number of questions whose two best options are within a ten-thousandth of a nat."""
    near = 0
    for question in {question for question, *_ in scores}:
        values = sorted(value for number, _, _, value in scores if number == question)
        near += values[-1] - values[-2] <= 1e-4
    return near


def slow_accuracy(scores):
    """Percent of the questions whose best option is right."""
    right = []
    for question in sorted({question for question, *_ in scores}):
        options = [(value, correct) for number, _, correct, value in scores if number == question]
        right.append(max(options)[1])
    return 100.0 * sum(right) / len(right)


@functools.cache
def plain_evaluator():
    return seqio.Evaluator(
        "tiny0_all_eval",
        feature_converter=DecoderFeatureConverter(pack=False),
        eval_split="test",
        logger_cls=(),
    )


@functools.cache
def row_scores(task, batch_size):
    """Scores of a task's rows through the score function, by index."""
    dataset = plain_evaluator().cached_model_datasets[task]
    score_fn = evaluator_lib.make_score_fn(scorer(batch_size=batch_size), random_params())
    return dict(score_fn(dataset))


@pytest.mark.parametrize("seed", [0, 1])
def test_accuracies_are_those_of_a_ranking_in_float64(seed):
    metrics = evaluator().evaluate(random_params(seed))
    assert list(metrics) == sorted(TASKS)
    for task in TASKS:
        scores = slow_scores(seed, task)
        assert metrics[task]["accuracy"] == pytest.approx(slow_accuracy(scores))
        assert metrics[task]["questions"] == len({question for question, *_ in scores})
        assert metrics[task]["ties"] == 0
        assert metrics[task]["near_ties"] == slow_near_ties(scores)
        assert metrics[task]["truncated"] == metrics[task]["moved"] == 0
    values = [metrics[task]["accuracy"] for task in TASKS]
    assert evaluator_lib.mean_accuracy(metrics) == pytest.approx(sum(values) / 3)
    assert len(set(values)) > 1


@pytest.mark.parametrize("task", TASKS)
def test_every_score_is_the_log_likelihood_in_float64(task):
    slow = [value for *_, value in slow_scores(0, task)]
    found = row_scores(task, 8)
    assert sorted(found) == list(range(len(slow)))
    np.testing.assert_allclose([found[row] for row in range(len(slow))], slow, atol=2e-5)


def test_seqios_evaluator_with_our_score_function_agrees():
    ours = evaluator().evaluate(random_params())
    score_fn = evaluator_lib.make_score_fn(scorer(), random_params())
    future, _ = plain_evaluator().evaluate(compute_metrics=True, score_fn=score_fn)
    theirs = future.result()
    assert theirs.keys() == ours.keys()
    for task, values in ours.items():
        found = {name: getattr(value, "value", value) for name, value in theirs[task].items()}
        counts = {name: values[name] for name in ("near_ties", "truncated", "moved")}
        assert {**found, **counts} == values


@pytest.mark.parametrize("change", [{"boundary": "joint"}, {"normalisation": "bytes"}])
def test_a_score_function_refuses_what_takes_texts(change):
    policy = dataclasses.replace(POLICY, **change)
    with pytest.raises(ValueError, match=r"is given tokens .* Use RankEvaluator"):
        evaluator_lib.make_score_fn(Scorer(Decoder(MODEL), policy), random_params())


@pytest.mark.parametrize("task", TASKS)
def test_batches_of_1_3_and_8_give_the_same(task):
    usual = row_scores(task, 8)
    for batch_size in (1, 3):
        other = row_scores(task, batch_size)
        assert sorted(other, key=other.get) == sorted(usual, key=usual.get)
        np.testing.assert_allclose([other[row] for row in usual], list(usual.values()), atol=2e-5)


def test_metrics_do_not_depend_on_the_batch_size():
    assert evaluator(batch_size=3).evaluate(random_params()) == evaluator().evaluate(
        random_params()
    )


def test_models_stacked_are_evaluated_as_each_alone():
    models = [random_params(0), random_params(1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    together = evaluator().evaluate_stacked(stacked)
    assert together == [evaluator().evaluate(params) for params in models]
    assert together[0] != together[1]


class CountingScorer(Scorer):
    """A scorer that remembers how much it was asked."""

    asked = ()

    def score(self, params, questions, progress=None):
        self.asked = [len(question.options) for question in questions]
        return super().score(params, questions, progress)


@pytest.mark.parametrize(("task", "options"), [("tiny0_two_eval", 2), ("tiny0_three_eval", 3)])
def test_rows_of_a_question_share_its_prompt(task, options):
    counting = CountingScorer(Decoder(MODEL), POLICY, batch_size=8)
    metrics = evaluator_lib.RankEvaluator(task, "test", counting).evaluate(random_params())
    rows = seqio.get_mixture_or_task(task).num_input_examples("test")
    assert counting.asked == [options] * (rows // options)
    assert metrics[task]["questions"] == rows // options


def test_seqios_loggers_write_where_a_folder_is_given(tmp_path):
    folder = tmp_path / "new" / "log"
    logging = evaluator_lib.RankEvaluator("tiny0_two_eval", "test", scorer(), log_dir=folder)
    metrics = logging.evaluate(random_params(), step=12)["tiny0_two_eval"]
    logged = json.loads((folder / "tiny0_two_eval-metrics.jsonl").read_text())
    assert logged["step"] == 12
    assert logged["accuracy"] == metrics["accuracy"]
    [file] = folder.glob("tiny0_two_eval-*12.jsonl")
    scores = [json.loads(line)["score"] for line in file.read_text().splitlines()]
    slow = [value for *_, value in slow_scores(0, "tiny0_two_eval")]
    np.testing.assert_allclose(scores, slow, atol=2e-5)
    shown = EventAccumulator(str(folder / "tiny0_two_eval"))
    shown.Reload()
    [event] = shown.Tensors("eval/accuracy")
    assert event.step == 12
    assert tf.make_ndarray(event.tensor_proto) == pytest.approx(metrics["accuracy"])


def test_scores_that_are_not_of_every_question_once_are_refused():
    results = evaluator().score(random_params())
    for wrong in (results[1:], [*results[1:], results[1]]):
        with pytest.raises(RuntimeError, match=r"scores for \d+ questions, of which 1 have none"):
            evaluator().metrics(wrong)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("tiny0_al_eval", "test", "no task or mixture 'tiny0_al_eval'.*'tiny0_all_eval'"),
        ("tiny0_two_eval", "tset", r"tiny0_two_eval has no split 'tset'; it has .*'validation'"),
        ("tiny0_all_eval", "validation", "tiny0_words_eval has no split 'validation'"),
        ("tiny0_base_plain_two", "train", "tiny0_base_plain_two has no metrics of scores"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(name, split, message):
    with pytest.raises(ValueError, match=message):
        evaluator_lib.RankEvaluator(name, split, scorer())


def test_a_prompt_that_is_too_long_is_named_before_anything_runs():
    short = Scorer(Decoder(MODEL), ScoringPolicy(max_length=12, bos_id=0))
    with pytest.raises(ValueError, match=r"tiny0_\w+_eval/test:\d+.*max_length = 12"):
        evaluator_lib.RankEvaluator("tiny0_all_eval", "test", short)


# evaluate_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_study.save_checkpoint(tmp_path_factory.mktemp("model"), random_params())


def settings(checkpoint, folder, **changes):
    values = {
        "mixture_or_task_name": "tiny0_two_eval",
        "output_dir": str(folder / "out"),
        "max_length": 40,
        "batch_size": 8,
    }
    return evaluate.CheckpointEvaluation(checkpoint, model=MODEL, **{**values, **changes})


def of_one_task(metrics):
    return {"tiny0_two_eval": metrics["tiny0_two_eval"]}


def test_a_checkpoint_is_evaluated_into_a_file(checkpoint, tmp_path):
    result = evaluate.evaluate_checkpoint(settings(checkpoint, tmp_path))
    file = tmp_path / "out" / "evaluation.json"
    assert result["file"] == str(file)
    written = json.loads(ledger.read_text(file))
    told_alone = ("file", "page", "work")
    assert written == {key: value for key, value in result.items() if key not in told_alone}
    metrics = of_one_task(evaluator().evaluate(random_params()))
    [model] = written["models"]
    assert model == {
        "replica": None,
        "accuracy": evaluator_lib.mean_accuracy(metrics),
        "metrics": metrics,
        "averages": {},
    }
    assert written["step"] == 7
    assert written["scoring"]["bos_id"] == 0
    # The same again writes the same.
    again = evaluate.evaluate_checkpoint(settings(checkpoint, tmp_path))
    assert {**again, "work": None} == {**result, "work": None}


def test_averages_of_a_mixture_and_of_those_inside_are_written(checkpoint, tmp_path):
    seqio.MixtureRegistry.add("tiny0_letters_eval", list(TASKS[:2]), default_rate=1)
    seqio.MixtureRegistry.add("tiny0_nested_eval", [("tiny0_letters_eval", 2), (TASKS[2], 1)])
    assert evaluator_lib.groups_of("tiny0_nested_eval") == {
        "tiny0_nested_eval": sorted(TASKS),
        "tiny0_letters_eval": sorted(TASKS[:2]),
    }
    asked = settings(checkpoint, tmp_path, mixture_or_task_name="tiny0_nested_eval")
    [model] = evaluate.evaluate_checkpoint(asked)["models"]
    metrics = [evaluator().evaluate(random_params())[task] for task in TASKS]
    right = [values["accuracy"] * values["questions"] for values in metrics]
    questions = [values["questions"] for values in metrics]
    for name, count in (("tiny0_nested_eval", 3), ("tiny0_letters_eval", 2)):
        assert model["averages"][name] == {
            "macro": pytest.approx(sum(v["accuracy"] for v in metrics[:count]) / count),
            "micro": pytest.approx(sum(right[:count]) / sum(questions[:count])),
            "tasks": count,
            "questions": sum(questions[:count]),
        }


def test_the_clean_subset_is_scored_beside_all_questions(checkpoint, tmp_path):
    task = TASKS[0]
    scores = slow_scores(0, task)
    numbers = sorted({question for question, *_ in scores})
    clean, touched = numbers[::3], sorted(set(numbers) - set(numbers[::3]))
    ids = {"clean": [*map(str, clean)], "touched": [*map(str, touched)]}
    file = tmp_path / "clean_subset.json"
    ledger.write_whole(file, json.dumps({task: {"test": ids}}))
    asked = settings(checkpoint, tmp_path, clean_subset=str(file))
    [model] = evaluate.evaluate_checkpoint(asked)["models"]
    expected = slow_accuracy([row for row in scores if row[0] in clean])
    assert model["metrics"][task]["clean_accuracy"] == pytest.approx(expected)
    assert model["metrics"][task]["clean_questions"] == len(clean)
    assert model["clean_accuracy"] == pytest.approx(expected)
    assert model["accuracy"] == pytest.approx(slow_accuracy(scores)) != expected


def test_every_replica_of_a_checkpoint_is_evaluated(tmp_path):
    models = [random_params(1), random_params(0), random_params(1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    checkpoint = tiny_study.save_checkpoint(tmp_path, stacked, replicas=3)
    result = evaluate.evaluate_checkpoint(settings(checkpoint, tmp_path))
    assert [model["replica"] for model in result["models"]] == [0, 1, 2]
    expected = [of_one_task(evaluator().evaluate(params)) for params in models]
    assert [model["metrics"] for model in result["models"]] == expected


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"checkpoint_dir": "/none"}, FileNotFoundError, "no checkpoint directory /none"),
        (
            {"model": dataclasses.replace(MODEL, emb_dim=32)},
            manager.CheckpointError,
            r"another model: emb_dim 16 \(asked: 32\)",
        ),
        ({"model": dataclasses.replace(MODEL, vocab_size=8)}, ValueError, "vocab_size 8"),
        ({"mixture_or_task_name": "tiny0_eva"}, ValueError, "'tiny0_eva'.*'tiny0_eval'"),
        ({"split": "tset"}, ValueError, "no split 'tset'"),
        ({"max_length": 12}, ValueError, "max_length = 12"),
        ({"batch_size": 0}, ValueError, "batch_size"),
    ],
)
def test_mistakes_are_found_before_the_first_compile(checkpoint, tmp_path, changes, error, message):
    wrong = dataclasses.replace(settings(checkpoint, tmp_path), **changes)
    count = CompilationCount()
    with pytest.raises(error, match=message), count.watch():
        evaluate.evaluate_checkpoint(wrong)
    assert count.total == 0
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_not_its_own_is_refused_and_kept(checkpoint, tmp_path):
    (tmp_path / "file").write_text("")
    unwritable = settings(checkpoint, tmp_path, output_dir=str(tmp_path / "file" / "out"))
    count = CompilationCount()
    with count.watch(), pytest.raises(OSError, match="cannot write into the output folder"):
        evaluate.evaluate_checkpoint(unwritable)
    # A student's folder has a file of this name too.
    ledger.write_whole(tmp_path / "out" / "evaluation.json", '{"runs": []}')
    claim.claim_folder(tmp_path / "out", {"arm": "plain"})
    with count.watch(), pytest.raises(claim.ConfigurationMismatchError, match="arm"):
        evaluate.evaluate_checkpoint(settings(checkpoint, tmp_path))
    assert count.total == 0
    assert ledger.read_text(tmp_path / "out" / "evaluation.json") == '{"runs": []}'


def test_the_tiny_vocabulary_knows_every_word():
    assert vocabulary().vocab_size <= MODEL.vocab_size
    for row in seqio.get_mixture_or_task("tiny0_gold").get_dataset(split="train", shuffle=False):
        assert vocabulary().unk_id not in row["targets"].numpy().tolist()
