"""MMLU's subjects, groups and cleaning."""

import csv
import json

import pytest

from teacherlm_jax.data.row_rendering import RawRow, RowError
from teacherlm_jax.tasks.catalogue.mmlu import clean_question
from teacherlm_jax.tasks.evaluation import mmlu
from tests.source import ROOT

TABLE = ROOT.parent / "shared" / "reference" / "eval.csv"


def test_subjects_stand_in_one_group():
    assert [len(subjects) for subjects in mmlu.GROUPS.values()] == [18, 13, 12, 14]
    assert [len(subjects) for subjects in mmlu.LM_EVAL_GROUPS.values()] == [19, 13, 12, 13]
    for groups in (mmlu.GROUPS, mmlu.LM_EVAL_GROUPS):
        subjects = sorted(subject for group in groups.values() for subject in group)
        assert tuple(subjects) == mmlu.SUBJECTS
    assert len(set(mmlu.SUBJECTS)) == 57


@pytest.mark.parametrize(
    ("column", "groups"),
    [("mmlu_group", mmlu.GROUPS), ("mmlu_group_lm_eval", mmlu.LM_EVAL_GROUPS)],
)
def test_groups_are_those_of_the_table(column, groups):
    if not TABLE.is_file():
        pytest.skip(f"{TABLE} is not here")
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["name"].startswith("mmlu/")]
    table = {row["name"].removeprefix("mmlu/"): row[column] for row in rows}
    ours = {subject: group for group, subjects in groups.items() for subject in subjects}
    assert {subject: group.lower().replace(" ", "_") for subject, group in table.items()} == ours


@pytest.mark.parametrize(
    ("question", "clean"),
    [
        ("Which is it", "Which is it."),
        ("Which is it?", "Which is it?"),
        ("It is,", "It is,"),
        ("It is.", "It is."),
        ("Run!", "Run!"),
        ('He said "no"', 'He said "no"'),
        ("It is:", "It is:."),
        ("This is\na text", "This is a text."),
        # The full stop comes first, as in the authors' scripts.
        ("Is it?\n", "Is it? ."),
        (" two  spaces ", " two  spaces ."),
    ],
)
def test_questions_are_cleaned_as_the_authors_do(question, clean):
    assert clean_question(question) == clean


def test_a_row_whose_subject_is_no_text_is_refused_and_not_passed_over():
    row = {"question": "Which?", "choices": list("wxyz"), "answer": 0, "subject": None}
    for values in (row, {**row, "subject": 7}):
        raw = json.dumps(values).encode()
        for asked in (mmlu.SETS[0], mmlu.SETS[-1]):
            assert asked.may_have(raw)
            with pytest.raises(RowError, match="question, subject and options must be texts"):
                asked.questions(RawRow(values, 0, "here"))
    assert not mmlu.SETS[0].may_have(b'{"question": "Which?", "subject": "anatomy", "answer": 1}')


def test_a_subjects_introduction_is_the_authors():
    assert mmlu.introduction("high_school_us_history") == (
        "The following are multiple choice questions (with answers) about high school us history. "
    )
