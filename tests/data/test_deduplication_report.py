"""Files of a de-duplication."""

import json

import pytest

from teacherlm_jax.data import (
    deduplication_report,
    ledger,
    record_files,
    row_shards,
    run_claim,
    text_rows,
)
from teacherlm_jax.data.deduplication import DuplicateRule

LONG = "the quick brown fox jumps over the lazy dog and runs away from the angry farmer today"


def written(folder, texts):
    lines = [json.dumps({"id": f"r{n}", "text": text, "n": n}) for n, text in enumerate(texts)]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    return lambda: text_rows.of_files([folder / "rows.jsonl"])


def content(folder):
    files = record_files.list_files(folder)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_rows_that_are_kept_and_others(tmp_path):
    read = written(tmp_path, ["something else", LONG, f"{LONG} again", LONG.upper()])
    report = deduplication_report.write(read, tmp_path / "out", DuplicateRule())
    assert {key: report[key] for key in ("rows", "kept", "duplicates", "exact")} == {
        "rows": 4,
        "kept": 2,
        "duplicates": 2,
        "exact": 0,
    }
    kept = content(tmp_path / "out" / "kept")
    assert kept == [
        {"id": "r0", "text": "something else", "n": 0},
        {"id": "r2", "text": f"{LONG} again", "n": 2},
    ]
    first, second = content(tmp_path / "out" / "duplicates")
    assert first["duplicate_of"] == second["duplicate_of"] == "r2"
    assert first["duplicate_of_where"].endswith("rows.jsonl:3")
    assert first["similarity"] == second["similarity"] == pytest.approx(13 / 14)
    assert (first["id"], first["where"].rpartition(":")[2]) == ("r1", "2")


def test_an_interrupted_run_does_not_look_finished_and_the_next_one_does_the_same(
    tmp_path, monkeypatch
):
    texts = [f"row {n} speaks of the number {n} alone" for n in range(25)]
    read = written(tmp_path, texts)
    monkeypatch.setattr(row_shards.CountedShards.__init__, "__defaults__", (10,))
    deduplication_report.write(read, tmp_path / "whole", DuplicateRule())
    before = {path.name: path.read_bytes() for path in (tmp_path / "whole" / "kept").iterdir()}
    assert len(before) == 6
    whole = ledger.write_whole

    def killed(path, content):
        if "00001-of" in str(path):
            raise KeyboardInterrupt
        return whole(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            deduplication_report.write(read, tmp_path / "out", DuplicateRule())
    with pytest.raises(FileNotFoundError, match="not finished"):
        record_files.list_files(tmp_path / "out" / "kept")
    assert not ledger.is_complete(tmp_path / "out" / "report.json")
    deduplication_report.write(read, tmp_path / "out", DuplicateRule())
    after = {path.name: path.read_bytes() for path in (tmp_path / "out" / "kept").iterdir()}
    assert after == before


def test_data_that_changes_while_it_is_read_is_an_error(tmp_path):
    versions = iter([["one row", "another"], ["one row"]])
    with pytest.raises(ValueError, match="row 1 is another"):
        deduplication_report.write(
            lambda: written(tmp_path, next(versions))(), tmp_path / "out", DuplicateRule()
        )


@pytest.mark.parametrize("reading", [0, 1])
def test_a_run_whose_folder_another_took_writes_nothing_more(reading, tmp_path):
    """The other one takes it while this one reads rows, the first time or the second."""
    read = written(tmp_path, [f"{n} {LONG} {n}" for n in range(5)])
    folder = tmp_path / "out"
    claimed = run_claim.take(folder, {"threshold": 0.8})
    readings = []

    def interrupted():
        readings.append(None)
        if len(readings) == reading + 1:
            rule = DuplicateRule(threshold=0.5)
            other = run_claim.take(folder, {"threshold": 0.5})
            deduplication_report.write(read, folder, rule, other)
        return read()

    with pytest.raises(run_claim.FolderTakenError, match=r"its threshold is 0\.5"):
        deduplication_report.write(interrupted, folder, DuplicateRule(), claimed)
    report = run_claim.finished(folder, "report.json", {"threshold": 0.5})
    assert (report["kept"], len(content(folder / "kept"))) == (1, 1)


def test_no_rows(tmp_path):
    with pytest.raises(ValueError, match="no rows"):
        deduplication_report.write(lambda: iter(()), tmp_path / "out", DuplicateRule())
