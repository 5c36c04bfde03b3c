"""A real, tiny, random decoder, and the slow and plain way to run it."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import meta

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from tests.models import families, reference

VOCAB_SIZE = 48
# The last rows of the table are padding: no text ever has these ids.
VALID_VOCAB_SIZE = 45


def make(scan_layers: bool = True, seed: int = 0) -> tuple[Decoder, Any]:
    """The model and its parameters, made once.

    Parameters are larger than at a usual start, so that logits are far apart and depend on the
    whole context; id 0 and a padded row are made likely.
    """
    model, params = _make(scan_layers, seed)
    return model, jax.tree.map(lambda leaf: leaf, params)


@functools.cache
def _make(scan_layers: bool, seed: int) -> tuple[Decoder, Any]:
    config = DecoderConfig(
        vocab_size=VOCAB_SIZE,
        num_layers=2,
        emb_dim=32,
        num_heads=4,
        head_dim=8,
        mlp_dim=64,
        logits_via_embedding=False,
        scan_layers=scan_layers,
    )
    model = Decoder(config)
    tokens = jnp.zeros((1, 4), jnp.int32)
    init = jax.jit(functools.partial(model.init, enable_dropout=False))
    variables = init(jax.random.key(seed), tokens, tokens)
    params = meta.unbox(variables["params"])
    kernel = params["logits_dense"]["kernel"] * 2.0
    params["logits_dense"]["kernel"] = kernel.at[:, 0].mul(2.0).at[:, VOCAB_SIZE - 1].mul(3.0)
    return model, params


@functools.cache
def of_family(family: str) -> tuple[Decoder, Any]:
    """A small model in the shape of a published family, with room for rows of 64 tokens."""
    room = {"max_positions": 64} if families.FAMILIES[family].get("max_positions") else {}
    config = families.config(family, vocab_size=VOCAB_SIZE, **room)
    params = reference.random_params(config, seed=3)
    # Rows of one length: where they are tied to the logits, the longest would always win.
    table = params["token_embedder"]["embedding"]
    table *= 2 / np.linalg.norm(table, axis=1, keepdims=True)
    return Decoder(config), reference.stack_layers(params)


def uncached_logits(model: Decoder, params: Any, tokens: Sequence[int]) -> np.ndarray:
    """Float64 logits [T, V] of one unpadded row, without a cache."""
    # One shape for all lengths: right padding cannot reach what comes before it.
    row = np.full((1, 64), 7, np.int32)
    row[0, : len(tokens)] = tokens
    logits = _forward(model)(params, row)
    return np.asarray(logits[0, : len(tokens)], np.float64)


@functools.cache
def _forward(model: Decoder) -> Any:
    return jax.jit(
        lambda params, row: model.apply({"params": params}, row, row, enable_dropout=False)
    )


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Float64 log-softmax over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def prompts(count: int, longest: int = 20, seed: int = 0) -> list[tuple[int, ...]]:
    """Random prompts of 1 to `longest` tokens, id 0 frequent and at the ends of many."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        row = rng.integers(0, VALID_VOCAB_SIZE, size=rng.integers(1, longest + 1))
        row[rng.random(len(row)) < 0.15] = 0
        if number % 3 == 0:
            row[-1] = 0
        rows.append(tuple(row.tolist()))
    return rows
