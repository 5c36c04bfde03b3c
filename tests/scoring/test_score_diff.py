"""Each cause, made on purpose, is the one that is named."""

import dataclasses

import pytest

from teacherlm_jax.scoring import score_diff, score_diff_view
from teacherlm_jax.scoring.compared import of_receipt
from tests.scoring.test_receipt_files import RECEIPT

FIRST = dataclasses.replace(
    RECEIPT,
    prompt="Is ice cold?\nAnswer:",
    continuations=(" yes", " no", " maybe"),
    option_texts=("yes", "no", "maybe"),
    bos_id=None,
    context=(5, 6, 7),
    options=((10,), (11,), (12, 13)),
    log_likelihoods=(-1.0, -2.0, -3.0),
    is_greedy=(True, False, False),
    unconditional_prompt=None,
    unconditional=None,
    normalisation="sum",
)
# Another prediction, far from a tie.
OTHER = (-2.0, -1.0, -3.0)


def diff(first, second, **settings):
    a, b = ([of_receipt(one, f"{name}:1")] for name, one in (("a", first), ("b", second)))
    return score_diff.compare(a, b, **settings)


@pytest.mark.parametrize(
    ("changes", "cause", "detail"),
    [
        ({"prompt": "Is ice cold?\nA:"}, "prompt text", "from character 14"),
        ({"continuations": (" yes", " no", " perhaps")}, "option texts", "' perhaps'"),
        ({"bos_id": 1, "context": (1, 5, 6, 7)}, "BOS", "none and 1"),
        ({"context": (6, 7), "truncated": 1}, "truncation", "0 and 1"),
        ({"context": (5, 8, 7)}, "tokens", "token 1 on: [6, 7] and [8, 7]"),
        ({"options": ((10,), (14,), (12, 13))}, "tokens", "option 1 ' no' is [11] and [14]"),
        (
            {"context": (5, 6), "options": ((7, 10), (7, 11), (7, 12, 13)), "boundary": "apart"},
            "boundary",
            "after 3 and after 2",
        ),
        ({"checkpoint_digest": "def"}, "checkpoint", "abc and def"),
        ({"dtype": "bfloat16"}, "dtype", "float32 and bfloat16"),
        ({}, "numerics", "1 nats apart, more than rounding makes"),
        (
            {"bos_id": 1, "context": (1, 5, 6, 7), "dtype": "bfloat16"},
            "BOS and dtype",
            "none and 1",
        ),
    ],
)
def test_what_differs_is_the_cause_where_log_likelihoods_do(changes, cause, detail):
    second = dataclasses.replace(FIRST, log_likelihoods=OTHER, **changes)
    result = diff(FIRST, second)
    (pair,) = result.disagreements
    assert (pair.prediction_a, pair.prediction_b) == (0, 1)
    assert pair.cause == cause
    assert detail in pair.causes[0].detail
    # The same cause where predictions agree and log-likelihoods do not.
    (pair,) = diff(FIRST, dataclasses.replace(second, log_likelihoods=(-1.5, -2.5, -3.5))).pairs
    assert pair.agree and pair.cause == cause
    # What differs without an effect is no cause.
    same = diff(FIRST, dataclasses.replace(second, log_likelihoods=FIRST.log_likelihoods))
    if cause != "option texts":
        assert not same.disagreements and not same.differing and not same.pairs[0].causes


def test_cut_prompts_are_compared_from_their_end():
    second = dataclasses.replace(
        FIRST, log_likelihoods=OTHER, context=(6,), truncated=1, options=((7, 10), (7, 11), (7,))
    )
    (pair,) = diff(FIRST, second).disagreements
    assert [cause.name for cause in pair.causes] == ["tokens", "truncation"]


def test_options_in_another_order_are_aligned_by_text():
    turned = dataclasses.replace(
        FIRST,
        answer=2,
        continuations=(" maybe", " no", " yes"),
        option_texts=("maybe", "no", "yes"),
        options=FIRST.options[::-1],
        log_likelihoods=(-3.0, -2.0, -1.0),
    )
    result = diff(FIRST, turned)
    assert not result.disagreements and not result.differing
    assert result.pairs[0].reordered and result.pairs[0].prediction_b == 2
    # A tie goes to the first, whichever that is.
    tied = dataclasses.replace(turned, log_likelihoods=(-1.0, -2.0, -1.0))
    other = dataclasses.replace(FIRST, log_likelihoods=(-1.0, -2.0, -1.0))
    (pair,) = diff(other, tied).disagreements
    assert pair.cause == "option order" and "a tie" in pair.causes[0].detail
    # Where the prompt lists the options, it is another prompt.
    listed = dataclasses.replace(turned, prompt="maybe, no, yes?", log_likelihoods=(-1.0, -2, -3))
    (pair,) = diff(FIRST, listed).disagreements
    assert pair.cause == "prompt text and option order"


