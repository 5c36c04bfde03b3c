import json

import pytest

from teacherlm_jax.data import annotations_import, ledger, records
from teacherlm_jax.data.annotations_import import ImportSettings, import_annotations
from teacherlm_jax.data.claim import ConfigurationMismatchError

QUESTION = {"question": "Is ice cold?", "choices": ["yes", "no"]}
ANN = {**QUESTION, "answer": "A", "fundamentals": "Ice is frozen.", "annotator": "ann"}
BOB = {**ANN, "fundamentals": "Ice is solid.", "common_mistakes": "Dry ice.", "annotator": "bob"}


def write(path, *rows):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return str(path)


def taken(folder, inner=""):
    return list(records.read_jsonl(folder / inner))


def rejects(folder):
    lines = ledger.read_text(folder / "human.rejects.jsonl").splitlines()
    return [json.loads(line) for line in lines]


def test_records_are_validated_and_marked_as_written_by_people(tmp_path):
    file = write(tmp_path / "a.jsonl", ANN, {**QUESTION, "question": "Is it wet?", "answer": "no"})
    made = import_annotations([file], tmp_path / "out", ImportSettings(task="ice", split="train"))
    first, second = taken(tmp_path / "out")
    entry = {"annotator": "human", "annotator_id": "ann", "source": "a.jsonl:1"}
    assert first.provenance == {"answer": entry, "fundamentals": entry}
    assert first.id == records.content_id("Is ice cold?", ["yes", "no"], "A")
    assert (first.task, first.split, first.fundamentals) == ("ice", "train", "Ice is frozen.")
    assert second.answer == "B"
    assert second.provenance == {"answer": {"annotator": "human", "source": "a.jsonl:2"}}
    assert made["records"] == 2 and made["rejects"] == 0
    assert made["explanations"] == {
        "fundamentals": 1,
        "chain_of_thought": 0,
        "common_mistakes": 0,
    }
    assert json.loads(ledger.read_text(tmp_path / "out" / "manifest.json"))["records"] == 2


def test_bad_rows_are_kept_apart_with_place_and_reason(tmp_path):
    rows = [ANN, "{", {**QUESTION, "answer": "C"}, {**ANN, "question": ""}, {**ANN, "answer": "B"}]
    file = write(tmp_path / "a.jsonl", *rows)
    made = import_annotations([file], tmp_path / "out", ImportSettings())
    assert [(reject["where"], reject["reason"]) for reject in rejects(tmp_path / "out")] == [
        ("a.jsonl:2", annotations_import.NO_JSON),
        ("a.jsonl:3", annotations_import.NO_RECORD),
        ("a.jsonl:4", annotations_import.NO_RECORD),
        ("a.jsonl:5", annotations_import.TWICE),
    ]
    kept = rejects(tmp_path / "out")
    assert "'answer' is 'C'" in kept[1]["detail"] and json.loads(kept[1]["row"]) == rows[2]
    assert "field 'question' is missing" in kept[2]["detail"]
    assert made["reject_reasons"] == {
        annotations_import.NO_RECORD: 2,
        annotations_import.NO_JSON: 1,
        annotations_import.TWICE: 1,
    }
    assert [record.answer for record in taken(tmp_path / "out")] == ["A"]


def test_of_two_annotators_the_first_by_name_is_kept_and_the_other_as_alternative(tmp_path):
    files = [write(tmp_path / "b.jsonl", BOB), write(tmp_path / "a.jsonl", ANN)]
    made = import_annotations(files, tmp_path / "out", ImportSettings())
    [record] = taken(tmp_path / "out")
    assert (record.fundamentals, record.common_mistakes) == ("Ice is frozen.", "Dry ice.")
    assert record.provenance["fundamentals"]["annotator_id"] == "ann"
    assert record.provenance["common_mistakes"]["annotator_id"] == "bob"
    [other] = taken(tmp_path / "out", "alternatives")
    assert (other.id, other.fundamentals, other.common_mistakes) == (
        record.id,
        BOB["fundamentals"],
        "",
    )
    assert set(other.provenance) == {"answer", "fundamentals"}
    written = json.loads(ledger.read_text(tmp_path / "out" / "agreement.json"))
    assert written == made["agreement"]
    assert written["answers"] == {"pairs": 1, "raw": 1.0, "kappa": None}
    # "ice is" of three words each.
    assert written["explanations"]["fundamentals"]["mean"] == pytest.approx(2 / 3)


