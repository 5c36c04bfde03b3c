"""Logs of lm-eval, whole and broken, and what stands beside them."""

import json

import pytest

from teacherlm_jax.scoring import lm_eval_logs
from tests.scoring.test_compared import LOG

ROW = json.loads(LOG.read_text().splitlines()[0])


def log(tmp_path, *rows, name="samples_quiz_2026-01-02T03-04-05.678.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_sample_is_read(tmp_path):
    (one, *_) = lm_eval_logs.read(LOG)
    assert (one.task, one.question_id, one.answer) == ("tiny_quiz", "q1", 2)
    assert one.prompt == "Question: Which animal can fly?\nAnswer:"
    assert one.continuations == (" a mole", " a horse", " a heron")
    assert one.log_likelihoods == (-25.241836547851562, -35.18321228027344, -25.269804000854492)
    # Without an id its number counts; a target that is no number says nothing.
    for target in (" a heron", "²", "3", "9" * 5000):
        row = {**ROW, "doc": {"question": "?"}, "doc_id": 7, "target": target}
        (one,) = lm_eval_logs.read(log(tmp_path, row))
        assert (one.task, one.question_id, one.answer) == ("quiz", "7", None)


def test_of_several_filters_the_first_counts(tmp_path):
    rows = [{**ROW, "filter": name} for name in ("none", "other")]
    assert len(lm_eval_logs.read(log(tmp_path, *rows))) == 1


def test_unconditional_likelihoods_stand_behind_the_others(tmp_path):
    arguments = list(ROW["arguments"].values())
    arguments += [{**one, "arg_0": ""} for one in arguments]
    results = [*ROW["filtered_resps"], ["-1.5", "False"], ["-2.5", "False"], ["-3.5", "True"]]
    row = {
        **ROW,
        "arguments": {f"gen_args_{n}": one for n, one in enumerate(arguments)},
        "filtered_resps": results,
        "metrics": ["acc", "acc_mutual_info"],
    }
    (one,) = lm_eval_logs.read(log(tmp_path, row))
    assert one.unconditional == (-1.5, -2.5, -3.5)
    assert len(one.continuations) == len(one.log_likelihoods) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": {"until": []}}}}, r":2: .*to write"),
        ({"filtered_resps": ["text"]}, r":2: cannot be read as a question with options"),
        ({"filtered_resps": [["-1.0", "True"]]}, r":2: 3 options and 1 results"),
        ({"filtered_resps": [["nan", "True"]] * 3}, r":2: .* finite"),
        ({"filtered_resps": [[10**400, "True"]] * 3}, r":2: cannot be read .*OverflowError"),
        ({"doc_id": None}, r":2: cannot be read as a question with options"),
        ({"metrics": 1}, r":2: cannot be read as a question with options"),
        ({"arguments": {"a": {"arg_0": 1, "arg_1": " x"}}}, r":2: cannot be read as a question"),
        (
            {
                "arguments": {
                    "a": {"arg_0": "He", "arg_1": " x"},
                    "b": {"arg_0": "She", "arg_1": " x"},
                    "c": {"arg_0": "It", "arg_1": " x"},
                }
            },
            r":2: its options have prompts of their own",
        ),
    ],
)
def test_what_is_no_choice_is_refused_with_file_and_line(tmp_path, changes, message):
    row = {name: value for name, value in {**ROW, **changes}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        lm_eval_logs.read(log(tmp_path, ROW, row))


def test_a_log_that_was_cut_is_refused(tmp_path):
    path = log(tmp_path, ROW)
    path.write_text(path.read_text()[:-50])
    with pytest.raises(ValueError, match=r"678.jsonl:1: not JSON .*the log was cut"):
        lm_eval_logs.read(path)


def test_what_is_nested_too_deeply_is_refused_with_file_and_line(tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    path = log(tmp_path, ROW, {**ROW, "target": None})
    path.write_text(path.read_text().replace('"target": null', f'"target": {deep}'))
    with pytest.raises(ValueError, match=r"678.jsonl:2: not JSON .*recursion"):
        lm_eval_logs.read(path)
    (tmp_path / "results_2026-01-02T03-04-05.678.json").write_text(deep)
    with pytest.raises(ValueError, match=r"results_.*678.json: not JSON .*recursion"):
        lm_eval_logs.read_run(path)
    (tmp_path / "tokenizer_config.json").write_text(deep)
    with pytest.raises(ValueError, match=r"tokenizer_config.json: not JSON .*recursion"):
        lm_eval_logs.adds_bos(tmp_path)


def test_what_results_say_of_the_run(tmp_path):
    run = lm_eval_logs.read_run(LOG)
    assert run == lm_eval_logs.Run("tiny-bloom main", "float32", None, 0, 2048)
    path = log(tmp_path, ROW)
    assert lm_eval_logs.read_run(path) == lm_eval_logs.Run()
    results = tmp_path / "results_2026-01-02T03-04-05.678.json"
    arguments = {"model_args": "pretrained=x,add_bos_token=True", "model_dtype": "torch.bfloat16"}
    results.write_text(json.dumps({"config": arguments, "tokenizer_bos_token": ["<s>", "1"]}))
    run = lm_eval_logs.read_run(path)
    assert (run.has_bos, run.bos_id, run.dtype) == (True, 1, "bfloat16")
    results.write_text("[]")
    with pytest.raises(ValueError, match=r"results_.*not results of lm-eval"):
        lm_eval_logs.read_run(path)


def test_tokens_are_cut_as_lm_eval_cuts_them():
    def encode_many(texts):
        # Pairs of characters are a token.
        return [[hash(text[at : at + 2]) for at in range(0, len(text), 2)] for text in texts]

    (sample,) = [
        lm_eval_logs.Sample("", "", "", "abc  ", ("de", "fgh"), None, (0.0, 0.0), None),
    ]
    (found,) = lm_eval_logs.tokens_of([sample], encode_many)
    # Spaces go to the option, and a token that the prompt ends within is cut after.
    assert found.context == (hash("ab"), hash("c"))
    assert found.options == ((hash(" d"), hash("e")), (hash(" f"), hash("gh")))


def test_whether_a_tokenizer_adds_bos(tmp_path):
    assert lm_eval_logs.adds_bos(tmp_path) is None
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {}]}
    last = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]}
    for processor, expected in ((None, False), (template, True), (last, True)):
        (tmp_path / "tokenizer.json").write_text(json.dumps({"post_processor": processor}))
        assert lm_eval_logs.adds_bos(tmp_path) is expected
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": False}))
    assert lm_eval_logs.adds_bos(tmp_path) is False
