import pytest

from teacherlm_jax.teacher import prompts

QUESTION = "Where would you find a magazine among other magazines?"
CHOICES = ("rack", "bed", "newspaper article")
PLAIN = (
    "Q: Where would you find a magazine among other magazines? (A) rack (B) bed"
    " (C) newspaper article A: The answer is (A)."
)


def test_evaluation_prompt_ends_before_the_letter():
    assert prompts.evaluation_prompt(QUESTION, CHOICES) == PLAIN.removesuffix("A).")


def test_plain_text_is_the_papers():
    assert prompts.plain_text(QUESTION, CHOICES, "A") == PLAIN


@pytest.mark.parametrize(
    ("field", "ending"),
    [
        ("fundamentals", " The fundamental of this question is:"),
        ("chain_of_thought", " Let's think step by step."),
        ("common_mistakes", " The common mistakes are:"),
    ],
)
def test_annotation_prompt_is_plain_text_and_marker(field, ending):
    assert prompts.annotation_prompt(QUESTION, CHOICES, "A", field) == PLAIN + ending


def test_annotation_prompt_without_the_answer():
    prompt = prompts.annotation_prompt(QUESTION, CHOICES, "B", "chain_of_thought", False)
    assert prompt == PLAIN.replace(" The answer is (A).", " Let's think step by step.")


def test_answer_in_the_question_stays_without_condition():
    question = "Is it so: The answer is (A)."
    prompt = prompts.annotation_prompt(question, ["x", "y"], "A", "chain_of_thought", False)
    assert prompt == "Q: Is it so: The answer is (A). (A) x (B) y A: Let's think step by step."


def test_training_text_joined_is_the_papers():
    inputs, targets = prompts.training_text(
        QUESTION, CHOICES, "A", {"chain_of_thought": " A rack holds them."}
    )
    assert inputs + targets == PLAIN + " Let's think step by step. A rack holds them."
    assert inputs.endswith("The answer is (")


def test_training_text_orders_explanations():
    explanations = {"common_mistakes": "m", "chain_of_thought": "c", "fundamentals": "f"}
    _, targets = prompts.training_text(QUESTION, CHOICES, "C", explanations)
    assert targets == (
        "C). The fundamental of this question is:f Let's think step by step.c"
        " The common mistakes are:m"
    )


def test_training_text_without_explanations_is_plain():
    assert "".join(prompts.training_text(QUESTION, CHOICES, "A", {})) == PLAIN


def test_double_spaces_collapse_once_and_not_in_evaluation():
    spaced = "a  b    c"
    assert "a  b    c" in prompts.evaluation_prompt(spaced, CHOICES)
    assert "a  b    c" in prompts.plain_text(spaced, CHOICES, "A")
    # Once: four spaces become two, as str.replace does it.
    prompt = prompts.annotation_prompt(spaced, CHOICES, "A", "fundamentals")
    inputs, targets = prompts.training_text(spaced, CHOICES, "A", {"fundamentals": "  x"})
    assert "Q: a b  c (A)" in prompt
    assert "Q: a b  c (A)" in inputs
    assert targets.endswith("is: x")


def test_an_open_answer_stands_where_the_letter_would():
    plain = "Q: Who wrote it? A: The answer is Ann Lee."
    assert prompts.plain_text("Who wrote it?", [], "Ann Lee") == plain
    assert prompts.evaluation_prompt("Who wrote it?", []) == "Q: Who wrote it? A: The answer is"
    assert prompts.annotation_prompt("Who wrote it?", [], "Ann Lee", "fundamentals") == (
        plain + " The fundamental of this question is:"
    )
    unconditioned = prompts.annotation_prompt("Who?", (), "Ann", "chain_of_thought", False)
    assert unconditioned == "Q: Who? A: Let's think step by step."
    assert prompts.training_text("Who  wrote  it?", [], "Ann", {"common_mistakes": " m  n"}) == (
        "Q: Who wrote it? A: The answer is",
        " Ann. The common mistakes are: m n",
    )


def test_an_open_answer_that_is_a_sentence_gets_no_second_full_stop():
    assert prompts.plain_text("q?", [], "It was so.") == "Q: q? A: The answer is It was so."
    assert prompts.plain_text("q?", [], "Was it?") == "Q: q? A: The answer is Was it?"
    with pytest.raises(ValueError, match="answer is empty"):
        prompts.training_text("q?", [], " ", {})


def test_annotation_prompt_begins_training_text():
    for field in prompts.EXPLANATION_FIELDS:
        prompt = prompts.annotation_prompt(QUESTION, CHOICES, "B", field)
        text = "".join(prompts.training_text(QUESTION, CHOICES, "B", {field: " so."}))
        assert text == prompt + " so."


def test_option_letters():
    assert prompts.option_letters(5) == ["A", "B", "C", "D", "E"]
    assert prompts.option_letters(26)[-1] == "Z"
    for count in (0, 27):
        with pytest.raises(ValueError, match=f"count = {count}.*1 to 26"):
            prompts.option_letters(count)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"answer = 'D'.*A, B, C"):
        prompts.plain_text(QUESTION, CHOICES, "D")
    with pytest.raises(ValueError, match="answer = 'AB'"):
        prompts.training_text(QUESTION, CHOICES, "AB", {})
    with pytest.raises(ValueError, match=r"field = 'cot'.*chain_of_thought"):
        prompts.annotation_prompt(QUESTION, CHOICES, "A", "cot")
    with pytest.raises(ValueError, match="field = 'hints'"):
        prompts.training_text(QUESTION, CHOICES, "A", {"hints": "x"})


def test_prompt_ids_are_stable():
    # They stand in the provenance of annotations: a change makes old annotations look foreign.
    assert dict(prompts.PROMPT_IDS) == {
        "fundamentals": "fundamentals-4068961d",
        "chain_of_thought": "chain_of_thought-b138c6f5",
        "common_mistakes": "common_mistakes-ab48e8ea",
    }
    unconditioned = {prompts.prompt_id(field, False) for field in prompts.EXPLANATION_FIELDS}
    assert len(unconditioned | set(prompts.PROMPT_IDS.values())) == 6
