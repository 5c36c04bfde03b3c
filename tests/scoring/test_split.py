import pytest

from teacherlm_jax.scoring.split import Split, split_question


def test_context_and_options_stand_as_they_came():
    assert split_question([5, 0, 7], [[3], [0, 4]]) == Split((5, 0, 7), ((3,), (0, 4)), 0)


def test_bos_comes_first_and_counts():
    assert split_question([5], [[3]], bos_id=0).context == (0, 5)
    assert split_question([], [[3]], bos_id=0).context == (0,)
    with pytest.raises(ValueError, match="1 BOS \\+ 3 prompt \\+ 1 option tokens"):
        split_question([5, 6, 7], [[3]], bos_id=0, max_length=4)


@pytest.mark.parametrize("length", range(1, 12))
@pytest.mark.parametrize("bos_id", [None, 1])
@pytest.mark.parametrize("max_length", range(3, 12))
def test_a_cut_keeps_the_end_fits_and_is_never_empty(length, bos_id, max_length):
    prompt = list(range(10, 10 + length))
    options = [[1], [2, 3]]
    bos = 0 if bos_id is None else 1
    needed = bos + length + 2
    if max_length - bos - 2 < 1:
        with pytest.raises(ValueError, match="leave nothing of the prompt"):
            split_question(prompt, options, bos_id=bos_id, max_length=max_length, truncation="left")
        return
    result = split_question(
        prompt, options, bos_id=bos_id, max_length=max_length, truncation="left"
    )
    kept = result.context[bos:]
    assert kept and kept == tuple(prompt[result.truncated :])
    assert result.context[:bos] == (1,) * bos
    assert len(result.context) + 2 == min(needed, max_length)
    assert result.options == ((1,), (2, 3))


def test_the_longest_option_decides_for_all():
    result = split_question([4, 5, 6, 7], [[1], [2, 2, 2]], max_length=5, truncation="left")
    assert result == Split((6, 7), ((1,), (2, 2, 2)), 2)


@pytest.mark.parametrize(
    ("prompt", "options", "settings", "message"),
    [
        ([5], [], {}, "row 3: no options"),
        ([5], [[1], []], {}, "row 3: option 1 has no tokens"),
        ([], [[1]], {}, "row 3: the prompt has no tokens and bos_id is None"),
        (
            [5] * 9,
            [[1], [2, 3]],
            {"max_length": 8},
            r"row 3: 0 BOS \+ 9 prompt \+ 2 option tokens .*max_length = 8: .*first 3 tokens",
        ),
        ([5], [[1]], {"truncation": "right"}, "truncation = 'right'.*'error', 'left'"),
    ],
)
def test_what_cannot_be_scored_is_refused(prompt, options, settings, message):
    with pytest.raises(ValueError, match=message):
        split_question(prompt, options, where="row 3", **settings)
