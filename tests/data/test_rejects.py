import json

from teacherlm_jax.data import ledger
from teacherlm_jax.data.rejects import Rejects


def kept(folder):
    return sorted(
        json.loads(line)["where"]
        for file in ledger.list_complete(folder)
        for line in ledger.read_text(file).splitlines()
    )


def a_pass(folder, numbers):
    rejects = Rejects(folder, "task/one: x")
    for number in numbers:
        rejects.add(b"caf\xe9", f"a.jsonl:{number}", "not UTF-8")
    rejects.finish(100)
    return rejects


def test_rows_are_kept_once_however_often_and_in_what_parts_they_are_met(tmp_path):
    folder = tmp_path / "task-one-x"
    a_pass(tmp_path, [3, 1])
    before = sorted(path.name for path in folder.iterdir())
    a_pass(tmp_path, [1, 3])
    a_pass(tmp_path, [1])
    assert sorted(path.name for path in folder.iterdir()) == before
    a_pass(tmp_path, [7, 3, 7])
    assert kept(folder) == ["a.jsonl:1", "a.jsonl:3", "a.jsonl:7"]
    (line, *_) = ledger.read_text(ledger.list_complete(folder)[0]).splitlines()
    assert json.loads(line) | {"where": ""} == {
        "where": "",
        "reason": "not UTF-8",
        "row": "caf\\xe9",
    }


def test_they_are_counted_and_told_of_once(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        for _ in range(2):
            assert a_pass(None, [5, 6]).count == 2
    (message,) = [record.getMessage() for record in caplog.records if "malformed" in record.message]
    assert "task/one: x: 2 of 100 rows" in message and "a.jsonl:5: not UTF-8" in message
    assert not list(tmp_path.iterdir())


def test_many_do_not_stay_in_memory(tmp_path):
    a_pass(tmp_path, range(10_001))
    folder = tmp_path / "task-one-x"
    assert len(ledger.list_complete(folder)) == 2
    assert len(kept(folder)) == 10_001
