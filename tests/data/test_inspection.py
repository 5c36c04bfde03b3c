"""Rows token by token, as training takes them, and what is found amiss."""

import numpy as np
import pytest
import seqio

from teacherlm_jax.data import inspection, pipeline
from teacherlm_jax.data.batches import MixtureBatches
from teacherlm_jax.data.examples import ExampleTable, TokenizedExample
from teacherlm_jax.data.row_format import RowFormat
from tests.data import tiny_tasks
from tests.data.tiny_tasks import VOCABULARY as WORDS

BYTES = seqio.ByteVocabulary()


def table(*pairs: tuple[str, str], vocabulary=WORDS, name="t", eos=True) -> ExampleTable:
    """Examples of texts."""
    examples = []
    for number, (inputs, targets) in enumerate(pairs):
        ids = [*vocabulary.encode(targets), *([vocabulary.eos_id] * eos)]
        inputs_ids = np.array(vocabulary.encode(inputs), np.int32)
        examples.append(TokenizedExample(f"{name}/x:{number}", inputs_ids, np.array(ids, np.int32)))
    return ExampleTable(name, examples)


COLORS = table(("Q: what is red? A:", "red is not blue."), ("Q: what is pink?", "not grey"))


def described(segment: inspection.Segment) -> list[tuple]:
    return [(token.text or token.special, token.role, token.has_loss) for token in segment.tokens]


def only_row(examples: ExampleTable, row_format: RowFormat, vocabulary=WORDS) -> inspection.Row:
    (row,) = inspection.rows([examples], [1.0], row_format, vocabulary, 1, 0)
    return row


def test_a_row_with_bos():
    row = only_row(table(("A:", "red.")), RowFormat(9, bos_id=0))
    assert (row.used, row.length) == (5, 9)
    assert described(row.segments[0]) == [
        ("BOS", "bos", False),
        ("A", "input", False),
        (":", "input", False),
        (" red", "target", True),
        (".", "target", True),
        ("EOS", "target", True),
    ]


def test_without_bos_the_first_token_is_context():
    row = only_row(table(("", "red is")), RowFormat(9, bos_id=None))
    assert described(row.segments[0]) == [
        ("red", "target", False),
        (" is", "target", True),
        ("EOS", "target", True),
    ]


def test_loss_on_all():
    row = only_row(table(("A:", "red.")), RowFormat(9, bos_id=0, loss_on="all"))
    assert [token.has_loss for token in row.segments[0].tokens] == [False] + [True] * 5
    assert row.segments[0].count("input") == 2 and row.segments[0].with_loss == 5


def test_packed_rows_hold_the_examples_of_training():
    row_format = RowFormat(40, bos_id=0, pack=True)
    tables, rates = pipeline.load_tables(tiny_tasks.MIXTURE)
    found = inspection.rows(tables, rates, row_format, WORDS, 4, seed=3)
    ids, arrays = MixtureBatches(tables, rates, row_format, 4, 3)(0)
    segments = [segment for row in found for segment in row.segments]
    assert [segment.example_id for segment in segments] == ids and len(segments) > 4
    assert [row.used for row in found] == (arrays["decoder_segment_ids"] > 0).sum(1).tolist()
    for row, said in zip(found, arrays["decoder_target_tokens"]):
        shown = [token.id for segment in row.segments for token in segment.tokens[1:]]
        assert shown == said[: row.used].tolist()
    loss = sum(segment.with_loss for segment in segments)
    assert loss == arrays["decoder_loss_weights"].sum()


def test_trimmed_examples_are_shown_trimmed():
    row = only_row(table(("Q: what is red? A:", "red.")), RowFormat(5, 0, too_long="trim"))
    texts = [text for text, _, _ in described(row.segments[0])]
    assert texts == ["BOS", "A", ":", " red", ".", "EOS"]


@pytest.mark.parametrize("vocabulary", [WORDS, BYTES])
@pytest.mark.parametrize("text", ["what is red?", "A: not a star.", ""])
def test_pieces_make_up_the_text(vocabulary, text):
    assert "".join(inspection.pieces(vocabulary, vocabulary.encode(text))) == text


def test_a_character_of_several_tokens_stands_at_its_last():
    pieces = inspection.pieces(BYTES, BYTES.encode("aé漢😀!"))
    assert pieces == ["a", "", "é", "", "", "漢", "", "", "", "😀", "!"]


def test_broken_characters_end_somewhere():
    pieces = inspection.pieces(BYTES, [*BYTES.encode("a"), 3 + 0xF0, *BYTES.encode("bc")])
    assert len(pieces) == 4 and "".join(pieces).replace("\N{REPLACEMENT CHARACTER}", "") == "abc"


def found(examples: ExampleTable, row_format=None, vocabulary=WORDS, **settings) -> list[str]:
    return inspection.findings(
        [examples], row_format or RowFormat(64, bos_id=0), vocabulary, **settings
    )


def test_good_examples_raise_no_warning():
    assert found(COLORS) == []
    assert found(COLORS, RowFormat(64, bos_id=None)) == []


def test_targets_without_eos_are_found():
    both = ExampleTable("t", [*COLORS.examples, *table(("A:", "red"), eos=False).examples])
    (warning,) = found(both)
    assert "EOS carries no loss in 1 of 3 examples" in warning
    assert found(both, is_evaluation=True) == []


def test_doubled_and_unknown_tokens_are_found():
    twice = table(("A:", "red"))
    example = twice.examples[0]
    twice = ExampleTable(
        "t", [TokenizedExample("t/x:0", example.inputs, np.append(example.targets, 1))]
    )
    assert "before their end" in found(twice)[0]
    assert "unknown tokens" in found(table(("A:", "purple")))[0]
    begins = ExampleTable(
        "t", [TokenizedExample("t/x:0", np.insert(example.inputs, 0, 0), example.targets)]
    )
    assert "begin with BOS themselves" in found(begins)[0]
    assert found(begins, RowFormat(64, bos_id=None)) == []


def test_a_vocabulary_without_eos_is_found():
    class Endless(seqio.PassThroughVocabulary):
        @property
        def eos_id(self):
            return None

        @property
        def unk_id(self):
            return None

    plain = table(("A:", "red"), eos=False)
    assert "has no EOS" in found(plain, vocabulary=Endless(99))[0]


def test_the_pool_bounds_what_is_read():
    provider = seqio.get_mixture_or_task(tiny_tasks.MIXTURE)
    tables, rates = inspection.read_tables(provider, "train", 5)
    assert [len(part) for part in tables] == [5, 5] and rates == [3.0, 1.0]
    assert inspection.longest(tables) == max(len(e) for t in tables for e in t.examples)
