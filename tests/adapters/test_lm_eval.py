"""The harness' own model `hf` over the same weights is what ours is compared with."""

import functools
import json
import subprocess
import sys
from typing import Any

import lm_eval
import numpy as np
import pytest
from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from teacherlm_jax.adapters import lm_eval as adapter
from tests import tiny_lm_eval

MAX_LENGTH = 96
TASK = """
task: pets
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
output_type: multiple_choice
test_split: test
doc_to_text: "Q: {{{{question}}}} A: The answer is"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
"""


@functools.cache
def theirs(family: str) -> HFLM:
    folder = tiny_lm_eval.folder(family, True)
    return HFLM(str(folder), device="cpu", dtype="float32", batch_size=8, max_length=MAX_LENGTH)


@functools.cache
def ours(family: str, **changes: Any) -> adapter.TeacherLM:
    folder = tiny_lm_eval.folder(family, True)
    return adapter.TeacherLM(str(folder), **{"batch_size": 8, "max_length": MAX_LENGTH, **changes})


def likelihood_requests() -> list[Instance]:
    found = []
    for number, (question, choices, _) in enumerate(tiny_lm_eval.SAMPLES):
        for task, context in (("given", f"Q: {question} A: The answer is"), ("alone", "")):
            for choice in choices:
                pair = (context, f" {choice}" if context else choice)
                found.append(Instance("loglikelihood", {}, pair, 0, (task, number, 1)))
    # Longer than the model may be fed, with options that leave different parts of it.
    context = "The answer is " + "B, then A, " * 40 + "and"
    for option in (" an otter", " A", " a stone, which is no animal"):
        found.append(Instance("loglikelihood", {}, (context, option), 0, ("long", 0, 1)))
    return found


def generation_requests(**arguments: Any) -> list[Instance]:
    return [
        Instance("generate_until", {}, (f"Q: {question} A: The", arguments), 0, ("text", n, 1))
        for n, (question, *_) in enumerate(tiny_lm_eval.SAMPLES[:3])
    ]


def assert_equal(found: list[tuple[float, bool]], expected: list[tuple[float, bool]]) -> None:
    values, greedy = zip(*found)
    expected_values, expected_greedy = zip(*expected)
    np.testing.assert_allclose(values, expected_values, rtol=0, atol=1e-4)
    assert greedy == expected_greedy


@pytest.mark.parametrize("family", tiny_lm_eval.FAMILIES)
def test_likelihoods_are_those_of_hf(family, capsys):
    requests = likelihood_requests()
    expected = theirs(family).loglikelihood(requests, disable_tqdm=True)
    ours.cache_clear()
    model = ours(family)
    shown = {"bloom": "no BOS", "opt": "BOS 2 ('</s>')", "llama": "BOS 1 ('<s>')"}[family]
    assert f", {shown}, " in capsys.readouterr().out
    before = model.counts.truncated
    found = model.loglikelihood(requests, disable_tqdm=True)
    assert_equal(found, expected)
    assert model.counts.truncated == before + 3 and model.counts.moved == 0
    order = np.random.default_rng(0).permutation(len(requests))
    turned = model.loglikelihood([requests[n] for n in order], disable_tqdm=True)
    assert_equal(turned, [found[n] for n in order])
    texts = [
        "A fox.",
        "",
        "".join(f"{n}: the answer is (A). " for n in range(30)),
        "An otter's fur is dense! " * 9,
    ]
    rolling = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in texts]
    np.testing.assert_allclose(
        model.loglikelihood_rolling(rolling, disable_tqdm=True),
        theirs(family).loglikelihood_rolling(rolling, disable_tqdm=True),
        rtol=1e-6,
        atol=1e-4,
    )


