"""Templates, and those of Muffin's clusters of understanding."""

from __future__ import annotations

import dataclasses
import re

import pytest

from teacherlm_jax.tasks.catalogue.dataset import Sample
from teacherlm_jax.tasks.muffin.flan_tasks import FLAN_TASKS
from teacherlm_jax.tasks.muffin.template import OF_OPTIONS, Template, letter_of, render
from teacherlm_jax.tasks.muffin.templates import TEMPLATES
from tests.tasks.catalogue_rows_a import CASES

OURS = sorted(set(CASES) & set(TEMPLATES))
SAMPLE = Sample({"sky": "{answer} {0} }{"}, "b {letter}", ("a", "b {letter}"))


def test_data_is_filled_in_once_and_may_hold_braces() -> None:
    template = Template("x", "{sky} {{sky}}\n{options}\n{lettered_options}", "{letter}: {answer}")
    assert template.shows_options
    assert render(template, SAMPLE) == (
        "{answer} {0} }{ {sky}\n- a\n- b {letter}\n(A) a (B) b {letter}",
        "B: b {letter}",
    )


def test_the_letter_is_that_of_the_place_where_options_repeat() -> None:
    sample = Sample({"sky": "grey"}, "rain", ("rain", "ink", "rain"), answer_index=2)
    assert render(Template("x", "{sky} {options}", "{letter}"), sample)[1] == "C"
    assert [letter_of(place) for place in (0, 25, 26, 51, 52)] == ["A", "Z", "AA", "AZ", "BA"]


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        ("{sky} ", "{answer}", "white space"),
        ("{sky}", "\n{answer}", "white space"),
        ("", "{answer}", "empty"),
        ("{sky}", "yes", "the same for every sample"),
        ("{sky.upper}", "{answer}", "no plain name"),
        ("{sky!r}", "{answer}", "no plain name"),
        ("{}", "{answer}", "no plain name"),
    ],
)
def test_templates_that_cannot_be_right_are_refused(
    inputs: str, targets: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Template("x", inputs, targets)


def test_names_that_a_sample_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match=r"names \['sea'\]"):
        render(Template("x", "{sea}", "{answer}"), SAMPLE)
    open_answer = Sample({"sky": "grey"}, "rain")
    with pytest.raises(ValueError, match=r"names \['options'\]"):
        render(Template("x", "{sky} {options}", "{answer}"), open_answer)
    with pytest.raises(ValueError, match="rename the fields"):
        render(Template("x", "{sky}", "{answer}"), Sample({"sky": "x", "letter": "y"}, "z"))


def test_every_task_of_these_clusters_has_templates() -> None:
    tasks = {task.dataset for task in FLAN_TASKS.values() if task.dataset in CASES}
    assert tasks == set(OURS) and len(OURS) == 38


@pytest.mark.parametrize("name", OURS)
def test_templates_are_enough_and_of_the_right_kinds(name: str) -> None:
    templates, sample = TEMPLATES[name], CASES[name].sample
    forward = [template for template in templates if not template.is_inverted]
    inverted = [template for template in templates if template.is_inverted]
    assert len(forward) >= 3 and inverted
    assert len({template.name for template in templates}) == len(templates)
    assert len({template.inputs for template in templates}) == len(templates)
    if sample.options:
        assert sum(template.shows_options for template in forward) >= 3
        assert any(template.targets == "{letter}" for template in forward)
    named = set().union(*(template.placeholders for template in templates))
    # Every text of a row is told by some template, and what is named is there.
    assert set(sample.fields) <= named
    assert named <= {*sample.fields, "answer", *(OF_OPTIONS if sample.options else ())}


@pytest.mark.parametrize("name", OURS)
def test_forward_asks_for_the_answer_and_inverted_gives_it(name: str) -> None:
    fields = set(CASES[name].sample.fields)
    for template in TEMPLATES[name]:
        asked = set(re.findall(r"\{(\w+)\}", template.inputs))
        if template.is_inverted:
            assert "answer" in asked and template.targets.strip("{}") in fields - asked
        else:
            assert asked.isdisjoint({"answer", "letter"})
            assert template.targets in ("{answer}", "{letter}")
            assert template.targets == "{answer}" or "lettered_options" in asked


@pytest.mark.parametrize("name", OURS)
def test_every_template_tells_every_row_with_its_texts_unchanged(name: str) -> None:
    sample = CASES[name].sample
    # Texts that look like placeholders, so that filling in twice would show.
    braced = dataclasses.replace(
        sample, fields={field: f"{{answer}} {field} {{x" for field in sample.fields}
    )
    for template in TEMPLATES[name]:
        for told in (sample, braced):
            inputs, targets = render(template, told)
            assert inputs == inputs.strip() and targets.strip()
            for field in template.placeholders & set(told.fields):
                assert told.fields[field] in inputs + targets
