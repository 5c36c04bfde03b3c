import pytest

from teacherlm_jax.adapters import option_rows
from teacherlm_jax.adapters.option_rows import Encoded, Pair


class Letters:
    """A token a character; "(A" is one, as a merge."""

    name, vocab_size, bos_id, eos_id, adds_bos = "letters", 200, 2, 3, True

    def encode_many(self, texts):
        return [
            [ord(c) for c in text.replace("(A", "\x01").replace("<s>", "\x02")] for text in texts
        ]

    def decode(self, ids, *, with_special=False):
        return "".join(map(chr, ids)).replace("\x02", "<s>" if with_special else "")


def encoder(**changes):
    settings = {"bos_id": None, "prefix_id": 2, "rule": "joint", "max_length": 12}
    return option_rows.Encoder(Letters(), **{**settings, **changes})


def ids(text):
    return tuple(Letters().encode_many([text])[0])


def test_pairs_are_cut_in_order_with_bos_before_the_context():
    pairs = [Pair(1, "ab", "c"), Pair(2, "x ", "y"), Pair(1, "ab", "de"), Pair(3, "<s>q", "r")]
    assert encoder().pairs(pairs)[:3] == [
        Encoded(1, ids("ab"), ids("c")),
        Encoded(2, ids("x"), ids(" y")),
        Encoded(1, ids("ab"), ids("de")),
    ]
    with_bos = encoder(bos_id=2).pairs(pairs)
    assert [one.context for one in with_bos] == [ids(f"<s>{c}") for c in ("ab", "x", "ab", "q")]
    assert encoder(rule="apart").pairs(pairs)[1] == Encoded(2, ids("x "), ids("y"))


def test_an_empty_context_is_the_prefix_token():
    made = encoder().pairs([Pair(1, "", "ab"), Pair(2, "", "<s>b"), Pair(3, " ", "c")])
    assert made == [
        Encoded(1, (2,), ids("ab")),
        Encoded(2, (2,), ids("b")),
        Encoded(3, (2,), ids(" c")),
    ]


def test_a_merge_moves_all_options_of_a_document_and_is_counted():
    made = encoder()
    pairs = [Pair(1, "is (", "A"), Pair(1, "is (", "B"), Pair(2, "is (", "B")]
    assert made.pairs(pairs) == [
        Encoded(1, ids("is "), ids("(A")),
        Encoded(1, ids("is "), ids("(B")),
        Encoded(2, ids("is ("), ids("B")),
    ]
    assert (made.counts.moved, made.counts.requests) == (2, 3)


def test_long_contexts_lose_what_the_harness_cuts():
    made = encoder(bos_id=2, max_length=5)
    # Six tokens are five inputs, since the last is no input; BOS goes first.
    found = made.pairs([Pair(1, "abcd", "x"), Pair(2, "abcdefgh", "xy"), Pair(3, "ab", "12345")])
    assert found == [
        Encoded(1, ids("<s>abcd"), ids("x")),
        Encoded(2, ids("efgh"), ids("xy")),
        Encoded(3, ids("b"), ids("12345")),
    ]
    assert made.counts.truncated == 2


@pytest.mark.parametrize("pair", [Pair("d", "a", "123456"), Pair("d", "", "<s>")])
def test_a_continuation_that_cannot_be_scored_is_refused(pair):
    with pytest.raises(ValueError, match=r"of d: its continuation .* [06] tokens.*max_length = 5"):
        encoder(max_length=5).pairs([pair])


def test_options_of_a_document_share_a_row_and_others_do_not():
    encoded = [
        Encoded(1, (1, 2), (3,)),
        Encoded(2, (1, 2), (3,)),
        Encoded(1, (1, 2), (4, 5)),
        Encoded(1, (2,), (3,)),
        Encoded(1, (1, 2), (3,)),
    ]
    made = option_rows.rows(encoded, 10)
    assert made.requests == [[0, 2, 4], [1], [3]]
    assert made.places == [(0, 0), (1, 0), (0, 1), (2, 0), (0, 2)]
    assert made.questions[0].options == [(3,), (4, 5), (3,)]
    assert [q.prompt_tokens for q in made.questions] == [(1, 2), (1, 2), (2,)]


def test_rows_are_no_longer_than_the_longest_text():
    encoded = [Encoded(1, (1, 2), (3,) * 4) for _ in range(5)] + [Encoded(1, (1, 2), (9,))]
    made = option_rows.rows(encoded, 8)
    # Two contexts' tokens, and three of each option: two options a row, and letters are free.
    assert made.requests == [[0, 1], [2, 3], [4, 5]]
    one_each = option_rows.rows([Encoded(1, (1,), (2,) * 8) for _ in range(3)], 8)
    assert one_each.requests == [[0], [1], [2]]
