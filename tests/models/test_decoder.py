import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from teacherlm_jax.models import config as config_lib
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.positions import RopeScaling
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.partitioning import shardings as shardings_lib
from tests.models import families, reference
from tests.models.families import forward, params_of, places, unrolled_params
from tests.models.reference import SMALL

LENGTH = 12
PLAIN = {
    "norm": "rmsnorm",
    "embedding_norm": False,
    "use_bias": False,
    "logits_via_embedding": False,
    "mlp_activation": "relu",
}
# Every choice of norm, embedding norm, biases and tying; activations and positions in turn.
CHOICES = itertools.product(config_lib.NORMS, (True, False), (True, False), (True, False))
TURNS = itertools.product(config_lib.ACTIVATIONS, config_lib.POSITION_ENCODINGS)
FIELDS = ("norm", "embedding_norm", "use_bias", "logits_via_embedding")
VARIANTS = [
    {**dict(zip(FIELDS, choice)), "mlp_activation": activation, "position": position}
    for choice, (activation, position) in zip(CHOICES, itertools.cycle(TURNS))
]


# Every other option, alone.
ROTARY = {"position": "rotary"}
ALONE = [
    {"position": "learned", "position_offset": 2},
    {**ROTARY, "rotary_dim": 4},
    {**ROTARY, "rotary_dim": 2, "rope_theta": 50.0},
    {**ROTARY, "rope_scaling": RopeScaling("linear", 3.0)},
    {
        **ROTARY,
        "rope_theta": 500.0,
        "rope_scaling": RopeScaling("llama3", 4.0, 2.0, 8.0, original_max_positions=96),
    },
    {"num_kv_heads": 1},
    {"num_heads": 6, "num_kv_heads": 2, **ROTARY},
    {"num_heads": 6, "num_kv_heads": 3},
    {"gated_mlp": True},
    {"qk_norm": True},
    {"qk_norm": True, **ROTARY},
    {"residual": "post_norm"},
    {"residual": "parallel"},
    {"final_norm": False},
    {"token_dim": 8},
    {"token_dim": 24, "logits_via_embedding": False},
    {"sliding_window": 1},
    {"sliding_window": 5},
    {"qkv_bias": False},
    {"attention_out_bias": False},
    {"mlp_bias": False},
    {"use_bias": False, "qkv_bias": True},
    {"use_bias": False, "attention_out_bias": True},
    {"use_bias": False, "mlp_bias": True, "gated_mlp": True},
]


def config(**overrides):
    return DecoderConfig(**{**SMALL, "max_positions": LENGTH, **overrides})