def lettered(*texts, **changes):
    """Answered by letters, of which only the prompt says what they are."""
    letters = tuple("ABCD"[: len(texts)])
    listed = " ".join(f"({letter}) {text}" for letter, text in zip(letters, texts))
    settings = {
        "prompt": f"Q: Is ice cold? {listed} A: The answer is (",
        "continuations": letters,
        "option_texts": letters,
        "options": tuple((ord(letter),) for letter in letters),
        "context": tuple(map(len, texts)),
        "is_greedy": (False,) * len(texts),
    }
    return dataclasses.replace(FIRST, **(settings | changes))


def test_letters_are_aligned_by_what_the_prompt_lists():
    first = lettered("yes", "no", "maybe", log_likelihoods=(-1.0, -2.0, -3.0))
    # The same letter is another option.
    second = lettered("no", "yes", "maybe", log_likelihoods=(-1.0, -2.0, -3.0), answer=1)
    (pair,) = diff(first, second).disagreements
    assert pair.reordered and pair.cause == "option order" and pair.difference == 1
    assert "A's options are B's [1, 0, 2]" in pair.causes[0].detail
    # Another letter is the same one.
    second = lettered("no", "yes", "maybe", log_likelihoods=(-2.5, -1.5, -3.5), answer=1)
    result = diff(first, second)
    assert not result.disagreements and result.pairs[0].cause == "option order"
    page = list(score_diff_view.lines(result, "a", "b", 1))
    assert "    B  option 1 'B' 'yes', right, margin 1" in page
    # A prompt that differs beside its list is told too.
    asked = dataclasses.replace(second, prompt=second.prompt.replace("cold", "warm"))
    assert diff(first, asked).pairs[0].cause == "prompt text and option order"
    # With the options themselves as answers, they are the same options.
    written = dataclasses.replace(FIRST, log_likelihoods=(-4.0, -5.0, -6.0))
    (pair,) = diff(second, written).pairs
    assert pair.agree and pair.difference == 2.5
    assert pair.cause == "prompt text and option texts"


@pytest.mark.parametrize("are_letters", [False, True])
def test_another_number_of_options_is_compared_by_those_in_both(are_letters):
    def receipt(*texts, **changes):
        if are_letters:
            return lettered(*texts, **changes)
        own = {
            "continuations": tuple(f" {text}" for text in texts),
            "option_texts": texts,
            "options": tuple((len(text),) for text in texts),
            "is_greedy": (False,) * len(texts),
        }
        return dataclasses.replace(FIRST, **own, **changes)

    first = receipt("yes", "no", "maybe", log_likelihoods=(-1.0, -2.0, -3.0))
    fewer = receipt("maybe", "yes", log_likelihoods=(-3.0, -1.5), answer=1)
    for a, b, alone in ((first, fewer, "no"), (fewer, first, "no")):
        result = diff(a, b)
        (pair,) = result.differing
        assert pair.agree and pair.other_options and pair.difference == 0.5
        assert pair.reordered and pair.cause == "option texts"
        assert f"{alone}']" in pair.causes[0].detail and "[]" in pair.causes[0].detail
        number = " and ".join(str(len(one.options)) for one in (a, b))
        assert pair.causes[0].detail.startswith(f"{number} options; in A alone [")
    page = "\n".join(score_diff_view.lines(result, "a", "b", 0))
    assert "options          another number in 1 questions; those in both are compared" in page
    # The one that is missing would have been chosen: of the others, log-likelihoods are the same.
    fewer = receipt("no", "maybe", log_likelihoods=(-2.0, -3.0), answer=1)
    for a, b in ((first, fewer), (fewer, first)):
        (pair,) = diff(a, b).disagreements
        assert pair.difference == 0 and pair.cause == "option texts"
    # No option is in both.
    (pair,) = diff(first, receipt("ja", "nein", log_likelihoods=(-2.0, -3.0), answer=1)).pairs
    assert not pair.agree and pair.difference is None and pair.cause == "option texts"


