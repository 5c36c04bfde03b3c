"""Solved examples before questions, none of which is the question itself."""

import hashlib
import json
import pathlib

import pytest
import seqio
import transformers

from teacherlm_jax.data import data_setup, default_vocabulary
from teacherlm_jax.main import evaluate
from teacherlm_jax.scoring import receipt_files
from teacherlm_jax.tasks.evaluation import few_shot, files, registry
from tests import tiny_study
from tests.data import tiny_tokenizers
from tests.tasks.catalogue_rows_evaluation import changed, write_mirrors


@pytest.fixture(scope="module", autouse=True)
def registered():
    """A vocabulary; afterwards the registry has the tasks of the catalogue alone, as before."""
    default_vocabulary.forget()
    default_vocabulary.choose(tiny_study.vocabulary())
    before = dict(registry.TASKS)
    yield
    default_vocabulary.forget()
    for name in registry.TASKS.keys() - before:
        del registry.TASKS[name]


def creak(number, **changes):
    return changed("creak", ex_id=str(number), sentence=f"Sentence {number} is wet.", **changes)


@pytest.fixture
def mirrored(tmp_path, monkeypatch):
    """Gives rows to CREAK."""

    def write(*rows):
        write_mirrors(tmp_path, {"creak": list(rows)})
        monkeypatch.setenv(data_setup.DATA_DIR_VARIABLE, str(tmp_path))

    return write


def prompts_of(task, split="evaluation"):
    """The examples and the question of each prompt of a task."""
    dataset = seqio.TaskRegistry.get(task).get_dataset(split=split, shuffle=False)
    rows = [row for row in dataset.as_numpy_iterator() if row["idx"][1] == 0]
    split_up = [row["inputs_pretokenized"].decode().split("\n\n") for row in rows]
    return [(tuple(examples), question) for *examples, question in split_up]


def numbers_of(examples):
    return [int(example.partition("Sentence ")[2].split()[0]) for example in examples]


def test_solved_examples_stand_before_every_question(mirrored):
    mirrored(*map(creak, range(6)))
    task = few_shot.task_name("creak_letters", shots=2, seed=1)
    assert task == few_shot.task_name("creak_letters", shots=2, seed=1)
    found = prompts_of(task)
    assert [question for _, question in found] == [q for _, q in prompts_of("creak_letters")]
    for examples, _ in found:
        assert len(examples) == 2
        for example in examples:
            assert example.startswith("Q: Determine the correctness") and example.endswith("(A).")
    seeds = [few_shot.task_name("creak_letters", shots=2, seed=seed) for seed in range(5)]
    assert len({prompts_of(each)[0] for each in seeds}) > 1
    assert few_shot.task_name("creak_options", shots=0) == "creak_options"
    examples, _ = prompts_of(few_shot.task_name("creak_options", shots=1))[0]
    assert examples[0].endswith("is wet. A: The answer is True")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_no_question_is_among_its_own_examples(mirrored, split):
    # One set of rows is every split here; "evaluation" of CREAK is its validation.
    mirrored(*map(creak, range(6)))
    task = few_shot.task_name("creak_letters", shots=2, seed=7, split=split)
    # In the order of SHA-256 of seed, set and id, in every process: 0, 1, then 3.
    expected = {number: [0, 1] for number in range(2, 6)} | {0: [1, 3], 1: [0, 3]}
    for asked in (split, "evaluation"):
        found = [
            numbers_of([*examples, question]) for examples, question in prompts_of(task, asked)
        ]
        assert found == [[*expected[number], number] for number in range(6)]
        assert found == [numbers_of([*e, q]) for e, q in prompts_of(task, asked)]


def test_a_question_is_known_under_another_id_by_what_it_asks(mirrored):
    again = [changed("creak", ex_id=f"again{n}", sentence=f"sentence {n}  is WET.") for n in (0, 1)]
    mirrored(*map(creak, range(6)), *again)
    task = few_shot.task_name("creak_letters", shots=3, seed=7)
    for examples, question in prompts_of(task):
        assert len({example.lower() for example in examples}) == 3
        shown = " ".join(" ".join(examples).lower().split())
        asked = " ".join(question.lower().split()).partition(" (a)")[0]
        assert asked not in shown


def test_examples_are_the_same_from_more_rows_than_are_kept_at_a_time(mirrored):
    mirrored(*map(creak, range(1200)))
    task = few_shot.task_name("creak_letters", shots=2, seed=11)
    (first, _), *_ = prompts_of(task)
    ordered = sorted(range(1200), key=lambda n: hashlib.sha256(f"11 creak {n}".encode()).digest())
    assert numbers_of(first) == ordered[:2] and 0 not in ordered[:3]