def test_the_answer_of_most_counts_and_a_draw_is_rejected(tmp_path):
    cat = {**BOB, "answer": "no", "annotator": "cat"}
    file = write(tmp_path / "a.jsonl", ANN, cat, {**cat, "question": "Else?"}, BOB)
    draw = write(tmp_path / "b.jsonl", {**ANN, "question": "Draw?"}, {**cat, "question": "Draw?"})
    made = import_annotations([file, draw], tmp_path / "out", ImportSettings())
    assert [record.answer for record in taken(tmp_path / "out")] == ["A", "B"]
    reasons = {(reject["where"], reject["detail"]) for reject in rejects(tmp_path / "out")}
    assert reasons == {("b.jsonl:1", "ann: A, cat: B"), ("b.jsonl:2", "ann: A, cat: B")}
    # What was rejected for it counts as disagreement.
    assert made["agreement"]["answers"]["pairs"] == 4
    assert made["agreement"]["answers"]["raw"] == 0.25


def test_annotators_without_names_are_told_apart_by_what_they_wrote(tmp_path):
    nameless = [{key: row[key] for key in row if key != "annotator"} for row in (ANN, BOB, ANN)]
    file = write(tmp_path / "a.jsonl", *nameless)
    made = import_annotations([file], tmp_path / "out", ImportSettings())
    assert made["agreement"]["questions_with_several_annotators"] == 1
    assert made["reject_reasons"] == {annotations_import.TWICE: 1}
    [record] = taken(tmp_path / "out")
    assert "annotator_id" not in record.provenance["fundamentals"]


def test_an_import_goes_on_after_a_kill_and_refuses_another_ones_folder(tmp_path):
    rows = [{**ANN, "question": f"Is {number} cold?"} for number in range(5)]
    file = write(tmp_path / "a.jsonl", *rows)
    settings = ImportSettings(rows_per_shard=2)
    made = import_annotations([file], tmp_path / "out", settings)
    assert made["shards"][-1] == "human-00002-of-00003.jsonl"
    ledger.remove(tmp_path / "out" / "manifest.json")
    ledger.remove(tmp_path / "out" / "human-00002-of-00003.jsonl")
    assert import_annotations([file], tmp_path / "out", settings) == made
    assert len(taken(tmp_path / "out")) == 5
    write(tmp_path / "a.jsonl", *rows[:3])
    with pytest.raises(ConfigurationMismatchError):
        import_annotations([file], tmp_path / "out", settings)


def test_what_holds_no_annotation_is_an_error(tmp_path):
    file = write(tmp_path / "a.jsonl", {"text": "q?"})
    with pytest.raises(
        ValueError, match=r"none of 1 rows .*a\.jsonl:1: field 'question' is missing"
    ):
        import_annotations([file], tmp_path / "out", ImportSettings())
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="layout = 'cosmos', but it must be one of teacherdata"):
        ImportSettings(layout="cosmos")


def test_open_answers_that_differ_in_case_alone_agree(tmp_path):
    row = {"question": "Why?", "fundamentals": "f"}
    answers = [("ann", "Because."), ("bob", "because"), ("cid", "no"), ("dan", "-5"), ("eve", "5")]
    rows = [{**row, "answer": answer, "annotator": name} for name, answer in answers]
    file = write(tmp_path / "a.jsonl", *rows)
    import_annotations([file], tmp_path / "out", ImportSettings())
    (record,) = taken(tmp_path / "out")
    assert record.answer == "Because." and record.provenance["answer"]["annotator_id"] == "ann"


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ('{"question": ' + "[" * 100_000, "recursion depth"),
        (json.dumps({**ANN, "fundamentals": float("nan")}), "NaN is not a JSON number"),
        (json.dumps(ANN)[:-1] + ', "answer": "B"}', "field 'answer' stands twice"),
    ],
)
def test_rows_that_json_readers_read_differently_are_rejected(tmp_path, row, detail):
    file = write(tmp_path / "a.jsonl", row, BOB)
    import_annotations([file], tmp_path / "out", ImportSettings())
    (reject,) = rejects(tmp_path / "out")
    assert reject["reason"] == annotations_import.NO_JSON and detail in reject["detail"]
