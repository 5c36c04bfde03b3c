r"""How fast rows are planned and read, and how full they are.

    python -m tests.benchmarks.data_pipeline --examples=2000000

plans epochs of examples whose lengths are like those of explanations (log-normal, median 250
tokens, at most 2,048), alone and in a mixture; then caches some of them, and reads batches out of
the cache. The exit status is 1 where rows are less than 97 % full or an epoch takes over 1.5 s.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from teacherlm_jax.data import mixture_plan, token_cache
from teacherlm_jax.data.batches import MixtureBatches, RowFormat

ROW_LENGTH = 2048
VOCAB_SIZE = 50_000
BATCH_SIZE = 256


def lengths(count: int, median: float, spread: float, seed: int = 0) -> np.ndarray:
    """Tokens of each example, int64 [N]."""
    drawn = np.random.default_rng(seed).lognormal(np.log(median), spread, count)
    return np.clip(drawn.astype(np.int64), 2, ROW_LENGTH)


def plan(name: str, used: Sequence[np.ndarray], rates: Sequence[float]) -> bool:
    """Times the plans of an epoch and of what comes before a later one."""
    stream = mixture_plan.PackedRows(used, rates, ROW_LENGTH, seed=0)
    began = time.perf_counter()
    stream.rows(0, BATCH_SIZE)
    first = time.perf_counter() - began
    began = time.perf_counter()
    start = stream.count(3)
    counting = time.perf_counter() - began
    began = time.perf_counter()
    stream.rows(start, start + BATCH_SIZE)
    later = time.perf_counter() - began
    fill = stream.fill()
    print(
        f"{name}: {sum(map(len, used))} examples, first epoch {first:.2f} s, 3 epochs counted in "
        f"{counting:.2f} s, epoch 3 planned in {later:.2f} s, {100 * fill:.2f} % of rows used"
    )
    return fill >= 0.97 and max(first, later) <= 1.5


def task(count: int) -> seqio.Task:
    """Random tokens, half inputs and half targets."""

    def rows() -> Iterator[dict[str, np.ndarray]]:
        random = np.random.default_rng(1)
        for size in lengths(count, 250, 0.8).tolist():
            tokens = random.integers(0, VOCAB_SIZE, size, np.int32)
            yield {"inputs": tokens[: size // 2], "targets": tokens[size // 2 :]}

    def dataset(split: str, shuffle_files: bool, seed: Any = None) -> tf.data.Dataset:
        spec = dict.fromkeys(("inputs", "targets"), tf.TensorSpec([None], tf.int32))
        return tf.data.Dataset.from_generator(rows, output_signature=spec)

    feature = seqio.Feature(seqio.PassThroughVocabulary(VOCAB_SIZE), add_eos=False)
    return seqio.Task(
        "benchmark",
        source=seqio.FunctionDataSource(dataset, splits=["train"]),
        preprocessors=[],
        output_features={"inputs": feature, "targets": feature},
    )


def read(count: int, hosts: int) -> None:
    """Times a cache: written, opened, and read by one of several hosts."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        token_cache.cached_table(task(count), "train", folder)
        writing = time.perf_counter() - began
        began = time.perf_counter()
        table = token_cache.cached_table(task(count), "train", folder)
        opening = time.perf_counter() - began
        row_format = RowFormat(ROW_LENGTH, pack=True)
        batches = MixtureBatches([table], None, row_format, BATCH_SIZE, 0, num_epochs=1)
        own = range(BATCH_SIZE // hosts)
        batches(0, own)
        assert batches.steps is not None
        steps = range(1, min(batches.steps, 20))
        began = time.perf_counter()
        tokens = sum(int((batches(step, own)[1]["decoder_positions"] > 0).sum()) for step in steps)
        seconds = (time.perf_counter() - began) / len(steps)
    print(
        f"cache of {count} examples ({int(table.lengths_N2.sum())} tokens): written in "
        f"{writing:.1f} s, opened in {opening:.1f} s; one of {hosts} hosts makes its {len(own)} "
        f"of {BATCH_SIZE} rows in {1000 * seconds:.1f} ms, {tokens / seconds / len(steps):.3g} "
        "tokens a second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=2_000_000)
    parser.add_argument("--cached", type=int, default=100_000)
    parser.add_argument("--hosts", type=int, default=8)
    arguments = parser.parse_args()
    count = arguments.examples
    good = plan("one table", [lengths(count, 250, 0.8)], [1.0])
    parts = [(0.75, 250, 0.8), (0.2, 60, 0.5), (0.05, 500, 1.0)]
    used = [lengths(int(part * count), median, spread) for part, median, spread in parts]
    good &= plan("a mixture", used, [3.0, 2.0, 1.0])
    read(arguments.cached, arguments.hosts)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
