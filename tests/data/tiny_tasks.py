"""Tiny seqio tasks: `teacherlm_test_colors`, `teacherlm_test_shapes`, and a mixture of them."""

import numpy as np
import seqio
import tensorflow as tf

from teacherlm_jax.data.vocabularies import WordVocabulary

COLORS = ("red", "green", "blue", "grey", "pink")
SHAPES = ("circle", "square", "line", "star")
VOCABULARY = WordVocabulary([*COLORS, *SHAPES, "a", "is", "not", "what", "Q", "A", ":", "?", "."])
FEATURES = {
    "inputs": seqio.Feature(VOCABULARY, add_eos=False, required=False),
    "targets": seqio.Feature(VOCABULARY, add_eos=True),
}
MIXTURE = "teacherlm_test_mixture1"


def texts(words: tuple[str, ...], count: int, seed: int) -> list[tuple[str, str]]:
    """Pairs of inputs and targets."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        first, second = rng.choice(words, 2)
        pairs.append((f"Q: what is {first}? A:", f"{first} is not {second}."))
    return pairs


def register(name: str, pairs: list[tuple[str, str]]) -> None:
    """Registers a task with a split "train" of these pairs."""
    inputs, targets = map(list, zip(*pairs, strict=True))

    def dataset(split: str, shuffle_files: bool = False, seed: int | None = None):
        assert split == "train"
        return tf.data.Dataset.from_tensor_slices({"inputs": inputs, "targets": targets})

    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(dataset, splits=["train"]),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features=FEATURES,
        metric_fns=[],
    )


register("teacherlm_test_colors", texts(COLORS, 20, 0))
register("teacherlm_test_shapes", texts(SHAPES, 12, 1))
seqio.MixtureRegistry.add(MIXTURE, [("teacherlm_test_colors", 3.0), ("teacherlm_test_shapes", 1.0)])
