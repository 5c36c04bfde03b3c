"""A slow decoder in float64 NumPy, written as loops from the papers, to hold the real one against.

It takes parameters as an unrolled model keeps them (`layers_0`, `layers_1`, ...).
"""

import cmath
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
    query: int,
    key: int,
    segment_ids: np.ndarray | None,
    both_ways: np.ndarray | None,
    window: int | None = None,
) -> bool:
    """Whether the token at place `query` attends to the one at place `key` of one row.

    A window of W is the token itself and the W - 1 before it (Jiang et al. 2023, arXiv 2310.06825).
    """
    if segment_ids is not None and segment_ids[query] != segment_ids[key]:
        return False
    if both_ways is not None and both_ways[query] and both_ways[key]:
        return True
    oldest = 0 if window is None else query - window + 1
    return oldest <= key <= query


def rotary_frequency(config: DecoderConfig, pair: int) -> float:
    """Radians a position by which a pair of dimensions turns (Su et al. 2021, section 3.2.2)."""
    width = config.head_dim if config.rotary_dim is None else config.rotary_dim
    frequency = config.rope_theta ** (-2 * pair / width)
    scaling = config.rope_scaling
    if scaling is None:
        return frequency
    if scaling.kind == "linear":  # Chen et al. 2023: position m is read as m / factor.
        return frequency / scaling.factor
    # Llama 3.1's published `apply_scaling`, by wavelengths.
    wavelength = 2 * math.pi / frequency
    if wavelength < scaling.original_max_positions / scaling.high_freq_factor:
        return frequency
    if wavelength > scaling.original_max_positions / scaling.low_freq_factor:
        return frequency / scaling.factor
    smooth = scaling.original_max_positions / wavelength - scaling.low_freq_factor
    smooth /= scaling.high_freq_factor - scaling.low_freq_factor
    return (1 - smooth) * frequency / scaling.factor + smooth * frequency


def rotate(config: DecoderConfig, x: np.ndarray, position: int) -> np.ndarray:
    """One head at one position: each pair is a complex number that turns."""
    half = (config.head_dim if config.rotary_dim is None else config.rotary_dim) // 2
    turned = np.array(x, np.float64)
    for pair in range(half):
        number = complex(x[pair], x[half + pair])
        number *= cmath.exp(1j * position * rotary_frequency(config, pair))
        turned[pair], turned[half + pair] = number.real, number.imag
    return turned


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
    if config.token_dim is not None:
        stream = stream @ params["project_in"]["kernel"]
    if config.position == "learned":
        table = params["position_embedder"]["embedding"][config.position_offset :]
        stream = stream + table[positions]
    if config.embedding_norm:
        stream = _norm(config, params["embedding_norm"], stream)
    for number in range(config.num_layers):
        block = params[f"layers_{number}"]
        seen = (segment_ids, positions, both_ways)
        stream = _BLOCKS[config.residual](config, block, stream, seen)
    if config.final_norm:
        stream = _norm(config, params["decoder_norm"], stream)
    if config.token_dim is not None:
        stream = stream @ params["project_out"]["kernel"]
    if config.logits_via_embedding:
        return stream @ params["token_embedder"]["embedding"].T
    return stream @ params["logits_dense"]["kernel"]


def _pre_norm(config, block, x, seen):
    """GPT-2, BLOOM, Llama: x + f(norm(x)), twice."""
    inner = _norm(config, block["pre_self_attention_norm"], x)
    x = x + _attention(config, block["self_attention"], inner, *seen)
    return x + _mlp(config, block["mlp"], _norm(config, block["pre_mlp_norm"], x))


def _post_norm(config, block, x, seen):
    """Vaswani et al. 2017, section 3.1: norm(x + f(x)), twice."""
    x = x + _attention(config, block["self_attention"], x, *seen)
    x = _norm(config, block["post_self_attention_norm"], x)
    return _norm(config, block["post_mlp_norm"], x + _mlp(config, block["mlp"], x))


def _parallel(config, block, x, seen):
    """Black et al. 2022, section 2.1: x + Attn(LN1(x)) + FF(LN2(x))."""
    one = _norm(config, block["pre_self_attention_norm"], x)
    two = _norm(config, block["pre_mlp_norm"], x)
    attended = _attention(config, block["self_attention"], one, *seen)
    return x + attended + _mlp(config, block["mlp"], two)


_BLOCKS = {"pre_norm": _pre_norm, "post_norm": _post_norm, "parallel": _parallel}


def _norm(config, params, x):
    if config.norm == "rmsnorm":
        return _rms_norm(config, params, x)
    centered = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt(x.var(-1, keepdims=True) + config.norm_epsilon)
    return centered / deviation * params["scale"] + params["bias"]


def _rms_norm(config, params, x):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + config.norm_epsilon) * params["scale"]


def _mlp(config, params, x):
    def up(name):
        y = x @ params[name]["kernel"]
        return y + params[name]["bias"] if has_bias(config, "mlp") else y

    if config.gated_mlp:
        hidden = activation(config.mlp_activation, up("wi_0")) * up("wi_1")
    else:
        hidden = activation(config.mlp_activation, up("wi"))
    y = hidden @ params["wo"]["kernel"]
    return y + params["wo"]["bias"] if has_bias(config, "mlp") else y


def has_bias(config: DecoderConfig, part: str) -> bool:
    """Whether the projections of "qkv", "attention_out" or "mlp" have biases."""
    own = getattr(config, f"{part}_bias")
    return config.use_bias if own is None else own


def activation(name: str, x: np.ndarray) -> np.ndarray:
    if name == "gelu_exact":
        return x * np.vectorize(lambda value: (1 + math.erf(value / math.sqrt(2))) / 2)(x)
    if name == "gelu":
        return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return {"relu": np.maximum(x, 0), "silu": x / (1 + np.exp(-x))}[name]


def _head(config, params, name, head, x, positions):
    """Queries, keys or values of one head, [length, head width]."""
    y = x @ params[name]["kernel"][:, head]
    if has_bias(config, "qkv"):
        y = y + params[name]["bias"][head]
    if config.qk_norm and name != "value":
        y = _rms_norm(config, params[f"{name}_norm"], y)
    if config.position == "rotary" and name != "value":
        y = np.stack([rotate(config, row, place) for row, place in zip(y, positions)])
    return y


def _attention(config, params, x, segment_ids, positions, both_ways):
    length = len(x)
    outputs = np.zeros_like(x)
    for head in range(config.num_heads):
        # Ainslie et al. 2023, section 2.2: neighbouring query heads form the groups.
        shared = head // (config.num_heads // (config.num_kv_heads or config.num_heads))
        query = _head(config, params, "query", head, x, positions)
        key = _head(config, params, "key", shared, x, positions)
        value = _head(config, params, "value", shared, x, positions)
        for t in range(length):
            seen = [
                s
                for s in range(length)
                if may_see(t, s, segment_ids, both_ways, config.sliding_window)
            ]
            scores = np.array([query[t] @ key[s] / math.sqrt(config.head_dim) for s in seen])
            if config.position == "alibi":
                slope = alibi_slopes(config.num_heads)[head]
                scores -= slope * np.array([abs(positions[t] - positions[s]) for s in seen])
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            mixed = sum(weight * value[s] for weight, s in zip(weights, seen))
            outputs[t] += mixed @ params["out"]["kernel"][head]
    return outputs + params["out"]["bias"] if has_bias(config, "attention_out") else outputs