def test_rolling_text_that_repeats_itself_is_the_sum_of_its_windows():
    """`hf` itself mixes up windows of the same tokens: see docs/lm_eval.md."""
    harness, text = theirs("bloom"), "The answer is (A). " * 30
    windows = [
        utils.make_disjoint_window(window)
        for window in utils.get_rolling_token_windows(
            harness.tok_encode(text), harness.prefix_token_id, MAX_LENGTH, 1
        )
    ]
    assert len(windows) > 2
    alone = [
        harness._loglikelihood_tokens([(None, *window)], disable_tqdm=True)[0][0]
        for window in windows
    ]
    request = Instance("loglikelihood_rolling", {}, (text,), 0)
    [found] = ours("bloom").loglikelihood_rolling([request], disable_tqdm=True)
    assert found == pytest.approx(sum(alone), abs=1e-3)


def test_options_of_a_document_share_its_row(monkeypatch):
    model = ours("llama")
    seen = []
    run = model._scorer.run
    monkeypatch.setattr(
        model._scorer, "run", lambda params, asked: seen.extend(asked) or run(params, asked)
    )
    pairs = [("Q: Which animal? A:", f" {name}") for name in ("otter", "fox", "stone")]
    requests = [Instance("loglikelihood", {}, pair, n, ("t", 0, 1)) for n, pair in enumerate(pairs)]
    model.loglikelihood(requests, disable_tqdm=True)
    assert [len(question.options) for question in seen] == [3]


def test_texts_are_written_as_hf_writes_them():
    requests = generation_requests(until=["Q:", "\n\n"], max_gen_toks=24)
    expected = theirs("llama").generate_until(requests, disable_tqdm=True)
    assert ours("llama").generate_until(requests, disable_tqdm=True) == expected
    assert len(set(expected)) > 1
    stop = expected[0][3:5]
    stopped = generation_requests(until=[stop], max_gen_toks=24)
    found = ours("llama").generate_until(stopped, disable_tqdm=True)
    assert found[0] == expected[0].partition(stop)[0]
    assert found == theirs("llama").generate_until(stopped, disable_tqdm=True)


def test_what_cannot_be_written_is_refused():
    with pytest.raises(ValueError, match=r"max_gen_toks = 96, but max_length = 96"):
        ours("llama").generate_until(generation_requests(max_gen_toks=96))
    with pytest.raises(ValueError, match="no chat templates"):
        ours("llama").apply_chat_template([])
    with pytest.raises(ValueError, match="boundary_rule = 'other'"):
        ours("llama", boundary_rule="other")
    with pytest.raises(ValueError, match="max_gen_toks = 'x', but it must be a whole number"):
        ours("llama", max_gen_toks="x")


def test_the_harness_cache_is_filled_as_it_goes(tmp_path, monkeypatch):
    model = ours("llama")
    requests = likelihood_requests()
    expected = model.loglikelihood(requests, disable_tqdm=True)
    cached = CachingLM(model, str(tmp_path / "cache.db"))
    real, asked = model._scorer.run, []

    def run_a_batch(params, splits):
        yield next(real(params, splits))
        raise KeyboardInterrupt

    monkeypatch.setattr(model._scorer, "run", run_a_batch)
    with pytest.raises(KeyboardInterrupt):
        cached.loglikelihood(requests)
    kept = len(cached.dbdict)
    assert 0 < kept < len(requests)

    def run(params, splits):
        asked.extend(option for split in splits for option in split.options)
        return real(params, splits)

    monkeypatch.setattr(model._scorer, "run", run)
    assert_equal(cached.loglikelihood(requests), expected)
    assert len(asked) == len(requests) - kept
    asked.clear()
    assert_equal(cached.loglikelihood(requests), expected)
    assert not asked
    # A cache changes no bit of a run that nothing stops: its batches are the same.
    monkeypatch.setattr(model._scorer, "run", real)
    again = CachingLM(model, str(tmp_path / "other.db"))
    assert again.loglikelihood(requests) == expected
    model.set_cache_hook(type(model.cache_hook)(None))


