"""What the comparisons of speed share: the two sides, their turns and the machine's own rate.

Shape legend: B batch, T positions, D residual width, F feed-forward width, V vocabulary.
"""

import dataclasses
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.training.placement import Placement
from teacherlm_jax.weights import accounting, catalogue, directory, load

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}


@dataclasses.dataclass(frozen=True)
class Shape:
    """A decoder's dimensions; heads divide the width, the feed-forward block is 4 times as wide."""

    vocab: int
    width: int
    layers: int
    heads: int

    def flops(self, batch: int, length: int) -> float:
        """Operations of a forward pass: 2 N + 4 L T D a token.

        N are the parameters that multiply, 12 L D^2 in the blocks and V D for the logits, and
        4 L T D is what attention takes with no half of it skipped. A train step counts three
        times that.
        """
        multiply = 12 * self.layers * self.width**2 + self.vocab * self.width
        return batch * length * (2.0 * multiply + 4.0 * self.layers * length * self.width)


def bloom_pair(shape: Shape, dtype: str) -> tuple[Any, DecoderConfig, Any]:
    """A BLOOM of transformers at random, and its import: (theirs, configuration, parameters)."""
    import torch
    import transformers

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


def our_training(
    config: DecoderConfig,
    optimizer: optax.GradientTransformation,
    params: Any,
    arrays: Mapping[str, np.ndarray],
    steps: int = 1,
) -> Callable[[], float]:
    """This package's training as a stage runs it, the state given away from step to step.

    Returns:
      A call of so many steps on one batch, which returns the last one's loss, and only when the
      state is there.
    """
    mesh = make_mesh(MeshConfig(device_count=1))
    placement = Placement(Decoder(config), optimizer, mesh)
    batch, rng = placement.place(dict(arrays)), placement.rng(0)
    held = {"state": placement.start(params)}

    def train() -> float:
        for _ in range(steps):
            held["state"], metrics = placement.step_fn(held["state"], batch, rng)
        jax.block_until_ready(held["state"])
        return float(metrics["loss"].mean())

    return train


def thread_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def torch_device() -> str:
    """Where torch computes: on a GPU if jax has one too."""
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def torch_wait() -> None:
    """Returns once torch has done what it was given."""
    import torch

    if torch_device() == "cuda":
        torch.cuda.synchronize()


def torch_matrix_product(dtype: str, size: int) -> Callable[[], Any]:
    """The product of `matrix_product` by torch, which has kernels of its own."""
    import torch

    one, other = (
        torch.randn(size, size).to(device=torch_device(), dtype=getattr(torch, dtype))
        for _ in range(2)
    )

    def product() -> None:
        torch.matmul(one, other)
        torch_wait()

    return product


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
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call in every round, after a round that is not measured.

    The calls take turns, and every second round in the opposite order.
    """
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        names = list(calls) if number % 2 == 0 else list(calls)[::-1]
        for name in names:
            taken[name].append(seconds(calls[name]))
    return taken


def ratio(ours: list[float], theirs: list[float]) -> str:
    """How many times as fast ours is: the median of the rounds' ratios, the least and the most."""
    pairs = [other / mine for mine, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(pairs):.2f}x ({min(pairs):.2f} to {max(pairs):.2f})"


HEADING = f"{'':22} {'tokens/s':>9} {'of peak':>8} {'page faults':>12}   ours is"


def row(
    name: str,
    times: list[float],
    ours: list[float] | None,
    work: tuple[int, float],
    peak: float,
    faults: int,
) -> str:
    """A line under `HEADING`.

    Args:
      name: of the side.
      times: its seconds, a round each.
      ours: the seconds of our side; None: this is it.
      work: tokens and operations of one round.
      peak: operations a second of the machine's own product.
      faults: of a round.
    """
    tokens, flops = work
    middle = statistics.median(times)
    versus = "" if ours is None else ratio(ours, times)
    return (
        f"{name:22} {tokens / middle:9,.0f} {flops / middle / peak:8.0%} {faults:12,}   {versus}"
    ).rstrip()


def peak_rate(times: Mapping[str, list[float]], size: int, dtype: str) -> float:
    """Operations a second of the fastest of these square products; prints all."""
    rates = {name: 2.0 * size**3 / statistics.median(own) for name, own in times.items()}
    text = ", ".join(f"{name} {rate / 1e9:,.0f}" for name, rate in rates.items())
    print(f"matrix rate of this machine in GFLOP/s: {text} ({size}^3, {dtype})")
    return max(rates.values())


def report(
    calls: Mapping[str, Callable[[], Any]],
    taken: Mapping[str, list[float]],
    work: tuple[int, float],
    size: int,
    dtype: str,
) -> None:
    """Prints the machine's matrix rates, and a line for ours and for transformers.

    Args:
      calls: of "ours" and "transformers".
      taken: seconds of these, and of the products "jnp" and "torch", as `measure` gives them.
      work: tokens and operations of one round.
      size: of the products' matrices.
      dtype: of the products.
    """
    products = {library: taken[library] for library in ("jnp", "torch")}
    peak = peak_rate(products, size, dtype)
    print(HEADING)
    for side in ("ours", "transformers"):
        versus = None if side == "ours" else taken["ours"]
        print(row(side, taken[side], versus, work, peak, page_faults(calls[side])))
