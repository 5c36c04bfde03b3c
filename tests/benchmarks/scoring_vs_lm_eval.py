"""Questions a second of rank classification, beside lm-evaluation-harness and the authors' way.

    pip install 'lm-eval>=0.4.13'
    python -m tests.benchmarks.scoring_vs_lm_eval

All hold the same weights (a BLOOM at random), run in one process on the same threads, and score the
same questions: five options, as letters after the paper's prompt and as full texts. lm-eval's
Hugging Face backend gets its best batch size of those tried; the authors' way is one option at a
time, batch 1. Every side begins with texts, so tokenizing counts. Ours compiles before it is
measured; what that takes stands beside. On a machine without a GPU: 40M parameters with
vocabularies of 4,096 and 250,880, float32; with one that both jax and torch see: BLOOM-1.1B in
bfloat16.

`--form five_shot` measures letters after five solved examples, the same for all questions.
`--questions FILE.jsonl` (question, choices) replaces the made-up ones.
"""

import argparse
import dataclasses
import functools
import json
import logging
import random
import statistics
import string
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import tokenizers
import torch
import transformers
from etils import epath

from teacherlm_jax.data import hf_vocabulary
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.scoring import boundary
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.scores import Question, ScoringPolicy
from tests.benchmarks import side_by_side

SHAPES = {
    "40m": side_by_side.Shape(4_096, 512, 8, 8),
    "40m_250k": side_by_side.Shape(250_880, 512, 8, 8),
    "1b1": side_by_side.Shape(250_880, 1536, 24, 16),
}
BATCH_SIZES = (1, 4, 16, 64)


@dataclasses.dataclass(frozen=True)
class Text:
    """A question: what is given, and what may follow."""

    prompt: str
    options: tuple[str, ...]


Scores = list[tuple[float, ...]]
Way = Callable[[], Scores]


def made_up(count: int) -> list[tuple[str, list[str]]]:
    """Questions of about ECQA's lengths, of words that do not exist."""
    draw = random.Random(0)
    words = [
        "".join(draw.choices(string.ascii_lowercase, k=draw.randint(2, 9))) for _ in range(900)
    ]

    def text(least: int, most: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(least, most)))

    return [(f"{text(8, 26)}?", [text(1, 3) for _ in range(5)]) for _ in range(count)]


def letters(question: str, choices: Sequence[str]) -> Text:
    """The paper's form."""
    names = string.ascii_uppercase[: len(choices)]
    listed = "".join(f"({name}) {choice} " for name, choice in zip(names, choices))
    return Text(f"Q: {question} {listed}A: The answer is (", tuple(names))


def full(question: str, choices: Sequence[str]) -> Text:
    """Full option texts."""
    return Text(f"Q: {question} A: The answer is", tuple(f" {choice}" for choice in choices))


def five_shot(question: str, choices: Sequence[str]) -> Text:
    """As `letters`, after the same five solved examples as every other question."""
    asked = letters(question, choices)
    return Text(f"{_solved()} {asked.prompt}", asked.options)


@functools.cache
def _solved() -> str:
    solved = [letters(*one) for one in made_up(10_000)[-5:]]  # None that is asked.
    return " ".join(f"{one.prompt}{one.options[number]})." for number, one in enumerate(solved))


FORMS = {form.__name__: form for form in (letters, full, five_shot)}


def tokenizer_of(texts: Sequence[str]) -> Any:
    """A byte-level BPE trained on the texts."""
    made = tokenizers.ByteLevelBPETokenizer()
    special = ["<s>", "</s>"]
    made.train_from_iterator(texts, vocab_size=4_000, special_tokens=special, show_progress=False)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made._tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


def ours(scorer: Scorer, params: Any, tokenizer: Any, texts: Sequence[Text]) -> Way:
    """This package, from texts."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        vocabulary = hf_vocabulary.HuggingFaceVocabulary(folder)
    asked = [boundary.TextQuestion(text.prompt, text.options) for text in texts]

    def score() -> Scores:
        cuts = boundary.cut_many(vocabulary.encode_many, asked, "joint")
        questions = [Question(n, cut.prompt, cut.options) for n, cut in enumerate(cuts)]
        return [result.log_likelihoods for result in scorer.score(params, questions)]

    return score


def lm_eval(model: Any, tokenizer: Any, batch_size: int, texts: Sequence[Text]) -> Way:
    """lm-evaluation-harness's Hugging Face backend."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    backend = HFLM(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=batch_size,
        device=side_by_side.torch_device(),
        add_bos_token=False,
    )
    requests = [
        Instance("loglikelihood", {}, (text.prompt, option), number)
        for text in texts
        for number, option in enumerate(text.options)
    ]

    def score() -> Scores:
        values = iter([value for value, _ in backend.loglikelihood(requests, disable_tqdm=True)])
        return [tuple(next(values) for _ in text.options) for text in texts]

    return score


