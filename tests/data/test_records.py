"""Records: what a line must be to get in, and that what goes out comes back."""

import json

import numpy as np
import pytest

from teacherlm_jax.data import ledger, records
from teacherlm_jax.data.records import RecordError, TeacherDataRecord

QUESTION = {"question": "does the luvik have fur?", "choices": ["true", "false"], "answer": "B"}


def _record(**changes):
    return TeacherDataRecord.create(**{**QUESTION, **changes})


def _write(path, lines):
    path.write_bytes(b"".join(line.encode("utf-8") + b"\n" for line in lines))
    return path


def test_a_record_comes_back_from_its_json_line_with_every_field():
    record = _record(
        fundamentals=' "quoted"\nand\tbroken\u2028lines\x85 — ünïcode 😀',
        chain_of_thought="so no.",
        common_mistakes="beware.",
        task="creak",
        split="validation",
        provenance={"fundamentals": {"annotator": "teacher", "seed": 3, "sampling": {"top_k": 50}}},
    )
    line = record.to_json_line()
    assert TeacherDataRecord.from_json(line) == record
    assert TeacherDataRecord.from_json(line.encode("utf-8") + b"\r\n") == record
    assert line.splitlines() == [line]
    assert TeacherDataRecord.from_features(record.to_features()) == record


def test_equal_records_give_equal_lines_whatever_order_the_provenance_was_built_in():
    one = _record(provenance={"fundamentals": {"a": 1, "b": 2}, "chain_of_thought": {}})
    two = _record(provenance={"chain_of_thought": {}, "fundamentals": {"b": 2, "a": 1}})
    assert one.to_json_line() == two.to_json_line()
    assert hash(one) == hash(two)


def test_the_id_hashes_question_choices_and_answer_and_nothing_else():
    record = _record()
    assert record.id == records.content_id("does the luvik have fur?", ["true", "false"], "B")
    # Fixed for good: ids of published data sets are compared with it.
    assert record.id == "db60bab419ea5dbece8a"
    assert _record(fundamentals="x", task="t").id == record.id
    others = [{"question": "q?"}, {"choices": ["false", "true"]}, {"answer": "A"}]
    assert len({_record(**change).id for change in others} | {record.id}) == 4
    # The boundary between fields counts.
    assert records.content_id("a", ["bc", "d"], "A") != records.content_id("a", ["b", "cd"], "A")


def test_a_question_without_options_has_an_open_answer():
    record = TeacherDataRecord.create("who wrote it?", [], "Ann Lee", chain_of_thought="so.")
    assert TeacherDataRecord.from_json(record.to_json_line()) == record
    assert TeacherDataRecord.from_features(record.to_features()) == record
    assert record.id == records.content_id("who wrote it?", [], "Ann Lee")
    with pytest.raises(RecordError, match="field 'answer' is ' '; it must not be empty"):
        TeacherDataRecord.create("who wrote it?", [], " ")
    with pytest.raises(RecordError, match="field 'answer' is 1, of type int"):
        TeacherDataRecord.from_mapping({"question": "who?", "choices": [], "answer": 1})


def test_features_of_a_tfds_example_become_a_record():
    features = {
        "question": b"is \xc3\xbc a letter?",
        "choices": np.array([b"yes", b"no"], dtype=object),
        "answer": np.array(b"A", dtype=object),
        "fundamentals": np.bytes_(b"it is."),
        "provenance": b'{"fundamentals": {"annotator": "human"}}',
    }
    record = TeacherDataRecord.from_features(features)
    assert (record.question, record.choices, record.answer) == (
        "is ü a letter?",
        ("yes", "no"),
        "A",
    )
    assert record.provenance["fundamentals"]["annotator"] == "human"
    with pytest.raises(RecordError, match=r"row 3: field 'question' is b'\\xff'; it must be UTF-8"):
        TeacherDataRecord.from_features({**features, "question": b"\xff"}, "row 3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": " "}, "field 'question' is ' '; it must not be empty"),
        ({"question": 7}, "field 'question' is 7, of type int; it must be a string"),
        ({"question": "\ud800"}, "field 'question' has '\\\\ud800' at character 0"),
        ({"choices": "true"}, "field 'choices' is 'true', of type str; it must be a list"),
        ({"choices": ["true"]}, "field 'choices' has 1 options; it must have 2 to 26"),
        ({"choices": ["x"] * 27}, "field 'choices' has 27 options"),
        ({"choices": ["a", ""]}, r"field 'choices\[1\]' is ''; it must not be empty"),
        ({"choices": ["a", None]}, r"field 'choices\[1\]' is None, of type NoneType"),
        ({"answer": "C"}, "field 'answer' is 'C'; .* one of the 2 choices: A, B"),
        ({"answer": "a"}, "field 'answer' is 'a'"),
        ({"answer": ""}, "field 'answer' is ''"),
        ({"answer": "AB"}, "field 'answer' is 'AB'"),
        ({"answer": 1}, "field 'answer' is 1"),
        ({"id": ""}, "field 'id' is ''; it must not be empty"),
        ({"fundamentals": None}, "field 'fundamentals' is None, of type NoneType"),
        ({"fundamental": "x"}, "field 'fundamental' is unknown; did you mean 'fundamentals'"),
        ({"provenance": []}, r"field 'provenance' is \[\]; it must be an object"),
        ({"provenance": {"f": "me"}}, "field 'provenance' has 'f': 'me'; it must map the name"),
    ],
)
def test_a_broken_constraint_is_reported_with_place_field_value_and_constraint(change, message):
    line = json.dumps({**QUESTION, **change})
    with pytest.raises(RecordError, match=r"^questions.jsonl:12: " + message):
        TeacherDataRecord.from_json(line, "questions.jsonl:12")


