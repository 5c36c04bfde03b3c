"""A checkpoint of either kind, its receipts and pages, by every policy."""

import json

import numpy as np
import pytest
import seqio
import transformers
from etils import epath

from teacherlm_jax.checkpoints import restore
from teacherlm_jax.data import claim, ledger
from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary
from teacherlm_jax.evaluation import evaluate
from teacherlm_jax.scoring import rank, receipt_files
from teacherlm_jax.scoring.metrics import rank_classification
from tests import tiny_study
from tests.data import tiny_tokenizers
from tests.tiny_study import MODEL, random_params


@pytest.fixture(scope="module")
def study():
    return tiny_study.TinyStudy(5)


def settings(checkpoint, folder, **changes):
    values = {"mixture_or_task_name": "tiny5_eval", "max_length": 40, "batch_size": 8}
    values = {**values, "model": MODEL, "output_dir": str(folder / "out"), **changes}
    return evaluate.CheckpointEvaluation(str(checkpoint), **values)


def test_pages_figures_and_charts_are_written(study, tmp_path):
    checkpoint = tiny_study.save_checkpoint(tmp_path, random_params())
    result = evaluate.evaluate_checkpoint(settings(checkpoint, tmp_path))
    found = json.loads(ledger.read_text(tmp_path / "out" / "results.json"))
    [model] = result["models"]
    assert result["page"] == str(tmp_path / "out" / "report.html")
    [overall] = found["overall"]
    assert overall["by_normalisation"].keys() >= {"sum", "tokens", "bytes", "unconditional"}
    assert found["headline"] == "sum"
    for task in found["tasks"]:
        accuracy = model["metrics"][task["name"]]["accuracy"]
        assert task["by_normalisation"]["sum"]["accuracy"] == pytest.approx(accuracy)
    assert found["details"]["scoring"]["boundary"] == "apart"
    assert (tmp_path / "out" / "report.md").exists()


def test_what_was_scored_is_not_scored_again(study, tmp_path, monkeypatch):
    checkpoint = tiny_study.save_checkpoint(tmp_path, random_params())
    first = evaluate.evaluate_checkpoint(settings(checkpoint, tmp_path))
    receipts = receipt_files.read(tmp_path / "out" / "receipts.jsonl")
    assert len(receipts) == sum(m["questions"] for m in first["models"][0]["metrics"].values())
    monkeypatch.setattr(rank.Scorer, "run", lambda *_, **__: iter(()))
    again = evaluate.evaluate_checkpoint(settings(checkpoint, tmp_path))
    count = len(receipts)
    assert (first.pop("work")["scored"], again.pop("work")["scored"]) == (count, 0)
    assert again == first
    # Elsewhere there is nothing to take scores from.
    with pytest.raises((KeyError, IndexError)):
        evaluate.evaluate_checkpoint(settings(checkpoint, tmp_path / "other"))


def test_replicas_get_a_page_each_and_a_comparison(study, tmp_path):
    import jax
    import jax.numpy as jnp

    stacked = jax.tree.map(lambda *x: jnp.stack(x), random_params(0), random_params(1))
    checkpoint = tiny_study.save_checkpoint(tmp_path, stacked, replicas=2)
    result = evaluate.evaluate_checkpoint(settings(checkpoint, tmp_path))
    assert result["page"] == str(tmp_path / "out" / "comparison.html")
    digests = [
        json.loads(ledger.read_text(tmp_path / "out" / f"replica_{n}" / "results.json"))[
            "checkpoint_digest"
        ]
        for n in range(2)
    ]
    assert len(set(digests)) == 2


def test_the_headline_is_the_one_that_is_asked_for(study, tmp_path):
    checkpoint = tiny_study.save_checkpoint(tmp_path, random_params())
    asked = settings(checkpoint, tmp_path, normalisation="unconditional")
    [model] = evaluate.evaluate_checkpoint(asked)["models"]
    found = json.loads(ledger.read_text(tmp_path / "out" / "results.json"))
    for task in found["tasks"]:
        by = task["by_normalisation"]
        assert by["unconditional"]["accuracy"] == pytest.approx(
            model["metrics"][task["name"]]["accuracy"]
        )
    assert any(
        task["by_normalisation"]["unconditional"] != task["by_normalisation"]["sum"]
        for task in found["tasks"]
    )