def test_the_harness_cache_gets_texts_as_they_are_written_but_no_samples(tmp_path, monkeypatch):
    model, calls = ours("llama"), []
    requests = generation_requests(max_gen_toks=8)

    def write(make_generator, tokens, prompts, asked, progress):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append([text for text, _ in prompts])
        return [f"after {text}" for text, _ in prompts]

    monkeypatch.setattr(adapter.until, "write", write)
    monkeypatch.setattr(adapter, "_BATCHES_BETWEEN_KEEPING", 1)
    monkeypatch.setattr(model, "batch_size", 1)
    cached = CachingLM(model, str(tmp_path / "cache.db"))
    with pytest.raises(KeyboardInterrupt):
        cached.generate_until(requests)
    # What was written is not written again.
    assert [len(call) for call in calls] == [1, 1] and len(cached.dbdict) == 2
    calls.clear()
    texts = [request.args[0] for request in requests]
    assert cached.generate_until(requests) == [f"after {text}" for text in texts]
    assert len(calls) == 1
    # Samples of a request are several, and the cache would give one for all.
    calls.clear()
    sampled = [r for r in generation_requests(max_gen_toks=8, temperature=0.7) for _ in range(2)]
    model.generate_until(sampled, disable_tqdm=True)
    assert [len(call) for call in calls] == [6] and len(cached.dbdict) == 3
    model.set_cache_hook(type(model.cache_hook)(None))


@pytest.fixture
def task(tmp_path):
    """A folder with a task, its data beside it."""
    lines = [
        {"question": question, "choices": choices, "answer": ord(letter) - ord("A")}
        for question, choices, letter in tiny_lm_eval.SAMPLES
        if len(choices) > 1
    ]
    data = tmp_path / "pets.jsonl"
    data.write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "pets.yaml").write_text(TASK.format(file=data))
    return tmp_path


def test_a_task_of_the_harness_gives_the_same_results_and_logs(task):
    manager = TaskManager(include_path=str(task), include_defaults=False)
    folder = str(tiny_lm_eval.folder("llama", True))
    shared = {"tasks": ["pets"], "task_manager": manager, "bootstrap_iters": 0, "batch_size": 8}
    arguments = {"pretrained": folder, "device": "cpu", "dtype": "float32"}
    expected = lm_eval.simple_evaluate("hf", arguments, **shared)
    text = f"checkpoint={folder},max_length=1024"
    found = lm_eval.simple_evaluate("teacherlm", text, **shared)
    assert found["config"]["bos_id"] == 1 and found["config"]["boundary"] == "joint"
    for metric in ("acc,none", "acc_norm,none"):
        assert found["results"]["pets"][metric] == expected["results"]["pets"][metric]
    assert len({s["acc"] for s in found["samples"]["pets"]}) == 2
    for one, other in zip(found["samples"]["pets"], expected["samples"]["pets"], strict=True):
        for name in ("doc_id", "doc", "arguments", "target", "acc", "acc_norm"):
            assert one[name] == other[name]
        values, greedy = zip(*(answer for [answer] in one["resps"]))
        expected_values, expected_greedy = zip(*(answer for [answer] in other["resps"]))
        np.testing.assert_allclose(values, expected_values, atol=1e-4)
        assert greedy == expected_greedy


def test_the_harness_keeps_its_own_models():
    """In a process of its own: this one has imported `hf` itself."""
    code = (
        "import teacherlm_jax.adapters.lm_eval as adapter; from lm_eval.api import registry; "
        "assert registry.get_model('teacherlm') is adapter.TeacherLM; "
        "print(registry.get_model('hf').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "HFLM\n"


def test_the_command_line_knows_the_model(task):
    folder = tiny_lm_eval.folder("llama", True)
    words = f"""--model teacherlm --model_args checkpoint={folder} --tasks pets
        --include_path {task} --batch_size auto --log_samples --output_path {task / "out"}"""
    command = [sys.executable, "-m", "teacherlm_jax.adapters.lm_eval", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "BOS 1 ('<s>')" in done.stdout and "|pets" in done.stdout
    # TensorFlow, which comes with seqio, is silent.
    assert "oneDNN" not in done.stderr and "absl::InitializeLog" not in done.stderr
    [results] = (task / "out").rglob("results_*.json")
    assert json.loads(results.read_text())["config"]["model"] == "teacherlm"
    [samples] = (task / "out").rglob("samples_pets_*.jsonl")
    assert len(samples.read_text().splitlines()) == 8
