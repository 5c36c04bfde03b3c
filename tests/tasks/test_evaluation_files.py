"""Questions of a file, with solved examples before them, in a vocabulary that marks beginnings."""

import json

import pytest
import seqio

from teacherlm_jax.data import data_setup, default_vocabulary
from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary
from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.scoring import boundary
from teacherlm_jax.tasks.evaluation import few_shot, files, registry
from tests.data import tiny_tokenizers
from tests.tasks.catalogue_rows_evaluation import changed, write_mirrors


@pytest.fixture(scope="module", autouse=True)
def vocabulary(tmp_path_factory):
    default_vocabulary.forget()
    found = HuggingFaceVocabulary(tiny_tokenizers.llama(tmp_path_factory.mktemp("llama")))
    default_vocabulary.choose(found)
    yield found
    default_vocabulary.forget()


def written(folder, rows):
    path = folder / "pets.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def rows_of(task, split="evaluation"):
    return list(
        seqio.TaskRegistry.get(task).get_dataset(split=split, shuffle=False).as_numpy_iterator()
    )


ROW = {"question": "Which has fur?", "choices": ["an otter", "a hat"], "answer": "A"}


@pytest.mark.parametrize("answer", ["A", "(A)", 0, "an otter"])
def test_questions_of_a_file_are_a_task_however_the_answer_is_given(answer, tmp_path):
    row = {**ROW, "answer": answer, "subject": "pets", "id": 0}
    task = files.task_name(written(tmp_path, [row]), name=f"file_{abs(hash(answer))}")
    first, second = rows_of(task)
    assert (
        first["inputs_pretokenized"]
        == b"Q: Which has fur? (A) an otter (B) a hat A: The answer is ("
    )
    assert [first["targets_pretokenized"], second["targets_pretokenized"]] == [b"A", b"B"]
    assert [first["is_correct"], second["is_correct"]] == [True, False]
    assert (first["id"], first["subject"]) == (b"0", b"pets")
    assert [row["idx"].tolist() for row in (first, second)] == [[0, 0], [0, 1]]


def test_options_are_tokenized_as_they_follow_and_as_the_boundary_says(tmp_path, vocabulary):
    for form in ("letters", "options"):
        task = files.task_name(written(tmp_path, [ROW]), name="llama_pets", form=form)
        rows = rows_of(task)
        cut = boundary.cut(
            vocabulary.encode,
            rows[0]["inputs_pretokenized"].decode(),
            [row["targets_pretokenized"].decode() for row in rows],
            "apart",
        )
        assert tuple(rows[0]["inputs"].tolist()) == cut.prompt
        assert tuple(tuple(row["targets"].tolist()) for row in rows) == cut.options
    # Alone, the letter would begin with a space.
    letters = rows_of("llama_pets_letters")
    assert letters[0]["targets"].tolist() != list(vocabulary.encode("A"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "C"}, "answer is 'C'; it must be a letter of AB, a number from 0 to 1"),
        ({"answer": 2}, "answer is 2"),
        ({"answer": True}, "answer is True"),
        ({"choices": ["x"]}, r"choices is \['x'\]; it must be a list of 2 to 26 texts"),
        ({"choices": ["x", "x"]}, "hold a text twice"),
        ({"choices": "ab"}, "choices is 'ab'"),
        ({"id": True}, "id is True; it must be a text or a whole number"),
        ({"id": ["x"]}, r"id is \['x'\]"),
        ({"question": " "}, "question is ' '; it must be a text that is not empty"),
    ],
)
def test_malformed_questions_are_told_with_file_and_line(change, message, tmp_path, request):
    path = written(tmp_path, [ROW, {**ROW, **change}])
    task = files.task_name(path, name=f"bad_{abs(hash(request.node.name))}")
    with pytest.raises(Exception, match=rf"pets.jsonl:2: .*{message}"):
        rows_of(task)


def test_a_name_stands_for_one_file(tmp_path):
    path = written(tmp_path, [ROW])
    assert files.task_name(path) == files.task_name(path) == "pets_letters"
    with pytest.raises(ValueError, match="there is a task 'pets_letters' already"):
        files.task_name(path + "l")
    with pytest.raises(ValueError, match="form = 'letter', but it must be one of"):
        files.task_name(path, form="letter")


def creak(number):
    return changed("creak", ex_id=str(number), sentence=f"Sentence {number} is wet.")


def test_solved_examples_stand_before_every_question(tmp_path, monkeypatch):
    write_mirrors(tmp_path, {"creak": [creak(number) for number in range(6)]})
    monkeypatch.setenv(data_setup.DATA_DIR_VARIABLE, str(tmp_path))
    task = few_shot.task_name("creak_letters", shots=2, seed=1)
    assert task == few_shot.task_name("creak_letters", shots=2, seed=1)
    rows, plain = rows_of(task), rows_of("creak_letters")
    prompts = [row["inputs_pretokenized"].decode() for row in rows]
    examples = {prompt.rpartition("\n\n")[0] for prompt in prompts}
    assert [prompt.rpartition("\n\n")[2] for prompt in prompts] == [
        row["inputs_pretokenized"].decode() for row in plain
    ]
    (shown,) = examples
    solved = shown.split("\n\n")
    assert len(solved) == 2
    for example in solved:
        assert example.startswith("Q: Determine the correctness") and example.endswith("is (A).")
    others = {
        rows_of(few_shot.task_name("creak_letters", shots=2, seed=seed))[0]["inputs_pretokenized"]
        for seed in range(5)
    }
    assert len(others) > 1
    assert few_shot.task_name("creak_options", shots=0) == "creak_options"
    options = rows_of(few_shot.task_name("creak_options", shots=1))[0]["inputs_pretokenized"]
    assert options.decode().split("\n\n")[0].endswith("is wet. A: The answer is True")


def test_a_mixture_gets_examples_in_each_of_its_tasks_with_the_same_rates():
    name = few_shot.task_name("mmlu_letters", shots=5)
    assert name == "mmlu_letters_5shot_seed0"
    few, plain = (seqio.MixtureRegistry.get(n) for n in (name, "mmlu_letters"))
    assert [task.name for task in few.tasks] == [f"{t.name}_5shot_seed0" for t in plain.tasks]
    assert [few.get_rate(t) for t in few.tasks] == [plain.get_rate(t) for t in plain.tasks]
    assert registry.TASKS[few.tasks[0].name].subject == "abstract_algebra"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "creak_leters"}, "'creak_leters' is no evaluation task"),
        ({"name": "creak_letters", "split": "dev"}, "no split 'dev' to take examples from"),
        ({"name": "creak_letters", "shots": -1}, "shots = -1"),
    ],
)
def test_impossible_examples_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        few_shot.task_name(**arguments)


def test_too_few_examples_are_told(tmp_path, monkeypatch):
    write_mirrors(tmp_path, {"creak": [creak(1)]})
    monkeypatch.setenv(data_setup.DATA_DIR_VARIABLE, str(tmp_path))
    task = few_shot.task_name("creak_letters", shots=3, seed=99)
    with pytest.raises(Exception, match="has 1 questions, but shots = 3"):
        rows_of(task)
    assert issubclass(RowError, ValueError)
