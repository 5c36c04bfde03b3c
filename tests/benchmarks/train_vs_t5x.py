"""Tokens a second of a train step, beside T5X's decoder-only model in T5X's own trainer.

    pip install -e '.[test,t5x]'
    git clone https://github.com/google-research/t5x            ../t5x
    git clone https://github.com/google/airio                   ../airio
    git clone https://github.com/google-research/jestimator     ../jestimator
    python -m tests.benchmarks.train_vs_t5x --t5x=../t5x --airio=../airio --jestimator=../jestimator

Both sides start from the same weights and train on the same packed rows with optax.adamw, T5X by
`t5x.trainer.Trainer` with its PjitPartitioner, ours by `training.placement`, as stages do. They
run in one process and take turns, round by round; a figure is the median of its rounds, a ratio
that of the rounds' ratios. bfloat16 means computation in it, parameters in float32.

What differs: T5X adds a learned bias by relative position, ours ALiBi's; before anything is
measured T5X's table is set to ALiBi's slopes, which it can express for 16 tokens, and logits of
such rows are compared. T5X embeds by a product with one-hot rows (its layer says that SPMD
partitioning needs it), which costs as much as the projection to logits: the line `T5X, gather` is
its model with that one switch of its `Embed` turned off. In bfloat16, T5X projects to logits in
float32. Ours counts the norms of gradients and parameters in each step beside.

`of peak` is the share of the machine's own matrix rate (a square jnp product in the same rounds)
for three times the operations of `side_by_side.Shape.flops`, the same count for every line.

Shape legend: B batch, T positions, D residual width, L layers.
"""

import argparse
import contextlib
import functools
import importlib
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import parameter_count
from teacherlm_jax.models.positions import alibi_slopes
from teacherlm_jax.training.step import forward
from tests.benchmarks import side_by_side

LEARNING_RATE, WEIGHT_DECAY = 1e-6, 0.01
CHECKOUTS = ("t5x", "airio", "jestimator")
EXACT_LENGTH = 16  # tokens over which T5X's buckets are one a distance

# Rows of a step beside each: T5X holds several arrays of the logits' size.
SHAPES = {
    "tiny": (side_by_side.Shape(32_000, 256, 4, 4), 4),
    "tiny-bloom": (side_by_side.Shape(250_880, 128, 4, 4), 2),
}


def find_t5x(arguments: argparse.Namespace) -> None:
    """Makes T5X importable from its checkouts; leaves with code 2 where it is not."""
    for name in CHECKOUTS:
        folder = getattr(arguments, name)
        if folder is not None:
            sys.path.insert(0, str(pathlib.Path(folder).resolve()))
    try:
        importlib.import_module("t5x.trainer")
    except ImportError as error:
        usage = (__doc__ or "").split("\n\n")[1]
        print(
            f"T5X cannot be imported: {error}. Clone it and the two packages that it needs, and "
            f"give their folders:\n\n{usage}",
            file=sys.stderr,
        )
        raise SystemExit(2) from error


