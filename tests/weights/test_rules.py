"""Rules, read and written, beside plain reshapes of NumPy."""

import numpy as np
import pytest
from etils import epath

from teacherlm_jax.weights import rules as rules_lib
from teacherlm_jax.weights import safetensors_file
from teacherlm_jax.weights.rules import Rule
from tests.models import families

SIZES = {"embed": 6, "heads": 4, "kv_heads": 2, "kv": 3, "mlp": 5, "vocab": 7, "token": 6}
RULES = {
    "plain": (Rule("x", "t", "vocab token -> vocab token"), lambda t: t),
    "transposed": (Rule("x", "t", "mlp embed -> embed mlp"), lambda t: t.T),
    "vector": (Rule("x", "t", "embed -> embed"), lambda t: t),
    "split": (
        Rule("x", "t", "(heads kv) embed -> embed heads kv"),
        lambda t: t.reshape(4, 3, 6).transpose(2, 0, 1),
    ),
    "joined": (
        Rule("x", "t", "embed (heads kv) -> heads kv embed"),
        lambda t: t.reshape(6, 4, 3).transpose(1, 2, 0),
    ),
    "bias": (Rule("x", "t", "(kv_heads kv) -> kv_heads kv"), lambda t: t.reshape(2, 3)),
    "part": (
        Rule("x", "t", "(heads part kv) embed -> embed heads kv", part=1, parts=3),
        lambda t: t.reshape(4, 3, 3, 6)[:, 1].transpose(2, 0, 1),
    ),
    "part of a bias": (
        Rule("x", "t", "(heads part kv) -> heads kv", part=2, parts=3),
        lambda t: t.reshape(4, 3, 3)[:, 2],
    ),
}


def stored(folder, values):
    path = epath.Path(folder) / "file.safetensors"
    safetensors_file.write(path, [("t", values.dtype, values.shape)], lambda _: values)
    return safetensors_file.read_header(path).tensors["t"]


@pytest.mark.parametrize("name", RULES)
def test_reading_any_box_is_a_reshape_and_writing_is_its_reverse(name, tmp_path):
    rule, expected_of = RULES[name]
    shape = rule.their_shape(SIZES)
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    tensor, expected = stored(tmp_path, values), expected_of(values)
    whole = [(0, size) for size in expected.shape]
    np.testing.assert_array_equal(rule.read(tensor, SIZES, whole), expected)
    box = [(size // 3, size) for size in expected.shape]
    part = expected[tuple(slice(*item) for item in box)]
    np.testing.assert_array_equal(rule.read(tensor, SIZES, box), part)
    out = np.full(rule.view_shape(SIZES), -1, np.float32)
    rule.write(expected, out)
    written = out.reshape(shape)
    is_own = written != -1
    np.testing.assert_array_equal(written[is_own], values[is_own])
    assert is_own.sum() == expected.size


def test_parts_fill_a_fused_tensor():
    out = np.full((4, 3, 3), -1.0, np.float32)
    for part in range(3):
        rule = Rule("x", "t", "(heads part kv) -> heads kv", part=part, parts=3)
        rule.write(np.full((4, 3), part, np.float32), out)
    np.testing.assert_array_equal(out, np.arange(3)[None, :, None] * np.ones((4, 3, 3)))


def test_a_dense_module_has_a_weight_and_perhaps_a_bias():
    axes = "(heads part kv) embed -> embed heads kv"
    weight, bias = rules_lib.dense("ours", "theirs", axes, True, part=1, parts=3)
    assert (weight.ours, weight.theirs) == ("ours/kernel", "theirs.weight")
    assert (bias.ours, bias.theirs, bias.axes) == (
        "ours/bias",
        "theirs.bias",
        "(heads part kv) -> heads kv",
    )
    assert (bias.part, bias.parts) == (1, 3) and bias.their_shape(SIZES) == (36,)
    assert len(rules_lib.dense("ours", "theirs", axes, False)) == 1
    assert len(rules_lib.norm("ours", "theirs", bias=False)) == 1


def test_sizes_are_those_of_the_model():
    sizes = rules_lib.axis_sizes(families.config("opt_350m"))
    assert (sizes["positions"], sizes["token"], sizes["embed"]) == (16, 8, 16)
    sizes = rules_lib.axis_sizes(families.config("llama"))
    assert (sizes["heads"], sizes["kv_heads"], sizes["kv"]) == (4, 2, 8)
