"""The model card: front matter that a hub reads, and the licence."""

import dataclasses

import pytest

from teacherlm_jax.weights import model_card

CARD = model_card.Card(
    family="opt",
    architecture="OPTForCausalLM",
    parameters=1234567,
    dtype="float16",
    source_card="",
    license_id=None,
)
SOURCE = "---\nlanguage: en\nlicense: other\ntags:\n- text\n---\n\n# OPT\n\nRead its paper.\n"


def front_matter(text):
    first, matter, body = text.split("---\n", 2)
    assert first == ""
    return matter, body


def test_a_card_says_what_the_model_is():
    matter, body = front_matter(model_card.text(CARD))
    assert "library_name: transformers\n" in matter and "- opt\n" in matter
    assert "OPTForCausalLM" in body and "1,234,567 parameters, in float16" in body
    assert "not known to the exporter" in body and "imported from" not in body
    assert "AutoModelForCausalLM" in body


@pytest.mark.parametrize(
    ("source", "given", "expected"),
    [
        ("", None, None),
        (SOURCE, None, "other"),
        (SOURCE, "mit", "mit"),
        ("# no front matter\nlicense: mit\n", None, None),
        ("---\nlicense: apache-2.0\n---\n", None, "apache-2.0"),
        ("---\nlicense: 'mit'\n---\n", None, "mit"),
        ("---\nlicense:\n- mit\n- gpl\n---\n", None, "mit"),
        ("---\r\nlicense: apache-2.0\r\n---\r\n", None, "apache-2.0"),
    ],
)
def test_the_licence_is_given_or_that_of_the_source(source, given, expected):
    card = dataclasses.replace(CARD, source_card=source, license_id=given)
    assert card.license == expected
    matter, _ = front_matter(model_card.text(card))
    assert f"license: {expected or 'other'}\n" in matter


def test_the_card_of_the_source_stands_below_without_its_front_matter():
    text = model_card.text(dataclasses.replace(CARD, source_card=SOURCE))
    assert text.count("license:") == 1 and "language: en" not in text
    assert text.endswith("imported from\n\n# OPT\n\nRead its paper.\n")


def test_a_missing_licence_is_said():
    assert "nor was one given" in model_card.unknown_license(CARD)
    named = model_card.unknown_license(dataclasses.replace(CARD, source_card=SOURCE))
    assert "names the licence 'other'; its text was not with the weights" in named
