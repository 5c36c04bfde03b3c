"""Lists of options in prompts, as we write them and as lm-eval's tasks do."""

import pytest

from teacherlm_jax.scoring import listed_options
from teacherlm_jax.teacher.prompts import evaluation_prompt, option_letters

OURS = evaluation_prompt("Is the answer ice?", ("yes", "the answer is no", "not (B), it melts."))


@pytest.mark.parametrize(
    ("prompt", "continuations", "expected"),
    [
        (OURS, "ABC", ("Q: Is the answer ice? ", ("yes", "the answer is no", "not (B), it melts"))),
        (
            evaluation_prompt("Ice?", ("hot", "cold")) + "B). " + OURS,
            ["(A)", "(B)", "(C)"],
            (
                "Q: Ice? (A) hot (B) cold A: The answer is (B). Q: Is the answer ice? ",
                ("yes", "the answer is no", "not (B), it melts"),
            ),
        ),
        ("Ice?\nA. hot, B.\nB. cold\nAnswer:", [" A", " B"], ("Ice?\n", ("hot, B", "cold"))),
        ("Ice?\n(A) hot\n(B) cold\nA:", [" A", " B"], ("Ice?\n", ("hot", "cold"))),
        # No list, no letters, or an end that is not known.
        ("Ice?\nAnswer:", [" A", " B"], None),
        (OURS, [" yes", " no", " it melts"], None),
        (OURS, "ACB", None),
        (OURS, "A", None),
        (OURS, "ABCD", None),
        ("Ice? (A) hot (B) cold:", "AB", None),
    ],
)
def test_the_last_list_of_a_prompt_is_found(prompt, continuations, expected):
    found = listed_options.find(prompt, continuations)
    assert (found and (found.head, found.texts)) == expected
    if found:
        assert prompt.startswith(found.head) and prompt.endswith(found.tail)
        assert found.texts[-1] in prompt and found.texts[-1] not in found.around


def test_letters_are_those_of_our_prompts():
    choices = [f"choice {number}" for number in range(12)]
    found = listed_options.find(evaluation_prompt("Q?", choices), option_letters(12))
    assert found is not None and found.texts == tuple(choices)
    assert found.tail == " A: The answer is ("
