"""Tokens a second of a forward pass, beside transformers on torch.

    python -m tests.benchmarks.forward_vs_transformers

Both sides hold the same weights (a BLOOM at random), run in one process on the same threads and
take turns, round by round; a figure is the median of its rounds. On a machine without a GPU: 40M
parameters, 4 x 512 tokens, float32. With one that both jax and torch see: BLOOM-560M and 1.1B in
bfloat16. `--help` lists what can be set. Training: `train_vs_transformers`.

`of peak` is the share of the machine's own matrix rate, the faster of jnp's and torch's square
product in the same rounds, for the operations of `side_by_side.Shape.flops`.

Shape legend: B batch, T positions, V vocabulary.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import parameter_count
from teacherlm_jax.training.step import forward
from tests.benchmarks import side_by_side

SHAPES = {
    "40m": side_by_side.Shape(32_000, 512, 8, 8),
    "560m": side_by_side.Shape(250_880, 1024, 24, 16),
    "1b1": side_by_side.Shape(250_880, 1536, 24, 16),
}

Logits = Callable[[], Any]


def ours(config: DecoderConfig, params: Any, tokens_BT: np.ndarray) -> Logits:
    """This package: the forward pass of a batch, jitted."""
    model = Decoder(config)
    batch = {
        "decoder_input_tokens": jnp.asarray(tokens_BT),
        "decoder_target_tokens": jnp.asarray(np.roll(tokens_BT, -1, axis=1)),
        "decoder_segment_ids": jnp.ones(tokens_BT.shape, jnp.int32),
    }
    run = jax.jit(lambda params, batch: forward(model, params, batch))
    return lambda: jax.block_until_ready(run(params, batch))


def theirs(model: transformers.BloomForCausalLM, dtype: str, tokens_BT: np.ndarray) -> Logits:
    """transformers' BLOOM on torch."""
    device = side_by_side.torch_device()
    model = model.to(device=device, dtype=getattr(torch, dtype))
    ids_BT = torch.from_numpy(tokens_BT.astype(np.int64)).to(device)

    def logits() -> torch.Tensor:
        with torch.inference_mode():
            logits_BTV = model(input_ids=ids_BT).logits
        side_by_side.torch_wait()
        return logits_BTV

    return logits


def check(us: Logits, them: Logits, dtype: str) -> None:
    """Raises where the two sides do not compute the same."""
    logits, expected = np.asarray(us()), them().float().cpu().numpy()
    difference = float(np.max(np.abs(logits - expected)))
    largest = float(np.max(np.abs(expected)))
    print(f"logits up to {largest:.3g}, largest difference {difference:.2g}")
    if not difference < side_by_side.TOLERANCE[dtype] * max(1.0, largest):
        raise SystemExit(f"The two sides' logits differ by {difference}: nothing to compare.")


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Measures one shape and prints its table."""
    shape, batch, length = SHAPES[name], arguments.batch, arguments.length
    dtype, size = arguments.dtype, arguments.matrix
    model, config, params = side_by_side.bloom_pair(shape, dtype)
    tokens_BT = np.random.default_rng(0).integers(0, shape.vocab, (batch, length))
    tokens_BT = tokens_BT.astype(np.int32)
    count = parameter_count(params) / 1e6
    print(f"\n{name}: {count:.1f}M parameters, {batch} x {length} tokens, {dtype}")
    us, them = ours(config, params, tokens_BT), theirs(model, dtype, tokens_BT)
    check(us, them, dtype)
    calls = {
        "ours": us,
        "transformers": them,
        "jnp": side_by_side.matrix_product(dtype, size),
        "torch": side_by_side.torch_matrix_product(dtype, size),
    }
    taken = side_by_side.measure(calls, arguments.rounds)
    work = batch * length, shape.flops(batch, length)
    side_by_side.report(calls, taken, work, size, dtype)


def main() -> None:
    """Reads the options and compares."""
    gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, action="append", help="may be given repeatedly")
    parser.add_argument(
        "--dtype", choices=side_by_side.TOLERANCE, default="bfloat16" if gpu else "float32"
    )
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--matrix", type=int, default=8192 if gpu else 2048)
    arguments = parser.parse_args()
    threads = side_by_side.thread_count()
    torch.set_num_threads(threads)
    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, {threads} threads"
    )
    for name in arguments.shape or (["560m", "1b1"] if gpu else ["40m"]):
        compare(name, arguments)


if __name__ == "__main__":
    main()
