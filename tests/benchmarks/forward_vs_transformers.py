"""Tokens a second of a forward pass and of a train step, beside transformers on torch.

    python -m tests.benchmarks.forward_vs_transformers

Both sides hold the same weights (a BLOOM at random), run in one process on the same threads and
take turns, round by round; a figure is the median of its rounds. On a machine without a GPU: 40M
parameters, 4 x 512 tokens, float32. With one that both jax and torch see: BLOOM-560M and 1.1B in
bfloat16. `--help` lists what can be set.

`of peak` is the share of the machine's own matrix rate, which is that of a square jnp product
measured in the same rounds. The work counted for a forward pass is 2 N + 4 L T D operations a
token, N being the parameters that multiply (12 L D^2 in the blocks and V D for the logits) and
4 L T D what attention takes with no half of it skipped; a train step counts three times that.

Shape legend: B batch, T positions, D residual width, H heads, K head width, V vocabulary.
"""

import argparse
import dataclasses
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import transformers
from etils import epath

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import parameter_count
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.training import state as state_lib
from teacherlm_jax.training.step import forward, make_train_step
from teacherlm_jax.weights import accounting, catalogue, directory, load

LEARNING_RATE = 1e-6
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}


@dataclasses.dataclass(frozen=True)
class Shape:
    """A BLOOM's dimensions."""

    vocab: int
    width: int
    layers: int
    heads: int

    def flops(self, batch: int, length: int) -> float:
        """Operations of a forward pass; see the head of this file."""
        multiply = 12 * self.layers * self.width**2 + self.vocab * self.width
        return batch * length * (2.0 * multiply + 4.0 * self.layers * length * self.width)


SHAPES = {
    "40m": Shape(32_000, 512, 8, 8),
    "560m": Shape(250_880, 1024, 24, 16),
    "1b1": Shape(250_880, 1536, 24, 16),
}


@dataclasses.dataclass
class Side:
    """What one library runs. Each call returns once its result is there."""

    logits: Callable[[], np.ndarray]
    forward: Callable[[], Any]
    train_step: Callable[[], float]


def ours(config: DecoderConfig, params: Any, tokens_BT: np.ndarray) -> Side:
    """This package: the model and the step that training runs, jitted, the state given away."""
    model, optimizer = Decoder(config), optax.adamw(LEARNING_RATE, weight_decay=0.01)
    shifted_BT = np.roll(tokens_BT, -1, axis=1)
    weights_BT = np.ones(tokens_BT.shape, np.float32)
    weights_BT[:, -1] = 0
    batch = {
        "decoder_input_tokens": jnp.asarray(tokens_BT),
        "decoder_target_tokens": jnp.asarray(shifted_BT),
        "decoder_loss_weights": jnp.asarray(weights_BT),
        "decoder_segment_ids": jnp.ones(tokens_BT.shape, jnp.int32),
    }
    run_forward = jax.jit(lambda params, batch: forward(model, params, batch))
    step = jax.jit(make_train_step(model, optimizer), donate_argnums=0)
    held = {"state": state_lib.from_params(jax.tree.map(jnp.copy, params), optimizer)}

    def train_step() -> float:
        held["state"], metrics = step(held["state"], batch, jax.random.key(0))
        jax.block_until_ready(held["state"])
        return float(metrics["loss"].mean())

    return Side(
        logits=lambda: np.asarray(run_forward(params, batch)),
        forward=lambda: jax.block_until_ready(run_forward(params, batch)),
        train_step=train_step,
    )


def theirs(model: transformers.BloomForCausalLM, dtype: str, tokens_BT: np.ndarray) -> Side:
    """transformers' BLOOM on torch, the optimizer in its fused form."""
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    model = model.to(device=device, dtype=getattr(torch, dtype))
    ids_BT = torch.from_numpy(tokens_BT.astype(np.int64)).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, fused=True
    )

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def logits() -> torch.Tensor:
        with torch.inference_mode():
            return model(input_ids=ids_BT).logits

    def run_forward() -> None:
        logits()
        wait()

    def train_step() -> float:
        loss = model(input_ids=ids_BT, labels=ids_BT).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        wait()
        return float(loss.detach())

    return Side(lambda: logits().float().cpu().numpy(), run_forward, train_step)


