from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.tasks.teacherdata.examples import example_of

RECORD = TeacherDataRecord.create(
    "Is  it?", ["yes", "no"], "B", chain_of_thought="\nFirst,  this.", common_mistakes=" "
)


def test_white_space_before_an_explanation_stays_and_double_spaces_collapse_once():
    example = example_of(RECORD, "cot")
    assert example == {
        "id": RECORD.id,
        "inputs": "Q: Is it? (A) yes (B) no A: The answer is (",
        "targets": "B). Let's think step by step.\nFirst, this.",
    }


def test_a_blank_explanation_is_none():
    assert example_of(RECORD, "mistakes") is None
    assert example_of(RECORD, "five_fields") is None
    assert example_of(RECORD, "plain") is not None
