"""What `teacherlm evaluate` prints."""

import pytest

from teacherlm_jax.main import evaluate, gin_setup, saved

TASK = {"accuracy": 50.0, "questions": 4.0, "near_ties": 0.0}
WORK = {"programs": 2, "scored": 4, "reused": 0, "resumed": 0, "repeated": 0, "removed": ()}


def printed_for(result, tmp_path, monkeypatch, capsys):
    whole = {
        "file": str(tmp_path / "evaluation.json"),
        "step": 7,
        "scoring": {"bos_id": None, "normalisation": "sum", "boundary": "apart"},
        "models": [{"replica": None, "accuracy": 50.0, "metrics": {"creak_letters": TASK}}],
        "work": WORK,
        **result,
    }
    monkeypatch.setattr(gin_setup, "bound", lambda _: lambda: whole)
    monkeypatch.setattr(saved, "save_configuration", lambda _: None)
    evaluate.run()
    return capsys.readouterr().out


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
    models = [{"replica": None, "accuracy": 50.0, "metrics": dict.fromkeys(tasks, TASK)}]
    printed = printed_for({"models": models}, tmp_path, monkeypatch, capsys)
    assert headline in printed
    # Questions of a file and most sets have no other split.
    assert "SPLIT" not in printed and "teacherlm scores diff A B" in printed


def test_one_is_not_several_and_means_over_subjects_are_told(tmp_path, monkeypatch, capsys):
    one = {**TASK, "questions": 1.0, "clean_accuracy": 0.0, "clean_questions": 1.0}
    group = {"macro": 50.0, "micro": 50.0, "tasks": 1, "questions": 1}
    model = {
        "replica": None,
        "accuracy": 50.0,
        "metrics": {"lonely": one, "mixed": TASK},
        "averages": {"group": group},
        "subject_averages": {"mixed": {"subjects": 3, "macro": 62.5}},
    }
    printed = printed_for({"models": [model]}, tmp_path, monkeypatch, capsys)
    assert (
        "lonely: 50.0 % of 1 question; near-ties 0\n      clean: 0.0 % of 1 question\n" in printed
    )
    assert "of 4 questions; near-ties 0\n      mean over 3 subjects: 62.5 %\n" in printed
    assert "group: 50.0 % over 1 task, 50.0 % over 1 question\n" in printed


def test_ties_cuts_and_what_was_known_are_told_where_there_are_any(tmp_path, monkeypatch, capsys):
    printed = printed_for({}, tmp_path, monkeypatch, capsys)
    assert "50.0 % of 4 questions; near-ties 0\n" in printed
    assert "programs compiled: 2; questions scored: 4\n" in printed
    values = {**TASK, "ties": 1.0, "truncated": 2.0, "moved": 3.0}
    models = [{"replica": None, "accuracy": 50.0, "metrics": {"creak_letters": values}}]
    work = {**WORK, "scored": 1, "reused": 2, "resumed": 1, "repeated": 5, "removed": ("a",)}
    printed = printed_for({"models": models, "work": work}, tmp_path, monkeypatch, capsys)
    assert "near-ties 0, exact ties 1, prompts cut 2, boundaries moved 3\n" in printed
    assert (
        "questions scored: 1, known from other evaluations: 2, known from before an interruption:"
        " 1, asked twice: 5, damaged files of scores removed: 1\n"
    ) in printed
