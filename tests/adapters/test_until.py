import functools

import pytest

from teacherlm_jax.adapters import until
from teacherlm_jax.generation import sampling
from teacherlm_jax.generation.engine import GenerationRequest, Generator
from tests.generation import tiny

SAMPLES = {"do_sample": True, "temperature": 1.5}
PROMPTS = [(f"prompt {number}", tokens) for number, tokens in enumerate(tiny.prompts(4, seed=2))]


class Signs:
    """A token is a sign; 7 is special, and spelled <7>."""

    @staticmethod
    def decode(ids, *, with_special=False):
        return "".join(
            ("<7>" if with_special else "") if token == 7 else chr(ord("A") + token)
            for token in ids
        )


@functools.cache
def generator(policy, most):
    model, params = tiny.make()
    return Generator(
        model,
        params,
        max_new_tokens=most,
        max_length=64,
        eos_id=3,
        policy=policy,
        batch_size=4,
        buckets=(64,),
        valid_vocab_size=tiny.VALID_VOCAB_SIZE,
    )


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    monkeypatch.setattr(until, "FIRST_ROUND", 4)


def written(arguments, prompts=PROMPTS, calls=None):
    asked = until.settings(arguments, 20)

    def make(most):
        if calls is not None:
            calls.append(most)
        return generator(asked.policy, most)

    return until.write(make, Signs, prompts, asked)


@functools.cache
def at_once(policy):
    requests = [GenerationRequest(text, 0, tokens) for text, tokens in PROMPTS]
    return [result.tokens for result in generator(policy, 20).generate(requests)]


@pytest.mark.parametrize("arguments", [{}, SAMPLES], ids=["greedy", "sampled"])
def test_rounds_write_what_one_run_writes(arguments):
    calls = []
    policy = until.settings(arguments, 20).policy
    assert written(arguments, calls=calls) == [Signs.decode(tokens) for tokens in at_once(policy)]
    assert calls == [4, 8, 8]  # 4 + 8 + what is left of 20.


def test_stops_end_a_text_and_no_round_is_run_for_it():
    policy = until.settings(SAMPLES, 20).policy
    whole = Signs.decode(at_once(policy)[0])
    stop = whole[2:4]
    calls, finished = [], []
    asked = until.settings({**SAMPLES, "until": ["never", stop]}, 20)
    make = lambda most: calls.append(most) or generator(asked.policy, most)  # noqa: E731
    found = until.write(make, Signs, PROMPTS[:1], asked, finished.append)
    assert found == [whole.partition(stop)[0]]
    assert (calls, finished) == ([4], [1])


def test_a_special_token_can_stop_though_no_text_shows_it():
    policy = until.settings(SAMPLES, 20).policy
    tokens = at_once(policy)[0]
    special = tokens[5]
    spelled = lambda token: f"<{token}>" if token == special else chr(ord("A") + token)  # noqa: E731

    class Other:
        @staticmethod
        def decode(ids, *, with_special=False):
            return "".join(spelled(t) for t in ids if with_special or t != special)

    asked = until.settings({**SAMPLES, "until": f"<{special}>"}, 20)
    found = until.write(functools.partial(generator, policy), Other, PROMPTS[:1], asked)
    assert found == [Other.decode(tokens[: tokens.index(special)])]


def test_the_same_prompt_again_is_another_sample():
    twice = written({**SAMPLES, "max_gen_toks": 4}, [PROMPTS[0], PROMPTS[0], PROMPTS[1]])
    assert twice[0] != twice[1]
    once = written({**SAMPLES, "max_gen_toks": 4}, PROMPTS[:2])
    assert [twice[0], twice[2]] == once


def test_settings_are_read_as_the_harness_means_them():
    def policy(**arguments):
        return until.settings(arguments, 5).policy

    assert policy() == policy(temperature=0.0) == policy(do_sample=False, temperature=0.7)
    assert policy() == sampling.Greedy()
    assert policy(temperature=0.7) == sampling.Temperature(0.7)
    assert policy(do_sample=True) == sampling.Temperature(1.0)
    full = policy(do_sample=True, temperature=2.0, top_k=3, top_p=0.5, num_beams=1)
    assert full == sampling.Temperature(2.0, 3, 0.5)
    asked = until.settings({"until": ["a", ""], "max_new_tokens": 9}, 5)
    assert (asked.stops, asked.max_new_tokens) == (("a",), 9)
    assert until.settings({"until": "b"}, 5).stops == ("b",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_beams": 4}, "'num_beams': 4.*not known"),
        ({"min_new_tokens": 4}, "min_new_tokens.*not known"),
        ({"do_sample": True, "temperature": 0.0}, r"temperature = 0\.0"),
        ({"max_gen_toks": 0}, "max_gen_toks = 0"),
    ],
)
def test_settings_that_are_not_done_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        until.settings(arguments, 5)