@pytest.mark.parametrize("boundary", ["apart", "joint"])
def test_a_hugging_face_directory_is_evaluated_as_it_is(tmp_path, boundary):
    folder = tiny_tokenizers.opt(tmp_path / "opt")
    config = transformers.OPTConfig(
        vocab_size=512,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=64,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
    )
    theirs = transformers.OPTForCausalLM(config).eval()
    theirs.save_pretrained(folder)
    vocabulary = HuggingFaceVocabulary(folder)
    rows = [
        {
            "inputs": f"Q: {number}? A: The answer is",
            "targets": f" {word}",
            "idx": [number, option],
            "is_correct": option == number % 2,
        }
        for number in range(3)
        for option, word in enumerate(("an otter", "fur"))
    ]
    name = f"hugging_face_{boundary}"
    features = {
        "inputs": seqio.Feature(vocabulary, add_eos=False),
        "targets": seqio.Feature(vocabulary, add_eos=False),
    }
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(_from(columns), splits=["test"]),
        output_features=features,
        preprocessors=[seqio.preprocessors.tokenize],
        postprocess_fn=lambda output, example, is_target: (example["idx"], example["is_correct"]),
        metric_fns=[rank_classification],
    )
    asked = settings(
        folder, tmp_path, model=None, mixture_or_task_name=name, boundary=boundary, report=False
    )
    result = evaluate.evaluate_checkpoint(asked)
    # OPT's texts begin with </s>, which is what its tokenizer puts there.
    assert result["scoring"]["bos_id"] == vocabulary.eos_id
    assert result["models"][0]["metrics"][name]["accuracy"] == pytest.approx(
        _by_transformers(theirs, vocabulary, rows)
    )


def test_another_public_checkpoint_beside_the_first_is_refused_in_its_folder(
    study, tmp_path, monkeypatch
):
    params = random_params()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    monkeypatch.setattr(
        evaluate,
        "load_model",
        lambda path, model, mesh: restore.LoadedModel(params, None, 0, epath.Path(path)),
    )
    evaluate.evaluate_checkpoint(settings(tmp_path / "one", tmp_path, report=False))
    with pytest.raises(claim.ConfigurationMismatchError, match="checkpoint_dir"):
        evaluate.evaluate_checkpoint(settings(tmp_path / "two", tmp_path, report=False))
    kept = json.loads(ledger.read_text(tmp_path / "out" / "evaluation.json"))
    assert kept["checkpoint"] == str(tmp_path / "one")


@pytest.mark.parametrize(
    ("correct", "message"),
    [
        ([], "has no questions"),
        ([True], "question '0' has one option, but to rank takes two"),
        ([False, False], "question '0' has not exactly one right option among its 2"),
        ([True, True], "question '0' has not exactly one right option among its 2"),
    ],
)
def test_questions_without_an_accuracy_are_refused_before_anything_is_read(
    study, tmp_path, correct, message
):
    row = next(iter(seqio.TaskRegistry.get("tiny5_two_eval").source.get_dataset("test")))
    prompt = row["inputs"].numpy().decode()
    name = f"tiny5_wrong_{len(correct)}_{sum(correct)}_eval"
    tiny_study.add_evaluation(
        name,
        {
            "test": [
                {"inputs": prompt, "targets": "AB"[n], "idx": [0, n], "is_correct": is_correct}
                for n, is_correct in enumerate(correct or [True])
            ]
        },
    )
    if not correct:
        full, name = seqio.TaskRegistry.get(name), "tiny5_empty_eval"
        seqio.TaskRegistry.add(
            name,
            full.source,
            full.output_features,
            preprocessors=[*full.preprocessors, lambda dataset: dataset.take(0)],
            postprocess_fn=full.postprocess_fn,
            metric_fns=[rank_classification],
        )
    checkpoint = tiny_study.save_checkpoint(tmp_path, random_params())
    with pytest.raises(ValueError, match=f"{name}/test:? {message}"):
        evaluate.evaluate_checkpoint(settings(checkpoint, tmp_path, mixture_or_task_name=name))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"score_cache_dir": "{}/file"}, PermissionError, "score cache .*is a file"),
        ({"output_dir": ""}, ValueError, "output folder is empty text"),
        ({"output_dir": "{}/file/out"}, PermissionError, "output folder .*/file' is a file"),
    ],
)
def test_folders_are_checked_before_parameters_are_read(
    study, tmp_path, monkeypatch, changes, error, message
):
    checkpoint = tiny_study.save_checkpoint(tmp_path, random_params())
    (tmp_path / "file").write_text("")
    changes = {name: text.format(tmp_path) for name, text in changes.items()}
    monkeypatch.setattr(evaluate, "load_model", lambda *_: pytest.fail("parameters were read"))
    with pytest.raises(error, match=message):
        evaluate.evaluate_checkpoint(settings(checkpoint, tmp_path, **changes))


