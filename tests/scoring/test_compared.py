"""Receipts and real logs of lm-eval, of the same model, read and compared."""

import dataclasses
import json
from pathlib import Path

import pytest

from teacherlm_jax.scoring import compared, lm_eval_logs, receipt_files, score_diff

# lm-eval 0.4.13 on a random BLOOM of 36 thousand parameters, and our scores of the same model.
RUN = Path(__file__).parent / "lm_eval_run"
RECEIPTS = RUN / "receipts.jsonl"
LOG = RUN / "samples_tiny_quiz_2026-11-28T05-07-28.683439.jsonl"


def tokenizer(adds_bos=None, changed=None):
    """That of the run, which knows the texts of the receipts."""
    tokens = {}
    for one in receipt_files.read(RECEIPTS):
        tokens[one.prompt] = one.context
        for text, option in zip(one.continuations, one.options):
            tokens[one.prompt + text] = (*one.context, *option)
    if changed is not None:
        tokens = {text: tuple(map(changed, ids)) for text, ids in tokens.items()}
    return lm_eval_logs.Tokenizer(lambda texts: [tokens[text] for text in texts], adds_bos)


def test_our_log_likelihoods_are_those_of_lm_eval():
    a, b = compared.read(RECEIPTS), compared.read(LOG)
    result = score_diff.compare(a, b)
    assert result.matched == {"task and id": 3}
    assert not result.disagreements and not result.differing
    assert 0 < max(pair.difference for pair in result.pairs) < 1e-5
    assert [pair.a.answer for pair in result.pairs] == [pair.b.answer for pair in result.pairs]
    # lm-eval wrote what it thinks of each.
    for line, pair in zip(LOG.read_text().splitlines(), result.pairs):
        row = json.loads(line)
        assert row["acc"] == (pair.prediction_b == pair.b.answer)
        by_characters = pair.b.scores("characters")
        best = by_characters.index(max(by_characters))
        assert row["acc_norm"] == (best == pair.b.answer)


def changed_receipts(**changes):
    found = []
    for one in receipt_files.read(RECEIPTS):
        values = tuple(value - 0.5 * n for n, value in enumerate(one.log_likelihoods, 1))
        extra = {"context": (0, *one.context)} if "bos_id" in changes else {}
        one = dataclasses.replace(one, log_likelihoods=values, **changes, **extra)
        found.append(compared.of_receipt(one, "receipts"))
    return found


def test_what_a_log_does_not_say_is_not_guessed():
    receipts = changed_receipts(bos_id=0)
    (cause,) = score_diff.causes(score_diff.compare(receipts, compared.read(LOG)).differing)
    assert cause == "cannot tell"
    pair = score_diff.compare(receipts, compared.read(LOG)).differing[0]
    assert pair.causes[0].detail.startswith("tokens, BOS, truncation, checkpoint may differ")
    # The type stands in the results beside the log.
    receipts = changed_receipts(dtype="bfloat16")
    assert score_diff.causes(score_diff.compare(receipts, compared.read(LOG)).differing) == {
        "dtype": 3
    }


@pytest.mark.parametrize(
    ("changes", "settings", "cause"),
    [
        ({"bos_id": 0}, {"adds_bos": False}, "BOS"),
        ({}, {"adds_bos": True}, "BOS"),
        ({}, {"adds_bos": False, "changed": lambda token: token + (token == 222)}, "tokens"),
        ({}, {"adds_bos": False}, "cannot tell"),
    ],
)
def test_with_its_tokenizer_a_logs_tokens_and_bos_are_known(changes, settings, cause):
    b = compared.read(LOG, tokenizer(**settings))
    result = score_diff.compare(changed_receipts(**changes), b)
    assert score_diff.causes(result.differing) == {cause: 3}
    if cause == "cannot tell":
        text = result.differing[0].causes[0].detail
        assert text.startswith("checkpoint may differ")


def test_a_bos_of_unknown_id_is_not_known(tmp_path):
    path = tmp_path / "samples_alone.jsonl"
    path.write_text(LOG.read_text())
    assert compared.BOS not in compared.read(path, tokenizer(adds_bos=True))[0].facts
    assert compared.read(path, tokenizer(adds_bos=False))[0].facts[compared.BOS] is None


def test_folders_are_searched_and_other_lines_left_out(tmp_path, caplog):
    inner = tmp_path / "model"
    inner.mkdir()
    (inner / LOG.name).write_text(LOG.read_text())
    (tmp_path / "other.jsonl").write_text('{"accuracy": 1.0}\n')
    (tmp_path / "empty.jsonl").write_text("")
    assert [one.task for one in compared.read(tmp_path)] == ["tiny_quiz"] * 3
    row = json.loads(LOG.read_text().splitlines()[0])
    row["arguments"] = {"gen_args_0": {"arg_0": "Q", "arg_1": {"until": ["."]}}}
    writing = inner / LOG.name.replace("tiny_quiz", "gsm")
    writing.write_text(json.dumps(row) + "\n")
    assert [one.task for one in compared.read(tmp_path)] == ["tiny_quiz"] * 3
    assert f"{writing} is left out: there the model was to write" in caplog.text
    with pytest.raises(ValueError, match=":1: the model was to write, not to choose"):
        compared.read(writing)
    (inner / LOG.name.replace("28T05", "29T05")).write_text(LOG.read_text())
    with pytest.raises(ValueError, match=r"'q1' of tiny_quiz stands twice, at .*28T05.*29T05"):
        compared.read(tmp_path)


def test_files_of_another_kind_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        compared.read(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="holds no receipts and no samples"):
        compared.read(tmp_path)
    path = tmp_path / "some.jsonl"
    for text in ("", "\n", '{"accuracy": 1.0}\n', "[1]\n", "PNG\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"some\.jsonl is empty, or its first line is neither"):
            compared.read(path)
    lines = RECEIPTS.read_text().splitlines()
    path.write_text(lines[0] + "\n" + lines[1][:100])
    with pytest.raises(ValueError, match=r"some.jsonl:2: not JSON"):
        compared.read(path)


def test_what_is_nested_too_deeply_is_refused_with_file_and_line(tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    path, inner = tmp_path / "some.jsonl", tmp_path / "inner"
    inner.mkdir()
    first, second = RECEIPTS.read_text().splitlines()[:2]
    for number, lines in enumerate(((second, first), (first, second)), 1):
        path.write_text("\n".join(lines).replace('"q2"', deep))
        with pytest.raises(ValueError, match=rf"some.jsonl:{number}: nested too deeply"):
            compared.read(path)
    path.write_text(deep)
    with pytest.raises(ValueError, match=r"some.jsonl is empty, or its first line is neither"):
        compared.read(path)
    sample = LOG.read_text().splitlines()[0].replace('"q1"', deep)
    (inner / LOG.name).write_text(sample)
    # In a folder, what is no receipt and no sample is left out still.
    for place in (tmp_path, inner / LOG.name):
        with pytest.raises(ValueError, match=rf"{LOG.name}:1: not JSON .*recursion"):
            compared.read(place)


def test_tokens_are_asked_for_where_they_rank():
    with pytest.raises(ValueError, match="give --vocabulary"):
        score_diff.compare(compared.read(RECEIPTS), compared.read(LOG), by="tokens")
    result = score_diff.compare(
        compared.read(RECEIPTS), compared.read(LOG, tokenizer()), by="tokens"
    )
    assert not result.disagreements
