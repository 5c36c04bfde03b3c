"""A slow decoder in float64 NumPy, written as loops from the papers, to hold the real one against.

It takes parameters as an unrolled model keeps them (`layers_0`, `layers_1`, ...).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import meta

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder

SMALL = {
    "vocab_size": 40,
    "num_layers": 2,
    "emb_dim": 16,
    "num_heads": 3,
    "head_dim": 8,
    "mlp_dim": 24,
}


def random_params(config: DecoderConfig, seed: int = 0) -> dict[str, Any]:
    """Unrolled parameters for `config`, no two alike: scales off one, biases off zero."""
    model = Decoder(DecoderConfig(**{**config.__dict__, "scan_layers": False}))
    tokens = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    shapes = jax.eval_shape(
        lambda row: model.init(jax.random.key(0), row, row, enable_dropout=False), tokens
    )
    rng = np.random.default_rng(seed)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        noise = rng.standard_normal(leaf.shape).astype(np.float32)
        name = path[-1].key
        if name == "scale":
            return 1 + 0.3 * noise
        if name == "bias":
            return 0.3 * noise
        if name == "embedding":
            return 0.5 * noise
        inputs = math.prod(leaf.shape[:-1]) if path[-2].key in ("out", "wo") else leaf.shape[0]
        return 1.5 * noise / math.sqrt(inputs)

    return jax.tree_util.tree_map_with_path(draw, meta.unbox(shapes["params"]))


def stack_layers(params: dict[str, Any]) -> dict[str, Any]:
    """The same parameters as a scanned model keeps them: a leading layer axis in `layers`."""
    blocks = [params[f"layers_{number}"] for number in range(count_layers(params))]
    rest = {name: value for name, value in params.items() if not name.startswith("layers_")}
    return {**rest, "layers": jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)}


def count_layers(params: dict[str, Any]) -> int:
    return sum(name.startswith("layers_") for name in params)


def alibi_slopes(num_heads: int) -> list[float]:
    """Press et al. 2022, section 3, and BLOOM where the heads are no power of two.

    For n = 2^k heads a geometric sequence whose first term and ratio are 2^(-8/n). Otherwise that
    of the power of two below, then every other term of that of the power of two above.
    """

    def geometric(count: int) -> list[float]:
        ratio = 2 ** (-8 / count)
        return [ratio**power for power in range(1, count + 1)]

    below = 1
    while 2 * below <= num_heads:
        below *= 2
    return geometric(below) + geometric(2 * below)[::2][: num_heads - below]


def may_see(
    query: int, key: int, segment_ids: np.ndarray | None, both_ways: np.ndarray | None
) -> bool:
    """Whether the token at place `query` attends to the one at place `key` of one row."""
    if segment_ids is not None and segment_ids[query] != segment_ids[key]:
        return False
    return key <= query or bool(both_ways is not None and both_ways[query] and both_ways[key])


def decoder(
    config: DecoderConfig,
    params: dict[str, Any],
    tokens: Any,
    segment_ids: Any = None,
    positions: Any = None,
    both_ways: Any = None,
) -> np.ndarray:
    """Float64 logits [rows, length, vocabulary]."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    tokens = np.asarray(tokens)
    if positions is None:
        positions = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
    rows = [
        _row(
            config,
            params,
            tokens[row],
            None if segment_ids is None else np.asarray(segment_ids)[row],
            np.asarray(positions)[row],
            None if both_ways is None else np.asarray(both_ways)[row],
        )
        for row in range(len(tokens))
    ]
    return np.stack(rows)


def _row(config, params, tokens, segment_ids, positions, both_ways):
    stream = params["token_embedder"]["embedding"][tokens]
    if config.embedding_norm:
        stream = _norm(config, params["embedding_norm"], stream)
    for number in range(config.num_layers):
        block = params[f"layers_{number}"]
        inner = _norm(config, block["pre_self_attention_norm"], stream)
        heads = _attention(
            config, block["self_attention"], inner, segment_ids, positions, both_ways
        )
        stream = stream + heads
        inner = _norm(config, block["pre_mlp_norm"], stream)
        hidden = activation(config.mlp_activation, _dense(block["mlp"]["wi"], inner))
        stream = stream + _dense(block["mlp"]["wo"], hidden)
    stream = _norm(config, params["decoder_norm"], stream)
    if config.logits_via_embedding:
        return stream @ params["token_embedder"]["embedding"].T
    return stream @ params["logits_dense"]["kernel"]


def _norm(config, params, x):
    if config.norm == "layernorm":
        centered = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt(x.var(-1, keepdims=True) + config.norm_epsilon)
        return centered / deviation * params["scale"] + params["bias"]
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + config.norm_epsilon) * params["scale"]


def _dense(params, x):
    y = x @ params["kernel"]
    return y + params["bias"] if "bias" in params else y


def activation(name: str, x: np.ndarray) -> np.ndarray:
    if name == "gelu_exact":
        return x * np.vectorize(lambda value: (1 + math.erf(value / math.sqrt(2))) / 2)(x)
    if name == "gelu":
        return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return {"relu": np.maximum(x, 0), "silu": x / (1 + np.exp(-x))}[name]


def _attention(config, params, x, segment_ids, positions, both_ways):
    length = len(x)
    outputs = np.zeros_like(x)
    for head in range(config.num_heads):
        query, key, value = (
            x @ params[name]["kernel"][:, head]
            + (params[name]["bias"][head] if config.use_bias else 0.0)
            for name in ("query", "key", "value")
        )
        for t in range(length):
            seen = [s for s in range(length) if may_see(t, s, segment_ids, both_ways)]
            scores = np.array([query[t] @ key[s] / math.sqrt(config.head_dim) for s in seen])
            if config.position == "alibi":
                slope = alibi_slopes(config.num_heads)[head]
                scores -= slope * np.array([abs(positions[t] - positions[s]) for s in seen])
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            mixed = sum(weight * value[s] for weight, s in zip(weights, seen))
            outputs[t] += mixed @ params["out"]["kernel"][head]
    return outputs + params["out"]["bias"] if config.use_bias else outputs