def packed_batch(vocab: int, batch: int, length: int) -> dict[str, np.ndarray]:
    """Rows of texts at random, three to a row, as `seqio.DecoderFeatureConverter` packs them."""
    targets_BT = np.random.default_rng(0).integers(1, vocab, (batch, length)).astype(np.int32)
    starts = np.asarray([0, length // 5, length // 2])
    places_T = np.arange(length)
    segment_T = np.sum(places_T[:, None] >= starts, axis=1).astype(np.int32)
    inputs_BT = np.roll(targets_BT, 1, axis=1)
    inputs_BT[:, starts] = 0
    positions_T = (places_T - starts[segment_T - 1]).astype(np.int32)
    return {
        "decoder_input_tokens": inputs_BT,
        "decoder_target_tokens": targets_BT,
        "decoder_loss_weights": np.ones((batch, length), np.float32),
        "decoder_segment_ids": np.tile(segment_T, (batch, 1)),
        "decoder_positions": np.tile(positions_T, (batch, 1)),
    }


def our_config(shape: side_by_side.Shape, dtype: str) -> DecoderConfig:
    """The decoder that computes what T5X's does, but for the bias by position."""
    return DecoderConfig(
        vocab_size=shape.vocab,
        num_layers=shape.layers,
        emb_dim=shape.width,
        num_heads=shape.heads,
        head_dim=shape.width // shape.heads,
        mlp_dim=4 * shape.width,
        norm="rmsnorm",
        norm_epsilon=1e-6,
        position="alibi",
        embedding_norm=False,
        use_bias=False,
        dtype=dtype,
    )


def our_params(theirs: Any, config: DecoderConfig) -> Any:
    """T5X's parameters as ours, scaled where T5X scales elsewhere.

    T5X has no 1 / sqrt(head_dim) in attention, and divides tied logits by sqrt(emb_dim).
    """
    decoder, width = theirs["decoder"], config.emb_dim
    heads = (config.num_heads, config.head_dim)

    def stacked(part: str, name: str, leaf: str = "kernel") -> jax.Array:
        blocks = [decoder[f"layers_{layer}"][part] for layer in range(config.num_layers)]
        return jnp.stack([block[name][leaf] if name else block[leaf] for block in blocks])

    def projection(name: str, scale: float = 1.0) -> dict[str, jax.Array]:
        kernel_LDD = stacked("self_attention", name)
        return {"kernel": (scale * kernel_LDD).reshape(-1, width, *heads)}

    attention = {name: projection(name) for name in ("key", "value")}
    attention["query"] = projection("query", config.head_dim**0.5)
    attention["out"] = {"kernel": stacked("self_attention", "out").reshape(-1, *heads, width)}
    return {
        "token_embedder": {"embedding": decoder["token_embedder"]["embedding"]},
        "layers": {
            "pre_self_attention_norm": {
                "scale": stacked("pre_self_attention_layer_norm", "", "scale")
            },
            "self_attention": attention,
            "pre_mlp_norm": {"scale": stacked("pre_mlp_layer_norm", "", "scale")},
            "mlp": {name: {"kernel": stacked("mlp", name)} for name in ("wi", "wo")},
        },
        "decoder_norm": {"scale": decoder["decoder_norm"]["scale"] * width**-0.5},
    }


@contextlib.contextmanager
def embedding_by(gather: bool) -> Iterator[None]:
    """T5X's models of this block embed by a gather, or as shipped."""
    from t5x.examples.decoder_only import layers

    if not gather:
        yield
        return
    shipped = layers.Embed
    with mock.patch.object(layers, "Embed", lambda **own: shipped(**{**own, "one_hot": False})):
        yield


class TheirTraining:
    """T5X's model, state, partitioner and trainer, wired as its `train.py` does."""

    def __init__(self, config: DecoderConfig, arrays: dict[str, np.ndarray], gather: bool) -> None:
        import seqio
        from t5x import models, optimizers, partitioning, trainer
        from t5x import utils as t5x_utils
        from t5x.examples.decoder_only import network

        module = network.DecoderWrapper(
            network.TransformerConfig(
                vocab_size=config.vocab_size,
                dtype=config.compute_dtype,
                emb_dim=config.emb_dim,
                num_heads=config.num_heads,
                num_layers=config.num_layers,
                head_dim=config.head_dim,
                mlp_dim=config.mlp_dim,
                mlp_activations=("gelu",),
                dropout_rate=0.0,
                logits_via_embedding=True,
            )
        )
        self.model = models.DecoderOnlyModel(
            module,
            seqio.PassThroughVocabulary(config.vocab_size),
            optimizers.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY),
        )
        partitioner = partitioning.PjitPartitioner(num_partitions=1)
        self.batch = jax.tree.map(jnp.asarray, arrays)
        with embedding_by(gather):
            initializer = t5x_utils.TrainStateInitializer(
                optimizer_def=self.model.optimizer_def,
                init_fn=self.model.get_initial_variables,
                input_shapes={name: array.shape for name, array in arrays.items()},
                input_types={name: array.dtype for name, array in arrays.items()},
                partitioner=partitioner,
            )
            self.trainer = trainer.Trainer(
                model=self.model,
                train_state=_with_alibi(initializer.from_scratch(jax.random.PRNGKey(0)), config),
                partitioner=partitioner,
                eval_names=[],
                summary_dir=None,
                train_state_axes=initializer.train_state_axes,
                rng=jax.random.PRNGKey(0),
                learning_rate_fn=lambda step: LEARNING_RATE,
                num_microbatches=None,
            )
            self.trainer.compile_train(self.batch)

    def logits(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Of a batch, by T5X's module."""
        return np.asarray(
            self.model.module.apply(
                {"params": self.trainer.train_state.params},
                arrays["decoder_input_tokens"],
                arrays["decoder_target_tokens"],
                decoder_segment_ids=arrays["decoder_segment_ids"],
                decoder_positions=arrays["decoder_positions"],
                enable_dropout=False,
            )
        )

    def train(self, steps: int) -> Any:
        """So many steps; returns T5X's future of metrics once the state is there."""
        metrics = self.trainer.train(iter([self.batch] * steps), steps)
        jax.block_until_ready(self.trainer.train_state)
        return metrics


def _with_alibi(state: Any, config: DecoderConfig) -> Any:
    """T5X's state, its bias by relative position that of ALiBi as far as its buckets go."""
    params = jax.tree.map(lambda leaf: leaf, state.params)
    table_HN = params["decoder"]["relpos_bias"]["rel_embedding"]
    slopes_H1 = jnp.asarray(alibi_slopes(config.num_heads))[:, None]
    bias_HN = -slopes_H1 * jnp.arange(table_HN.shape[1], dtype=jnp.float32)
    replaced = params["decoder"].copy({"relpos_bias": {"rel_embedding": bias_HN}})
    return state.replace_params(params.copy({"decoder": replaced}))


def check(config: DecoderConfig, params: Any, them: TheirTraining, batch: int) -> None:
    """Raises where the two models' logits of short packed rows differ."""
    arrays = packed_batch(config.vocab_size, batch, EXACT_LENGTH)
    expected = them.logits(arrays)
    found = np.asarray(forward(Decoder(config), params, jax.tree.map(jnp.asarray, arrays)))
    difference, largest = (float(np.max(np.abs(x))) for x in (found - expected, expected))
    print(f"logits up to {largest:.3g}, largest difference {difference:.2g}")
    if not difference < side_by_side.TOLERANCE[config.dtype] * max(1.0, largest):
        raise SystemExit(f"The two sides' logits differ by {difference}: nothing to compare.")


def compare(name: str, dtype: str, arguments: argparse.Namespace) -> None:
    """Measures one shape in one precision and prints its table."""
    shape, batch = SHAPES[name]
    batch, length, steps = arguments.batch or batch, arguments.length, arguments.steps
    arrays, config = packed_batch(shape.vocab, batch, length), our_config(shape, dtype)
    them = {
        "T5X": TheirTraining(config, arrays, gather=False),
        "T5X, gather": TheirTraining(config, arrays, gather=True),
    }
    params = our_params(them["T5X"].trainer.train_state.params, config)
    count = parameter_count(params) / 1e6
    print(f"\n{name}: {count:.1f}M parameters, {batch} x {length} tokens, {dtype}")
    check(config, params, them["T5X"], batch)
    optimizer = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    ours = side_by_side.our_training(config, optimizer, params, arrays, steps)
    calls: dict[str, Callable[[], Any]] = {"ours": ours}
    calls |= {side: functools.partial(own.train, steps) for side, own in them.items()}
    calls["jnp"] = side_by_side.matrix_product(dtype, arguments.matrix)
    losses = [ours(), *(_loss(own.train(steps)) for own in them.values())]
    print("loss of the first steps: " + ", ".join(f"{loss:.4f}" for loss in losses))
    taken = side_by_side.measure(calls, arguments.rounds)
    peak = side_by_side.peak_rate({"jnp": taken["jnp"]}, arguments.matrix, dtype)
    work = steps * batch * length, 3 * steps * shape.flops(batch, length)
    print(side_by_side.HEADING)
    for side in ("ours", *them):
        faults = side_by_side.page_faults(calls[side])
        versus = None if side == "ours" else taken["ours"]
        print(side_by_side.row(side, taken[side], versus, work, peak, faults))
    for own in them.values():
        own.trainer.close()


def _loss(metrics: Any) -> float:
    return float(metrics.result()["loss_per_nonpadding_target_token"].value)


def main() -> None:
    """Reads the options and compares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in CHECKOUTS:
        parser.add_argument(f"--{name}", help=f"folder of a checkout: it holds the folder {name}")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="may be given repeatedly")
    parser.add_argument("--dtype", choices=side_by_side.TOLERANCE, action="append")
    parser.add_argument("--batch", type=int, help="rows of a step; as many as the shape says")
    parser.add_argument("--length", type=int, default=512, help="tokens of a row")
    parser.add_argument("--steps", type=int, default=2, help="of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--matrix", type=int, default=2048)
    arguments = parser.parse_args()
    find_t5x(arguments)
    threads = side_by_side.thread_count()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {threads} threads")
    for dtype in arguments.dtype or list(side_by_side.TOLERANCE):
        for name in arguments.shape or list(SHAPES):
            compare(name, dtype, arguments)


if __name__ == "__main__":
    main()
