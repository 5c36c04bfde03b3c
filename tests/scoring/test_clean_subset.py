"""Accuracy over the questions that training data does not hold."""

import json

import pytest

from teacherlm_jax.data import ledger
from teacherlm_jax.scoring import clean_subset

LIST = {"mmlu": {"test": {"clean": ["a", "c"], "touched": ["b"]}}}

# Of three questions with two options the first and the last are answered rightly.
TARGETS = [((q, o), o == 0) for q in range(3) for o in range(2)]
SCORES = [1.0, 0.0, 0.0, 1.0, 2.0, 1.0]


def written(folder, content):
    return ledger.write_whole(folder / "clean_subset.json", json.dumps(content))


def test_which_questions_are_clean(tmp_path):
    subset = clean_subset.CleanSubset(written(tmp_path, LIST))
    assert subset.are_clean("mmlu", "test", ["a", "a", "b", "c"]).tolist() == [
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("task", "split", "ids", "message"),
    [
        ("mmlu", "validation", ["a"], "nothing of mmlu, split 'validation'"),
        ("creak", "test", ["a"], "nothing of creak"),
        ("mmlu", "test", ["a", "x"], "1 questions of mmlu.*'x'"),
    ],
)
def test_what_was_not_searched_for_is_not_taken_for_clean(tmp_path, task, split, ids, message):
    subset = clean_subset.CleanSubset(written(tmp_path, LIST))
    with pytest.raises(ValueError, match=message):
        subset.are_clean(task, split, ids)


@pytest.mark.parametrize("content", [["a"], {"mmlu": ["a"]}, {"mmlu": {"test": {"clean": []}}}])
def test_other_files_are_refused(tmp_path, content):
    with pytest.raises(ValueError, match="no list of clean questions"):
        clean_subset.CleanSubset(written(tmp_path, content))


def test_a_file_that_is_not_whole_is_refused(tmp_path):
    (tmp_path / "clean_subset.json").write_text(json.dumps(LIST))
    with pytest.raises(FileNotFoundError):
        clean_subset.CleanSubset(tmp_path / "clean_subset.json")


@pytest.mark.parametrize(
    ("clean", "accuracy"),
    [([0, 1, 2], 200 / 3), ([0, 2], 100.0), ([1], 0.0), ([1, 2], 50.0)],
)
def test_metrics_of_the_clean_questions(clean, accuracy):
    is_clean = [idx[0] in clean for idx, _ in TARGETS]
    found = clean_subset.clean_metrics(TARGETS, SCORES, is_clean)
    assert found["clean_accuracy"] == pytest.approx(accuracy)
    assert found["clean_questions"] == len(clean)


def test_nothing_is_clean():
    assert clean_subset.clean_metrics(TARGETS, SCORES, [False] * 6) == {"clean_questions": 0.0}


def test_tasks_without_a_clean_question_are_left_out_of_averages():
    metrics = {
        "one": {"accuracy": 10.0, "clean_accuracy": 20.0, "clean_questions": 5.0},
        "two": {"accuracy": 10.0, "clean_questions": 0.0},
        "three": {"accuracy": 10.0},
    }
    assert clean_subset.as_metrics(metrics) == {"one": {"accuracy": 20.0, "questions": 5.0}}
