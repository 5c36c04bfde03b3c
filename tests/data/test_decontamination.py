"""A search from rows to reports."""

import json

import pytest

from teacherlm_jax.data import decontamination_report, ledger, run_claim, text_rows
from teacherlm_jax.data.decontamination import Findings, find_span, search
from teacherlm_jax.data.question_index import EvaluationQuestion, MatchRule, QuestionIndex

LEAKED = "Could an otter outrun a postman?"
HALF = "Why did the old lighthouse keeper of the northern island never learn how to swim, at all?"
CLEAN = "Which of the two sisters planted the taller of the apple trees?"


def evaluation():
    for task in ("letters", "options"):
        for number, (text, answer) in enumerate(((LEAKED, "No"), (HALF, "Fear"), (CLEAN, "Ann"))):
            yield EvaluationQuestion(
                task, "test", f"q{number}", {"question": text}, ("No", "Fear", "Ann"), answer
            )


def rows(count=1):
    texts = [
        {"question": "Something else?", "chain_of_thought": f"As in: {LEAKED} no, it could not."},
        {"question": "Nothing to see here.", "answer": "A"},
        {"question": "x", "fundamentals": HALF.removeprefix("Why did ").removesuffix(", at all?")},
    ]
    for number in range(count * 3):
        values = texts[number % 3]
        yield text_rows.TextRow("made.jsonl", f"r{number}", f"made:{number}", values, values)


def test_matches_show_both_texts_and_what_they_share():
    index = QuestionIndex(evaluation(), MatchRule())
    first, second, third = search(rows(), index)
    assert not second.matches
    shown = first.matches[0].as_json()
    assert (
        shown["before"] + shown["matched"] + shown["after"] == first.row.texts["chain_of_thought"]
    )
    assert (shown["matched"], shown["kind"]) == (LEAKED.removesuffix("?"), "whole")
    assert (shown["question"], shown["field"], shown["row_id"]) == (
        LEAKED,
        "chain_of_thought",
        "r0",
    )
    assert shown["also"] == [["options", "test", "q0"]]
    assert shown["answer_in_row"] is True
    assert third.matches[0].as_json()["kind"] == "ngram"
    assert third.matches[0].as_json()["answer_in_row"] is False


def test_what_is_counted():
    index = QuestionIndex(evaluation(), MatchRule())
    findings = Findings(index)
    for row in search(rows(2), index):
        findings.add(row)
    counts = findings.counts()
    assert [*counts] == [("letters", "test"), ("options", "test")]
    for count in counts.values():
        assert (count.questions, count.touched, count.unmatchable) == (3, 2, 0)
        assert count.kinds == {"exact": 0, "whole": 1, "ngram": 1}
    assert findings.sources == {"made.jsonl": {"rows": 6, "rows_with_matches": 4}}
    subset = findings.clean_subset()["options"]["test"]
    assert subset == {"clean": ["q2"], "touched": ["q0", "q1"]}


def test_batches_do_not_change_what_is_found(monkeypatch):
    index = QuestionIndex(evaluation(), MatchRule())
    expected = [[m.as_json() for m in row.matches] for row in search(rows(3), index)]
    monkeypatch.setattr("teacherlm_jax.data.decontamination._CHARACTERS_AT_ONCE", 1)
    assert [[m.as_json() for m in row.matches] for row in search(rows(3), index)] == expected


def test_files_are_written_and_the_report_last(tmp_path, monkeypatch):
    index = QuestionIndex(evaluation(), MatchRule())
    report = decontamination_report.write(rows(5), index, tmp_path, searched=["made.jsonl"])
    assert report["rows_to_drop"] == 10 and report["questions_touched"] == 2
    matches = read(tmp_path, "matches")
    assert [match["row_id"] for match in matches] == ["r0", "r2", "r3", "r5", "r6", "r8"]
    drop = read(tmp_path, "drop")
    assert drop[0]["key"] == next(rows()).key and drop[0]["tasks"] == ["letters", "options"]
    assert "**Could an otter outrun a postman**" in (tmp_path / "report.md").read_text()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def torn(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(decontamination_report, "_report", torn)
        with pytest.raises(KeyboardInterrupt):
            decontamination_report.write(rows(9), index, tmp_path, searched=["made.jsonl"])
    assert not ledger.is_complete(tmp_path / "report.json")
    decontamination_report.write(rows(5), index, tmp_path, searched=["made.jsonl"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_whose_folder_another_took_writes_nothing_more(tmp_path):
    index = QuestionIndex(evaluation(), MatchRule())
    claimed = run_claim.take(tmp_path, {"ngram": 13})

    def interrupted():
        yield from rows(5)
        other = run_claim.take(tmp_path, {"ngram": 9})
        arguments = {"searched": ["made.jsonl"], "claimed": other}
        decontamination_report.write(rows(2), index, tmp_path, **arguments)

    with pytest.raises(run_claim.FolderTakenError, match="its ngram is 9, this run's is 13"):
        decontamination_report.write(
            interrupted(), index, tmp_path, searched=["made.jsonl"], claimed=claimed
        )
    assert run_claim.finished(tmp_path, "report.json", {"ngram": 9})["rows_to_drop"] == 4
    assert len(read(tmp_path, "drop")) == 4


def read(folder, name):
    paths = ledger.list_complete(folder, f"{name}-*.jsonl")
    return [json.loads(line) for path in paths for line in ledger.read_text(path).splitlines()]


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("Yes, DON\u2019T stop! ", "DON\u2019T stop"),
        ("undont stop. Dont  -- stop", "Dont  -- stop"),
        ("dont\\nstop", "dont\\nstop"),
        ("why?\\ndont stop", "dont stop"),
    ],
)
def test_where_words_stand(text, matched):
    begin, end = find_span(text, "dont stop")
    assert text[begin:end] == matched


def test_words_that_are_not_there():
    assert find_span("do not stop", "dont stop") is None
