import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.scoring import likelihood, split
from tests.generation import tiny

OPTIONS = 4


def questions(longest_option, count=7, seed=1):
    """Random questions; id 0 is frequent in both contexts and options."""
    rng = np.random.default_rng(seed)
    return [
        split.split_question(
            context,
            [
                rng.choice([0, *range(tiny.VALID_VOCAB_SIZE)], size=rng.integers(1, most + 1))
                for _ in range(rng.integers(2, OPTIONS + 1))
            ],
        )
        for context, most in zip(tiny.prompts(count, seed=seed + 1), [longest_option] * count)
    ]


def scored(model, params, asked, fillers=1, more=0):
    """Scores with padding of every kind."""
    sizes = [likelihood.row_of(question).size for question in asked]
    size = likelihood.RowSize(*(max(column) + more for column in zip(*sizes)))
    if not more:
        size = size._replace(places=max(row.places for row in sizes))
    rows = likelihood.make_rows([*map(likelihood.row_of, asked)], len(asked) + fillers, size)
    found = _jitted(model, size.options)(params, rows)
    return jax.tree.map(np.asarray, found)


@functools.cache
def _jitted(model, options):
    return jax.jit(lambda params, rows: likelihood.score(params, model, rows, options))


def by_whole_forward_passes(model, params, context, option):
    """Float64 reference: every option's row run whole. Returns the sum, and whether it's greedy."""
    tokens = [*context, *option]
    table = tiny.log_softmax(tiny.uncached_logits(model, params, tokens))
    places = range(len(context) - 1, len(tokens) - 1)
    value = sum(table[place, tokens[place + 1]] for place in places)
    return value, all(table[place].argmax() == tokens[place + 1] for place in places)


def check(found, model, params, asked):
    for row, question in enumerate(asked):
        for number, option in enumerate(question.options):
            value, is_greedy = by_whole_forward_passes(model, params, question.context, option)
            np.testing.assert_allclose(
                found.log_likelihoods_BO[row, number], value, rtol=1e-5, atol=1e-5
            )
            assert found.is_greedy_BO[row, number] == is_greedy
        assert (found.log_likelihoods_BO[row, len(question.options) :] == 0).all()
    assert (found.log_likelihoods_BO[len(asked) :] == 0).all()


@pytest.mark.parametrize("scan_layers", [True, False])
def test_options_of_any_length_match_whole_forward_passes(scan_layers):
    model, params = tiny.make(scan_layers)
    asked = questions(5)
    found = scored(model, params, asked)
    assert found.log_likelihoods_BO.dtype == np.float32
    check(found, model, params, asked)


@pytest.mark.parametrize("family", ["opt_350m", "llama", "mistral", "neox"])
def test_options_of_other_families_match_whole_forward_passes(family):
    model, params = tiny.of_family(family)
    asked = questions(3, count=4)
    check(scored(model, params, asked), model, params, asked)


def test_a_sliding_window_reaches_from_an_option_over_the_other_options_into_the_prompt():
    model, params = tiny.of_family("mistral")
    assert model.config.sliding_window
    # The last option stands further from the prompt's end than the window is wide.
    long = [[3 + number] * model.config.sliding_window for number in range(3)]
    asked = [split.split_question(range(1, 9), [*long, [7, 8]])]
    check(scored(model, params, asked), model, params, asked)


def test_single_tokens_need_one_prediction_and_match_the_general_way():
    model, params = tiny.make()
    asked = questions(1)
    assert {likelihood.row_of(question).size.places for question in asked} == {1}
    found = scored(model, params, asked)
    check(found, model, params, asked)
    general = scored(model, params, asked, more=3)
    for one, two in zip(found, general):
        np.testing.assert_allclose(two[: len(asked), : one.shape[1]], one[: len(asked)], atol=1e-5)


def test_greedy_options_are_told():
    model, params = tiny.make()
    context = tiny.prompts(1, seed=5)[0]
    greedy = []
    for _ in range(3):
        greedy.append(int(tiny.uncached_logits(model, params, [*context, *greedy])[-1].argmax()))
    other = [*greedy[:2], (greedy[2] + 1) % tiny.VALID_VOCAB_SIZE]
    asked = [split.split_question(context, [greedy, other, greedy[:1]])]
    assert scored(model, params, asked).is_greedy_BO[0, :3].tolist() == [True, False, True]


