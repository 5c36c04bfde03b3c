"""Questions found in texts, against a plain search for words in words."""

import random

import pytest

from teacherlm_jax.data.question_index import (
    EXACT,
    KINDS,
    NGRAM,
    WHOLE,
    EvaluationQuestion,
    MatchRule,
    QuestionIndex,
)
from teacherlm_jax.data.word_runs import WordBatch


def question(text, number=0, options=(), **parts):
    return EvaluationQuestion("task", "test", str(number), parts or {"question": text}, options)


def found(questions, texts, **rule):
    index = QuestionIndex(questions, MatchRule(**rule))
    return [
        (match.text, index.entries[match.entry][0].id, match.kind, match.words)
        for match in index.search(WordBatch(texts))
    ]


LONG = "Why did the old lighthouse keeper of the northern island never learn how to swim at all?"
SHORT = "Could an otter outrun a postman?"


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (LONG.upper(), EXACT, 17),
        (f"Q: {LONG} (A) he did", WHOLE, 17),
        (f"intro\n{LONG}\nOptions: yes", EXACT, 17),
        (LONG.replace("Why did the ", "Tell me why an "), NGRAM, 14),
        (LONG.replace("northern", "southern"), None, 0),
        (SHORT.replace("?", " - "), EXACT, 6),
        ("I ask: could an otter outrun a postman today", WHOLE, 6),
        ("could an otter outrun a milkman", None, 0),
        ("Could an otter outrun", None, 0),
    ],
)
def test_what_counts_as_a_match(text, kind, words):
    matches = found([question(LONG, 1), question(SHORT, 2)], ["nothing here", text])
    assert [(match[2], match[3]) for match in matches] == ([(kind, words)] if kind else [])


def test_of_equally_long_runs_a_line_of_its_own_counts():
    for text in (f"I ask: {SHORT} Well:\n{SHORT}\n", f"{SHORT}\nI ask: {SHORT} Well."):
        assert found([question(SHORT)], [text]) == [(0, "0", EXACT, 6)]


def test_the_longest_run_of_a_question_in_which_words_repeat():
    repeated = " ".join(f"r{number}" for number in range(13))
    asked = question(f"{repeated} mid {repeated} tail")
    assert found([asked], [f"{repeated} tail"], min_coverage=0.5) == [(0, "0", NGRAM, 14)]


def test_as_a_slow_loop_finds_it():
    """The longest run of words, and the strongest kind, of texts that are pieces of questions."""
    generator = random.Random(2)
    kinds = set()
    for vocabulary in ["ab", "abcdefgh"] * 150:
        asked = [generator.choice(vocabulary) for _ in range(generator.randrange(5, 20))]
        text = []
        for _ in range(generator.randrange(1, 5)):
            first = generator.choice([0, generator.randrange(len(asked))])
            end = generator.choice([len(asked), generator.randrange(first, len(asked)) + 1])
            text += [*asked[first:end], generator.choice(["\n", "x", ""])]
        expected = longest(asked, text, ngram=8)
        matches = found([question(" ".join(asked))], [" ".join(text)], ngram=8, min_whole=5)
        assert [match[2:] for match in matches] == ([expected] if expected else [])
        kinds.add(expected and expected[0])
    assert kinds == {EXACT, WHOLE, NGRAM, None}


def longest(asked, text, ngram):
    """Kind and words of the best run that two lists share; None: there is none."""
    words = [word for word in text if word.strip()]
    ends = [
        sum(bool(word.strip()) for word in text[:at])
        for at, word in enumerate(text)
        if word == "\n"
    ]
    edges = {0, len(words), *ends}
    runs = set()
    for first in range(len(words)):
        for offset in range(len(asked)):
            size = 0
            while (
                first + size < len(words)
                and offset + size < len(asked)
                and words[first + size] == asked[offset + size]
            ):
                size += 1
            if size == len(asked):
                kind = EXACT if {first, first + size} <= edges else WHOLE
                runs.add((size, -KINDS.index(kind), kind))
            elif size >= ngram:
                runs.add((size, -KINDS.index(NGRAM), NGRAM))
    if not runs:
        return None
    size, _, kind = max(runs)
    return kind, size


