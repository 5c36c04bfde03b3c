"""Over tokenizers of the styles of BLOOM, OPT, Qwen and Llama."""

import functools
import random
import tempfile
from pathlib import Path

import pytest
import transformers

from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary
from teacherlm_jax.scoring import boundary
from tests.data import tiny_tokenizers

STYLES = ("bloom", "gpt2", "qwen2", "llama", "opt")
PIECES = [
    *("The answer is (", "A", "B", ")", ".", " otter", "otter", "'s", "'", "s", " dense", "ing"),
    *(
        "in",
        " ",
        "  ",
        "\n",
        "\n\n",
        "3",
        "14",
        "!",
        "(",
        "süß",
        "é",
        "🙂",
        "天",
        "气",
        "</s>",
        "<s>",
    ),
]


@functools.cache
def vocabulary(style):
    folder = Path(tempfile.mkdtemp())
    return HuggingFaceVocabulary(getattr(tiny_tokenizers, style)(folder))


def texts(style, count=150):
    draw = random.Random(style)
    for _ in range(count):
        prompt = "".join(draw.choices(PIECES, k=draw.randint(1, 6)))
        options = {"".join(draw.choices(PIECES, k=draw.randint(1, 3))) for _ in range(4)}
        yield "A" + prompt, sorted(options)


def decoded(style, tokens):
    return vocabulary(style).decode(list(tokens))


@pytest.mark.parametrize("rule", boundary.RULES)
@pytest.mark.parametrize("style", STYLES)
def test_no_option_is_empty_or_shifted(style, rule):
    encode = vocabulary(style).encode
    for prompt, options in texts(style):
        found = boundary.cut(encode, prompt, options, rule)
        for option, tokens in zip(options, found.options):
            assert tokens
            # Together they are the text, so nothing is left out and nothing is scored twice.
            assert decoded(style, found.prompt + tokens) == prompt + option
            if rule == "apart":
                assert decoded(style, found.prompt) == prompt


@pytest.mark.parametrize("style", STYLES)
def test_joint_tokens_are_those_of_the_whole_text(style):
    encode = vocabulary(style).encode
    for prompt, options in texts(style):
        found = boundary.cut(encode, prompt, options, "joint")
        for option, tokens in zip(options, found.options):
            assert list(found.prompt + tokens) == list(encode(prompt + option))


def test_letters_after_the_papers_prompt_are_single_tokens_in_every_style():
    for style in STYLES:
        found = boundary.cut(
            vocabulary(style).encode, "Q: x? (A) a (B) b A: The answer is (", ["A", "B"], "apart"
        )
        assert [decoded(style, tokens) for tokens in found.options] == ["A", "B"], style
        assert [len(tokens) for tokens in found.options] == [1, 1], style


class Merging:
    """Merges "(A" and nothing else: then option A begins before the border, option B at it."""

    @staticmethod
    def encode(text):
        tokens, place = [], 0
        while place < len(text):
            step = 2 if text.startswith("(A", place) else 1
            tokens.append(hash(text[place : place + step]))
            place += step
        return tokens


def test_a_merge_over_the_border_moves_the_cut_for_all_options():
    encode = Merging.encode
    found = boundary.cut(encode, "is (", ["A", "B"], "joint")
    assert found.prompt == tuple(encode("is "))
    assert found.options == ((hash("(A"),), (hash("("), hash("B")))
    assert found.moved == 1
    assert boundary.cut(encode, "is (", ["C", "B"], "joint").moved == 0
    assert boundary.cut(encode, "is (", ["A", "B"], "apart").options == ((hash("A"),), (hash("B"),))


def test_white_space_at_the_end_of_a_prompt_belongs_to_the_option_where_joint():
    encode = vocabulary("gpt2").encode
    found = boundary.cut(encode, "The answer is ", ["otter"], "joint")
    assert found == boundary.cut(encode, "The answer is", [" otter"], "joint")


def test_joint_agrees_with_lm_evals_rule_wherever_that_one_is_sound():
    """`_encode_pair` of lm-evaluation-harness 0.4, written from its description."""
    style = "gpt2"
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        tiny_tokenizers.gpt2(Path(tempfile.mkdtemp()))
    )
    same = 0
    for prompt, options in texts(style):
        found = boundary.cut(vocabulary(style).encode, prompt, options, "joint")
        stripped = prompt.rstrip()
        alone = tokenizer.encode(stripped, add_special_tokens=False)
        for option, tokens in zip(options, found.options):
            whole = tokenizer.encode(prompt + option, add_special_tokens=False)
            if "</s>" in prompt + option or "<s>" in prompt + option or found.moved:
                continue
            assert list(tokens) == whole[len(alone) :]
            same += 1
    assert same > 100


def test_impossible_questions_are_refused():
    encode = vocabulary("gpt2").encode
    with pytest.raises(ValueError, match="boundary = 'x', but it must be one of"):
        boundary.cut(encode, "p", ["a"], "x")
    with pytest.raises(ValueError, match="q7: option 1 is empty text"):
        boundary.cut(encode, "p", ["a", ""], "apart", "q7")
    for rule in boundary.RULES:
        with pytest.raises(ValueError, match=r"option 0, '\\u200b', has no tokens of its own"):
            boundary.cut(lambda text: encode(text.replace("\u200b", "")), "p", ["\u200b"], rule)
