import json

import pytest

from teacherlm_jax.data.annotation_layouts import LAYOUTS, Layout, read
from teacherlm_jax.data.record_fields import RecordError


def test_creak_in_its_own_columns_and_in_ours():
    own = {"ex_id": "t1", "sentence": "Ice is hot.", "label": "false", "explanation": "It is cold."}
    ours = {"id": "t1", "question": "Ice is hot.", "choices": ["True", "False"], "answer": "B"}
    expected = {
        "question": "Determine the correctness of the following sentence. Ice is hot.",
        "choices": ["True", "False"],
        "answer": "B",
        "chain_of_thought": "It is cold.",
        "source_id": "t1",
    }
    assert read(own, LAYOUTS["creak"]) == expected
    assert read({**ours, "explanation": "It is cold."}, LAYOUTS["creak"]) == expected
    # A question that has the words already is not asked twice.
    assert (
        read({**ours, "question": expected["question"]}, LAYOUTS["creak"])["question"]
        == (expected["question"])
    )


def test_ecqa_tells_the_right_option_from_the_wrong_ones():
    own = {"q_no": "7", "q_text": "Where?", "q_ans": "bed", "taskA_pos": "soft", "taskA_neg": "no"}
    options = {f"q_op{number}": f"op{number}" for number in range(1, 5)} | {"q_op5": "bed"}
    assert read({**own, **options, "taskB": "all"}, LAYOUTS["ecqa"]) == {
        "question": "Where?",
        "choices": ["op1", "op2", "op3", "op4", "bed"],
        "answer": "E",
        "chain_of_thought": "soft",
        "common_mistakes": "no",
        "source_id": "7",
    }


def test_strategyqa_joins_facts_and_questions():
    row = {"qid": "q", "question": "Could it? ", "answer": True, "facts": ["One.", "Two."]}
    assert read({**row, "decomposition": ["How?", "Why?"]}, LAYOUTS["strategyqa"]) == {
        "question": "Could it?",
        "choices": ["True", "False"],
        "answer": "A",
        "fundamentals": "One. Two.",
        "chain_of_thought": "How? Why?",
        "source_id": "q",
    }


def test_columns_of_ones_own_take_the_place_of_the_layouts():
    columns = {"question": ["text"], "choices": ["a", "b"], "common_mistakes": ["m", "n"]}
    layout = LAYOUTS["teacherdata"].with_columns(columns)
    row = {"text": "q?", "a": "x", "b": "y", "answer": "y", "m": "One.", "n": "Two.", "other": 1}
    assert read({**row, "worker_id": 12}, layout) == {
        "question": "q?",
        "choices": ["x", "y"],
        "answer": "B",
        "common_mistakes": "One. Two.",
        "annotator": "12",
    }
    with pytest.raises(ValueError, match="there is no field 'hint'; there are question"):
        layout.with_columns({"hint": ["h"]})


@pytest.mark.parametrize(
    ("answer", "choices", "letter"),
    [
        ("b", ["x", "y"], "B"),
        ("Y", ["x", "y"], "B"),
        (False, ["true", "false"], "B"),
        ("free text", [], "free text"),
        ("no", json.dumps(["yes", "no"]), "B"),
    ],
)
def test_an_answer_may_be_a_letter_or_an_options_text(answer, choices, letter):
    row = {"question": "q?", "choices": choices, "answer": answer}
    assert read(row, Layout())["answer"] == letter


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"answer": "z", "choices": ["x", "y"]},
            "'answer' is 'z'.* is none of them, and no letter",
        ),
        ({"answer": "A", "choices": ["B", "A"]}, "'answer' is 'A'.* means several of them"),
        ({"answer": "x", "choices": ["x", "X"]}, "means several of them"),
        ({"answer": 1, "choices": ["x", "y"]}, "'answer' is '1'"),
        ({"question": {"a": 1}}, "field 'question' is .*must be a text"),
        ({"choices": "[1"}, "field 'choices' is '.*no JSON"),
        ({"(more fields)": ["x"]}, "1 fields more than the head"),
        ([1], "must be an object with named fields"),
        ({"provenance": {"fundamentals": {"annotator": "teacher"}}}, "annotator 'teacher'"),
    ],
)
def test_what_cannot_be_a_record_says_why(row, message):
    with pytest.raises(RecordError, match=message):
        read(row, Layout())
