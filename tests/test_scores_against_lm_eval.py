"""Likelihoods and predictions are those of lm-evaluation-harness' `hf`, and of float64."""

import numpy as np
import pytest
import seqio
import tensorflow as tf
import torch
import transformers
from lm_eval.api.instance import Instance

from teacherlm_jax.evaluation import evaluate
from teacherlm_jax.evaluation.evaluator import RankEvaluator
from teacherlm_jax.partitioning.mesh import MeshConfig
from teacherlm_jax.scoring import boundary
from teacherlm_jax.scoring.metrics import rank_classification
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.tasks.evaluation import forms
from tests import lm_eval_agreement as agreement
from tests import tiny_lm_eval
from tests.data import tiny_tokenizers

TOLERANCE = 1e-4
FORMS = sorted(forms.FORMS)
# Questions of each of the paper's sets: `python -m tests.lm_eval_agreement` takes all.
COUNT = 6


def assert_agrees(found):
    assert found.largest <= TOLERANCE
    assert (found.predictions, found.greedy) == (0, 0)
    # The model says something: differences are of rounding.
    assert found.spread > 1000 * TOLERANCE


@pytest.mark.parametrize("trained", [False, True], ids=["random", "trained"])
@pytest.mark.parametrize("family", tiny_lm_eval.FAMILIES)
def test_own_questions_score_as_in_the_harness(family, trained):
    folder = tiny_lm_eval.folder(family, trained)
    for form in FORMS:
        for rule in boundary.RULES:
            found = agreement.compare(folder, agreement.asked(agreement.OWN, form), rule)
            assert_agrees(found)
            assert found.options == 24
            # Its own tokens are compared wherever they are whole: here, always.
            assert found.by_text == (found.questions if rule == "joint" else 0)


@pytest.mark.skipif(not agreement.PAPER.exists(), reason="the paper's data are not here")
@pytest.mark.parametrize("family", tiny_lm_eval.FAMILIES)
def test_the_papers_sets_score_as_in_the_harness(family):
    folder = tiny_lm_eval.folder(family, True)
    for name in agreement.SETS:
        for form in FORMS:
            asked = agreement.asked(name, form, COUNT)
            found = agreement.compare(folder, asked, "joint")
            assert_agrees(found)
            assert found.by_text == found.questions == COUNT


@pytest.mark.parametrize("add_bos", [False, True])
@pytest.mark.parametrize("family", ["opt", "llama"])
def test_with_and_without_bos(family, add_bos):
    folder = tiny_lm_eval.folder(family, True)
    asked = agreement.asked(agreement.OWN, "options")
    assert_agrees(agreement.compare(folder, asked, "joint", add_bos))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", tiny_lm_eval.FAMILIES)
def test_options_without_their_prompt_score_as_in_the_harness(family, form):
    """What acc_mutual_info takes off: of Llama's kind an option alone has a space before it."""
    folder = tiny_lm_eval.folder(family, True)
    asked = [one for one in agreement.asked(agreement.OWN, form) if len(one[1]) > 1]
    name = f"without_prompt_{family}_{form}"
    rows = [
        {"inputs": prompt, "targets": option, "idx": [number, place], "is_correct": place == 0}
        for number, (prompt, options) in enumerate(asked)
        for place, option in enumerate(options)
    ]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    feature = seqio.Feature(agreement.vocabulary(folder), add_eos=False)
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(
            lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensor_slices(columns),
            splits=["test"],
        ),
        output_features={"inputs": feature, "targets": feature},
        preprocessors=[seqio.preprocessors.tokenize],
        postprocess_fn=lambda output, example, is_target: (example["idx"], example["is_correct"]),
        metric_fns=[rank_classification],
    )
    decoder, params, mesh = agreement.params(folder, agreement.ONE_DEVICE)
    settings = evaluate.CheckpointEvaluation(
        str(folder), name, "", max_length=agreement.MAX_LENGTH, boundary="joint"
    )
    scorer = Scorer(decoder, settings.policy(), batch_size=16, mesh=mesh)
    scores = RankEvaluator(name, "test", scorer).score(params)
    texts = [option for _, options in asked for option in options]
    requests = [Instance("loglikelihood", {}, ("", text), n) for n, text in enumerate(texts)]
    expected = agreement.theirs(folder, None).loglikelihood(requests, disable_tqdm=True)
    found = [value for score in scores for value in score.unconditional]
    np.testing.assert_allclose(found, [value for value, _ in expected], rtol=0, atol=TOLERANCE)


