"""Tokens a second of a train step, beside transformers on torch.

    python -m tests.benchmarks.train_vs_transformers

A BLOOM at random, the same weights and tokens on both sides: forward, backward and an AdamW update
of all parameters. Ours is the step of `training.placement`, which stages run and which counts
accuracy and the norms of gradients and parameters beside; torch's is BloomForCausalLM with the
fused AdamW (`--torch-optimizer` has the others, `--compile` compiles the model first). Both run in
one process on the same threads and take turns, round by round; a figure is the median of its
rounds, a ratio that of the rounds' ratios. bfloat16 means computation in it, with parameters and
the optimizer's state in float32: torch's autocast.

`of peak` is the share of the machine's own matrix rate, the faster of jnp's and torch's square
product in the same rounds, for three times the operations of `side_by_side.Shape.flops`.

Shape legend: B batch, T positions, V vocabulary.
"""

import argparse
import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
import torch
import transformers

from teacherlm_jax.models.parameters import parameter_count
from tests.benchmarks import side_by_side

LEARNING_RATE, WEIGHT_DECAY = 1e-6, 0.01

# The second has BLOOM's vocabulary: four fifths of its work is the projection to logits.
SHAPES = {
    "tiny": side_by_side.Shape(32_000, 256, 4, 4),
    "tiny-bloom": side_by_side.Shape(250_880, 128, 4, 4),
    "40m": side_by_side.Shape(32_000, 512, 8, 8),
    "560m": side_by_side.Shape(250_880, 1024, 24, 16),
    "1b1": side_by_side.Shape(250_880, 1536, 24, 16),
}
DEFAULT_SHAPES = {"cpu": ["tiny", "tiny-bloom", "40m"], "gpu": ["560m", "1b1"]}
TORCH_OPTIMIZERS: dict[str, dict[str, bool]] = {
    "fused": {"fused": True},
    "foreach": {"foreach": True},
    "loop": {"foreach": False},
}


def batch_of(tokens_BT: np.ndarray) -> dict[str, np.ndarray]:
    """Our features of rows of which every token but the first is predicted."""
    weights_BT = np.ones(tokens_BT.shape, np.float32)
    weights_BT[:, -1] = 0
    return {
        "decoder_input_tokens": tokens_BT,
        "decoder_target_tokens": np.roll(tokens_BT, -1, axis=1),
        "decoder_loss_weights": weights_BT,
        "decoder_segment_ids": np.ones(tokens_BT.shape, np.int32),
    }


def theirs(
    model: transformers.BloomForCausalLM, tokens_BT: np.ndarray, arguments: argparse.Namespace
) -> Callable[[], float]:
    """A train step of transformers' BLOOM on torch; it returns its loss."""
    device = side_by_side.torch_device()
    model = model.to(device=device)
    ids_BT = torch.from_numpy(tokens_BT.astype(np.int64)).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        **TORCH_OPTIMIZERS[arguments.torch_optimizer],
    )
    run = torch.compile(model) if arguments.compile else model

    def precision() -> contextlib.AbstractContextManager[Any]:
        if arguments.dtype == "float32":
            return contextlib.nullcontext()
        return torch.autocast(device, dtype=torch.bfloat16)

    def train() -> float:
        with precision():
            loss = run(input_ids=ids_BT, labels=ids_BT).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        side_by_side.torch_wait()
        return float(loss.detach())

    return train


def check(us: Callable[[], float], them: Callable[[], float], dtype: str) -> None:
    """Raises where the two sides do not compute the same; it takes two steps of each."""
    for number in ("first", "second"):
        losses = us(), them()
        print(f"loss of the {number} step: {losses[0]:.5f} and {losses[1]:.5f}")
        if not abs(losses[0] - losses[1]) < side_by_side.TOLERANCE[dtype] * losses[1]:
            raise SystemExit("The two sides' losses differ: nothing to compare.")


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Measures one shape and prints its table."""
    shape, batch, length = SHAPES[name], arguments.batch, arguments.length
    dtype, size = arguments.dtype, arguments.matrix
    model, config, params = side_by_side.bloom_pair(shape, "float32")
    config = dataclasses.replace(config, dtype=dtype)
    tokens_BT = np.random.default_rng(0).integers(0, shape.vocab, (batch, length))
    tokens_BT = tokens_BT.astype(np.int32)
    count = parameter_count(params) / 1e6
    print(f"\n{name}: {count:.1f}M parameters, {batch} x {length} tokens, {dtype}")
    optimizer = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    calls: dict[str, Callable[[], Any]] = {
        "ours": side_by_side.our_training(config, optimizer, params, batch_of(tokens_BT)),
        "transformers": theirs(model, tokens_BT, arguments),
    }
    check(calls["ours"], calls["transformers"], dtype)
    calls["jnp"] = side_by_side.matrix_product(dtype, size)
    calls["torch"] = side_by_side.torch_matrix_product(dtype, size)
    taken = side_by_side.measure(calls, arguments.rounds)
    work = batch * length, 3 * shape.flops(batch, length)
    side_by_side.report(calls, taken, work, size, dtype)


def main() -> None:
    """Reads the options and compares."""
    gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, action="append", help="may be given repeatedly")
    parser.add_argument(
        "--dtype", choices=side_by_side.TOLERANCE, default="bfloat16" if gpu else "float32"
    )
    parser.add_argument("--batch", type=int, default=4, help="rows of a step")
    parser.add_argument("--length", type=int, default=512, help="tokens of a row")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--matrix", type=int, default=8192 if gpu else 2048)
    parser.add_argument("--torch-optimizer", choices=TORCH_OPTIMIZERS, default="fused")
    parser.add_argument("--compile", action="store_true", help="torch.compile its model")
    arguments = parser.parse_args()
    threads = side_by_side.thread_count()
    torch.set_num_threads(threads)
    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, {threads} threads"
    )
    for name in arguments.shape or DEFAULT_SHAPES["gpu" if gpu else "cpu"]:
        compare(name, arguments)


if __name__ == "__main__":
    main()
