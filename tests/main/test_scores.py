"""`teacherlm scores diff` from its flags to what it prints."""

import json

from teacherlm_jax.main import command_line
from tests.scoring.test_compared import LOG, RECEIPTS


def test_receipts_and_a_log_of_lm_eval_are_compared(tmp_path, capsys):
    told = tmp_path / "diff.json"
    arguments = ["scores", "diff", str(RECEIPTS), str(LOG), "--json", str(told)]
    for extra in ([], ["--by", "characters"]):
        assert command_line.main([*arguments, *extra]) == 0
        assert "3 questions in both: 3 by task and id" in capsys.readouterr().out
    found = json.loads(told.read_text())
    assert found["by"] == ["characters", "characters"]
    assert [pair["question_id"] for pair in found["pairs"]] == ["q1", "q2", "q3"]
    assert found["disagreements"] == {}


def test_mistakes_are_a_message_and_status_2(tmp_path, capsys):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert command_line.main(["scores", "diff", str(RECEIPTS), str(empty)]) == 2
    assert f"error: {empty} is empty, or its first line" in capsys.readouterr().err
    assert command_line.main(["scores", "diff", str(RECEIPTS), str(LOG), "--by", "tokens"]) == 2
    assert "give --vocabulary" in capsys.readouterr().err


def test_what_is_compared_is_not_written_over(tmp_path, capsys):
    own = tmp_path / "run" / "receipts.jsonl"
    own.parent.mkdir()
    own.write_bytes(RECEIPTS.read_bytes())
    for given in (own, own.parent):
        arguments = ["scores", "diff", str(given), str(LOG), "--json"]
        assert command_line.main([*arguments, str(own.parent / ".." / "run" / own.name)]) == 2
        told = capsys.readouterr()
        assert "is compared, and would be lost" in told.err and not told.out
        assert own.read_bytes() == RECEIPTS.read_bytes()
    assert command_line.main([*arguments, str(tmp_path)]) == 2
    assert f"--json {tmp_path} is a folder" in capsys.readouterr().err