def packed_batch():
    """Tokens with id 0 among them, packed, padded on the right and on the left, with prefixes."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 40, (3, LENGTH))
    tokens[rng.random(tokens.shape) < 0.25] = 0
    segment_ids = np.array([[1] * 12, [1] * 4 + [2] * 6 + [0] * 2, [0] * 3 + [1] * 9])
    both_ways = np.array([[1] * 5 + [0] * 7, [1, 1, 0, 0, 1, 1, 1] + [0] * 5, [0] * 3 + [1] * 9])
    return tokens, segment_ids, places(segment_ids), both_ways


# The whole decoder


def check_unrolled(cfg):
    tokens, *rest = packed_batch()
    params = unrolled_params(cfg)
    # Not jitted: the operations are compiled once for all variants.
    logits = Decoder(cfg).apply({"params": params}, tokens, tokens, *rest, enable_dropout=False)
    expected = reference.decoder(cfg, params, tokens, *rest)
    assert logits.dtype == jnp.float32 and np.isfinite(logits).all()
    assert expected.std() > 0.5
    real = rest[0] != 0
    np.testing.assert_allclose(logits[real], expected[real], atol=3e-5 * np.abs(expected).max())
    return expected


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(map(str, v.values())))
def test_logits_are_those_of_the_float64_reference(variant):
    check_unrolled(config(**variant, scan_layers=False))


@pytest.mark.parametrize("variant", ALONE, ids=repr)
def test_every_option_is_that_of_the_reference(variant):
    check_unrolled(config(**variant, scan_layers=False))


@pytest.mark.parametrize("family", families.NAMES)
def test_families_are_those_of_the_reference_scanned_and_unrolled(family):
    expected = check_unrolled(families.config(family, scan_layers=False))
    cfg = families.config(family)
    tokens, *rest = packed_batch()
    logits = forward(cfg)(params_of(cfg), tokens, *rest)
    real = rest[0] != 0
    np.testing.assert_allclose(logits[real], expected[real], atol=3e-5 * np.abs(expected).max())


def test_scanned_and_unrolled_layers_are_one_model():
    tokens, *rest = packed_batch()
    logits, gradients = {}, {}
    for scan_layers in (True, False):
        cfg = config(scan_layers=scan_layers)
        assert Decoder(cfg).scan_layers == scan_layers

        def loss(params, cfg=cfg):
            logits = forward(cfg)(params, tokens, *rest)
            return jnp.sum(jnp.sin(logits)), logits

        result = jax.jit(jax.value_and_grad(loss, has_aux=True))(params_of(cfg))
        (_, logits[scan_layers]), gradients[scan_layers] = jax.device_get(result)
    np.testing.assert_allclose(logits[True], logits[False], atol=1e-5)
    unrolled = jax.tree.leaves(reference.stack_layers(gradients[False]))
    for one, two in zip(jax.tree.leaves(gradients[True]), unrolled, strict=True):
        np.testing.assert_allclose(one, two, atol=2e-5 * (1 + np.abs(one).max()))


def test_random_parameters_differ_by_layer():
    model = Decoder(config(**PLAIN))
    row = jnp.zeros((1, 1), jnp.int32)

    @jax.jit
    def kernels(key):
        params = meta.unbox(model.init(key, row, row, enable_dropout=False)["params"])
        return params["layers"]["mlp"]["wi"]["kernel"]

    one, two = kernels(jax.random.key(0))
    assert np.abs(one - two).min() > 0


# What may depend on what


def test_only_what_may_be_seen_has_a_gradient():
    """Causality, segments and prefixes, as which token's embedding moves which logits."""
    cfg = config(logits_via_embedding=False)
    params = params_of(cfg)
    model = Decoder(cfg)
    tokens = np.arange(LENGTH)[None]
    weights = np.random.default_rng(0).standard_normal(40)

    @jax.jit
    def influence(segment_ids, both_ways):
        def of_table(table):
            changed = {**params, "token_embedder": {"embedding": table}}
            logits = model.apply(
                {"params": changed},
                tokens,
                tokens,
                segment_ids,
                None,
                both_ways,
                enable_dropout=False,
            )
            return logits[0] @ weights

        slopes = jax.jacrev(of_table)(jnp.asarray(params["token_embedder"]["embedding"]))
        return jnp.abs(slopes).max(axis=-1)[:, :LENGTH]  # [position of logits, of the token]

    one, packed = np.ones(LENGTH, int), np.array([1] * 3 + [2] * 5 + [0] * 4)
    causal, prefix = np.zeros(LENGTH, int), np.array([1, 1, 0, 1, 1, 1] + [0] * 6)
    for segment_ids, both_ways in ((one, causal), (packed, causal), (packed, prefix)):
        found = influence(segment_ids[None], both_ways[None])
        for query, key in np.ndindex(LENGTH, LENGTH):
            if reference.may_see(query, key, segment_ids, both_ways):
                assert found[query, key] > 1e-7, (query, key)
            else:
                assert found[query, key] == 0, (query, key)


def test_targets_are_never_read():
    cfg = config(**PLAIN, scan_layers=False)
    model, tokens = Decoder(cfg), packed_batch()[0]
    apply = functools.partial(model.apply, {"params": params_of(cfg)}, enable_dropout=False)
    usual = apply(tokens, tokens)
    np.testing.assert_array_equal(usual, apply(tokens, np.zeros_like(tokens)))
    np.testing.assert_array_equal(usual, apply(tokens))


# Parameters


def sizes_of(cfg, path):
    """What each axis measures in the parameter at this path."""
    sizes = {"vocab": 40, "embed": 16, "heads": 4, "kv": 8, "mlp": 24, "norm": 16, "layers": 2}
    own = {
        "key": {"kv_heads": cfg.kv_heads},
        "value": {"kv_heads": cfg.kv_heads},
        "query_norm": {"norm": 8},
        "key_norm": {"norm": 8},
        "token_embedder": {"embed": cfg.token_width},
        "position_embedder": {"positions": families.MAX_POSITIONS + 2},
        "project_in": {"token_embed": cfg.token_width},
        "project_out": {"token_embed": cfg.token_width},
    }
    return {**sizes, **own.get(path[-2].key, {})}


@pytest.mark.parametrize("scan_layers", [True, False])
@pytest.mark.parametrize("family", families.NAMES)
def test_every_parameter_has_known_axes_a_name_a_dimension(family, scan_layers):
    cfg = families.config(family, scan_layers=scan_layers)
    row = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    boxed = jax.eval_shape(
        lambda row: Decoder(cfg).init(jax.random.key(0), row, row, enable_dropout=False)["params"],
        row,
    )
    known = dict(rules_lib.LOGICAL_AXIS_RULES)
    leaves = jax.tree_util.tree_leaves_with_path(
        boxed, is_leaf=lambda leaf: isinstance(leaf, meta.AxisMetadata)
    )
    assert len(leaves) >= 9
    names = shardings_lib.logical_axes(boxed)
    for path, leaf in leaves:
        assert isinstance(leaf, meta.AxisMetadata), path
        assert set(leaf.names) <= known.keys(), path
        sizes = sizes_of(cfg, path)
        assert leaf.unbox().shape == tuple(sizes[name] for name in leaf.names), path
        assert (leaf.names[0] == "layers") == (scan_layers and path[0].key == "layers"), path
        assert functools.reduce(lambda tree, key: tree[key.key], path, names) == leaf.names