def one_at_a_time(model: Any, tokenizer: Any, texts: Sequence[Text]) -> Way:
    """As the authors' scripts do: every option a forward pass of its own, batch 1."""
    device = side_by_side.torch_device()

    def value(text: Text, option: str) -> float:
        prompt = tokenizer(text.prompt, add_special_tokens=False).input_ids
        answer = tokenizer(option, add_special_tokens=False).input_ids
        ids = torch.tensor([prompt + answer], device=device)
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0].float()
        table = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
        return float(table[torch.arange(len(answer)), ids[0, len(prompt) :]].sum())

    return lambda: [tuple(value(text, option) for option in text.options) for text in texts]


def timed(way: Way) -> tuple[float, Scores]:
    """Seconds of a call, and what it gave."""
    begun = time.perf_counter()
    scores = way()
    return time.perf_counter() - begun, scores


def check(found: Scores, expected: Scores, dtype: str) -> None:
    """Raises where two ways do not compute the same."""
    flat = [np.array([v for row in scores for v in row]) for scores in (found, expected)]
    difference = float(np.abs(flat[0] - flat[1]).max())
    same = np.mean([int(np.argmax(a) == np.argmax(b)) for a, b in zip(found, expected)])
    print(f"    largest difference {difference:.2g}, same predictions {100 * same:.1f} %")
    if not difference < {"float32": 1e-4, "bfloat16": 1.0}[dtype] * max(
        1, np.abs(flat[1]).max() / 50
    ):
        raise SystemExit(f"Log-likelihoods differ by {difference}: nothing to compare.")


def compare(
    name: str, arguments: argparse.Namespace, questions: Sequence[tuple[str, list[str]]]
) -> None:
    """Measures one shape and prints its tables."""
    dtype = arguments.dtype
    model, config, params = side_by_side.bloom_pair(SHAPES[name], dtype)
    model = model.to(device=side_by_side.torch_device(), dtype=getattr(torch, dtype)).eval()
    tokenizer = tokenizer_of([letters(*question).prompt for question in questions])
    print(f"\n{name}: vocabulary {SHAPES[name].vocab:,}, {dtype}, {len(questions)} questions")
    for form in (FORMS[one] for one in arguments.form or ("letters", "full")):
        texts = [form(*question) for question in questions]
        scorer = Scorer(
            Decoder(config), ScoringPolicy(max_length=1024), batch_size=arguments.batch_size
        )
        us = ours(scorer, params, tokenizer, texts)
        first, found = timed(us)
        part = texts[: max(8, len(texts) // 8)]
        tries = {size: timed(lm_eval(model, tokenizer, size, part))[0] for size in BATCH_SIZES}
        best = min(tries, key=lambda size: tries[size])
        them, authors = (
            lm_eval(model, tokenizer, best, texts),
            one_at_a_time(model, tokenizer, part),
        )
        print(f"  {form.__name__}: programs {scorer.compilations}, lm-eval's batch size {best}")
        check(found, them(), dtype)
        taken: dict[str, list[float]] = {"ours": [], "lm-eval": [], "authors' way": []}
        for _ in range(arguments.rounds):
            taken["ours"].append(timed(us)[0] / len(texts))
            taken["lm-eval"].append(timed(them)[0] / len(texts))
            taken["authors' way"].append(timed(authors)[0] / len(part))
        for way, seconds in taken.items():
            ratios = sorted(one / us_ for one, us_ in zip(seconds, taken["ours"]))
            print(
                f"    {way:14}{1 / statistics.median(seconds):10.1f} questions/s   ours is "
                f"{statistics.median(ratios):5.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
        whole = len(texts) * statistics.median(taken["lm-eval"]) / first
        print(f"    ours with compilation: {first:.1f} s, {whole:.2f} x of lm-eval")


def main() -> None:
    """Reads the options and compares."""
    gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, action="append", help="may be given repeatedly")
    parser.add_argument(
        "--dtype", choices=side_by_side.TOLERANCE, default="bfloat16" if gpu else "float32"
    )
    parser.add_argument("--form", choices=FORMS, action="append", help="may be given repeatedly")
    parser.add_argument("--questions", help="JSONL with question and choices")
    parser.add_argument("--count", type=int, default=2048 if gpu else 128)
    parser.add_argument("--batch_size", type=int, default=256 if gpu else 32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    threads = side_by_side.thread_count()
    torch.set_num_threads(threads)
    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, {threads} threads"
    )
    questions = made_up(arguments.count)
    if arguments.questions:
        rows = map(json.loads, epath.Path(arguments.questions).read_text().splitlines())
        questions = [(row["question"], row["choices"]) for row in rows][: arguments.count]
    for name in arguments.shape or (["1b1"] if gpu else ["40m", "40m_250k"]):
        compare(name, arguments, questions)


if __name__ == "__main__":
    main()