def test_runs_do_not_cross_texts():
    half = LONG.split()
    assert not found([question(LONG)], [" ".join(half[:9]), " ".join(half[9:])])


def test_a_tiny_question_must_be_all_of_a_line():
    tiny = question("What is gravity?")
    assert not found([tiny], ["They asked what is gravity and left."])
    assert found([tiny], ["Physics.\nWhat is gravity?\nA force."]) == [(0, "0", EXACT, 3)]


def test_a_tiny_part_does_not_give_away_a_question_with_a_longer_one():
    asked = question("", premise="The man dropped his only cup.", question="cause")
    assert not found([asked], ["cause"])
    assert found([asked], ["The man dropped his only cup."])
    asked = question("", facts="The man dropped his only cup.", question="Did cups break?")
    assert found([asked], ["Did cups break?"]) and not found([asked], ["I ask: did cups break?"])


def test_what_many_questions_share_is_ignored_and_the_rest_is_found():
    shared = "The following is a story that somebody once told to me about a town called"
    questions = [question(f"{shared} {name} where it rained", name) for name in "abcd"]
    text = f"{shared} b where it rained"
    assert [match[1] for match in found(questions, [text], ngram=5, max_questions=4)] == [*"abcd"]
    assert [match[1] for match in found(questions, [text], ngram=5, max_questions=3)] == ["b"]


def test_a_question_that_only_options_tell_from_others_cannot_be_matched():
    questions = [question("Which of these is true?", n, (f"{n}", "no")) for n in range(12)]
    index = QuestionIndex(questions, MatchRule())
    assert index.unmatchable == list(range(12))
    assert not index.search(WordBatch(["Which of these is true?"]))


def test_the_same_question_in_two_tasks_is_one():
    same = [
        EvaluationQuestion(task, "test", "7", {"question": SHORT}, ("True", "False"))
        for task in ("letters", "options")
    ]
    index = QuestionIndex(same, MatchRule(max_questions=1))
    assert [one.task for one in index.entries[0]] == ["letters", "options"]
    assert len(index.search(WordBatch([SHORT]))) == 1


def test_coverage_is_a_floor():
    text = LONG.replace("Why did the ", "")
    assert found([question(LONG)], [text], min_coverage=0.8)
    assert not found([question(LONG)], [text], min_coverage=0.9)


def test_as_a_plain_search_finds_it():
    generator = random.Random(1)
    vocabulary = ["a", "b", "c", "d"]

    def draw(most):
        return [generator.choice(vocabulary) for _ in range(generator.randrange(1, most))]

    questions = [draw(12) for _ in range(80)]
    texts = [draw(60) for _ in range(40)]
    matches = found(
        [question(" ".join(words), number) for number, words in enumerate(questions)],
        [" ".join(words) for words in texts],
        ngram=6,
        min_whole=3,
        max_questions=1000,
    )
    # Questions with the same words are one, under the first one's number.
    first = {tuple(words): str(number) for number, words in reversed([*enumerate(questions)])}
    expected = set()
    for place, text in enumerate(texts):
        for words, number in first.items():
            size = min(len(words), 6)
            runs = {tuple(text[at : at + size]) for at in range(len(text) - size + 1)}
            is_in = any(words[at : at + size] in runs for at in range(len(words) - size + 1))
            if list(words) == text if size < 3 else is_in:
                expected.add((place, number))
    assert {match[:2] for match in matches} == expected
    assert len(expected) > 100


@pytest.mark.parametrize(
    "rule", [{"ngram": 4}, {"min_whole": 0}, {"max_questions": 0}, {"min_coverage": 1.5}]
)
def test_rules_that_make_no_sense(rule):
    with pytest.raises(ValueError, match="="):
        MatchRule(**rule)
