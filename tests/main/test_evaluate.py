"""What `teacherlm evaluate` prints."""

import pytest

from teacherlm_jax.main import evaluate, gin_setup, saved

TASK = {"accuracy": 50.0, "questions": 4.0, "near_ties": 0.0}


@pytest.mark.parametrize(
    ("tasks", "headline"),
    [
        (["creak_letters"], "step 7: mean accuracy 50.0 %\n"),
        (["creak_letters", "ecqa_letters"], "step 7: mean accuracy 50.0 % over 2 tasks\n"),
    ],
)
def test_the_headline_says_what_it_is_a_mean_of_and_hints_hold_for_any_task(
    tmp_path, monkeypatch, capsys, tasks, headline
):
    result = {
        "file": str(tmp_path / "evaluation.json"),
        "step": 7,
        "scoring": {"bos_id": None, "normalisation": "sum", "boundary": "apart"},
        "models": [{"replica": None, "accuracy": 50.0, "metrics": dict.fromkeys(tasks, TASK)}],
    }
    monkeypatch.setattr(gin_setup, "bound", lambda _: lambda: result)
    monkeypatch.setattr(saved, "save_configuration", lambda _: None)
    evaluate.run()
    printed = capsys.readouterr().out
    assert headline in printed
    # Questions of a file and most sets have no other split.
    assert "SPLIT" not in printed and "teacherlm scores diff A B" in printed
