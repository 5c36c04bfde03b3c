import ast
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.core import meta
from jax.sharding import NamedSharding, PartitionSpec

from teacherlm_jax.models import parameters
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.partitioning import shardings as shardings_lib
from teacherlm_jax.training.optimizer import AdamW, Muon
from teacherlm_jax.training.placement import Placement
from tests.models import families, reference

CONFIG = DecoderConfig(
    vocab_size=40,
    num_layers=2,
    emb_dim=16,
    num_heads=4,
    head_dim=4,
    mlp_dim=24,
    logits_via_embedding=False,
)
P = PartitionSpec
# By hand, for parameters with a layer axis; those without lose the first None.
EXPECTED = {
    "token_embedder/embedding": P("tensor", "fsdp"),
    "embedding_norm/scale": P(None),
    "embedding_norm/bias": P(None),
    "decoder_norm/scale": P(None),
    "decoder_norm/bias": P(None),
    "logits_dense/kernel": P("fsdp", "tensor"),
    "layers/pre_self_attention_norm/scale": P(None, None),
    "layers/pre_self_attention_norm/bias": P(None, None),
    "layers/self_attention/query/kernel": P(None, "fsdp", "tensor", None),
    "layers/self_attention/query/bias": P(None, "tensor", None),
    "layers/self_attention/key/kernel": P(None, "fsdp", "tensor", None),
    "layers/self_attention/key/bias": P(None, "tensor", None),
    "layers/self_attention/value/kernel": P(None, "fsdp", "tensor", None),
    "layers/self_attention/value/bias": P(None, "tensor", None),
    "layers/self_attention/out/kernel": P(None, "tensor", None, "fsdp"),
    "layers/self_attention/out/bias": P(None, "fsdp"),
    "layers/pre_mlp_norm/scale": P(None, None),
    "layers/pre_mlp_norm/bias": P(None, None),
    "layers/mlp/wi/kernel": P(None, "fsdp", "tensor"),
    "layers/mlp/wi/bias": P(None, "tensor"),
    "layers/mlp/wo/kernel": P(None, "tensor", "fsdp"),
    "layers/mlp/wo/bias": P(None, "fsdp"),
}
MATRICES = {name for name in EXPECTED if name.startswith("layers/") and name.endswith("/kernel")}


@pytest.fixture(scope="module")
def mesh():
    return mesh_lib.make_mesh(mesh_lib.MeshConfig(fsdp=2, tensor=2))


def name_of(path):
    return "/".join(str(getattr(part, "key", getattr(part, "name", part))) for part in path)


def boxed(names, *shape):
    return nn.LogicallyPartitioned(jax.ShapeDtypeStruct(shape, jnp.float32), names)


@pytest.mark.parametrize("scan_layers", [True, False])
def test_every_parameter_has_its_sharding(mesh, scan_layers):
    model = Decoder(DecoderConfig(**{**CONFIG.__dict__, "scan_layers": scan_layers}))
    expected = dict(EXPECTED)
    if not scan_layers:
        rest = {name: spec for name, spec in EXPECTED.items() if not name.startswith("layers/")}
        blocks = {
            f"layers_{number}/{name.removeprefix('layers/')}": P(*spec[1:])
            for name, spec in EXPECTED.items()
            if name.startswith("layers/")
            for number in range(2)
        }
        expected = {**rest, **blocks}
    found = shardings_lib.tree_shardings(parameters.boxed_params(model), mesh)
    specs = {name_of(path): leaf.spec for path, leaf in jax.tree.leaves_with_path(found)}
    assert specs == expected


@pytest.mark.parametrize("optimizer", [AdamW(1e-3), Muon(1e-3)], ids=["AdamW", "Muon"])
def test_every_leaf_of_the_optimizers_state_lies_as_its_parameter(mesh, optimizer):
    model = Decoder(CONFIG)
    built = optimizer.build(parameters.boxed_params(model))
    state = Placement(model, built, mesh).abstract_state
    mirrored = {}
    for path, leaf in jax.tree.leaves_with_path(state.opt_state):
        place = name_of(path)
        owners = [name for name in EXPECTED if place.endswith(f"/{name}")]
        if not owners:
            # A count of steps, or Muon's three coefficients.
            assert math.prod(leaf.shape) <= 3, place
            assert leaf.sharding.is_fully_replicated
            continue
        assert leaf.sharding.spec == EXPECTED[owners[0]], place
        moment = place.removesuffix(f"/{owners[0]}").rpartition("/")[2]
        mirrored.setdefault(moment, []).append(owners[0])
    if isinstance(optimizer, AdamW):
        assert {moment: sorted(names) for moment, names in mirrored.items()} == {
            "mu": sorted(EXPECTED),
            "nu": sorted(EXPECTED),
        }
    else:  # Muon keeps one moment of its matrices; Adam two of the rest.
        assert sorted(mirrored["mu"]) == sorted(EXPECTED)
        assert sorted(mirrored["nu"]) == sorted(EXPECTED.keys() - MATRICES)


