"""Tasks without the examples that a search for leaks listed."""

import json

import pytest
import seqio
import tensorflow as tf

from teacherlm_jax.data import decontamination_report, text_rows
from teacherlm_jax.data.question_index import EvaluationQuestion, MatchRule, QuestionIndex
from teacherlm_jax.tasks import without_listed
from teacherlm_jax.tasks.teacherdata import registry

VOCABULARY = seqio.ByteVocabulary()
LEAK = "Could an otter outrun a postman?"
ROWS = {
    "leaky": [
        ("a", "Is it so?", "yes"),
        ("b", LEAK, "no"),
        ("c", "Q: " + LEAK, "no"),
        ("a", "d", "e"),
    ],
    "clean": [("b", "Was it so?", "no"), ("a", "x", "y")],
}


def add_task(name, rows):
    def read(split, shuffle_files, seed=None):
        columns = dict(zip(("id", "inputs", "targets"), zip(*rows)))
        return tf.data.Dataset.from_tensor_slices(
            {key: list(value) for key, value in columns.items()}
        )

    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(read, splits=["train"]),
        output_features={key: seqio.Feature(VOCABULARY) for key in ("inputs", "targets")},
        preprocessors=[
            seqio.preprocessors.tokenize,
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos,
        ],
    )


@pytest.fixture(scope="module", autouse=True)
def tasks():
    for name, rows in ROWS.items():
        add_task(f"unlisted_{name}", rows)
    seqio.MixtureRegistry.add("unlisted", [("unlisted_leaky", 3.0), ("unlisted_clean", 1.0)])


def search(rows, folder):
    question = EvaluationQuestion("asked", "test", "q", {"question": LEAK})
    index = QuestionIndex([question], MatchRule())
    decontamination_report.write(rows, index, folder, searched=["made"])
    return folder


def of_tasks():
    for name in ROWS:
        yield from text_rows.of_task(seqio.TaskRegistry.get(f"unlisted_{name}"), "train")


def left(name):
    dataset = seqio.get_mixture_or_task(name).get_dataset(split="train", shuffle=False)
    return [VOCABULARY.decode(row["inputs"].tolist()) for row in dataset.as_numpy_iterator()]


def test_examples_are_left_out_by_their_texts(tmp_path):
    folder = search(of_tasks(), tmp_path)
    name = without_listed.registered("unlisted_leaky", folder)
    assert name.startswith("unlisted_leaky_without_")
    assert left(name) == ["Is it so?", "d"]
    assert left("unlisted_leaky") == [text for _, text, _ in ROWS["leaky"]]
    assert without_listed.registered("unlisted_leaky", folder) == name


def test_a_mixture_keeps_its_rates_and_the_tasks_without_leaks(tmp_path):
    name = without_listed.registered("unlisted", search(of_tasks(), tmp_path))
    mixture = seqio.MixtureRegistry.get(name)
    rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
    leaky = without_listed.registered("unlisted_leaky", tmp_path)
    assert rates == {leaky: 3.0, "unlisted_clean": 1.0}
    assert without_listed.registered("unlisted", tmp_path) == name


def test_rows_of_files_are_left_out_by_their_ids(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "b", "question": LEAK}) + "\n")
    folder = search(text_rows.of_files([tmp_path / "rows.jsonl"]), tmp_path / "out")
    assert left(without_listed.registered("unlisted_clean", folder)) == ["x"]


def test_teacherdata_without_ids_is_left_out_by_what_its_task_calls_it(tmp_path):
    lines = [
        {"question": question, "choices": ["yes", "no"], "answer": "B", "fundamentals": "f"}
        for question in (LEAK, "Is it so?", f"{LEAK} ")
    ]
    lines[2] |= {"task": "asked", "provenance": "{}", "id": None}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder = search(text_rows.of_files([path]), tmp_path / "out")
    task = registry.task_name("fundamentals", str(path), "unlisted_records")
    name = without_listed.registered(task, folder)
    (row,) = text_rows.of_task(seqio.TaskRegistry.get(name), "train")
    assert "Is it so?" in row.texts["inputs"]


def test_a_row_that_nothing_could_know_is_an_error(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": LEAK}) + "\n")
    folder = search(text_rows.of_files([tmp_path / "rows.jsonl"]), tmp_path / "out")
    with pytest.raises(ValueError, match=r"rows\.jsonl:1 has no id.*Search the task itself"):
        without_listed.registered("unlisted_clean", folder)


def test_another_list_gives_another_name(tmp_path):
    names = {
        without_listed.registered("unlisted_leaky", search(rows, tmp_path / str(number)))
        for number, rows in enumerate([of_tasks(), iter(()), of_tasks()])
    }
    assert len(names) == 2


def test_a_list_of_which_a_file_is_missing_is_no_list(tmp_path):
    folder = search(of_tasks(), tmp_path)
    (folder / "drop-00000.jsonl.complete").unlink()
    with pytest.raises(FileNotFoundError, match=r"lists 0 rows .* says 2: copy all"):
        without_listed.registered("unlisted_leaky", folder)


def test_a_search_that_did_not_end_is_no_list(tmp_path):
    folder = search(of_tasks(), tmp_path)
    (folder / "report.json.complete").unlink()
    with pytest.raises(FileNotFoundError, match="report"):
        without_listed.registered("unlisted_leaky", folder)