def test_bfloat16_parameters_still_give_float32_logits():
    cfg = config(**PLAIN, dtype="bfloat16", param_dtype="bfloat16", scan_layers=False)
    model = Decoder(cfg)
    row = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    shapes = jax.eval_shape(lambda row: model.init(jax.random.key(0), row, row), row)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("bfloat16")}
    tokens, *rest = packed_batch()
    whole = unrolled_params(config(**PLAIN, scan_layers=False))
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), whole)
    logits = forward(cfg)(half, tokens, *rest)
    expected = reference.decoder(cfg, whole, tokens, *rest)
    assert logits.dtype == jnp.float32
    real = rest[0] != 0
    assert np.corrcoef(logits[real].ravel(), expected[real].ravel())[0, 1] > 0.99
    # Sums in float32 that were not cut to bfloat16 on the way.
    assert np.mean(logits != logits.astype(jnp.bfloat16).astype(jnp.float32)) > 0.5


# The call


def test_the_call_is_that_of_t5x():
    """`t5x.models.DecoderOnlyModel` passes these by place and these by name."""
    parameters = inspect.signature(Decoder.__call__).parameters
    by_place = [name for name, p in parameters.items() if p.kind == p.POSITIONAL_OR_KEYWORD]
    by_name = {name: p.default for name, p in parameters.items() if p.kind == p.KEYWORD_ONLY}
    assert by_place == [
        "self",
        "decoder_input_tokens",
        "decoder_target_tokens",
        "decoder_segment_ids",
        "decoder_positions",
        "decoder_causal_attention",
    ]
    assert by_name.pop("decoder_row_ids") is None  # Ours, for a train step's microbatches.
    assert by_name.pop("decoder_seen_until") is None  # Ours, for the options of a question.
    assert by_name == {
        "enable_dropout": True,
        "decode": False,
        "max_decode_length": None,
        "prefill": False,
        "prefill_lengths": None,
    }


def test_decoding_while_filling_is_refused():
    row = jnp.zeros((1, 1), jnp.int32)
    with pytest.raises(ValueError, match="decode and prefill are both True"):
        Decoder(config()).init(jax.random.key(0), row, row, decode=True, prefill=True)


@pytest.mark.parametrize("family", ["opt", "opt_350m"])
def test_more_tokens_than_learned_positions_are_refused(family):
    model = Decoder(families.config(family))
    most = jnp.zeros((1, families.MAX_POSITIONS), jnp.int32)
    jax.eval_shape(lambda: model.init(jax.random.key(0), most))
    message = r"tokens of a row = 15.*14 learned positions.*max_positions.*at most 14"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 15), jnp.int32)))


# Dropout


def test_dropout_is_decided_by_its_key():
    """A model of all zeros but the last bias of each block: what is left is the noise itself."""
    cfg = config(norm="rmsnorm", vocab_size=16, logits_via_embedding=False, embedding_norm=False)
    cfg = DecoderConfig(**{**cfg.__dict__, "dropout_rate": 0.4})
    params = jax.tree.map(np.zeros_like, reference.random_params(cfg))
    for number in range(cfg.num_layers):
        params[f"layers_{number}"]["mlp"]["wo"]["bias"] += 1
    params["decoder_norm"]["scale"] += 1
    params["logits_dense"]["kernel"] = np.eye(16, dtype=np.float32)
    params = reference.stack_layers(params)
    tokens = np.zeros((2, 50), int)

    @jax.jit
    def both(key):
        apply = functools.partial(Decoder(cfg).apply, {"params": params}, tokens, tokens)
        return apply(rngs={"dropout": key}), apply(enable_dropout=False)

    def noisy(key):
        return both(key)[0]

    usual, quiet = both(jax.random.key(0))
    np.testing.assert_array_equal(usual, noisy(jax.random.key(0)))
    assert np.mean(usual != noisy(jax.random.key(1))) > 0.3
    # Kept by both blocks, one, or none: each block drops for itself, 4 of 10 entries.
    kept = np.round(2 * usual / usual.max(axis=-1, keepdims=True))
    shares = [np.mean(kept == count) for count in range(3)]
    np.testing.assert_allclose(shares, [0.16, 0.48, 0.36], atol=0.05)
    np.testing.assert_allclose(quiet, 1, rtol=1e-5)
