"""Fields of config.json: several names, and errors that name file, field and what was expected."""

import pytest
from etils import epath

from teacherlm_jax.models.positions import RopeScaling
from teacherlm_jax.weights import config_fields
from teacherlm_jax.weights.config_fields import ConfigFields, rope, rope_fields
from teacherlm_jax.weights.tensors import WeightsError


def fields(**values):
    return ConfigFields(values, "folder/config.json")


def test_the_first_name_that_is_there_and_not_null_counts():
    assert fields(n_embed=None, hidden_size=8, width=9).integer("n_embed", "hidden_size") == 8
    assert fields(n_head=8, heads=8).integer("n_head", "heads") == 8
    assert fields().integer("n_embed", default=None) is None
    assert fields(tie=None).flag("tie", default=True)
    assert fields(eps=1).number("eps") == 1.0 and isinstance(fields(eps=1).number("eps"), float)
    assert fields(act="gelu_new").activation("act", default="relu") == "gelu"
    assert fields().activation("act", default="gelu") == "gelu_exact"


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: fields().integer("n_embed", "hidden_size"), "no field 'n_embed' or 'hidden_size'"),
        (lambda: fields(b=0).integer("a", "b"), "b = 0, but it must be a whole number of at least"),
        (lambda: fields(a=3, b=6).integer("a", "b"), "b = 6, but it must be a, 3"),
        (lambda: fields(a="8").integer("a"), "a = '8', but it must be a whole number"),
        (lambda: fields(a=True).integer("a"), "a = True, but"),
        (lambda: fields(a=float("nan")).number("a"), "a = nan, but it must be a number above 0"),
        (lambda: fields(a=float("inf")).number("a"), "a = inf, but"),
        (lambda: fields(a=-1).number("a"), "a = -1, but"),
        (lambda: fields(a=1).flag("a", default=False), "a = 1, but it must be true or false"),
        (lambda: fields(a={}).activation("a", default="relu"), "a = {}, but it must be one of"),
        (lambda: fields(a=0).require("a", [False], False), r"a = 0, but .* one of \[False\]"),
        (lambda: fields(a=None).require("a", [False], False), "a = None, but"),
        (lambda: fields(layer_types=["x"]).layers_alike(2, "x"), "'x' for each of the 2 layers"),
    ],
)
def test_errors_name_file_field_value_and_what_was_expected(read, message):
    with pytest.raises(WeightsError, match=f"^folder/config.json.*{message}"):
        read()


def test_what_is_allowed_passes():
    fields(a=False).require("a", [False], False)
    fields().require("a", [False], False)
    fields(layer_types=["x", "x"]).layers_alike(2, "x")
    fields().layers_alike(2, "x")
    assert fields(head_dim=5).head_dim(3, 7) == 5
    assert fields().head_dim(3, 9) == 3


@pytest.mark.parametrize(
    "scaling",
    [None, RopeScaling("linear", 2.0), RopeScaling("llama3", 8.0, 1.0, 4.0, 256)],
)
def test_rotary_fields_come_back(scaling):
    assert rope(fields(**rope_fields(500.0, scaling))) == (500.0, scaling, 1.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (10_000.0, None, 1.0)),
        ({"rope_theta": 5, "rope_scaling": None}, (5.0, None, 1.0)),
        ({"rope_parameters": {"rope_theta": 7.0, "rope_type": "default"}}, (7.0, None, 1.0)),
        ({"rope_theta": 5, "rope_parameters": {"rope_theta": 7.0}}, (7.0, None, 1.0)),
        ({"rotary_emb_base": 9, "rotary_pct": 0.25}, (10_000.0, None, 1.0)),
        (
            {"rope_scaling": {"type": "linear", "factor": 4}, "rope_parameters": {"rope_theta": 7}},
            (10_000.0, RopeScaling("linear", 4.0), 1.0),
        ),
        (
            {"rope_scaling": {"type": "linear", "factor": 4}},
            (10_000.0, RopeScaling("linear", 4.0), 1.0),
        ),
    ],
)
def test_rotary_fields_under_all_their_names(values, expected):
    assert rope(fields(**values)) == expected


def test_a_family_has_its_own_older_names():
    found = rope(fields(rotary_emb_base=9, rotary_pct=0.5), "rotary_emb_base", "rotary_pct", 0.25)
    assert found == (9.0, None, 0.5)
    assert rope(fields(), "rotary_emb_base", "rotary_pct", 0.25) == (10_000.0, None, 0.25)
    with pytest.raises(WeightsError, match=r"rotary_pct = 2\.0, but it must be at most 1"):
        rope(fields(rotary_pct=2), "rotary_emb_base", "rotary_pct", 0.25)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not there: give the folder that holds a checkpoint's config.json"),
        ("[1]", "where there should be a JSON object"),
        ("{", "is no JSON"),
        ('{"a": 1, "a": 2}', "names 'a' twice"),
    ],
)
def test_a_file_that_is_no_configuration(content, message, tmp_path):
    path = epath.Path(tmp_path) / "config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(WeightsError, match=message):
        config_fields.read_json(path)
