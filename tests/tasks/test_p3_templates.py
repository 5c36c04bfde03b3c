import collections
import pathlib

import pytest

from teacherlm_jax.tasks.catalogue.dataset import DATASETS
from teacherlm_jax.tasks.muffin.template import render, values
from teacherlm_jax.tasks.muffin.templates import TEMPLATES as MUFFINS
from teacherlm_jax.tasks.p3 import p3_sets
from teacherlm_jax.tasks.p3.templates import TEMPLATES
from tests.tasks.p3_rows import CASES

GOLDENS = pathlib.Path(__file__).with_name("p3_renderings.txt")


def told(name: str) -> str:
    """The question of a case and each of its prompts, as the file of goldens has them."""
    sample = CASES[name].sample
    lines = [f"=== {name}", DATASETS[name].question.format_map(sample.fields)]
    for template in TEMPLATES[name]:
        inputs, targets = render(template, sample)
        lines += [f"--- {template.name}", inputs, "->", targets]
    return "\n".join(lines) + "\n\n"


def test_questions_and_prompts_are_told_as_they_were():
    goldens = GOLDENS.read_text(encoding="utf-8").split("=== ")[1:]
    assert [golden.partition("\n")[0] for golden in goldens] == sorted(CASES)
    for name, golden in zip(sorted(CASES), goldens, strict=True):
        assert told(name) == f"=== {golden}"


def test_every_data_set_has_prompts_and_a_case():
    assert set(TEMPLATES) == set(CASES) == set(p3_sets.PARTS)


@pytest.mark.parametrize("name", TEMPLATES)
def test_prompts_are_of_several_kinds(name):
    templates, sample = TEMPLATES[name], CASES[name].sample
    forward = [each for each in templates if not each.is_inverted]
    assert len(forward) >= 3
    assert any(each.is_inverted for each in templates)
    if sample.options:
        assert sum(each.shows_options for each in forward) >= 2


@pytest.mark.parametrize("name", TEMPLATES)
def test_forward_prompts_ask_for_the_answer_and_inverted_ones_for_something_else(name):
    for template in TEMPLATES[name]:
        asks_for_answer = template.targets in ("{answer}", "{letter}")
        assert asks_for_answer != template.is_inverted, template.name
        # What is asked for is not told.
        if template.is_inverted:
            assert template.targets not in template.inputs, template.name
        else:
            assert "{answer}" not in template.inputs, template.name
            assert "{letter}" not in template.inputs, template.name


@pytest.mark.parametrize("name", TEMPLATES)
def test_prompts_name_what_samples_have(name):
    known = values(CASES[name].sample).keys()
    for template in TEMPLATES[name]:
        assert template.placeholders <= known, template.name


def test_names_are_snake_case_and_differ_within_a_data_set():
    for name, templates in TEMPLATES.items():
        names = [each.name for each in templates]
        assert len(set(names)) == len(names), name
        assert all(each.isidentifier() and each == each.lower() for each in names)


def test_no_prompt_is_another_or_muffins():
    seen = collections.Counter(
        each.inputs
        for templates in {id(found): found for found in TEMPLATES.values()}.values()
        for each in templates
    )
    assert not [inputs for inputs, count in seen.items() if count > 1]
    muffins = {each.inputs for templates in MUFFINS.values() for each in templates}
    assert not seen.keys() & muffins
