import json

import pytest

from teacherlm_jax.data import records
from teacherlm_jax.main import data
from tests.source import ROOT

PAPER = ROOT.parent / "shared" / "data" / "paper_eval"
LAYOUTS = ("creak", "ecqa", "strategyqa")


def test_annotations_of_two_people_are_imported_and_compared(tmp_path, capsys):
    rows = [
        f'"Is {number} even?",yes,no,{"no" if number % 2 and name == "ann" else "yes"},"so, {name}"'
        for name in ("ann", "bob")
        for number in range(4)
    ]
    for name, part in (("ann", rows[:4]), ("bob", rows[4:])):
        text = "\n".join(["q_text,a,b,right,why", *part]) + "\n"
        (tmp_path / f"{name}.csv").write_text(text)
    columns = ["question=q_text", "choices=a,b", "answer=right", "chain_of_thought=why"]
    flags = [f"--column={column}" for column in columns]
    target = tmp_path / "out"
    assert data.main(["import", str(tmp_path / "*.csv"), f"--to={target}", *flags]) == 0
    out = capsys.readouterr().out
    assert "2 records from 8 rows" in out and "chain_of_thought 2" in out
    assert "annotators disagree on the answer: 4" in out
    assert "answers: 50.0 %, Cohen's kappa 0.000" in out
    assert "chain_of_thought: 0.500 (ROUGE-L F1" in out
    assert [record.question for record in records.read_jsonl(target)] == [
        "Is 0 even?",
        "Is 2 even?",
    ]


def test_rows_without_any_explanation_are_told_of(tmp_path, capsys):
    row = {"question": "Is 0 even?", "choices": ["yes", "no"], "answer": "A", "why": "so"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    for flags, is_told in (([], True), (["--column=chain_of_thought=why"], False)):
        target = tmp_path / f"out{len(flags)}"
        assert data.main(["import", str(tmp_path / "a.jsonl"), f"--to={target}", *flags]) == 0
        assert ("no explanation was found" in capsys.readouterr().out) == is_told


def test_a_flag_that_is_no_column_is_refused(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text(json.dumps({"q": "x"}) + "\n")
    flags = [str(tmp_path / "a.jsonl"), f"--to={tmp_path / 'out'}"]
    assert data.main(["import", *flags, "--column=question"]) == 2
    assert "--column=question: write FIELD=COLUMN" in capsys.readouterr().err
    assert data.main(["import", *flags, "--column=quest=q"]) == 2
    assert "there is no field 'quest'" in capsys.readouterr().err


@pytest.mark.skipif(not PAPER.is_dir(), reason="the authors' evaluation data is not here")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_paper_s_human_explanations_are_imported_whole(layout, tmp_path, capsys):
    file = PAPER / f"{layout}.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    target = tmp_path / "out"
    assert data.main(["import", str(file), f"--to={target}", f"--layout={layout}"]) == 0
    found = list(records.read_jsonl(target))
    assert [record.answer for record in found] == [row["answer"] for row in rows]
    assert all(record.chain_of_thought for record in found)
    sources = [record.provenance["chain_of_thought"]["source_id"] for record in found]
    assert sources == [row["id"] for row in rows]