def test_ids_may_be_numbers_and_idx_must_be_two(study, tmp_path):
    prompt = next(iter(seqio.TaskRegistry.get("tiny5_two_eval").source.get_dataset("test")))
    inputs = prompt["inputs"].numpy().decode()
    rows = [
        {"inputs": inputs, "targets": "AB"[n], "idx": [0, n], "is_correct": n == 0, "id": 70}
        for n in range(2)
    ]
    checkpoint = tiny_study.save_checkpoint(tmp_path, random_params())
    tiny_study.add_evaluation("tiny5_numbered_eval", {"test": rows})
    numbered = settings(checkpoint, tmp_path, mixture_or_task_name="tiny5_numbered_eval")
    evaluate.evaluate_checkpoint(numbered)
    [receipt] = receipt_files.read(tmp_path / "out" / "receipts.jsonl")
    assert receipt.question_id == "70"
    flat = [{**row, "idx": n} for n, row in enumerate(rows)]
    tiny_study.add_evaluation("tiny5_flat_eval", {"test": flat})
    with pytest.raises(ValueError, match="idx of a row is 0, but it must be two whole numbers"):
        evaluate.evaluate_checkpoint(
            settings(checkpoint, tmp_path, mixture_or_task_name="tiny5_flat_eval")
        )


def test_the_mean_over_subjects_of_a_task_is_written(study, tmp_path):
    prompt = next(iter(seqio.TaskRegistry.get("tiny5_two_eval").source.get_dataset("test")))
    inputs = prompt["inputs"].numpy().decode()
    rows = [
        {"inputs": inputs, "targets": "AB"[n], "idx": [question, n], "subject": subject}
        | {"is_correct": n == right}
        for question, (subject, right) in enumerate(
            [("art", 0), ("art", 0), ("art", 1), ("zoo", 0)]
        )
        for n in range(2)
    ]
    tiny_study.add_evaluation("tiny5_subjects_eval", {"test": rows})
    checkpoint = tiny_study.save_checkpoint(tmp_path, random_params())
    asked = settings(checkpoint, tmp_path, mixture_or_task_name="tiny5_subjects_eval", report=False)
    evaluate.evaluate_checkpoint(asked)
    [model] = json.loads(ledger.read_text(tmp_path / "out" / "evaluation.json"))["models"]
    told = model["subject_averages"]["tiny5_subjects_eval"]
    # The prompts are the same, so that either all of A or all of B are chosen.
    macro, micro = ((200 / 3 + 100) / 2, 75.0) if told["micro"] > 50 else (100 / 6, 25.0)
    assert told == {
        "macro": pytest.approx(macro),
        "macro_standard_error": None,
        "micro": pytest.approx(micro),
        "micro_standard_error": pytest.approx(25.0),
        "subjects": 2,
        "questions": 4,
    }
    assert model["accuracy"] == told["micro"]


def test_options_of_the_same_tokens_are_told(study, tmp_path, caplog):
    prompt = next(iter(seqio.TaskRegistry.get("tiny5_two_eval").source.get_dataset("test")))
    inputs = prompt["inputs"].numpy().decode()
    rows = [
        {"inputs": inputs, "targets": "AAB"[n], "idx": [0, n], "is_correct": n == 2}
        for n in range(3)
    ]
    tiny_study.add_evaluation("tiny5_equal_eval", {"test": rows})
    checkpoint = tiny_study.save_checkpoint(tmp_path, random_params())
    evaluate.evaluate_checkpoint(
        settings(checkpoint, tmp_path, mixture_or_task_name="tiny5_equal_eval")
    )
    assert "tiny5_equal_eval/test: 1 questions have options of the same tokens" in caplog.text


def _from(columns):
    def dataset(split, shuffle_files, seed=None):
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(
            {name: np.array(values) for name, values in columns.items()}
        )

    return dataset


def _by_transformers(model, vocabulary, rows):
    import torch

    values = {}
    for row in rows:
        prompt = [vocabulary.eos_id, *vocabulary.encode(row["inputs"])]
        option = vocabulary.encode(row["targets"])
        with torch.inference_mode():
            logits = model.double()(torch.tensor([prompt + option])).logits[0]
        table = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
        values[tuple(row["idx"])] = float(table[range(len(option)), option].sum())
    right = [
        max(range(2), key=lambda option: values[number, option]) == number % 2
        for number in range(3)
    ]
    return 100 * sum(right) / 3
