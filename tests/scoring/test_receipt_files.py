"""Receipts on disk are those that were written, or an error that names the line."""

import dataclasses
import json
import math

import pytest

from teacherlm_jax.data import ledger
from teacherlm_jax.scoring import receipt_files
from teacherlm_jax.scoring.receipts import Receipt

RECEIPT = Receipt(
    task="quiz",
    split="test",
    question_id="7",
    subject="",
    prompt="Q: Is \u2028 ice\ncold? A:",
    continuations=(" yes", " no"),
    option_texts=("yes", "no"),
    answer=0,
    boundary="joint",
    moved=0,
    bos_id=1,
    context=(1, 5, 6),
    options=((7,), (8, 9)),
    truncated=0,
    log_likelihoods=(-0.1 - 0.2, -math.pi),
    is_greedy=(True, False),
    unconditional_prompt=(),
    unconditional=(-5e-324, -1e22),
    dtype="float32",
    checkpoint_digest="abc",
    normalisation="tokens",
)


def test_what_is_read_is_what_was_written(tmp_path):
    path = tmp_path / "receipts.jsonl"
    other = dataclasses.replace(
        RECEIPT, question_id="8", bos_id=None, unconditional_prompt=None, unconditional=None
    )
    receipt_files.write(path, [RECEIPT, other])
    assert receipt_files.read(path) == [RECEIPT, other]
    assert len(path.read_text().split("\n")) == 3
    # Another evaluation into the same folder replaces them.
    receipt_files.write(path, [other])
    assert receipt_files.read(path) == [other]
    assert ledger.is_complete(path)


def test_every_field_of_a_receipt_is_checked():
    assert list(receipt_files._FIELDS) == [field.name for field in dataclasses.fields(Receipt)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": 2}, r"receipts.jsonl:2: answer is 2, but there are 2 options"),
        ({"answer": True}, r":2: answer is True, but it must be a whole number"),
        ({"log_likelihoods": [-1.0]}, r":2: 2 options but 1 log_likelihoods"),
        ({"log_likelihoods": [-1, -2.0]}, r":2: log_likelihoods is \[-1, -2.0\], but .* floats"),
        ({"boundary": "apt"}, r":2: boundary is 'apt', but it must be one of apart, joint"),
        ({"unconditional": None}, r":2: of unconditional and unconditional_prompt one is null"),
        ({"options": [[7], []]}, r":2: context and every option must have tokens"),
        ({"extra": 1}, r":2: .* extra are not known"),
    ],
)
def test_malformed_receipts_are_refused_with_file_and_line(tmp_path, changes, message):
    path = tmp_path / "receipts.jsonl"
    good = dataclasses.asdict(RECEIPT)
    path.write_text(f"{json.dumps(good)}\n{json.dumps({**good, **changes})}\n")
    with pytest.raises(ValueError, match=message):
        receipt_files.read(path)


def test_broken_files_are_refused(tmp_path):
    path = tmp_path / "receipts.jsonl"
    with pytest.raises(FileNotFoundError, match=r"receipts.jsonl"):
        receipt_files.read(path)
    path.write_text("\n")
    with pytest.raises(ValueError, match="holds no receipts"):
        receipt_files.read(path)
    path.write_text('{"task": "quiz"')
    with pytest.raises(ValueError, match=r"receipts.jsonl:1: not JSON"):
        receipt_files.read(path)
    path.write_text(json.dumps(dataclasses.asdict(RECEIPT)).replace("-5e-324", "NaN"))
    with pytest.raises(ValueError, match=r":1: not JSON \(NaN"):
        receipt_files.read(path)
    path.unlink()
    receipt_files.write(path, [RECEIPT])
    path.write_text(path.read_text()[:-30])
    with pytest.raises(ledger.TornFileError, match=r"receipts.jsonl"):
        receipt_files.read(path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        receipt_files.write(path, [dataclasses.replace(RECEIPT, log_likelihoods=(math.nan, 0.0))])