def test_normalisation_is_the_cause_where_one_for_both_would_make_them_agree():
    first = dataclasses.replace(FIRST, log_likelihoods=(-1.0, -2.0, -1.2))
    second = dataclasses.replace(first, normalisation="tokens", dtype="bfloat16")
    (pair,) = diff(first, second).disagreements
    assert (pair.prediction_a, pair.prediction_b, pair.cause) == (0, 2, "normalisation")
    assert not diff(first, second, by="tokens").disagreements
    # Texts that are counted in another way.
    first = dataclasses.replace(first, log_likelihoods=(-3.1, -2.0, -4.9))
    second = dataclasses.replace(first, option_texts=("(B) yes", "(C) no", "(D) maybe"))
    (pair,) = diff(first, second, by="characters").disagreements
    assert pair.cause == "normalisation"
    assert "counted [3, 2, 5] and [7, 6, 9]" in pair.causes[0].detail


def test_near_ties_are_told_with_difference_and_margin():
    first = dataclasses.replace(FIRST, log_likelihoods=(-1.0, -1.00001, -3.0))
    second = dataclasses.replace(first, log_likelihoods=(-1.00001, -1.0, -3.0), bos_id=1)
    (pair,) = diff(first, second).disagreements
    assert pair.cause == "numerics"
    assert "1e-05 nats apart, the smaller margin by sum is 1e-05" in pair.causes[0].detail


def test_the_unconditional_prompt_counts_only_where_it_ranks():
    first = dataclasses.replace(FIRST, unconditional_prompt=(), unconditional=(-1.0, -2.0, -4.0))
    second = dataclasses.replace(first, unconditional_prompt=(3,), unconditional=(-1.0, -3.0, -4.0))
    assert not diff(first, second).differing
    (pair,) = diff(first, second, by="unconditional").differing
    assert pair.cause == "unconditional prompt"


def test_questions_are_matched_in_several_ways():
    def receipt(task, number, prompt, text="yes", options=("A", "B", "C")):
        return of_receipt(
            dataclasses.replace(
                FIRST,
                task=task,
                question_id=str(number),
                prompt=prompt,
                continuations=(text,) * 3,
                option_texts=options,
            ),
            f"{task}:{number}",
        )

    own = ("red", "green", "blue")
    a = [receipt("one", 1, "same id"), receipt("one", 2, "same prompt")]
    a += [receipt("one", 3, "x", options=own), receipt("one", "5f", "z"), receipt("one", 4, "w")]
    b = [receipt("two", 7, "same prompt"), receipt("one", 1, "other")]
    b += [receipt("two", 3, "y", options=own), receipt("two", "5f", "u"), receipt("two", 4, "v")]
    b.append(receipt("two", 8, "left over", "no"))
    result = score_diff.compare(a, b)
    assert [(p.a.where, p.b.where) for p in result.pairs] == [
        ("one:1", "one:1"),
        ("one:2", "two:7"),
        ("one:3", "two:3"),
        ("one:5f", "two:5f"),
    ]
    assert result.matched == {
        "task, split and id": 1,
        "prompt and options": 1,
        "id and options": 2,
    }
    # Of letters, the same row's number in two tasks says nothing.
    assert [one.where for one in result.only_a] == ["one:4"]
    assert [one.where for one in result.only_b] == ["two:4", "two:8"]


def test_nothing_in_common_and_impossible_settings_are_errors():
    other = dataclasses.replace(
        FIRST, task="other", question_id="9", prompt="Else?", continuations=("a", "b", "c")
    )
    other = dataclasses.replace(other, option_texts=("a", "b", "c"))
    with pytest.raises(ValueError, match=r"no question in both: quiz 7 \(a:1\)"):
        diff(FIRST, other)
    with pytest.raises(ValueError, match="by = 'median', but it must be one of"):
        diff(FIRST, FIRST, by="median")
    with pytest.raises(ValueError, match="a:1: has no unconditional"):
        diff(FIRST, FIRST, by="unconditional")
    with pytest.raises(ValueError, match="tolerance = -1"):
        diff(FIRST, FIRST, tolerance=-1)


def test_the_page_has_counts_and_an_example_of_each_cause():
    a, b = [], []
    for number, changes in enumerate(
        [{"dtype": "bfloat16"}, {"dtype": "bfloat16"}, {"prompt": "?"}]
    ):
        one = dataclasses.replace(FIRST, question_id=str(number))
        a.append(of_receipt(one, f"a:{number}"))
        other = dataclasses.replace(one, log_likelihoods=OTHER, **changes)
        b.append(of_receipt(other, f"b:{number}"))
    text = "\n".join(score_diff_view.lines(score_diff.compare(a, b), "A.jsonl", "B.jsonl", 2))
    assert "accuracy         A 100.00, B 0.00" in text
    assert "predictions      3 of 3 disagree" in text
    assert "why predictions disagree\n       2  dtype\n       1  prompt text\n" in text
    assert "quiz, question 0" in text and "quiz, question 2" in text
    assert "quiz, question 1" not in text
    assert "A  option 0 ' yes', right, margin 1" in text
