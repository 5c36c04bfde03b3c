import re

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec

from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.partitioning import rules as rules_lib
from tests.source import ROOT

RULES = rules_lib.LOGICAL_AXIS_RULES
NAMES = ("activation_batch", "activation_length", "activation_mlp")


@pytest.fixture(scope="module")
def mesh():
    return mesh_lib.make_mesh(mesh_lib.MeshConfig(fsdp=2, tensor=2))


def constrained(x):
    return nn.with_logical_constraint(x * 2, NAMES)


def test_the_table_is_valid():
    rules_lib.validate(RULES)


def test_a_name_with_two_rules_is_an_error():
    with pytest.raises(ValueError, match="'embed' has two rules; keep one"):
        rules_lib.validate([*RULES, ("embed", None)])


@pytest.mark.parametrize("axes", ["model", ("data", "model")])
def test_an_unknown_mesh_axis_is_an_error(axes):
    with pytest.raises(ValueError, match=r"'mlp' maps to mesh axis 'model'.*'data', 'fsdp'"):
        rules_lib.validate([("mlp", axes)])


def test_names_become_mesh_axes():
    found = rules_lib.mesh_axes(("vocab", None, "embed", "activation_batch", "norm"), RULES)
    assert found == ("tensor", None, "fsdp", ("data", "fsdp"), None)


def test_a_name_without_a_rule_is_an_error():
    with pytest.raises(ValueError, match=r"'emebd' of \('vocab', 'emebd'\) has no rule.*'embed'"):
        rules_lib.mesh_axes(("vocab", "emebd"), RULES)


def test_every_activation_name_in_the_code_has_a_rule():
    """Linen replicates where a constraint's name has no rule, and says nothing."""
    used = set()
    for path in (ROOT / "teacherlm_jax").rglob("*.py"):
        if not {"tasks", "weights"} & set(path.parts):
            used |= set(re.findall(r'"(activation_[a-z]+)"', path.read_text(encoding="utf-8")))
    assert len(used) > 4
    assert used <= dict(RULES).keys()
    # A rule that nothing uses is a name that somebody misspelt.
    assert used == {name for name, _ in RULES if name.startswith("activation_")}


@pytest.mark.parametrize("way", ["outside", "inside"])
def test_constraints_take_effect(mesh, way):
    x = jnp.ones((8, 3, 4))
    if way == "outside":
        with rules_lib.activate(mesh):
            result = jax.jit(constrained)(x)
    else:

        def traced(x):
            with rules_lib.activate_in_trace(mesh):
                return constrained(x)

        placed = jax.device_put(x, jax.NamedSharding(mesh, PartitionSpec()))
        result = jax.jit(traced)(placed)
    assert result.sharding.spec == PartitionSpec(("data", "fsdp"), None, "tensor")
    assert result.addressable_shards[0].data.shape == (2, 3, 2)


def test_constraints_end_with_the_context(mesh):
    with rules_lib.activate(mesh) as active:
        assert active is mesh
    assert len(jax.jit(constrained)(jnp.ones((8, 3, 4))).sharding.device_set) == 1


@pytest.mark.parametrize("activate", [rules_lib.activate, rules_lib.activate_in_trace])
def test_bad_rules_are_found_before_anything_is_traced(mesh, activate):
    with (
        pytest.raises(ValueError, match="'model'"),
        activate(mesh, [("activation_batch", "model")]),
    ):
        raise AssertionError("the rules were taken")
