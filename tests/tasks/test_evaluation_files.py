"""Questions of a file, in a vocabulary that marks beginnings."""

import json

import pytest
import seqio

from teacherlm_jax.data import default_vocabulary
from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary
from teacherlm_jax.scoring import boundary
from teacherlm_jax.tasks.evaluation import files
from tests.data import tiny_tokenizers


@pytest.fixture(scope="module", autouse=True)
def vocabulary(tmp_path_factory):
    default_vocabulary.forget()
    found = HuggingFaceVocabulary(tiny_tokenizers.llama(tmp_path_factory.mktemp("llama")))
    default_vocabulary.choose(found)
    yield found
    default_vocabulary.forget()


def written(folder, rows, name="pets.jsonl"):
    path = folder / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def rows_of(task, split="evaluation"):
    return list(
        seqio.TaskRegistry.get(task).get_dataset(split=split, shuffle=False).as_numpy_iterator()
    )


ROW = {"question": "Which has fur?", "choices": ["an otter", "a hat"], "answer": "A"}


@pytest.mark.parametrize("answer", ["A", "(a)", 0, "an otter"])
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
    train = written(tmp_path, [ROW], "solved.jsonl")
    with pytest.raises(ValueError, match=r"'pets_letters' already, of .*pets.jsonl'}: give"):
        files.task_name(path, train=train)
    with pytest.raises(ValueError, match="form = 'letter', but it must be one of"):
        files.task_name(path, form="letter")


def test_solved_questions_of_another_file_are_the_train_split(tmp_path):
    path = written(tmp_path, [ROW])
    train = written(tmp_path, [{**ROW, "question": "Which has a brim?", "answer": "B"}], "s.jsonl")
    task = files.task_name(path, name="taught", train=train)
    assert files.task_name(path, name="taught", train=train) == task
    assert [row["answer"] for row in rows_of(task, "train")] == [b"B", b"B"]
    assert [row["answer"] for row in rows_of(task)] == [b"A", b"A"]
    assert list(seqio.TaskRegistry.get(files.task_name(path, name="untaught")).splits) == [
        "evaluation"
    ]
