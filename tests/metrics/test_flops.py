"""The formulas against the products of the model's jaxpr, and peaks against JAX's own table."""

import dataclasses
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from jax._src.pallas.mosaic import tpu_info

from teacherlm_jax.metrics import flops
from teacherlm_jax.models import attention
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params
from tests.models import families

BATCH, LENGTH = 3, 14


def subjaxprs(equation):
    for value in equation.params.values():
        for item in value if isinstance(value, list | tuple) else [value]:
            if hasattr(item, "eqns"):
                yield item
            elif hasattr(item, "jaxpr"):
                yield item.jaxpr


def product_flops(jaxpr):
    """Twice the multiplications of every dot_general, those of scans as often as they run."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            summed = math.prod(left[axis] for axis in contracted)
            total += 2 * summed * math.prod(equation.outvars[0].aval.shape)
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        total += times * sum(product_flops(inner) for inner in subjaxprs(equation))
    return total


def counted(config, batch, length, train=False):
    """Products for one token, by what JAX would run."""
    model = Decoder(config)
    tokens_BT = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    params = jax.tree.map(lambda box: box.value, boxed_params(model), is_leaf=is_box)

    def total(params, tokens_BT):
        logits_BTV = model.apply({"params": params}, tokens_BT, enable_dropout=False)
        return jnp.sum(jnp.square(logits_BTV))

    function = jax.grad(total) if train else total
    return product_flops(jax.make_jaxpr(function)(params, tokens_BT).jaxpr) / (batch * length)


def is_box(leaf):
    return hasattr(leaf, "value") and hasattr(leaf, "names")


@pytest.mark.parametrize("scan_layers", [True, False])
@pytest.mark.parametrize("family", families.NAMES)
def test_the_forward_pass_multiplies_what_the_formula_says(family, scan_layers):
    # Rows as short as a chunk of attention are compared with all their keys, masked or not.
    config = families.config(family, scan_layers=scan_layers)
    whole = dataclasses.replace(config, sliding_window=None)
    assert LENGTH <= attention.QUERY_CHUNK
    assert counted(config, BATCH, LENGTH) == flops.forward_flops_per_token(whole, LENGTH)


@pytest.mark.parametrize("family", ["bloom", "llama", "opt_350m"])
def test_the_backward_pass_multiplies_twice_as_much_again(family):
    config = families.config(family)
    recomputed = 4 * config.num_layers * config.num_heads * config.head_dim * LENGTH
    formula = flops.train_flops_per_token(config, LENGTH)
    # Attention computes its weights again, which does not count as work.
    assert formula < counted(config, BATCH, LENGTH, train=True) <= formula + recomputed


def test_a_causal_text_in_pieces_computes_less_than_the_formula_counts():
    config, length = families.config("llama"), 4 * attention.QUERY_CHUNK
    keys = 4 * config.num_layers * config.num_heads * config.head_dim * length
    formula = flops.forward_flops_per_token(config, length)
    assert counted(config, 1, length) == formula - keys * 3 / 8  # 5/8 are left.


def test_a_sliding_window_bounds_the_keys():
    config = families.config("mistral")
    assert config.sliding_window == 4
    per_key = 12 * config.num_layers * config.num_heads * config.head_dim
    short, window, long = (flops.train_flops_per_token(config, keys) for keys in (3, 4, 4000))
    assert window - short == per_key and long == window


def test_without_attention_six_times_the_parameters_of_a_published_model():
    """BLOOM-7.1B: all parameters, since the table that is looked up is the output projection."""
    config = families.config(
        "bloom",
        vocab_size=250_880,
        num_layers=30,
        emb_dim=4096,
        num_heads=32,
        head_dim=128,
        mlp_dim=16384,
    )
    assert flops.matrix_parameters(config) == pytest.approx(7_069_016_064, rel=1e-3)
    assert flops.matrix_parameters(config) < 7_069_016_064  # Norms and biases are missing.
    expected = 6 * flops.matrix_parameters(config) + 12 * 30 * 4096 * 2048
    assert flops.train_flops_per_token(config, 2048) == expected


@pytest.mark.parametrize("kind", ["v4", "v5e", "v5 lite", "v5p", "v5", "v6e", "v6 lite", "7x"])
def test_peaks_are_those_of_jax(kind):
    kind = "TPU7x" if kind == "7x" else f"TPU {kind}"
    version = tpu_info.chip_version_from_device_kind(kind)
    cores = 2 if version.supports_megacore else 1  # A JAX device is a chip, or a core of it.
    info = tpu_info._get_tpu_info_impl(version, cores)
    peak = flops.peak_flops(SimpleNamespace(device_kind=kind))
    assert peak == pytest.approx(info.bf16_ops_per_second * cores, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100 80GB PCIe", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H200 NVL", 835e12),
        ("TPU v3", 61.5e12),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA GeForce RTX 4090", None),
        ("TPU v50", None),
        ("TPU v4 lite", None),
        ("cpu", None),
    ],
)
def test_peaks_by_name(kind, peak):
    assert flops.peak_flops(SimpleNamespace(device_kind=kind)) == peak


def test_no_peak_and_no_utilization_on_a_cpu():
    assert flops.peak_flops(jax.devices("cpu")[0]) is None
    assert flops.utilization(1000.0, 1e9, 1, None) is None


def test_utilization_of_a_published_run():
    """PaLM 540B, table 3: 238.3 thousand tokens/s on 6144 TPU v4 at row length 2048 is 46.2%."""
    config = families.config(
        "llama",
        vocab_size=256_000,
        num_layers=118,
        emb_dim=18432,
        num_heads=48,
        head_dim=256,
        mlp_dim=4 * 18432,
        num_kv_heads=1,
    )
    per_token = flops.train_flops_per_token(config, 2048)
    peak = flops.peak_flops(SimpleNamespace(device_kind="TPU v4"))
    assert flops.utilization(238_300, per_token, 6144, peak) == pytest.approx(0.462, abs=0.003)