def test_arrays_lie_as_said_and_logits_are_those_of_the_reference(mesh):
    model = Decoder(CONFIG)
    whole = reference.random_params(CONFIG)
    shardings = shardings_lib.tree_shardings(parameters.boxed_params(model), mesh)
    params = jax.device_put(reference.stack_layers(whole), shardings)
    kernel = params["layers"]["mlp"]["wi"]["kernel"]
    assert kernel.shape == (2, 16, 24)
    assert {shard.data.shape for shard in kernel.addressable_shards} == {(2, 8, 12)}
    tokens = np.random.default_rng(0).integers(0, 40, (8, 6)).astype(np.int32)

    def logits(params, tokens):
        return model.apply({"params": params}, tokens, enable_dropout=False)

    with rules_lib.activate(mesh):
        found = jax.jit(logits)(params, jax.device_put(tokens, shardings_lib.batch_sharding(mesh)))
    # The constraint on logits is alive: the program did not gather them.
    assert found.sharding.is_equivalent_to(
        NamedSharding(mesh, P(("data", "fsdp"), None, "tensor")), 3
    )
    expected = reference.decoder(CONFIG, whole, tokens)
    np.testing.assert_allclose(found, expected, atol=3e-5 * np.abs(expected).max())


# Axes of parameters that the configuration above lacks.
MESHES = [
    mesh_lib.MeshConfig(fsdp=8),
    mesh_lib.MeshConfig(fsdp=4, tensor=2),
    mesh_lib.MeshConfig(data=2, fsdp=2, tensor=2),
]
OF_FAMILIES = {
    "position_embedder/embedding": P(None, "fsdp"),
    "project_in/kernel": P(None, "fsdp"),
    "project_out/kernel": P("fsdp", None),
    "layers/self_attention/query_norm/scale": P(None, None),
    "layers/self_attention/key_norm/scale": P(None, None),
    "layers/mlp/wi_0/kernel": P(None, "fsdp", "tensor"),
    "layers/mlp/wi_1/kernel": P(None, "fsdp", "tensor"),
    "layers/mlp/wi_0/bias": P(None, "tensor"),
    "layers/mlp/wi_1/bias": P(None, "tensor"),
    **{
        f"layers/{name}/{leaf}": P(None, None)
        for name in ("post_self_attention_norm", "post_mlp_norm")
        for leaf in ("scale", "bias")
    },
}


@pytest.mark.parametrize("mesh_config", MESHES, ids=repr)
def test_parameters_of_every_family_lie_over_every_mesh(mesh_config):
    mesh, seen = mesh_lib.make_mesh(mesh_config), set()
    for family in families.NAMES:
        boxed_params = parameters.boxed_params(Decoder(families.config(family)))
        found = shardings_lib.tree_shardings(boxed_params, mesh)
        shapes = meta.unbox(boxed_params)
        for (path, sharding), leaf in zip(
            jax.tree.leaves_with_path(found), jax.tree.leaves(shapes), strict=True
        ):
            name = name_of(path)
            assert sharding.spec == {**EXPECTED, **OF_FAMILIES}[name], (family, name)
            sharding.shard_shape(leaf.shape)  # Raises where a dimension does not divide.
            seen.add(name)
    assert {name for name in OF_FAMILIES if "mlp/wi_" not in name or "kernel" in name} <= seen


REPLICATED = {"kv_heads": None, "activation_kv_heads": None}


def test_fewer_key_value_heads_than_shards_are_an_error_that_names_the_parameter():
    boxed_params = parameters.boxed_params(Decoder(families.config("llama")))
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(fsdp=2, tensor=4))
    message = (
        r"\['self_attention'\]\['key'\]\['kernel'\]: dimension kv_heads of 2 does not divide over "
        r"mesh axes tensor of 4 devices; nearest for tensor: 2; nearest for DecoderConfig\."
        r"num_kv_heads: 4 and 8; or replicate by rules\.overrides \{.*"
    )
    with pytest.raises(ValueError, match=message) as error:
        shardings_lib.tree_shardings(boxed_params, mesh)
    # As it says:
    overrides = ast.literal_eval(re.search(r"overrides ({.*})", str(error.value))[1])
    assert overrides == REPLICATED
    rules = rules_lib.logical_axis_rules(overrides=overrides)
    found = shardings_lib.tree_shardings(boxed_params, mesh, rules)["layers"]["self_attention"]
    assert found["key"]["kernel"].spec == P(None, "fsdp", None, None)
    assert found["query"]["kernel"].spec == P(None, "fsdp", "tensor", None)


SEQUENCE = rules_lib.logical_axis_rules(sequence_sharding=True)


