"""The rows of evaluation sets, in every layout, and the authors' own prompts."""

import dataclasses
import json
import pathlib

import pytest

from teacherlm_jax.data.row_rendering import RawRow, RowError
from teacherlm_jax.tasks.catalogue.dataset import DATASETS
from teacherlm_jax.tasks.evaluation import forms, mmlu, sets
from tests.source import ROOT
from tests.tasks.catalogue_rows_evaluation import CASES, COLOURS, TRUE_FALSE, changed

RELEASED = ROOT.parent / "shared" / "data" / "paper_eval"
AUTHORS = {asked.name: asked for asked in (*sets.PAPER, sets.ECQA_DOUBLED)}


def asked_in_letters(name, row):
    [question] = AUTHORS[name].questions(RawRow(row, 0, "here"))
    return forms.letters("", question)[0], question


def released(name):
    file = pathlib.Path(RELEASED / f"{name}.jsonl")
    if not file.is_file():
        pytest.skip(f"{file} is not here")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("file", "name"),
    [("creak", "creak"), ("ecqa", "ecqa_doubled"), ("strategyqa", "strategyqa_with_facts")],
)
def test_prompts_are_the_authors(file, name):
    rows = released(file)
    for row in rows:
        prompt, question = asked_in_letters(name, row)
        assert prompt == f"Q: {row['prompted_question']} A: The answer is ("
        assert (question.answer, question.id) == (row["answer"], row["id"])
    assert len(rows) >= 80


def test_ecqa_has_one_q_unless_asked_otherwise():
    for row in released("ecqa"):
        assert asked_in_letters("ecqa", row)[0] == f"{row['prompted_question']} A: The answer is ("


def test_strategyqa_without_facts_is_the_bare_question():
    for row in released("strategyqa"):
        prompt, question = asked_in_letters("strategyqa", row)
        bare = row["question"].strip()
        assert prompt == f"Q: {bare} (A) True (B) False A: The answer is ("
        assert question.answer == row["answer"]


def test_letters_of_ecqa_are_the_authors_from_the_released_fields_too():
    for row in released("ecqa"):
        place = "ABCDE".index(row["answer"])
        options = {f"q_op{n}": text for n, text in enumerate(row["choices"], start=1)}
        fields = {"q_no": row["id"], "q_text": row["question"], "q_ans": row["choices"][place]}
        assert asked_in_letters("ecqa", {**fields, **options})[1].answer == row["answer"]


# Rows


@pytest.mark.parametrize("name", CASES)
def test_rows_are_read(name):
    case = CASES[name]
    rows = [row for row in (case.row, case.hub) if row is not None]
    for row in rows:
        assert DATASETS[name].read(row) == case.sample
    assert rows


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("creak", {"id": "train_3", "question": "{Soup} is wet.", "answer": "A"}),
        ("creak", changed("creak", label=True)),
        (
            "creak",
            {"id": "train_3", "answer": "(A)"}
            | {"question": "Determine the correctness of the following sentence. {Soup} is wet."},
        ),
        ("ecqa", {"id": "e1", "question": "What  is the sky?", "answer": "C", "choices": COLOURS}),
        ("ecqa", changed("ecqa", answer="(C)", question="Q: What  is the sky?", q_text=None)),
        ("strategyqa", changed("strategyqa", qid=None, id="s1", answer="B")),
        (
            "strategyqa",
            changed("strategyqa", question="Fact 1: …", origin_question="Could an {Ox} run?"),
        ),
        ("mmlu", changed("mmlu", subject=None, task="college physics")),
        (
            "mmlu",
            changed("mmlu", choices=None, answer="B", A="milk", B="t\nea", C="-", D="-"),
        ),
        ("logiqa2", changed("logiqa2", answer=None, label="C")),
    ],
)
def test_other_layouts_are_read(name, row):
    row = json.loads(json.dumps(row))
    assert DATASETS[name].read(row) == CASES[name].sample


def test_facts_in_one_text_are_one_fact():
    sample = DATASETS["strategyqa"].read(changed("strategyqa", facts="One. Two."))
    assert sample.fields["facts"] == "Fact 1: One. Two."


def test_options_of_math_qa_may_be_a_written_list():
    row = {"Problem": "x", "correct": "b", "options": "['a ) 24', 'b ) 1 , 0', 'c ) it is 5']"}
    sample = DATASETS["math_qa"].read(row)
    assert (sample.options, sample.answer) == (("24", "1 , 0", "it is 5"), "1 , 0")


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("creak", {"label": None}),
        ("strategyqa", {"answer": None}),
        ("commonsense_qa", {"answerKey": ""}),
    ],
)
def test_rows_without_an_answer_are_left_out(name, fields):
    assert DATASETS[name].read(changed(name, **fields)) is None


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("creak", changed("creak", label="perhaps"), "must be true or false"),
        ("creak", {"question": "x", "answer": "C"}, "must be a letter of AB"),
        ("ecqa", changed("ecqa", q_ans="green"), "'q_ans' is 'green'"),
        ("ecqa", changed("ecqa", q_op2=" "), "option 1 is ''"),
        ("strategyqa", changed("strategyqa", facts=3), "'facts' is 3"),
        ("strategyqa", changed("strategyqa", answer="yes"), "must be a letter of AB"),
        ("mmlu", changed("mmlu", answer=4), "must be 0 to 3"),
        ("mmlu", changed("mmlu", answer="E"), "must be a letter of ABCD"),
        ("mmlu", changed("mmlu", choices=["a"]), "list of four"),
        ("mmlu", changed("mmlu", question=3), "must be texts"),
        ("mmlu", changed("mmlu", subject=None), "no field 'subject' or 'task'"),
        ("commonsense_qa", {"input": "What?", "output": "x"}, "must list options"),
        ("commonsense_qa", {"input": r"What? \n (B) x (A) y", "output": "x"}, "must list options"),
        ("commonsense_qa", {"input": r"What? \n (A) x (B) y", "output": "z"}, "must be one of"),
        ("math_qa", {"Problem": "x", "correct": "a", "options": "a ) 1 , c ) 2"}, "must list a"),
        ("logiqa", changed("logiqa", options="abcd"), "must be a list of texts"),
        ("logiqa2", changed("logiqa2", answer=True), "must be 0 to 3"),
    ],
)
def test_malformed_rows_are_errors(name, row, message):
    with pytest.raises(RowError, match=message):
        DATASETS[name].read(row)


def test_facts_are_needed_where_they_are_asked_with():
    bare = RawRow(changed("strategyqa", facts=None), 0, "here")
    with pytest.raises(RowError, match="no field 'facts'"):
        AUTHORS["strategyqa_with_facts"].questions(bare)
    [question] = AUTHORS["strategyqa"].questions(bare)
    assert (question.choices, question.answer) == (TRUE_FALSE, "B")


def test_a_question_without_options_cannot_be_ranked():
    asked = dataclasses.replace(AUTHORS["creak"], dataset="xsum")
    row = {"document": "A text.", "summary": "Short."}
    with pytest.raises(RowError, match="0 options"):
        asked.questions(RawRow(row, 0, "here"))


def test_rows_of_other_subjects_are_no_questions_of_a_subject():
    row = RawRow(changed("mmlu"), 0, "here")
    by_subject = {asked.subject: asked.questions(row) for asked in mmlu.SETS}
    assert [subject for subject, found in by_subject.items() if found] == ["college_physics"]