def test_too_few_examples_are_told(mirrored):
    mirrored(creak(1), creak(2), creak(2, entity="again"))
    task = few_shot.task_name("creak_letters", shots=3, seed=99)
    with pytest.raises(Exception, match="has 2 different questions, but shots = 3"):
        prompts_of(task)
    # All that there are: enough for any but themselves.
    task = few_shot.task_name("creak_letters", shots=2, seed=99)
    with pytest.raises(Exception, match="question '1' of creak_letters is itself one of the 2"):
        prompts_of(task)


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
        ({"name": "creak_letters", "split": "dev"}, r"no split 'dev' .* it has \[.*'\]\.$"),
        ({"name": "creak_letters", "shots": -1}, "shots = -1"),
    ],
)
def test_impossible_examples_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        few_shot.task_name(**arguments)


def test_examples_before_examples_are_refused():
    once = few_shot.task_name("creak_letters", shots=1, seed=3)
    with pytest.raises(ValueError, match=f"{once} has solved examples already"):
        few_shot.task_name(once, shots=1)


# Questions of a file


def file_of(folder, name, animals):
    # Ids count from 0 in each file, and say nothing of what is asked.
    rows = [
        {"id": n, "question": f"Has {animal} fur?", "choices": ["no", "yes"], "answer": "yes"}
        for n, animal in enumerate(animals)
    ]
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(folder / name)


def test_questions_of_a_file_have_the_examples_of_another(tmp_path):
    path = file_of(tmp_path, "asked.jsonl", ["a fox", "an ox"])
    train = file_of(tmp_path, "solved.jsonl", ["a cat", "a dog"])
    task = files.task_name(path, name="furry", train=train)
    (examples, question), (others, _) = prompts_of(few_shot.task_name(task, shots=2))
    assert set(examples) == {
        f"Q: Has {animal} fur? (A) no (B) yes A: The answer is (B)."
        for animal in ("a cat", "a dog")
    }
    assert question == "Q: Has a fox fur? (A) no (B) yes A: The answer is ("
    assert others == examples
    # Evaluation tasks of the catalogue are what the registry has.
    assert task not in registry.TASKS


def test_a_malformed_example_is_named_with_what_to_do(tmp_path, monkeypatch):
    train = file_of(tmp_path, "solved.jsonl", ["a cat", "", "a dog"])
    rows = pathlib.Path(train).read_text().replace("Has  fur?", "")
    pathlib.Path(train).write_text(rows)
    path = file_of(tmp_path, "asked.jsonl", ["a fox"])
    task = few_shot.task_name(files.task_name(path, name="mended", train=train), shots=2)
    message = r"examples before it .*solved.jsonl:2: question is ''.*Mend or remove .*'skip'"
    with pytest.raises(Exception, match=message):
        prompts_of(task)
    monkeypatch.setenv("TEACHERLM_MALFORMED_ROWS", "skip")
    task = few_shot.task_name(files.task_name(path, name="left_out", train=train), shots=2)
    ((examples, _),) = prompts_of(task)
    assert len(examples) == 2


def test_a_file_without_solved_questions_says_how_to_give_them(tmp_path):
    task = files.task_name(file_of(tmp_path, "alone.jsonl", ["a fox", "an ox", "a cat"]))
    with pytest.raises(ValueError, match=r"no split 'train'.*--gin.files.task_name.train=FILE"):
        few_shot.task_name(task, shots=2)
    for examples, question in prompts_of(few_shot.task_name(task, shots=2, split="evaluation")):
        assert len(examples) == 2
        assert not any(example.startswith(question) for example in examples)


def test_the_command_shows_examples_of_a_file_before_questions_of_another(tmp_path, capsys):
    folder = tiny_tokenizers.opt(tmp_path / "opt")
    config = transformers.OPTConfig(
        vocab_size=512,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=64,
        max_position_embeddings=512,
        word_embed_proj_dim=32,
    )
    transformers.OPTForCausalLM(config).save_pretrained(folder)
    default_vocabulary.forget()
    flags = {
        "CHECKPOINT_DIR": f"'{folder}'",
        "TOKENIZER": f"'{folder}'",
        "OUTPUT_DIR": f"'{tmp_path / 'out'}'",
        "MIXTURE_OR_TASK_NAME": "@few_shot.task_name()",
        "few_shot.task_name.name": "@files.task_name()",
        "few_shot.task_name.shots": "3",
        "files.task_name.path": file_of(tmp_path, "wild.jsonl", ["a fox", "an ox"]),
        "files.task_name.train": file_of(tmp_path, "tame.jsonl", ["a cat", "a dog", "a cow"]),
        "evaluate.CheckpointEvaluation.max_length": "512",
    }
    gin = [f"--gin.{name}={value}" for name, value in flags.items()]
    assert evaluate.main(["--gin_file=runs/evaluate.gin", *gin]) == 0
    assert "wild_letters_3shot_seed0: " in capsys.readouterr().out
    receipts = receipt_files.read(tmp_path / "out" / "receipts.jsonl")
    assert [receipt.question_id for receipt in receipts] == ["0", "1"]
    for receipt, animal in zip(receipts, ("a fox", "an ox")):
        *examples, question = receipt.prompt.split("\n\n")
        assert question == f"Q: Has {animal} fur? (A) no (B) yes A: The answer is ("
        assert len(examples) == 3 and all(example.endswith("(B).") for example in examples)