def test_chunks_of_predictions_change_nothing(monkeypatch):
    model, params = tiny.make()
    asked = questions(5, seed=7)
    whole = scored(model, params, asked)
    _jitted.cache_clear()
    for places in (1, 2, 5):
        monkeypatch.setattr(likelihood, "CHUNK_LOGITS", places * tiny.VOCAB_SIZE * (len(asked) + 1))
        _jitted.cache_clear()
        for one, two in zip(whole, scored(model, params, asked)):
            np.testing.assert_allclose(one, two, atol=1e-5)
    _jitted.cache_clear()


def together(longest_option):
    """Rows of several questions; of one of them all is shared, and one row holds a lone one."""
    rng = np.random.default_rng(8)
    shared = rng.integers(0, tiny.VALID_VOCAB_SIZE, 9).tolist()
    alone, *others = questions(longest_option, count=6, seed=9)
    own = [[], *(list(other.context) for other in others)]
    asked = [split.split_question([*shared, *o], q.options) for o, q in zip(own, [alone, *others])]
    rows = [likelihood.Row(tuple(part), 9) for part in (asked[:1] * 2, asked[1:3], asked[2:])]
    return [*rows, likelihood.row_of(alone)]


@pytest.mark.parametrize("longest_option", [1, 5])
@pytest.mark.parametrize("family", [None, "opt_350m", "llama", "mistral", "neox"])
def test_questions_in_one_row_match_whole_forward_passes(family, longest_option):
    model, params = tiny.make() if family is None else tiny.of_family(family)
    rows = together(longest_option)
    size = likelihood.RowSize(*(max(column) + 1 for column in zip(*(row.size for row in rows))))
    arrays = likelihood.make_rows(rows, len(rows) + 1, size)
    found = jax.tree.map(np.asarray, _jitted(model, size.options)(params, arrays))
    for b, row in enumerate(rows):
        options = [(one.context, option) for one in row.questions for option in one.options]
        for number, (context, option) in enumerate(options):
            value, is_greedy = by_whole_forward_passes(model, params, context, option)
            np.testing.assert_allclose(
                found.log_likelihoods_BO[b, number], value, rtol=1e-5, atol=1e-5
            )
            assert found.is_greedy_BO[b, number] == is_greedy
        assert (found.log_likelihoods_BO[b, len(options) :] == 0).all()


def test_a_question_sees_nothing_of_another_in_its_row():
    model, params = tiny.make()
    shared, options = [5, 6, 7, 0], [[1, 2, 3], [9, 8]]

    def scores(first, of_first):
        asked = [split.split_question([*shared, *first], of_first)]
        asked.append(split.split_question([*shared, 11, 12], options))
        row = likelihood.Row(tuple(asked), len(shared))
        arrays = likelihood.make_rows([row], 1, row.size)
        return np.asarray(_jitted(model, row.size.options)(params, arrays).log_likelihoods_BO[0])

    usual = scores([3, 4], options)
    for changed in (scores([3, 40], options), scores([3, 4], [[1, 40, 3], [9, 8]])):
        np.testing.assert_array_equal(changed[2:], usual[2:])
        assert changed[0] != usual[0]


def test_an_option_sees_nothing_of_another():
    model, params = tiny.make()
    prompt, first, second = [5, 6, 7, 0], [1, 2, 3], [9, 8]
    together = scored(model, params, [split.split_question(prompt, [first, second])])
    changed = scored(model, params, [split.split_question(prompt, [[1, 40, 3], second])])
    np.testing.assert_array_equal(
        together.log_likelihoods_BO[0, 1], changed.log_likelihoods_BO[0, 1]
    )
    assert together.log_likelihoods_BO[0, 0] != changed.log_likelihoods_BO[0, 0]


def test_stacked_parameters_score_as_each_alone():
    model, params = tiny.make()
    other = tiny.make(seed=1)[1]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), params, other)
    asked = questions(3)
    sizes = [likelihood.row_of(question).size for question in asked]
    size = likelihood.RowSize(*(max(column) for column in zip(*sizes)))
    rows = likelihood.make_rows([*map(likelihood.row_of, asked)], len(asked), size)
    function = lambda p: likelihood.score(p, model, rows, size.options).log_likelihoods_BO  # noqa: E731
    together = jax.jit(jax.vmap(function))(stacked)
    for which, alone in enumerate((params, other)):
        np.testing.assert_allclose(together[which], jax.jit(function)(alone), atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 0.1