def both_models(shape: Shape, dtype: str) -> tuple[Any, DecoderConfig, Any]:
    """A BLOOM of transformers at random, and its import: (theirs, configuration, parameters)."""
    config = transformers.BloomConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        use_cache=False,
    )
    torch.manual_seed(0)
    model = transformers.BloomForCausalLM(config)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        path = epath.Path(folder)
        family, ours = catalogue.read_config(path)
        matched = accounting.match(directory.open_directory(path), family, ours, path)
        mesh = make_mesh(MeshConfig(device_count=1))
        params = load.load_params(matched, ours, mesh)
    ours = dataclasses.replace(ours, dtype=dtype, param_dtype=dtype)
    return model, ours, jax.tree.map(lambda leaf: leaf.astype(dtype), params)


def matrix_product(dtype: str, size: int) -> Callable[[], Any]:
    """A square product of 2 size^3 operations, the measure of what the machine can do."""
    one, other = (
        jax.random.normal(jax.random.key(seed), (size, size), jnp.float32).astype(dtype)
        for seed in (0, 1)
    )
    product = jax.jit(jnp.matmul)
    return lambda: jax.block_until_ready(product(one, other))


def page_faults(call: Callable[[], Any]) -> int:
    """Pages of memory that the system had to hand out during a call, 4 KiB each as a rule."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    call()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call in every round; the calls take turns after one unmeasured round."""
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(seconds(call))
    return taken


def check(one: Side, other: Side, dtype: str) -> None:
    """Raises where the two sides do not compute the same."""
    logits, expected = one.logits(), other.logits()
    difference = float(np.max(np.abs(logits - expected)))
    print(f"logits up to {np.max(np.abs(expected)):.3g}, largest difference {difference:.2g}")
    if not difference < TOLERANCE[dtype] * max(1.0, float(np.max(np.abs(expected)))):
        raise SystemExit(f"The two sides' logits differ by {difference}: nothing to compare.")
    losses = one.train_step(), other.train_step()
    print(f"loss of the first step: {losses[0]:.5f} and {losses[1]:.5f}")
    if not abs(losses[0] - losses[1]) < TOLERANCE[dtype] * losses[1]:
        raise SystemExit("The two sides' losses differ: nothing to compare.")


def compare(name: str, dtype: str, arguments: argparse.Namespace) -> None:
    """Measures one shape and prints its table."""
    shape, batch, length = SHAPES[name], arguments.batch, arguments.length
    model, config, params = both_models(shape, dtype)
    tokens_BT = np.random.default_rng(0).integers(0, shape.vocab, (batch, length))
    tokens_BT = tokens_BT.astype(np.int32)
    count = parameter_count(params) / 1e6
    print(f"\n{name}: {count:.1f}M parameters, {batch} x {length} tokens, {dtype}")
    us, them = ours(config, params, tokens_BT), theirs(model, dtype, tokens_BT)
    check(us, them, dtype)
    size = arguments.matrix
    calls = {
        "ours forward": us.forward,
        "theirs forward": them.forward,
        "matrix": matrix_product(dtype, size),
        "ours train": us.train_step,
        "theirs train": them.train_step,
    }
    wanted = {k: v for k, v in calls.items() if k == "matrix" or k.endswith(arguments.only or "")}
    taken = measure(wanted, arguments.rounds)
    peak = 2.0 * size**3 / statistics.median(taken["matrix"])
    print(f"matrix rate of this machine: {peak / 1e9:,.0f} GFLOP/s ({size}^3, {dtype})")
    print(f"{'':10} {'ours':>10} {'transformers':>13} {'ratio':>7} {'of peak':>8}   tokens/s")
    for kind, factor in (("forward", 1), ("train", 3)):
        if f"ours {kind}" not in taken:
            continue
        mine, other = taken[f"ours {kind}"], taken[f"theirs {kind}"]
        ratio = statistics.median(b / a for a, b in zip(mine, other))
        share = factor * shape.flops(batch, length) / statistics.median(mine) / peak
        rates = [batch * length / statistics.median(times) for times in (mine, other)]
        faults = [page_faults(calls[f"{side} {kind}"]) for side in ("ours", "theirs")]
        print(
            f"{kind:10} {rates[0]:10,.0f} {rates[1]:13,.0f} {ratio:6.2f}x {share:8.0%}", end="   "
        )
        print(f"page faults: {faults[0]:,} and {faults[1]:,}")


def main() -> None:
    """Reads the options and compares."""
    gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, action="append", help="may be given repeatedly")
    parser.add_argument("--dtype", choices=TOLERANCE, default="bfloat16" if gpu else "float32")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--matrix", type=int, default=8192 if gpu else 2048)
    parser.add_argument("--only", choices=("forward", "train"))
    arguments = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, {threads} threads"
    )
    for name in arguments.shape or (["560m", "1b1"] if gpu else ["40m"]):
        compare(name, arguments.dtype, arguments)


if __name__ == "__main__":
    main()
