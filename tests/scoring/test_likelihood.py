import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.generation import batching, decode
from teacherlm_jax.models import cache as cache_lib
from teacherlm_jax.scoring import likelihood
from tests.generation import tiny

LENGTH = 24
OPTION_LENGTH = 5
OPTIONS = 4


def questions(longest_option, count=7, fillers=1):
    """Random questions as arrays and as lists; id 0 is frequent in both contexts and options."""
    rng = np.random.default_rng(1)
    contexts = tiny.prompts(count, seed=2)
    options = [
        [
            rng.choice([0, *range(tiny.VALID_VOCAB_SIZE)], size=rng.integers(1, longest_option + 1))
            for _ in range(rng.integers(2, OPTIONS + 1))
        ]
        for _ in contexts
    ]
    batch = count + fillers
    contexts_BT, lengths_B = batching.pad_rows(contexts, batch, LENGTH)
    options_BOL = np.zeros((batch, OPTIONS, longest_option), np.int32)
    option_lengths_BO = np.zeros((batch, OPTIONS), np.int32)
    for row, row_options in enumerate(options):
        for number, option in enumerate(row_options):
            options_BOL[row, number, : len(option)] = option
            option_lengths_BO[row, number] = len(option)
    arrays = likelihood.Questions(contexts_BT, lengths_B, options_BOL, option_lengths_BO)
    return arrays, contexts, options


def by_whole_forward_passes(model, params, context, option):
    """Float64 reference: every option's row run whole, without a cache."""
    tokens = [*context, *option]
    log_probabilities = tiny.log_softmax(tiny.uncached_logits(model, params, tokens))
    places = range(len(context) - 1, len(tokens) - 1)
    return sum(log_probabilities[place, tokens[place + 1]] for place in places)


@functools.cache
def jitted(model, single):
    if single:
        return jax.jit(lambda p, q: likelihood.single_token_log_likelihoods(p, model, q))
    return jax.jit(lambda p, q: likelihood.log_likelihoods(p, model, q, LENGTH + OPTION_LENGTH))


def check(found_BO, model, params, contexts, options):
    for row, context in enumerate(contexts):
        for number, option in enumerate(options[row]):
            expected = by_whole_forward_passes(model, params, context, option)
            np.testing.assert_allclose(found_BO[row, number], expected, rtol=1e-5, atol=1e-5)
        assert (found_BO[row, len(options[row]) :] == 0).all()
    assert (found_BO[len(contexts) :] == 0).all()


@pytest.mark.parametrize("scan_layers", [True, False])
def test_options_of_any_length_match_whole_forward_passes(scan_layers):
    model, params = tiny.make(scan_layers)
    arrays, contexts, options = questions(OPTION_LENGTH)
    found_BO = np.asarray(jitted(model, False)(params, arrays))
    assert found_BO.dtype == np.float32
    check(found_BO, model, params, contexts, options)


@pytest.mark.parametrize("family", ["opt_350m", "llama", "mistral", "neox"])
def test_options_of_other_families_match_whole_forward_passes(family):
    model, params = tiny.of_family(family)
    arrays, contexts, options = questions(3, count=4)
    found_BO = np.asarray(jitted(model, False)(params, arrays))
    check(found_BO, model, params, contexts, options)


def test_single_tokens_match_whole_forward_passes_and_the_general_way():
    model, params = tiny.make()
    arrays, contexts, options = questions(1)
    found_BO = np.asarray(jitted(model, True)(params, arrays))
    check(found_BO, model, params, contexts, options)
    padded = arrays._replace(
        options_BOL=np.pad(arrays.options_BOL, ((0, 0), (0, 0), (0, OPTION_LENGTH - 1)))
    )
    np.testing.assert_allclose(jitted(model, False)(params, padded), found_BO, atol=1e-5)


def test_stacked_parameters_score_as_each_alone():
    model, params = tiny.make()
    other = tiny.make(seed=1)[1]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), params, other)
    arrays, *_ = questions(1)
    function = jax.jit(
        jax.vmap(
            lambda p, q: likelihood.single_token_log_likelihoods(p, model, q), in_axes=(0, None)
        )
    )
    together = function(stacked, arrays)
    for which, alone in enumerate((params, other)):
        np.testing.assert_allclose(together[which], jitted(model, True)(alone, arrays), atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 0.1


@pytest.mark.parametrize("scan_layers", [True, False])
def test_repeated_cache_rows_stand_side_by_side(scan_layers):
    model, params = tiny.make(scan_layers)
    tokens_BT, lengths_B = batching.pad_rows(tiny.prompts(3), 3, LENGTH)
    fill = jax.jit(lambda tokens, lengths: decode.prefill(params, model, tokens, lengths, LENGTH))
    repeated = likelihood.repeat_cache_rows(fill(tokens_BT, lengths_B), 2)
    by_hand = fill(np.repeat(tokens_BT, 2, axis=0), np.repeat(lengths_B, 2))
    empty = cache_lib.init_cache(model, 6, LENGTH)
    assert jax.tree.map(jnp.shape, repeated) == jax.tree.map(jnp.shape, empty)
    jax.tree.map(
        lambda one, two: np.testing.assert_allclose(one, two, atol=1e-5), repeated, by_hand
    )
