r"""How fast rows are planned and read, and how full they are.

    python -m tests.benchmarks.data_pipeline --examples=2000000

plans epochs of examples whose lengths are like those of explanations (log-normal, median 250
tokens, at most 2,048), alone and in a mixture; then caches some of them, and reads batches out of
the cache; then reads an epoch of texts, packed, as `seqio.get_dataset` gives it and as ours does.
The exit status is 1 where rows are less than 97 % full or an epoch takes over 1.5 s.
"""

import argparse
import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from teacherlm_jax.data import mixture_plan, pipeline, token_cache
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


@contextlib.contextmanager
def text_task(count: int) -> Iterator[seqio.Task]:
    """A registered task over lines of a file, half inputs and half targets, in bytes."""
    vocabulary = seqio.ByteVocabulary()
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz      ", np.uint8)
    random = np.random.default_rng(1)
    # An EOS comes to each, and neither half is cut.
    sizes = np.minimum(lengths(count, 250, 0.8), ROW_LENGTH - 2) // 2
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        for size in sizes.tolist():
            inputs, targets = letters[random.integers(0, len(letters), (2, max(size, 1)))]
            file.write(inputs.tobytes() + b"\t" + targets.tobytes() + b"\n")
        file.flush()
        yield seqio.TaskRegistry.add(
            "benchmark_texts",
            source=seqio.TextLineDataSource({"train": file.name}),
            preprocessors=[_halves, seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
            output_features={
                "inputs": seqio.Feature(vocabulary, add_eos=False),
                "targets": seqio.Feature(vocabulary),
            },
        )
        seqio.TaskRegistry.remove("benchmark_texts")


def _halves(dataset: tf.data.Dataset) -> tf.data.Dataset:
    def split(line: tf.Tensor) -> dict[str, tf.Tensor]:
        parts = tf.strings.split(line, "\t")
        return {"inputs": parts[0], "targets": parts[1]}

    return dataset.map(split, num_parallel_calls=tf.data.AUTOTUNE)


@dataclasses.dataclass
class Epoch:
    """An epoch that was read: seconds, tokens that are no padding, and rows."""

    seconds: float
    tokens: int
    rows: int

    def line(self, name: str, examples: int) -> str:
        """What it came to."""
        return (
            f"{name}: {examples / self.seconds:,.0f} examples/s, {self.tokens / self.seconds:,.0f} "
            f"tokens/s, {100 * self.tokens / (self.rows * ROW_LENGTH):.2f} % of rows used"
        )


def seqio_epoch(task: seqio.Task) -> Epoch:
    """Plain seqio, which tokenizes and packs as it goes."""
    half = ROW_LENGTH // 2
    began = time.perf_counter()
    dataset = seqio.get_dataset(
        task.name,
        {"inputs": half, "targets": half},
        dataset_split="train",
        shuffle=True,
        seed=0,
        feature_converter=seqio.DecoderFeatureConverter(pack=True),
    )
    tokens = rows = 0
    for batch in dataset.batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        tokens += int((batch["decoder_segment_ids"] > 0).sum())
        rows += len(batch["decoder_segment_ids"])
    return Epoch(time.perf_counter() - began, tokens, rows)


def our_epoch(task: seqio.Task, cache_dir: str) -> Epoch:
    """Ours: from a token cache, which is written where it is not there."""
    began = time.perf_counter()
    table = pipeline.load_table(task, "train", cache_dir)
    row_format = RowFormat(ROW_LENGTH, pack=True)
    batches = MixtureBatches([table], None, row_format, BATCH_SIZE, 0, num_epochs=1)
    assert batches.steps is not None
    tokens = rows = 0
    for step in range(batches.steps):
        segment_ids = batches(step)[1]["decoder_segment_ids"]
        tokens += int((segment_ids > 0).sum())
        rows += int((segment_ids[:, 0] > 0).sum())
    return Epoch(time.perf_counter() - began, tokens, rows)


def against_seqio(count: int) -> bool:
    """Both, in turns, and their ratios; whether rows are full."""
    with text_task(count) as task, tempfile.TemporaryDirectory() as folder:
        first = our_epoch(task, folder)
        theirs = seqio_epoch(task)
        later = our_epoch(task, folder)
        theirs = min(theirs, seqio_epoch(task), key=lambda epoch: epoch.seconds)
        later = min(later, our_epoch(task, folder), key=lambda epoch: epoch.seconds)
    print(f"an epoch of {count} texts in rows of {ROW_LENGTH}, packed:")
    for name, epoch in (
        ("seqio.get_dataset", theirs),
        ("ours, first epoch (tokenizes into the cache)", first),
        ("ours, later epochs (from the cache)", later),
    ):
        ratio = theirs.seconds / epoch.seconds * epoch.tokens / theirs.tokens
        print(f"  {epoch.line(name, count)}; {ratio:.2f} times seqio's tokens/s")
    return later.tokens >= 0.97 * later.rows * ROW_LENGTH and later.tokens == theirs.tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=2_000_000)
    parser.add_argument("--cached", type=int, default=100_000)
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--texts", type=int, default=100_000)
    arguments = parser.parse_args()
    count = arguments.examples
    good = plan("one table", [lengths(count, 250, 0.8)], [1.0])
    parts = [(0.75, 250, 0.8), (0.2, 60, 0.5), (0.05, 500, 1.0)]
    used = [lengths(int(part * count), median, spread) for part, median, spread in parts]
    good &= plan("a mixture", used, [3.0, 2.0, 1.0])
    read(arguments.cached, arguments.hosts)
    good &= against_seqio(arguments.texts)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