def test_bos_is_what_the_models_files_say():
    found = {f: agreement.bos_of(tiny_lm_eval.folder(f, True), None) for f in tiny_lm_eval.FAMILIES}
    assert found == {"bloom": None, "opt": 2, "llama": 1}
    for family, bos_id in found.items():
        folder = tiny_lm_eval.folder(family, True)
        begin = agreement.theirs(folder, None).tok_encode("The")[0]
        assert (begin == bos_id) == (bos_id is not None)


@pytest.mark.parametrize("family", tiny_lm_eval.FAMILIES)
def test_likelihoods_are_those_of_float64(family):
    folder = tiny_lm_eval.folder(family, True)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    bos_id = agreement.bos_of(folder, None)
    for form in FORMS:
        cuts = agreement.cut(folder, agreement.asked(agreement.OWN, form), "joint")
        scores = agreement.ours(folder, cuts, bos_id, "joint")
        for cut, score in zip(cuts, scores, strict=True):
            context = [*([] if bos_id is None else [bos_id]), *cut.prompt]
            expected = [log_likelihood(model, context, option) for option in cut.options]
            np.testing.assert_allclose(score.log_likelihoods, expected, rtol=0, atol=TOLERANCE)
            assert score.prediction == int(np.argmax(expected))


def log_likelihood(model, context, option):
    """By whole rows, one option at a time, in float64."""
    with torch.no_grad():
        logits_TV = model(torch.tensor([[*context, *option]])).logits[0].numpy()
    assert logits_TV.dtype == np.float64
    total = 0.0
    for place, token in enumerate(option, start=len(context)):
        logits_V = logits_TV[place - 1]
        best = logits_V.max()
        total += logits_V[token] - best - np.log(np.exp(logits_V - best).sum())
    return total


@pytest.mark.parametrize("form", FORMS)
def test_the_ranking_does_not_depend_on_batch_neighbours_or_devices(form):
    folder = tiny_lm_eval.folder("llama", False)
    cuts = agreement.cut(folder, agreement.asked(agreement.OWN, form)[2:7], "joint")

    def scored(cuts, batch_size, mesh=agreement.ONE_DEVICE):
        return agreement.ours(folder, cuts, 1, "joint", batch_size, mesh)

    usual = scored(cuts, 8)
    assert len({score.prediction for score in usual}) > 1
    mesh = {"letters": MeshConfig(data=8), "options": MeshConfig(data=2, fsdp=2, tensor=2)}[form]
    others = {
        "batch 1": scored(cuts, 1),
        "batch 3": scored(cuts, 3),
        "without neighbours": [scored(cuts[:1], 8)[0], *usual[1:]],
        "8 devices": scored(cuts, 8, mesh),
    }
    for name, scores in others.items():
        for one, other in zip(usual, scores, strict=True):
            assert one.ranking == other.ranking, name
            np.testing.assert_allclose(
                one.log_likelihoods, other.log_likelihoods, atol=2e-5, err_msg=name
            )


def test_the_harness_itself_fails_where_an_option_merges_with_its_prompt(tmp_path):
    """Of a tokenizer that has learned "(A" as one token; ours scores "(A" and "(B"."""
    folder = tiny_tokenizers.llama(tmp_path)
    harness = agreement.theirs(tiny_lm_eval.folder("llama", True), None)
    tokenizer, harness.tokenizer = (
        harness.tokenizer,
        transformers.AutoTokenizer.from_pretrained(folder),
    )
    ((prompt, options), *_) = agreement.asked(agreement.OWN, "letters")
    try:
        assert not agreement.is_sound(harness, prompt, options)
        assert harness._encode_pair(prompt, options[0])[1] == []
    finally:
        harness.tokenizer = tokenizer
    (own, *_) = agreement.cut(folder, [(prompt, options)], "joint")
    assert own.moved == 1
    texts = [agreement.vocabulary(folder).decode(list(option)) for option in own.options]
    assert texts == ["(A", "(B"]
