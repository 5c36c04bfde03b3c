"""`teacherlm data deduplicate` on files."""

import json

from teacherlm_jax.main import command_line

LONG = "the quick brown fox jumps over the lazy dog and runs away from the angry farmer"


def deduplicate(folder, *arguments):
    command = ["data", "deduplicate", str(folder / "rows.jsonl"), "--to", str(folder / "out")]
    return command_line.main([*command, *arguments])


def test_files_and_what_is_done_already(tmp_path, capsys):
    rows = [{"id": n, "question": LONG, "answer": f"number {n}"} for n in range(3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert deduplicate(tmp_path, "--fields", "question") == 0
    assert "3 rows: 1 kept, 2 duplicates, of them 2 with the same words" in capsys.readouterr().out
    assert deduplicate(tmp_path, "--fields", "question") == 0
    assert "is done already" in capsys.readouterr().out
    assert deduplicate(tmp_path, "--fields", "answer") == 2
    assert "another configuration" in capsys.readouterr().err


def test_the_report_says_which_settings_made_it(tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"id": 1, "question": LONG}) + "\n")
    assert deduplicate(tmp_path, "--threshold", "0.7") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["settings"]["threshold"] == 0.7
    assert report["settings"]["file_sizes"] == {str(rows): rows.stat().st_size}
    for name in ("configuration.json", "configuration.json.complete"):
        (tmp_path / "out" / name).unlink()
    assert deduplicate(tmp_path) == 2
    assert "threshold: folder has 0.7, this run has 0.8" in capsys.readouterr().err


def test_a_threshold_that_makes_no_sense(tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    assert deduplicate(tmp_path, "--threshold", "2") == 2
    assert "threshold = 2.0 must be" in capsys.readouterr().err
