import json

import numpy as np
import pytest
import tensorflow as tf

from teacherlm_jax.data import data_setup, generators, ledger
from teacherlm_jax.data.row_rendering import RawRow, RowError, parsed, raw_row, rendered, row_text

TEXT = {"text": tf.TensorSpec((), tf.string)}
TOKENS = {"tokens": tf.TensorSpec((None,), tf.int64)}

BAD = [
    (b'{"a": 1', "not valid JSON"),
    (b"", "not valid JSON"),
    (b'{"a": 1} {"a": 2}', "not valid JSON"),
    (b"[1, 2]", r"the row is \[1, 2\]; it must be a JSON object"),
    (b"null", "must be a JSON object"),
    (b'{"a": "caf\xe9"}', "not UTF-8: byte 0xe9 at byte 10 of the row"),
    (b'{"a": NaN}', "the number NaN is not finite"),
    (b'{"a": {"b": 1, "b": 2}}', "field 'b' stands twice"),
    (b'{"a": -Infinity}', "not finite"),
    (b'{"a": 1e999}', "the number 1e999 is not finite, or too large"),
    (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
    (b'{"a": "\\ud800"}', "half of a character"),
    (b"[" * 100_000, "not valid JSON"),
    ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
]


def rows_of(texts, first=0):
    return tf.data.Dataset.from_tensor_slices(
        {
            "row": texts,
            "index": np.arange(first, first + len(texts)),
            "where": [f"a.jsonl:{n + 1}" for n in range(len(texts))],
        }
    )


def upper(row):
    """Zero or more examples; what a reader may raise."""
    for word in row.values["words"].split():
        yield {"text": f"{row.index}:{word.upper()}"}


def read(texts, make=upper, signature=TEXT, name=None):
    dataset = rendered(make, signature, name)(rows_of(texts))
    return [
        {key: value.numpy() for key, value in element.items()}
        for element in generators.read(dataset)
    ]


def test_rows_become_zero_or_more_examples_in_order():
    texts = [json.dumps({"words": words}) for words in ("é b", "", "c")] * 200
    expected = [
        f"{3 * n + place}:{word}".encode()
        for n in range(200)
        for place, word in ((0, "É"), (0, "B"), (2, "C"))
    ]
    assert [example["text"] for example in read(texts)] == expected


def test_features_of_any_shape():
    found = read(
        ['{"n": 3}', '{"n": 0}'], lambda row: [{"tokens": list(range(row.values["n"]))}], TOKENS
    )
    assert [example["tokens"].tolist() for example in found] == [[0, 1, 2], []]


@pytest.mark.parametrize("text, reason", BAD)
def test_what_is_no_json_object_is_refused(text, reason):
    with pytest.raises(RowError, match=reason):
        parsed(text)
    with pytest.raises(RowError, match=r"^a\.jsonl:9: .*" + reason):
        raw_row({"row": text, "index": 8, "where": b"a.jsonl:9"})


def test_what_is_one_is_taken():
    text = b'{"a": "\\ud83d\\ude00 \\u0000", "b": 12345678901234567890123, "c": 1e-400, "d": -0.0}'
    assert parsed(text) == json.loads(text)
    row = raw_row({"row": b'{"a": null}', "index": np.int64(4), "where": b"x:1"})
    assert row == RawRow({"a": None}, 4, "x:1")


def test_bytes_that_are_no_text_pass_through_to_be_refused():
    text = row_text({"a": b"caf\xe9".decode("utf-8", "surrogateescape")})
    assert text == b'{"a": "caf\xe9"}'
    assert parsed(row_text({"a": "é"})) == {"a": "é"}


@pytest.mark.parametrize(
    "text, reason",
    [
        ("{oops", "not valid JSON"),
        ("{}", "no field 'words'."),
        ('{"words": null}', "AttributeError: 'NoneType'"),
        ('{"words": ["a"]}', "AttributeError: 'list'"),
    ],
)
def test_a_malformed_row_is_an_error_with_its_place(text, reason):
    with pytest.raises(RowError) as caught:
        read(['{"words": "a"}', text])
    assert str(caught.value).startswith(f"a.jsonl:2: {reason}")
    assert "Traceback" not in str(caught.value)


def test_numbers_that_no_float_holds_are_malformed():
    with pytest.raises(RowError, match=r"a\.jsonl:1: OverflowError"):
        read(['{"a": 1' + "0" * 400 + "}"], lambda row: [{"text": str(float(row.values["a"]))}])


def test_or_it_is_left_out_counted_and_kept(tmp_path, caplog):
    data_setup.DataSetup(malformed_rows="skip", rejects_dir=str(tmp_path)).apply()
    texts = [b'{"words": "a"}', b"{oops", b'{"words": "caf\xe9"}', b'{"words": "b"}', b"{}"]

    # The first example of a row that is malformed further on is left out with it.
    def first_then_fail(row):
        yield from upper(row)
        if row.index == 3:
            raise RowError("too late")

    with caplog.at_level("WARNING"):
        for _ in range(2):
            found = read(texts, first_then_fail, name="my task")
            assert [example["text"] for example in found] == [b"0:A"]
    (message,) = {record.getMessage() for record in caplog.records}
    assert "my task: 4 of 5 rows are malformed" in message
    (file,) = ledger.list_complete(tmp_path / "my-task")
    rejects = [json.loads(line) for line in ledger.read_text(file).splitlines()]
    assert [(entry["where"], entry["reason"].split(" (")[0]) for entry in rejects] == [
        ("a.jsonl:2", "not valid JSON"),
        ("a.jsonl:3", "not UTF-8: byte 0xe9 at byte 14 of the row"),
        ("a.jsonl:4", "too late"),
        ("a.jsonl:5", "no field 'words'."),
    ]
    assert rejects[1]["row"] == '{"words": "caf\\xe9"}'


def test_a_task_of_which_nothing_is_left_is_an_error(tmp_path):
    data_setup.DataSetup(malformed_rows="skip").apply()
    with pytest.raises(RowError, match=r"all 2 rows are malformed.*a\.jsonl:1: no field 'words'"):
        read(["{}", "[]"])
    assert read([]) == []
