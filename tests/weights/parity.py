"""Logits and what lies before them, beside transformers.

Models go the way of a user's: saved by transformers, opened as a folder, matched, loaded.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import numpy as np
import torch
from flax import linen as nn

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder, DecoderBlock
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.weights import load
from tests.weights import reference_models

TOLERANCE = 1e-4
LONG = reference_models.LONG
# Rows of one batch: a whole one, padded on the right, padded on the left.
ROWS = ((0, LONG), (0, 317), (LONG - 203, LONG))

# Modules of transformers whose output is that of a block's attention and of its feed-forward; of
# BLOOM's the last projection, since its blocks add the residual inside.
ATTENTION = ("self_attention.dense", "self_attn.out_proj", "self_attn.o_proj", "attention.dense")
FEED_FORWARD = ("mlp.dense_4h_to_h", "fc2", "mlp.down_proj")
FINAL_NORM = ("transformer.ln_f", "decoder.final_layer_norm", "model.norm", ".final_layer_norm")


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Tokens of all rows, and where they are real."""
    rng = np.random.default_rng(0)
    tokens_BT = rng.integers(0, reference_models.USED_VOCAB, (len(ROWS), LONG))
    places_T = np.arange(LONG)
    is_real_BT = np.stack([(start <= places_T) & (places_T < stop) for start, stop in ROWS])
    return tokens_BT, is_real_BT


def ours(config: Any, params: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits, and what every module of an unrolled decoder gave; "blocks" is what they were fed."""
    tokens_BT, is_real_BT = batch()
    segment_ids_BT = is_real_BT.astype(np.int32)
    positions_BT = np.maximum(np.cumsum(segment_ids_BT, axis=1) - 1, 0)

    @jax.jit
    def forward(params: Any) -> Any:
        found: dict[str, jax.Array] = {}

        def record(function: Any, args: Any, kwargs: Any, context: Any) -> Any:
            result = function(*args, **kwargs)
            if context.method_name == "__call__" and not config.scan_layers:
                path = "/".join(context.module.path)
                if isinstance(context.module, DecoderBlock):
                    found.setdefault("blocks", args[0])
                elif path:
                    found[path] = result
            return result

        with nn.intercept_methods(record):
            logits = Decoder(config).apply(
                {"params": params},
                tokens_BT.astype(np.int32),
                None,
                segment_ids_BT,
                positions_BT.astype(np.int32),
                enable_dropout=False,
            )
        return logits, found

    logits, found = forward(params)
    return np.asarray(logits), {key: np.asarray(value) for key, value in found.items()}


@functools.cache
def theirs(name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The same of transformers, by forward hooks, under our names."""
    model = reference_models.model(name)
    tokens_BT, is_real_BT = batch()
    found: dict[str, Any] = {}
    hooks: list[Any] = []

    def keep(path: str, module: Any) -> None:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            found[path] = output[0] if isinstance(output, tuple) else output

        hooks.append(module.register_forward_hook(hook))

    for path, module in model.named_modules():
        layer = next((part for part in path.split(".") if part.isdigit()), None)
        if layer is not None and path.endswith(ATTENTION):
            keep(f"layers_{layer}/self_attention", module)
        elif layer is not None and path.endswith(FEED_FORWARD):
            keep(f"layers_{layer}/mlp", module)
        elif layer is None and path.endswith(FINAL_NORM):
            keep("decoder_norm", module)
        elif path.endswith((".h.0", ".layers.0")):

            def first(module: Any, args: Any, kwargs: Any) -> None:
                found["blocks"] = args[0] if args else kwargs["hidden_states"]

            hooks.append(module.register_forward_pre_hook(first, with_kwargs=True))
    inputs = {"attention_mask": torch.from_numpy(is_real_BT.astype(np.int64))}
    if model.config.model_type not in ("bloom", "opt"):
        # As `generate` counts them. Its models by themselves count padding on the left, too.
        inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = model(torch.from_numpy(tokens_BT), **inputs).logits.numpy()
    for hook in hooks:
        hook.remove()
    shaped = {path: value.numpy().reshape(*tokens_BT.shape, -1) for path, value in found.items()}
    return logits, shaped


def load_model(name: str, parent: pathlib.Path, scan_layers: bool) -> tuple[DecoderConfig, Any]:
    """Saves a variant and reads it: its configuration and parameters."""
    folder = reference_models.save(name, parent / name)
    matched, config = reference_models.matched(folder, scan_layers=scan_layers)
    return config, load.load_params(matched, config, make_mesh(MeshConfig(device_count=1)))


def assert_every_part_is_equal(name: str, parent: pathlib.Path) -> None:
    """Compares each block's attention and feed-forward, what they are fed, and the logits."""
    config, params = load_model(name, parent, scan_layers=False)
    logits, parts = ours(config, params)
    expected_logits, expected_parts = theirs(name)
    _, is_real_BT = batch()
    assert len(expected_parts) == 2 * config.num_layers + 1 + config.final_norm
    for path, expected in expected_parts.items():
        difference = np.abs(parts[path] - expected)[is_real_BT].max()
        assert difference <= TOLERANCE, (path, difference)
        assert expected[is_real_BT].std() > 0.15, path
    assert logits.shape == expected_logits.shape == (len(ROWS), LONG, config.vocab_size)
    for row, (start, stop) in enumerate(ROWS):
        difference = np.abs(logits - expected_logits)[row, start:stop].max()
        assert difference <= TOLERANCE, (row, difference)
    assert expected_logits[is_real_BT].std() > 0.5


def assert_stacked_layers_are_equal(name: str, parent: pathlib.Path) -> None:
    """Compares the logits of stacked layers on short rows, which are given no mask."""
    config, params = load_model(name, parent, scan_layers=True)
    tokens_BT = batch()[0][:2, :7]
    logits = jax.jit(
        lambda params: Decoder(config).apply({"params": params}, tokens_BT, enable_dropout=False)
    )(params)
    with torch.no_grad():
        expected = reference_models.model(name)(torch.from_numpy(tokens_BT)).logits.numpy()
    np.testing.assert_allclose(logits, expected, atol=TOLERANCE, rtol=0)


def largest_difference(name: str, parent: pathlib.Path, **changes: Any) -> float:
    """Largest difference of two logits where our configuration is another."""
    config, params = load_model(name, parent, scan_layers=True)
    logits, _ = ours(dataclasses.replace(config, **changes), params)
    expected, _ = theirs(name)
    return float(np.abs(logits - expected)[batch()[1]].max())
