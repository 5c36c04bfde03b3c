import pytest

from teacherlm_jax.scoring.scores import (
    OptionRow,
    Question,
    QuestionScore,
    ScoringPolicy,
    group_rows,
)


def test_rows_are_grouped_in_order_of_appearance():
    rows = [
        OptionRow((1, "b"), [5, 6], [1]),
        OptionRow((0, "a"), [7], [2]),
        OptionRow((1, "b"), [5, 6], [3, 4]),
    ]
    questions, places = group_rows(rows)
    assert [question.question_id for question in questions] == [(1, "b"), (0, "a")]
    assert [list(question.options) for question in questions] == [[[1], [3, 4]], [[2]]]
    assert places == [(0, 0), (1, 0), (0, 1)]


def test_rows_of_a_question_must_share_their_prompt():
    rows = [OptionRow((0, 1), [5, 6], [1]), OptionRow((0, 1), [5, 7, 8], [2])]
    with pytest.raises(ValueError, match=r"question \(0, 1\).*2 and 3 tokens.*question id"):
        group_rows(rows)


def result(log_likelihoods, counts=None, **policy):
    counts = (1,) * len(log_likelihoods) if counts is None else counts
    return QuestionScore("q", log_likelihoods, counts, 0, ScoringPolicy(max_length=9, **policy))


def test_normalisation_decides_the_ranking_and_is_recorded():
    by_sum = result((-3.0, -4.0), (1, 4))
    by_tokens = result((-3.0, -4.0), (1, 4), normalisation="tokens")
    assert (by_sum.prediction, by_tokens.prediction) == (0, 1)
    assert by_tokens.scores == (-3.0, -1.0)
    assert by_tokens.policy.normalisation == "tokens"


def test_equals_rank_by_number_and_near_ties_are_told():
    tied = result((-5.0, -1.0, -1.0, -0.5 - 0.50005))
    assert tied.ranking == (1, 2, 3, 0)
    assert tied.is_near_tie and tied.margin == 0.0
    assert not result((-1.0, -1.01)).is_near_tie
    assert result((-1.0, -1.01), near_tie=0.1).is_near_tie
    assert result((-1.0,)).margin == float("inf")


def test_bad_settings_are_refused():
    for settings, message in [
        ({"normalisation": "words"}, "normalisation = 'words'.*'sum', 'tokens'"),
        ({"normalisation": "unconditional"}, "needs an unconditional_prompt"),
        ({"truncation": "middle"}, "truncation = 'middle'"),
        ({"max_length": 1}, "max_length = 1.*at least 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            ScoringPolicy(**{"max_length": 40, **settings})


def test_every_normalisation_counts_its_own():
    texts = ("süß", "naive")
    scores = QuestionScore(
        "q", (-6.0, -5.0), (2, 1), 0, ScoringPolicy(9), (), texts, unconditional=(-8.0, -4.0)
    )
    assert scores.normalisations == ("sum", "tokens", "bytes", "characters", "unconditional")
    found = {name: scores.normalised(name) for name in scores.normalisations}
    assert found == {
        "sum": (-6.0, -5.0),
        "tokens": (-3.0, -5.0),
        "bytes": (-6 / 5, -1.0),
        "characters": (-2.0, -1.0),
        "unconditional": (2.0, -1.0),
    }


def test_a_normalisation_that_lacks_what_it_needs_is_refused():
    scores = QuestionScore("q7", (-6.0, -5.0), (2, 1), 0, ScoringPolicy(9))
    assert scores.normalisations == ("sum", "tokens")
    with pytest.raises(ValueError, match=r"'q7' has no normalisation 'bytes'.*options' texts"):
        scores.normalised("bytes")
    with pytest.raises(ValueError, match="2 options but 1 texts"):
        Question("q", [1], [[1], [2]], ("a",))
