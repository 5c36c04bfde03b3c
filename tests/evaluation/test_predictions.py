"""A plain `seqio.Evaluator` with our predict function: what it reads is what the model writes."""

import jax
import numpy as np
import seqio

from teacherlm_jax.data.feature_converter import DecoderFeatureConverter
from teacherlm_jax.evaluation import predictions
from teacherlm_jax.generation.engine import Generator
from teacherlm_jax.models.decoder import Decoder
from tests import tiny_study
from tests.tiny_study import MODEL, random_params, vocabulary


@jax.jit
def _forward(params, tokens):
    return Decoder(MODEL).apply({"params": params}, tokens, tokens, enable_dropout=False)


def greedily(params, prompt, most):
    """Tokens by the whole forward pass each, up to EOS."""
    tokens = [0, *prompt]
    while len(tokens) < 1 + len(prompt) + most:
        padded = np.full((1, 48), 9, np.int32)
        padded[0, : len(tokens)] = tokens
        best = int(np.argmax(np.asarray(_forward(params, padded)[0, len(tokens) - 1])))
        if best == vocabulary().eos_id:
            break
        tokens.append(best)
    return tokens[1 + len(prompt) :]


def test_seqios_evaluator_predicts_with_our_function():
    tiny_study.TinyStudy(9)
    seen = {}

    def exact(targets, predictions):
        seen.update(predictions=predictions)
        return {"exact": sum(map(str.__eq__, targets, predictions)) / len(targets)}

    source = seqio.get_mixture_or_task("tiny9_base_plain_two")
    name = "tiny9_predicted"
    seqio.TaskRegistry.add(
        name, source.source, source.output_features, source.preprocessors, metric_fns=[exact]
    )
    params = random_params(0, eos_bias=3.0)
    generator = Generator(
        Decoder(MODEL),
        params,
        max_new_tokens=5,
        max_length=48,
        eos_id=vocabulary().eos_id,
        bos_id=0,
        batch_size=8,
    )
    plain = seqio.Evaluator(
        name,
        feature_converter=DecoderFeatureConverter(pack=False),
        eval_split="train",
        logger_cls=(),
    )
    future, _ = plain.evaluate(
        compute_metrics=True, predict_fn=predictions.make_predict_fn(generator)
    )
    assert future.result()[name]["exact"] == 0
    written = [
        greedily(params, row["inputs"].numpy().tolist(), 5)
        for row in source.get_dataset(split="train", shuffle=False)
    ]
    assert seen["predictions"] == [vocabulary().decode(tokens) for tokens in written]
    assert len(set(map(len, written))) > 1  # Some end early, which arrays have to hold too.
