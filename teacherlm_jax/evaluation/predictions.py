"""What a model writes after prompts, for metrics of predictions of a plain `seqio.Evaluator`."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
import tensorflow_datasets as tfds

from teacherlm_jax.evaluation import asked
from teacherlm_jax.generation.engine import GenerationRequest, Generator

PredictFn = Callable[[tf.data.Dataset], list[tuple[int, list[int]]]]


def make_predict_fn(generator: Generator) -> PredictFn:
    """A predict function for a plain `seqio.Evaluator`.

    Args:
      generator: of the model; greedy, unless it has another policy. What it needs beside the
        prompt, BOS for instance, it has to know.

    Returns:
      A function that gives each row's index and tokens. All are of one length, since seqio makes an
      array of them: after its end a text goes on with EOS, where seqio's vocabularies stop.
    """

    def predict_fn(dataset: tf.data.Dataset) -> list[tuple[int, list[int]]]:
        indices, requests = [], []
        for index, features in tfds.as_numpy(dataset):
            prompt, _ = asked.prompt_and_option(features)
            indices.append(int(index))
            requests.append(GenerationRequest(f"row {index}", 0, prompt))
        written = []
        for result in generator.generate(requests):
            missing = generator.max_new_tokens - len(result.tokens)
            written.append([*result.tokens, *[generator.eos_id or 0] * missing])
        return list(zip(indices, written, strict=True))

    return predict_fn
