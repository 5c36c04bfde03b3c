import re

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax.core import meta
from jax.sharding import PartitionSpec

from teacherlm_jax.models import parameters
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.partitioning import rules as rules_lib
from tests.models import families
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
    with pytest.raises(
        ValueError, match=r"'mlp' maps to mesh axis 'model'.*'slice', 'data', 'fsdp'"
    ):
        rules_lib.validate([("mlp", axes)])


def test_the_switch_cuts_the_residual_stream_and_nothing_else():
    assert rules_lib.logical_axis_rules() == RULES
    found = dict(rules_lib.logical_axis_rules(sequence_sharding=True))
    changed = {name for name, axes in RULES if found[name] != axes}
    assert changed == {"activation_residual_length"}
    assert found["activation_residual_length"] == "tensor"


def test_overrides_change_single_rules():
    overrides = {"kv_heads": None, "embed": ["data", "fsdp"]}
    found = dict(rules_lib.logical_axis_rules(True, overrides))
    assert found == {
        **dict(RULES),
        "activation_residual_length": "tensor",
        "kv_heads": None,
        "embed": ("data", "fsdp"),
    }


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"kv_head": None}, r"logical axis 'kv_head', which is not .*mean 'kv_heads'\?"),
        ({"width": None}, r"logical axis 'width', which is not in LOGICAL_AXIS_RULES\. Known: "),
        ({"mlp": "tensr"}, r"'mlp' maps to mesh axis 'tensr' \(did you mean 'tensor'\?\)"),
        ({"mlp": ["fsdp", "model"]}, "'mlp' maps to mesh axis 'model', but the mesh axes are"),
        ({"embed": ("data", "data")}, r"'data' would cut embed and embed of one array"),
        ({"mlp": "fsdp"}, r"mesh axis 'fsdp' would cut embed and mlp of one array \('layers', "),
        (
            {"activation_residual_length": "fsdp"},
            "'fsdp' would cut activation_batch and activation_residual_length of one array",
        ),
    ],
)
def test_overrides_that_linen_would_drop_are_errors(overrides, message):
    with pytest.raises(ValueError, match=message):
        rules_lib.logical_axis_rules(overrides=overrides)


@pytest.mark.parametrize("family", families.NAMES)
def test_dimensions_that_may_not_share_an_axis_are_those_of_all_parameters(family):
    boxed = parameters.boxed_params(Decoder(families.config(family)))
    for leaf in jax.tree.leaves(boxed, is_leaf=lambda x: isinstance(x, meta.AxisMetadata)):
        names = set(leaf.names)
        assert any(names <= set(group) for group in rules_lib._TOGETHER), names


def test_names_become_mesh_axes():
    found = rules_lib.mesh_axes(("vocab", None, "embed", "activation_batch", "norm"), RULES)
    assert found == ("tensor", None, "fsdp", ("slice", "data", "fsdp"), None)


def test_a_name_without_a_rule_is_an_error():
    with pytest.raises(ValueError, match=r"'emebd' of .* has no rule \(did you mean 'embed'\?\)"):
        rules_lib.mesh_axes(("vocab", "emebd"), RULES)


def test_every_activation_name_in_the_code_has_a_rule():
    """Linen replicates where a constraint's name has no rule, and says nothing."""
    used = set()
    for path in (ROOT / "teacherlm_jax").rglob("*.py"):
        if not {"tasks", "weights"} & set(path.parts):
            used |= set(re.findall(r'"(activation_[a-z_]+)"', path.read_text(encoding="utf-8")))
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
    assert result.sharding.is_equivalent_to(
        jax.NamedSharding(mesh, PartitionSpec(("data", "fsdp"), None, "tensor")), 3
    )
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


def test_shards_are_known_where_they_take_effect(mesh):
    def shards(x):
        return x + rules_lib.active_shards("activation_batch", x.shape[0])

    assert jax.jit(shards)(jnp.zeros(8))[0] == 1
    with rules_lib.activate(mesh):
        assert jax.jit(shards)(jnp.zeros(8))[0] == 4
        assert jax.jit(shards)(jnp.zeros(6))[0] == 1  # These do not divide.
        spec = PartitionSpec(("data", "fsdp"))
        manual = jax.shard_map(shards, mesh=mesh, in_specs=spec, out_specs=spec)
        assert jax.jit(manual)(jnp.zeros(16))[0] == 1
