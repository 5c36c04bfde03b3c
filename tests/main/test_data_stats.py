"""`teacherlm data stats`."""

import json

import pytest

from teacherlm_jax.main import command_line
from tests.data import tiny_tasks


@pytest.fixture
def counted(capfd):
    def run(*arguments: str, status: int = 0) -> str:
        capfd.readouterr()
        assert command_line.main(["data", "stats", *arguments]) == status
        output = capfd.readouterr()
        return output.err if status else output.out

    return run


def test_a_mixture(counted, tmp_path):
    text = counted(
        tiny_tasks.MIXTURE,
        "--train_steps=10",
        "--batch_size=4",
        "--length=64",
        "--length=8",
        f"--out={tmp_path}/new",
    )
    assert "2 tasks" in text and "10 steps of 4 packed rows of 64" in text
    assert "too long for 8:" in text
    found = json.loads((tmp_path / "new/stats.json").read_text())
    assert [fit["length"] for fit in found["fits"]] == [64, 8] and found["is_whole"]
    assert {task["examples"] for task in found["tasks"]} == {20, 12}
    assert (tmp_path / "new/lengths.png").read_bytes().startswith(b"\x89PNG")


def test_a_limit_is_said(counted):
    assert "from the first 15 examples" in counted("teacherlm_test_colors", "--limit=15")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--train_steps=10"], "give both"),
        (["--length=0"], "--length 0: it must be at least 1"),
        (["--limit=0"], "--limit 0"),
        (["--split=test"], "no split 'test'"),
    ],
)
def test_mistakes(counted, arguments, says):
    assert says in counted(tiny_tasks.MIXTURE, *arguments, status=2)


def test_malformed_rows_are_an_error_or_left_out_by_a_flag(counted, tmp_path):
    rows = "".join(
        f'{{"question": "Is {n} odd?", "choices": ["yes", "no"], "answer": "A"}}\n'
        for n in range(3)
    )
    folder = tmp_path / "teacherdata"
    folder.mkdir()
    (folder / "train.jsonl").write_text(rows + "no row\n")
    arguments = ["teacherdata_plain", f"--data_dir={tmp_path}", "--vocabulary=bytes"]
    assert "train.jsonl:4: not valid JSON" in counted(*arguments, status=2)
    found = counted(*arguments, "--malformed_rows=skip")
    assert "teacherdata_plain" in found and " 3 " in found
