"""`teacherlm data decontaminate` from mirrors and files to reports."""

import json

import pytest

from teacherlm_jax.data import data_setup, ledger
from teacherlm_jax.main import command_line
from tests.tasks.catalogue_rows_evaluation import write_mirrors

CREAK = [
    {"ex_id": "c1", "sentence": "An otter can outrun most postmen.", "label": "true"},
    {"ex_id": "c2", "sentence": "Nobody has ever eaten a lighthouse.", "label": "true"},
]
STRATEGY = {
    "qid": "s1",
    "question": "Could a gull carry the crown of a king?",
    "facts": ["Crowns weigh more than a kilogram or even two.", "Gulls are light."],
    "answer": False,
}
LEAKS = [
    {"id": "t1", "question": "Say: an otter can outrun most postmen!", "answer": "yes"},
    {"id": "t2", "question": "Determine the correctness of the following sentence. No. (A) True"},
    {"id": "t3", "question": "x", "chain_of_thought": "Could a gull carry the crown of a king?"},
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_mirrors(tmp_path, {"creak": CREAK, "strategyqa": [STRATEGY]})
    monkeypatch.setenv(data_setup.DATA_DIR_VARIABLE, str(tmp_path))
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in LEAKS))
    return tmp_path


def decontaminate(folder, *arguments, status=0):
    command = ["data", "decontaminate", *arguments, "--to", str(folder / "out")]
    assert command_line.main(command) == status


def test_every_evaluation_that_is_here_is_searched_for(folder, capsys):
    decontaminate(folder, str(folder / "train.jsonl"))
    output = capsys.readouterr().out
    assert "NOT SEARCHED FOR" in output and "2 of 3 rows match" in output
    report = json.loads(ledger.read_text(folder / "out" / "report.json"))
    touched = {task: splits["evaluation"] for task, splits in report["evaluation"].items()}
    for form in ("letters", "options"):
        assert touched[f"creak_{form}"]["kinds"] == {"exact": 0, "whole": 1, "ngram": 0}
        assert touched[f"creak_{form}"]["questions"] == 2
        for task in (f"strategyqa_{form}", f"strategyqa_with_facts_{form}"):
            assert touched[task]["kinds"] == {"exact": 1, "whole": 0, "ngram": 0}
    assert "boolq_letters" in report["not_searched_for"]
    subset = json.loads(ledger.read_text(folder / "out" / "clean_subset.json"))
    assert subset["creak_letters"]["evaluation"] == {"clean": ["c2"], "touched": ["c1"]}
    assert subset["strategyqa_letters"]["evaluation"]["touched"] == ["s1"]
    decontaminate(folder, str(folder / "train.jsonl"))
    assert "report of this search already" in capsys.readouterr().out


def test_facts_count_where_they_are_shown(folder):
    fact = STRATEGY["facts"][0]
    (folder / "train.jsonl").write_text(json.dumps({"inputs": f"Known: {fact}"}) + "\n")
    against = ("--against", "strategyqa_letters", "--against", "strategyqa_with_facts_letters")
    decontaminate(folder, str(folder / "train.jsonl"), *against, "--ngram", "8")
    report = json.loads(ledger.read_text(folder / "out" / "report.json"))
    assert report["evaluation"]["strategyqa_letters"]["evaluation"]["touched"] == 0
    assert report["evaluation"]["strategyqa_with_facts_letters"]["evaluation"]["touched"] == 1


def test_data_that_is_not_here_is_an_error_where_it_was_asked_for(folder, capsys):
    decontaminate(folder, str(folder / "train.jsonl"), "--against", "sciq_letters", status=2)
    assert "'sciq' is not here" in capsys.readouterr().err


def test_malformed_rows_are_an_error_or_are_kept_beside(folder, capsys):
    (folder / "train.jsonl").write_text(json.dumps(LEAKS[0]) + "\n{broken\n")
    data = (str(folder / "train.jsonl"), "--against", "creak_letters")
    decontaminate(folder, *data, status=2)
    assert "train.jsonl:2" in capsys.readouterr().err
    decontaminate(folder, *data, "--malformed_rows", "skip")
    assert "1 of 1 rows match" in capsys.readouterr().out
    assert list((folder / "out" / "rejects").glob("*/*.rejects.jsonl"))


def test_training_data_without_text_is_not_taken_for_clean(folder, capsys):
    against = (str(folder / "train.jsonl"), "--against", "creak_letters")
    for rows in ([], [{"n": 1}]):
        (folder / "more.jsonl").write_text("".join(map(json.dumps, rows)))
        decontaminate(folder, str(folder / "more.jsonl"), *against, status=2)
        error = capsys.readouterr().err
        assert f"none of the {len(rows)} rows of {folder / 'more.jsonl'} has text" in error
        assert not ledger.is_complete(folder / "out" / "report.json")


def test_questions_that_changed_are_not_reported_on_by_what_was_found_of_others(folder, capsys):
    (folder / "asked.jsonl").write_text(json.dumps({"question": CREAK[0]["sentence"]}) + "\n")
    data = (str(folder / "train.jsonl"), "--against", str(folder / "asked.jsonl"))
    decontaminate(folder, *data)
    (folder / "asked.jsonl").write_text(json.dumps({"question": STRATEGY["question"]}) + "\n")
    decontaminate(folder, *data, status=2)
    assert "asked.jsonl: folder has 50, this run has 56" in capsys.readouterr().err
    decontaminate(folder, *data[:2], str(folder / "absent.jsonl"), status=2)
    assert "no such file" in capsys.readouterr().err


def test_what_was_not_finished_is_searched_anew_and_what_was_is_not_written_over(folder, capsys):
    (folder / "train.jsonl").write_text("{broken\n")
    data = (str(folder / "train.jsonl"), "--against", "creak_letters")
    decontaminate(folder, *data, status=2)
    (folder / "train.jsonl").write_text(json.dumps(LEAKS[0]) + "\n")
    decontaminate(folder, *data)
    capsys.readouterr()
    decontaminate(folder, *data, "--ngram", "9", status=2)
    assert "another configuration" in capsys.readouterr().err
    decontaminate(folder, *data, "--shown", "-3", status=2)
    assert "--shown is -3" in capsys.readouterr().err
