import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.generation import batching, decode, sampling
from tests.generation import tiny

NEW = 12
GREEDY = sampling.Greedy()


def run(model, params, rows, policy=GREEDY, eos=None, max_new=None, fillers=0):
    batch = len(rows) + fillers
    tokens_BT, lengths_B = batching.pad_rows(rows, batch, 24)
    max_new_B = np.zeros((batch,), np.int32)
    max_new_B[: len(rows)] = NEW if max_new is None else max_new
    eos_B = np.full((batch,), decode.NO_EOS, np.int32)
    if eos is not None:
        eos_B[: len(rows)] = eos
    ids = sampling.noise_ids([f"example {row}" for row in range(batch)], [0] * batch)
    prompts = decode.Prompts(tokens_BT, lengths_B, max_new_B, eos_B, ids)

    both = _jitted(model, policy)
    return jax.device_get(both(params, prompts, sampling.run_key(3)))


@functools.cache
def _jitted(model, policy):
    def both(params, prompts, key):
        cache = decode.prefill(params, model, prompts.tokens_BT, prompts.lengths_B, 24 + NEW)
        return decode.decode(
            params,
            model,
            policy,
            cache,
            prompts,
            key,
            max_new_tokens=NEW,
            valid_vocab_size=tiny.VALID_VOCAB_SIZE,
        )[0]

    return jax.jit(both)


def uncached(model, params, row, number, policy):
    """Token by token from whole forward passes; also the sum of log-probabilities."""
    key = sampling.row_keys(sampling.run_key(3), sampling.noise_ids([f"example {number}"], [0]))
    tokens, total = list(row), 0.0
    for _ in range(NEW):
        logits = tiny.uncached_logits(model, params, tokens)[-1]
        position = jnp.array([len(tokens)])
        chosen = sampling.sample(
            policy, jnp.asarray(logits, jnp.float32)[None], key, position, tiny.VALID_VOCAB_SIZE
        )
        total += tiny.log_softmax(logits[: tiny.VALID_VOCAB_SIZE])[int(chosen[0])]
        tokens.append(int(chosen[0]))
    return tokens[len(row) :], total


@pytest.mark.parametrize("scan_layers", [True, False])
def test_greedy_is_the_uncached_argmax_token_for_token(scan_layers):
    model, params = tiny.make(scan_layers)
    rows = tiny.prompts(8)
    decoded = run(model, params, rows, fillers=2)
    written = set()
    for number, row in enumerate(rows):
        tokens, total = list(row), 0.0
        for _ in range(NEW):
            real = tiny.uncached_logits(model, params, tokens)[-1][: tiny.VALID_VOCAB_SIZE]
            tokens.append(int(np.argmax(real)))
            total += tiny.log_softmax(real).max()
        assert decoded.tokens_BN[number].tolist() == tokens[len(row) :]
        np.testing.assert_allclose(decoded.log_probabilities_B[number], total, atol=2e-4)
        written |= set(tokens[len(row) :])
    assert decoded.lengths_B.tolist() == [NEW] * 8 + [0, 0]
    # The comparison would say little of a model that repeats itself, or never writes id 0.
    assert len(written) > 5 and 0 in written


def test_sampling_is_the_uncached_loop_with_the_same_noise():
    model, params = tiny.make()
    policy = sampling.Temperature(1.0, top_k=8)
    rows = tiny.prompts(6, seed=1)
    decoded = run(model, params, rows, policy)
    for number, row in enumerate(rows):
        tokens, total = uncached(model, params, row, number, policy)
        assert decoded.tokens_BN[number].tolist() == tokens
        np.testing.assert_allclose(decoded.log_probabilities_B[number], total, atol=2e-4)


def test_each_row_ends_at_its_own_eos_or_maximum():
    model, params = tiny.make()
    rows = tiny.prompts(6, seed=2)
    free = run(model, params, rows).tokens_BN
    # Row 0 ends at its third token's first occurrence, row 1 by its maximum, row 2 never ends
    # on an EOS of a padded id, row 3 has id 0 as EOS.
    eos = [int(free[0, 2]), decode.NO_EOS, tiny.VOCAB_SIZE - 1, 0, decode.NO_EOS, decode.NO_EOS]
    max_new = [NEW, 4, NEW, NEW, 1, NEW]
    decoded = run(model, params, rows, eos=eos, max_new=max_new)
    for row in range(6):
        expected = free[row, : max_new[row]].tolist()
        if eos[row] in expected:
            expected = expected[: expected.index(eos[row]) + 1]
            assert decoded.finished_B[row]
        else:
            assert not decoded.finished_B[row]
        length = len(expected)
        assert decoded.lengths_B[row] == length
        assert decoded.tokens_BN[row].tolist() == expected + [0] * (NEW - length)
    assert decoded.finished_B[0] and decoded.lengths_B[0] <= 3


def test_the_loop_stops_when_every_row_is_done():
    model, params = tiny.make()
    rows = tiny.prompts(3)
    assert run(model, params, rows, max_new=[2, 5, 1], fillers=1).steps == 5
    assert run(model, params, [], fillers=2).steps == 0
    free = run(model, params, rows)
    decoded = run(model, params, rows, eos=free.tokens_BN[:, 0])
    assert decoded.steps == 1
    assert decoded.finished_B.all()


def test_what_stands_beyond_a_prompt_is_never_seen():
    model, params = tiny.make()
    rows = tiny.prompts(4)
    clean = run(model, params, rows)
    tokens_BT, lengths_B = batching.pad_rows(rows, 4, 24)
    noisy_BT = np.where(np.arange(24) < lengths_B[:, None], tokens_BT, 31)

    @jax.jit
    def first_logits(tokens_BT):
        cache = decode.prefill(params, model, tokens_BT, lengths_B, 36)
        return decode.append(
            params, model, cache, decode.last_tokens(tokens_BT, lengths_B)[:, None]
        )

    first = [first_logits(tokens)[0] for tokens in (tokens_BT, noisy_BT)]
    np.testing.assert_allclose(first[0], first[1], atol=1e-6)
    best = jnp.argmax(first[1][:, 0, : tiny.VALID_VOCAB_SIZE], axis=-1)
    assert best.tolist() == clean.tokens_BN[:, 0].tolist()


def test_cache_holds_every_real_token_and_no_position_past_the_maximum():
    assert decode.cache_length(32, 30, max_length=2048) == 62
    assert decode.cache_length(2048, 2048, max_length=2048) == 2048


def test_prefill_computes_no_logits():
    model, params = tiny.make()
    tokens_BT = jnp.zeros((3, 24), jnp.int32)
    fill = jax.jit(lambda p, t, n: decode.prefill(p, model, t, n, 36))
    program = fill.lower(params, tokens_BT, jnp.ones((3,), jnp.int32)).compile().as_text()
    assert f"[3,24,{tiny.VOCAB_SIZE}]" not in program and f"[72,{tiny.VOCAB_SIZE}]" not in program
    whole = jax.jit(lambda p, t: model.apply({"params": p}, t, t, enable_dropout=False))
    shown = whole.lower(params, tokens_BT).compile().as_text()
    assert f"[3,24,{tiny.VOCAB_SIZE}]" in shown or f"[72,{tiny.VOCAB_SIZE}]" in shown