@pytest.mark.parametrize("name", ["question", "choices", "answer"])
def test_a_missing_field_is_named(name):
    values = {key: value for key, value in QUESTION.items() if key != name}
    with pytest.raises(RecordError, match=f"f:1: field {name!r} is missing; given: "):
        TeacherDataRecord.from_json(json.dumps(values), "f:1")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "half', 'not valid JSON .* the line reads \'{"question": "half\''),
        (b'{"question": "\xff"}', "byte 14 of the line is not UTF-8"),
        ("[1, 2]", r"the line is \[1, 2\]; it must be a JSON object"),
        ('{"answer": "A", "answer": "B"}', "field 'answer' stands twice"),
        ('{"provenance": {"f": {"loss": NaN}}}', "NaN is not a JSON number"),
        ("[" * 100_000, "not valid JSON"),
        ("1" * 5_000, "not valid JSON"),
    ],
)
def test_a_line_that_is_no_object_of_json_is_an_error(line, message):
    with pytest.raises(RecordError, match="f:1: " + message):
        TeacherDataRecord.from_json(line, "f:1")


def test_provenance_that_json_cannot_hold_is_an_error():
    for value in (float("nan"), {1, 2}, object()):
        with pytest.raises(RecordError, match="'provenance' must hold JSON values only"):
            _record(provenance={"fundamentals": {"loss": value}})


def test_reading_a_file_gives_its_records_and_skips_blank_lines_and_a_byte_order_mark(tmp_path):
    rows = [_record(question=f"number {i}?") for i in range(3)]
    path = tmp_path / "questions.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + records.encode_jsonl(rows).replace(b"\n", b"\r\n\n"))
    assert list(records.read_jsonl(path)) == rows
    ledger.write_whole(tmp_path / "marked.jsonl", path.read_bytes())
    assert list(records.read_jsonl(tmp_path / "marked.jsonl")) == rows


def test_errors_of_a_file_name_file_and_line(tmp_path):
    path = _write(tmp_path / "q.jsonl", [_record().to_json_line(), "", '{"question": "q?"}'])
    with pytest.raises(RecordError, match=rf"^{path}:3: field 'choices' is missing"):
        list(records.read_jsonl(path))


def test_an_id_that_stands_twice_in_one_file_is_an_error_naming_both_lines(tmp_path):
    path = _write(tmp_path / "q.jsonl", [_record().to_json_line()] * 2)
    with pytest.raises(RecordError, match=r"q.jsonl:2: field 'id' is .* line 1 has it already"):
        list(records.read_jsonl(path))
    assert len(list(records.read_jsonl(path, unique_ids=False))) == 2


def test_a_glob_and_a_folder_read_shards_in_order_without_rejects(tmp_path):
    rows = [_record(question=f"number {i}?") for i in range(4)]
    for index in (1, 0):
        shard = rows[2 * index : 2 * index + 2]
        (tmp_path / f"a-{index:05d}-of-00002.jsonl").write_bytes(records.encode_jsonl(shard))
    (tmp_path / "a-00000-of-00002.rejects.jsonl").write_bytes(b"{}\n")
    assert list(records.read_jsonl(tmp_path)) == rows
    assert list(records.read_jsonl(str(tmp_path / "a-*-of-00002.jsonl"))) == rows
    assert list(records.read_jsonl(tmp_path / "a-00001*")) == rows[2:]


def test_a_folder_with_missing_or_unfinished_shards_is_an_error(tmp_path):
    content = records.encode_jsonl([_record()])
    ledger.write_whole(tmp_path / "a-00000-of-00003.jsonl", content)
    (tmp_path / "a-00001-of-00003.jsonl").write_bytes(content)
    with pytest.raises(FileNotFoundError, match="1 shards are missing and 1 not marked") as error:
        list(records.read_jsonl(tmp_path))
    assert "a-00002-of-00003.jsonl, a-00001-of-00003.jsonl" in str(error.value)


def test_a_marked_file_that_was_changed_is_an_error(tmp_path):
    path = tmp_path / "a.jsonl"
    ledger.write_whole(path, records.encode_jsonl([_record()]))
    path.write_bytes(path.read_bytes().replace(b"luvik", b"karup"))
    with pytest.raises(ledger.TornFileError, match=r"a\.jsonl"):
        list(records.read_jsonl(path))
    path.write_bytes(b"")
    with pytest.raises(ledger.TornFileError, match=r"it has 0 bytes"):
        list(records.read_jsonl(path))


def test_nothing_to_read_is_an_error(tmp_path):
    for path in (tmp_path / "no.jsonl", tmp_path / "*.jsonl", tmp_path):
        with pytest.raises(FileNotFoundError, match=str(path).replace("*", r"\*")):
            list(records.read_jsonl(path))