@pytest.mark.parametrize(
    ("family", "mesh_config", "rules"),
    [
        ("llama", MESHES[1], rules_lib.LOGICAL_AXIS_RULES),
        ("neox", MESHES[2], SEQUENCE),
        ("opt_350m", MESHES[1], SEQUENCE),
        (
            "llama",
            mesh_lib.MeshConfig(slices=2, tensor=4),
            rules_lib.logical_axis_rules(True, REPLICATED),
        ),
    ],
)
def test_eight_devices_give_the_logits_of_one(family, mesh_config, rules):
    cfg, mesh = families.config(family), mesh_lib.make_mesh(mesh_config)
    params, tokens = families.params_of(cfg), np.random.default_rng(0).integers(0, 40, (8, 12))
    placed = jax.device_put(
        params, shardings_lib.tree_shardings(parameters.boxed_params(Decoder(cfg)), mesh, rules)
    )
    segment_ids = np.ones_like(tokens)
    rest = (segment_ids, families.places(segment_ids), np.zeros_like(tokens))
    expected = families.forward(cfg)(params, tokens, *rest)
    with rules_lib.activate(mesh, rules):
        rows = jax.device_put((tokens, *rest), shardings_lib.batch_sharding(mesh))
        found = families.forward(cfg)(placed, *rows)
    assert len(found.sharding.device_set) == 8
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bare_leaves_are_replicated_and_masked_ones_stay_empty(mesh):
    tree = {
        "count": jax.ShapeDtypeStruct((3,), jnp.int32),
        "masked": nn.LogicallyPartitioned((), ("embed",)),
        "row": boxed(("embed",), 4),
    }
    found = shardings_lib.tree_shardings(tree, mesh)
    assert found["count"].is_fully_replicated
    assert found["masked"] == ()
    assert found["row"] == NamedSharding(mesh, P("fsdp"))


def test_an_unknown_axis_is_an_error_that_names_it(mesh):
    with pytest.raises(ValueError, match=r"'width' of \('embed', 'width'\) has no rule"):
        shardings_lib.tree_shardings({"w": boxed(("embed", "width"), 4, 4)}, mesh)


def test_a_dimension_that_does_not_divide_is_an_error_with_numbers(mesh):
    tree = {"mlp": {"kernel": boxed(("embed", "mlp"), 4, 15)}}
    message = (
        r"\['mlp'\]\['kernel'\]: dimension mlp of 15 does not divide over mesh axes tensor of 2 "
        r"devices; nearest for tensor: 1; nearest for DecoderConfig\.mlp_dim: 14 and 16\."
    )
    with pytest.raises(ValueError, match=message):
        shardings_lib.tree_shardings(tree, mesh)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("vocab", 250_880, "vocab of 250880 .* of 3 .*: 2 or 4; .*vocab_size: 250878 and 250881"),
        ("heads", 16, "heads of 16 .* of 3 devices; .*: 2 or 4; .*num_heads: 15 and 18"),
        ("mlp", 4096, "mlp of 4096 .* of 3 devices; .*: 2 or 4; .*mlp_dim: 4095 and 4098"),
        ("embed", 1026, "embed of 1026 .*axes fsdp of 4 .*: 3 or 6; .*emb_dim: 1024 and 1028"),
    ],
)
def test_every_dimension_says_the_numbers_and_the_nearest_that_fit(name, size, message):
    mesh = jax.sharding.AbstractMesh((1, 1, 4, 3), rules_lib.MESH_AXES)
    with pytest.raises(ValueError, match=message):
        shardings_lib.tree_shardings({"w": boxed((name,), size)}, mesh)


def test_all_dimensions_that_do_not_divide_are_in_one_error(mesh):
    tree = {
        "a": boxed(("embed", "mlp"), 3, 15),
        "b": boxed(("mlp", "embed"), 15, 4),
        "c": boxed(("heads",), 5),
    }
    with pytest.raises(ValueError) as error:
        shardings_lib.tree_shardings(tree, mesh)
    lines = str(error.value).splitlines()
    assert [line.partition(" of ")[0] for line in lines] == [
        "['a']: dimension embed",
        "['a']: dimension mlp",
        "['c']: dimension heads",
    ]


def test_placed_follows_the_rules(mesh):
    rules = rules_lib.logical_axis_rules(overrides={"embed": None})
    tree = {"w": boxed(("embed", "mlp"), 3, 4)}
    assert shardings_lib.placed(tree, mesh, rules=rules)["w"].sharding.spec == P(None, "tensor")
    with pytest.raises(ValueError, match="embed of 3"):
        shardings_lib.placed(tree, mesh)


def test_rules_are_validated(mesh):
    with pytest.raises(ValueError, match="two rules"):
        shardings_lib.tree_shardings({}, mesh, [("embed", None), ("embed", "fsdp")])


def test_rows_lie_over_data_and_fsdp(mesh):
    sharding = shardings_lib.batch_sharding(mesh)
    assert sharding.spec == P(("slice", "data", "fsdp"))
    assert sharding.shard_shape((8, 5)) == (2, 5)
    assert shardings_lib.batch_sharding(mesh, [("activation_batch", "data")]).spec == P("data")


def test_names_of_a_tree():
    tree = {"kernel": boxed(("embed", "mlp"), 4, 4), "count": jax.ShapeDtypeStruct((2,), jnp.int32)}
    names = {"kernel": ("embed", "mlp"), "count": (None,)}
    assert shardings_lib.logical_axes(tree) == names
    assert isinstance(tree["kernel"], meta.AxisMetadata)
